"""FittedFactors: users and items in one space, fitted to implicit feedback; scores pairs, reranks, saves."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ultr.data.checks import require
from ultr.data.log import ClickLog
from ultr.data.source import need_log
from ultr.errors import LogError, UltrWarning
from ultr.models.trained import Trained
from ultr.training.batch import Batch
from ultr.training.minimise import Curve

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1 << 20  # rows scored at once


@dataclass(frozen=True, eq=False)
class FittedFactors(Trained):
    """Scores of U users for I items: bias + user bias + item bias + user factor . item factor, or the sigmoid of it.

    Args:
        users: Ids of the users, shape [U]. Any other user is scored by the item's bias alone.
        items: Ids of the items, shape [I]; None where row numbers are the ids.
        user: Factors and, last, the bias of each user, float32, shape [U, d + 1].
        item: The same of each item, shape [I, d + 1].
        bias: Common to all.
        curve: Learning curves.
        estimator: What fitted it, in words.
        probability: Whether scores are probabilities, the sigmoid of the sum; else they are the sum itself: predicted ratings, or scores of
            which the order alone means something.
    """

    users: np.ndarray
    items: np.ndarray | None
    user: np.ndarray
    item: np.ndarray
    bias: float
    curve: Curve = field(default_factory=Curve)
    estimator: str = ""
    probability: bool = True

    def __repr__(self) -> str:
        return f"FittedFactors({self.estimator}, {len(self.users)} users, {len(self.item)} items, {self.user.shape[1] - 1} factors)"

    def score_users(self, user_ids: Sequence[object] | np.ndarray) -> np.ndarray:
        """Score all items for some users.

        Args:
            user_ids: Ids as in the log, shape [n].

        Returns:
            Scores, higher is better, float32, shape [n, I]; columns in the order of `log.items`.
        """
        ids = np.asarray(user_ids)
        if ids.ndim != 1:
            raise LogError(f"score_users needs ids of users, shape [n], not {ids.shape or user_ids!r}.")
        left, right = self._left(self._user_numbers(ids)), self.item.astype(np.float64)
        return self._link(left[:, :-1] @ right[:, :-1].T + left[:, -1:] + right[:, -1]).astype(np.float32)

    def score_log(self, log: ClickLog) -> np.ndarray:
        """Score every row of a log, float32, shape [N]; the pages need the page column `user`.

        Raises:
            LogError: there is no page column `user`, or an item that was not fitted.
        """
        require(need_log(log).page_columns, "user", by="Scoring", kind="page column")
        users = self._user_numbers(log.page_columns["user"])[log.page_of_row()]
        items = self._item_numbers(log)
        out = np.empty(log.n_rows, dtype=np.float32)
        for start in range(0, log.n_rows, _BLOCK):
            rows = slice(start, start + _BLOCK)
            out[rows] = self._pairs(users[rows], items[rows])
        return out

    def score(self, batch: Batch) -> Tensor:
        """Return scores of a batch's rows, float32, shape [B, L]; 0 in the padding. Items are row numbers."""
        user = self._user_numbers(batch.page_values("user"))[:, None]
        item = torch.where(batch.mask, batch.item, 0).cpu().numpy()
        if item.size and item.max() >= len(self.item):
            raise LogError(f"The log has item {item.max()}, but the factors were fitted on {len(self.item)} items.")
        scores = self._pairs(np.broadcast_to(user, item.shape).reshape(-1), item.reshape(-1)).reshape(item.shape)
        return torch.from_numpy(scores).to(batch.mask.device).masked_fill(~batch.mask, 0.0)

    def rank(self, log: ClickLog) -> ClickLog:
        """Return the log reranked by the scores; see `ClickLog.rerank`."""
        return log.rerank(self.score_log(log))

    def apply(self, log: ClickLog) -> ClickLog:
        """Return the log reranked by the scores: what `evaluate` and `Comparison` call."""
        return self.rank(log)

    def save(self, path: str | Path) -> None:
        """Write a folder of model.json and model.safetensors; read it with `ultr.load`. Replaces a model that is there.

        Raises:
            FileError: the path is taken by something that is no model.
            ConfigError: ids of users or items are neither strings nor numbers.
        """
        from ultr.models.factor_files import save_factors

        save_factors(self, path)

    def _pairs(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        left, right = self._left(users), self.item[items]
        logits = np.einsum("nd,nd->n", left[:, :-1], right[:, :-1]) + left[:, -1] + right[:, -1]
        return self._link(logits).astype(np.float32)

    def _left(self, users: np.ndarray) -> np.ndarray:
        """Factors and bias of users by number, zeros for -1."""
        return np.where((users >= 0)[:, None], self.user[np.maximum(users, 0)], 0.0).astype(np.float64)

    def _link(self, logits: np.ndarray) -> np.ndarray:
        logits = logits.astype(np.float64) + self.bias
        return 1 / (1 + np.exp(-np.clip(logits, -700, 700))) if self.probability else logits

    def _user_numbers(self, ids: np.ndarray) -> np.ndarray:
        numbers = self._user_index.get_indexer(ids)  # type: ignore[arg-type]
        if len(numbers) and (numbers < 0).all() and len(self.users):
            warnings.warn(
                f"None of {len(np.unique(ids.astype(str))):,} users were in the fit, so items are scored by their own level alone. Ids are"
                f" {_kind(ids)} here, such as {ids[0]}, and {_kind(self.users)} there, such as {self.users[0]}.",
                UltrWarning,
                stacklevel=3,
            )
        return numbers

    def _item_numbers(self, log: ClickLog) -> np.ndarray:
        """Number of each row's item, by its id where both logs have ids, else by its row number."""
        item, ids = log.columns["item"], None if log.items is None else log.items.ids
        if self.items is not None and ids is not None and ids is not self.items:
            import pandas as pd

            item = pd.Index(self.items).get_indexer(ids)[item]
        bad = (item < 0) | (item >= len(self.item))
        if bad.any():
            row = int(np.argmax(bad))
            name = log.columns["item"][row] if ids is None else ids[log.columns["item"][row]]
            raise LogError(
                f"Item {name} was not in the log of the fit; {int(bad.sum())} of {len(item)} rows show such items: drop them, or number the"
                " items of both logs alike, e.g. load_ratings(items=train.items)."
            )
        return item

    @cached_property
    def _user_index(self) -> pd.Index:
        import pandas as pd

        return pd.Index(self.users)


def _kind(ids: np.ndarray) -> str:
    return {"i": "whole numbers", "u": "whole numbers", "f": "numbers"}.get(ids.dtype.kind, "text")


def item_scores(log: ClickLog, users: np.ndarray, scores: np.ndarray, by: str) -> FittedFactors:
    """Return factors of length 0: one score an item [I], whoever the user is."""
    item, ids = scores[:, None].astype(np.float32), None if log.items is None else log.items.ids
    return FittedFactors(users, ids, np.zeros((len(users), 1), dtype=np.float32), item, 0.0, estimator=by, probability=False)
