"""Batch: some pages of a log as tensors. The only place where pages become tensors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ultr.data.checks import require
from ultr.data.items import features_of
from ultr.data.log import ClickLog
from ultr.data.padded import row_index
from ultr.errors import LogError


class Batch:
    """B pages of at most L rows. Tensors are made when first used, so what nobody reads costs nothing.

    Padding stands at the end of a page: there `mask` is False and the other tensors hold a value without meaning.

    Args:
        log: Where the pages come from.
        pages: Their numbers, shape [B]; all of them when None.
        device: Where the tensors live.
        features: All item features on that device, shape [I, F], where the caller keeps them there; taken from the log when None.
    """

    def __init__(self, log: ClickLog, pages: np.ndarray | None = None, device: str = "cpu", features: Tensor | None = None) -> None:
        self._log, self._pages, self._device, self._features = log, pages, device, features
        self._rows, self._mask = row_index(log.offsets, pages)

    def __len__(self) -> int:
        return len(self._mask)

    def __repr__(self) -> str:
        return f"Batch({len(self)} pages of at most {self._mask.shape[1]} rows)"

    @cached_property
    def mask(self) -> Tensor:
        """True where a row was shown, bool, shape [B, L]."""
        return torch.from_numpy(self._mask).to(self._device)

    @cached_property
    def item(self) -> Tensor:
        """Item row of `log.items`, int64, shape [B, L]."""
        return self.column("item")

    @cached_property
    def position(self) -> Tensor:
        """0-based position as logged, int64, shape [B, L]; the place in the page where the log has no positions."""
        if "position" in self._log.columns:
            return self.column("position")
        return torch.arange(self._mask.shape[1], device=self._device).expand(self._mask.shape)

    @cached_property
    def features(self) -> Tensor | None:
        """Item features, float32, shape [B, L, F]; None where items have none."""
        if self._features is None:
            if self._log.items is None or self._log.items.features is None:
                return None
            self._features = torch.from_numpy(self._log.items.features).to(self._device)
        flat = self._features.index_select(0, self.item.reshape(-1))
        return flat.reshape(*self._mask.shape, flat.shape[1])

    def features_for(self, by: str) -> Tensor:
        """Return `features`, or raise LogError saying that `by` needs them."""
        features_of(self._log.items, by)
        return self.features  # type: ignore[return-value]

    def column(self, name: str) -> Tensor:
        """Return a row column, float32 or int64, shape [B, L].

        Raises:
            LogError: the log lacks it, or it holds no numbers.
        """
        require(self._log.columns, name, by="The batch")
        return self._tensor(name, self._log.columns[name][self._rows])

    def page(self, name: str) -> Tensor:
        """Return a page column, float32 or int64, shape [B].

        Raises:
            LogError: the log lacks it, or it holds no numbers.
        """
        return self._tensor(name, self.page_values(name))

    def page_values(self, name: str) -> np.ndarray:
        """Return a page column as the log has it, ids of any kind, shape [B].

        Raises:
            LogError: the log lacks it.
        """
        require(self._log.page_columns, name, by="The batch", kind="page column")
        values = self._log.page_columns[name]
        return values if self._pages is None else values[self._pages]

    def _tensor(self, name: str, values: np.ndarray) -> Tensor:
        if values.dtype.kind not in "biuf":
            raise LogError(
                f"column {name!r} holds {values.dtype}, but a batch needs numbers: number its values first, e.g. with pandas.factorize, or"
                " read a page column as it is with batch.page_values(name)."
            )
        kind = np.float32 if values.dtype.kind == "f" else np.int64
        return torch.from_numpy(values.astype(kind)).to(self._device)


class PageBatches:
    """Pages in random batches with their weights: what `minimise` iterates over. Each iteration is an epoch in a new order.

    Args:
        log: Where the pages come from.
        pages: Their numbers, shape [P'].
        weights: Weight of each of them in the mean loss, shape [P'].
        size: Pages a batch at most; an epoch is cut into batches of equal size up to one page.
        rng: Draws the order of every epoch; not used where one batch holds all pages.
        device: Where the tensors live.
    """

    def __init__(self, log: ClickLog, pages: np.ndarray, weights: np.ndarray, size: int, rng: np.random.Generator, device: str) -> None:
        self._log, self._pages, self._rng, self._device = log, pages, rng, device
        self._weights = weights.astype(np.float32)
        self._n_batches = -(-len(pages) // size)
        self._features = torch.from_numpy(log.items.features).to(device) if log.items and log.items.features is not None else None

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[tuple[Batch, Tensor]]:
        order = self._rng.permutation(len(self._pages)) if self._n_batches > 1 else np.arange(len(self._pages))
        for chosen in np.array_split(order, self._n_batches):
            batch = Batch(self._log, self._pages[chosen], self._device, self._features)
            yield batch, torch.from_numpy(self._weights[chosen]).to(self._device)
