"""What estimators with a model of examination share: the rows they train on, their heads, and the curve that is read off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ultr.data.checks import refuse, rows_are
from ultr.data.items import features_of
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import ContractError
from ultr.models.network import Model
from ultr.models.running_sums import RunningSums
from ultr.training.batch import Batch
from ultr.training.cells import cells_of, counted_rows
from ultr.training.labels import labels_of
from ultr.training.seeding import seeded_torch

_BLOCK = 1 << 13  # pages at once when the curve is read off a head
_RANGE = (1e-12, 1 - 1e-6)  # examination at 0 or 1 would stay there whatever follows


def counted_log(log: ClickLog, label: str, by: str, model: Model | nn.Module, *, by_position: bool = True) -> ClickLog:
    """Return the rows that a likelihood of clicks is trained on, with the columns of `counted_rows`.

    Args:
        log: Pages with positions and item features.
        label: Row column of clicks, in [0, 1] (0..count on a page with a count).
        by: Name of the estimator, for messages.
        model: Settings that build the network, or a module.
        by_position: Whether nothing but an item's score and its position matters to the loss.

    Returns:
        The cells of `cells_of`, or the pages where the network sees the page, or where they have no query to be gathered by.

    Raises:
        LogError: labels, positions or item features are missing, a label is outside [0, 1], or every label is 0.
    """
    labels = labels_of(log, label, by)
    refuse(labels > 1, f"{label} must be in [0, 1]", f"{by} takes it for a share of clicks.", rows_are(log.offsets), labels)
    log.column("position", by)
    n_features = features_of(log.items, by).shape[1]
    counted = counted_rows(log, labels)
    if not by_position or "query" not in log.page_columns or not itemwise(model, n_features):
        return counted
    return cells_of(counted)


def itemwise(model: Model | nn.Module, n_features: int) -> bool:
    """Tell whether a network scores each row by that row's features alone."""
    if not isinstance(model, nn.Module) and isinstance(model, Model):
        with seeded_torch(0, "a look at the network"):
            model = model.build(n_features)
    return bool(getattr(model, "itemwise", False))


class ExaminationRates(nn.Module):
    """P(examined) by position, set in closed form: the mean of its posteriors.

    Args:
        start: Values to start from, in (0, 1), shape [L].
        share: Share of the training pages in a batch, in (0, 1].
    """

    theta: Tensor

    def __init__(self, start: np.ndarray, share: float) -> None:
        super().__init__()
        self.register_buffer("theta", torch.from_numpy(start.astype(np.float64)).clamp(*_RANGE))
        self._running = RunningSums(2, len(start), share)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logit of every row's examination, shape [B, L]; that of position 0 in the padding."""
        return torch.logit(self.theta)[torch.where(batch.mask, batch.position, 0)].float()

    def update(self, batch: Batch, examined: Tensor, shown: Tensor) -> None:
        """Set theta_k to the expected number of examinations of rows at k over the number shown.

        Args:
            batch: A step's batch.
            examined: Expected number of times that each row was examined, shape [B, L].
            shown: Number of times that each row was shown, shape [B, L].
        """
        expected, total = self._running.add(batch, examined, shown)
        self.theta.copy_(torch.where(total > 0, expected / total.clamp(min=1e-300), self.theta).clamp(*_RANGE))


def per_page(values: Tensor, batch: Batch) -> Tensor:
    """Sum the rows' values [B, L] over each page, leaving out the padding, shape [B]."""
    return values.masked_fill(~batch.mask, 0.0).sum(-1)


def head_logits(head: nn.Module, batch: Batch) -> Tensor:
    """Return the logits of a head, float32, shape [B, L].

    Raises:
        ContractError: the head returns another shape.
    """
    logits = head(batch)
    if not isinstance(logits, Tensor) or logits.shape != batch.mask.shape:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ContractError(f"A propensity head returns one logit a row, a tensor of shape {tuple(batch.mask.shape)}, not {got}.")
    return logits.float()


def head_curve(head: nn.Module, source: LogSource, n_positions: int, factor: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Average what a head says of the rows shown at each position.

    Args:
        head: In evaluation mode, on the CPU.
        source: Pages.
        n_positions: L.
        factor: Turns logits (float64) into the factor that is averaged.

    Returns:
        The mean relative to the first position shown, shape [L]; NaN where no row was shown.
    """
    total, shown = np.zeros((2, n_positions))
    with torch.no_grad():
        for log in source.chunks():
            for start in range(0, len(log), _BLOCK):
                pages = np.arange(start, min(len(log), start + _BLOCK))
                batch = Batch(log, pages)
                values = factor(head_logits(head, batch).double())[batch.mask].numpy()
                position, count = batch.position[batch.mask].numpy(), np.repeat(log.counts[pages], log.lengths[pages])
                total += np.bincount(position, values * count, n_positions)
                shown += np.bincount(position, count, n_positions)
    with np.errstate(invalid="ignore"):
        curve = total / shown
    return curve / curve[np.argmax(shown > 0)]
