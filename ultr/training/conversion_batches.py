"""Impressions as tensors, in batches: what the estimators of conversions are trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ultr.data.checks import as_numbers, check_clicks, refuse, rows_are
from ultr.data.log import ClickLog
from ultr.errors import LogError

LABELS = ("click", "conversion", "count", "weight", "reason")  # the columns that `read_conversions` looks at


@dataclass(frozen=True, eq=False)
class Impressions:
    """B impressions.

    Args:
        codes: Table rows of the categorical fields, counted within each field, int64, shape [B, F].
        numbers: Standardised dense fields, float32, shape [B, D].
        click: 0 or 1, float32, shape [B].
        conversion: 0 or 1, and 0 without a click, float32, shape [B].
        propensity: P(click) where it is given, float32, shape [B]; None where the click tower stands for it.
    """

    codes: Tensor
    numbers: Tensor
    click: Tensor
    conversion: Tensor
    propensity: Tensor | None = None

    def __len__(self) -> int:
        return len(self.click)


class ImpressionBatches:
    """Impressions in random batches of weight 1: what `minimise` iterates over. Each iteration is an epoch in a new order.

    Args:
        codes: Table rows, int32, shape [N, F].
        numbers: Dense fields, float32, shape [N, D].
        labels: Click, conversion and, where it is given, the propensity, each of shape [N].
        size: Impressions a batch at most; an epoch is cut into batches of equal size up to one.
        rng: Draws the order of every epoch; None keeps the order of the log. Not used where one batch holds everything.
        device: Where the tensors live.
    """

    def __init__(
        self,
        codes: np.ndarray,
        numbers: np.ndarray,
        labels: tuple[np.ndarray, np.ndarray, np.ndarray | None],
        size: int,
        rng: np.random.Generator | None,
        device: str,
    ) -> None:
        self._codes, self._numbers, self._rng, self._device = torch.from_numpy(codes), torch.from_numpy(numbers), rng, device
        self._labels = [None if values is None else torch.from_numpy(values.astype(np.float32)) for values in labels]
        self._n_batches = -(-len(codes) // size)

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[tuple[Impressions, Tensor]]:
        n = len(self._codes)
        order = np.arange(n) if self._rng is None or self._n_batches == 1 else self._rng.permutation(n)
        for chosen in np.array_split(order, self._n_batches):
            batch = self._of(torch.from_numpy(chosen))
            yield batch, torch.ones(len(batch), device=self._device)

    def _of(self, rows: Tensor) -> Impressions:
        codes = self._codes.index_select(0, rows).long().to(self._device)
        numbers = self._numbers.index_select(0, rows).to(self._device)
        click, conversion, propensity = (None if v is None else v.index_select(0, rows).to(self._device) for v in self._labels)
        return Impressions(codes, numbers, click, conversion, propensity)  # type: ignore[arg-type]


def read_conversions(log: ClickLog, by: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns click and conversion, 0 or 1, float32, each of shape [N].

    Raises:
        LogError: a column is missing or not 0 or 1, a conversion has no click, nothing was clicked or nothing converted, the log is
            compressed, or filtered rows were not masked.
    """
    if log.compressed:
        raise LogError(f"{by} reads one impression a row, but pages of this log stand for several: do not compress it.")
    if "reason" in log.columns and "weight" in log.columns and (filtered := int((log.columns["weight"] == 0).sum())):
        raise LogError(f"{by}: {filtered} of {log.n_rows} rows were filtered, and are no labels: give ultr.data.filters.masked(log).")
    where = rows_are(log.offsets)
    click = check_clicks(log.column("click", by), 1, where)
    conversion = as_numbers("conversion", log.column("conversion", by), where)
    wrong = ~np.isin(conversion, (0, 1))
    refuse(wrong, "conversion must be 0 or 1", "Count a converted impression once; a missing conversion is 0.", where, conversion)
    lost = (conversion == 1) & (click == 0)
    refuse(lost, "a conversion needs a click", "Join conversions to the clicks that led to them, or drop these rows.", where, conversion)
    for name, values in (("click", click), ("conversion", conversion)):
        if not values.any():
            raise LogError(
                f"{by} has nothing to learn from: {name} is 0 on all {len(values)} rows of {len(log)} pages. Check the column mapping."
            )
    return click.astype(np.float32), conversion.astype(np.float32)
