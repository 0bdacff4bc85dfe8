"""What the query metrics share: the labels by rank of pages of equal length, gains and discounts, and the check of settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from ultr.data.checks import refuse, require, rows_are
from ultr.data.log import ClickLog
from ultr.data.order import Block, Reordered, blocks
from ultr.data.source import need_log
from ultr.errors import ConfigError, LogError
from ultr.imports import nearest
from ultr.metrics.ties import TieGroups

Gain = Callable[[np.ndarray], np.ndarray]
TIES = ("hash", "expected")


class QueryMetric(ABC):
    """A metric of one ranked page; the rank of a row is its place in the page of the log as it stands.

    A page without rows has no value (NaN). A page's value depends on no other page, and on nothing of the scores but the order.
    """

    per: ClassVar[str] = "page"
    higher_is_better: ClassVar[bool] = True
    label: str

    def __post_init__(self) -> None:
        """Refuse impossible settings; those that a metric adds are checked by its own `__post_init__`.

        Raises:
            ConfigError: `k` is no rank, `threshold` is not positive, or `gain` or `ties` is no known name.
        """
        settings, by = vars(self), type(self).__name__
        k, threshold = settings.get("k"), settings.get("threshold", 1)
        if k is not None and (isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1):
            raise ConfigError(f"{by}: k must be a whole number of at least 1, or None for the whole page, not {k!r}.")
        if not threshold > 0:
            raise ConfigError(f"{by}: threshold must be above 0, not {threshold!r}: else rows with label 0 would be relevant.")
        for setting, known in (("gain", tuple(GAINS)), ("ties", TIES)):
            if settings.get(setting, known[0]) not in known:
                value = settings[setting]
                raise ConfigError(f"{by}: {setting} must be one of {', '.join(known)}, not {value!r}.{nearest(str(value), known)}")

    def __call__(self, log: ClickLog) -> np.ndarray:
        """Judge the order of the rows.

        Args:
            log: Needs the column that `label` names: numbers of 0 or more, shape [N].

        Returns:
            One value a page, float64, shape [P]; NaN for a page without rows and where the class says so.

        Raises:
            LogError: a column is missing, or a label is negative or not finite.
        """
        values = np.full(len(need_log(log)), np.nan)
        for pages in ranked_pages(log, self.label, by=type(self).__name__):
            values[pages.block.pages] = self.of_pages(pages)
        return values

    @abstractmethod
    def of_pages(self, pages: RankedPages) -> np.ndarray:
        """Return the values of pages of equal length, shape [B]."""


@dataclass(frozen=True, eq=False)
class RankedPages:
    """Pages of equal length L >= 1 and their labels.

    Args:
        log: The log as it stands.
        block: Which pages.
        labels: The label column in an order that stays within pages, shape [N]: the order before `ClickLog.rerank`, where it was called.
        slots: Which label of its page stands in each place of the log, shape [N]; None where `labels` are in the order of the log.
        by: The metric, for errors.
    """

    log: ClickLog
    block: Block
    labels: np.ndarray
    slots: np.ndarray | None
    by: str

    def any_order(self) -> np.ndarray:
        """Return all labels of each page in no special order, shape [B, L]: cheaper than by rank."""
        return self.block.of(self.labels)

    def by_rank(self, k: int | None) -> np.ndarray:
        """Return the labels of the first k ranks (all when None), shape [B, min(k, L)]."""
        if self.slots is None:
            return self.block.of(self.labels, k)
        return self.labels.take(self.block.starts[:, None] + self.block.of(self.slots, k))

    def gains(self, gain: Gain, k: int | None, ties: str = "hash") -> np.ndarray:
        """Return the gains at the first k ranks, shape [B, min(k, L)].

        Args:
            gain: Maps labels to gains.
            k: How many ranks; all when None.
            ties: "hash" takes the order as it is; "expected" gives the expected gain when rows of equal score stand in random order.
        """
        return gain(self.by_rank(k)) if ties == "hash" else self.ties.mean(gain(self.by_rank(None)))[:, :k]

    def n_relevant(self, threshold: float) -> np.ndarray:
        """Return how many rows of each page have a label of at least `threshold`, shape [B]; NaN where none has."""
        n = np.count_nonzero(self.any_order() >= threshold, axis=1).astype(np.float64)
        n[n == 0] = np.nan
        return n

    @cached_property
    def ties(self) -> TieGroups:
        """Groups of rows with equal score."""
        scores = self.block.of(self.log.column("score", by=f'{self.by}(ties="expected")'))
        rising = np.argwhere(~(scores[:, 1:] <= scores[:, :-1]))
        if len(rising):
            page, row = self.block.pages[rising[0, 0]], rising[0, 1] + 1
            raise LogError(
                f"{self.by}(ties=\"expected\") needs pages in falling order of the column 'score': page {page}, row {row} scores more than"
                f" the row above; {len(rising)} such rows among {scores.size}. Rank the log with log.rerank(scores) first."
            )
        return TieGroups.of(scores)


def ranked_pages(log: ClickLog, label: str, by: str) -> Iterator[RankedPages]:
    """Iterate over the pages that have rows, with checked labels, pages of equal length together."""
    require(log.columns, label, by=by)
    columns, slots = (log.columns.source, log.columns.slots) if isinstance(log.columns, Reordered) else (log.columns, None)
    labels = columns[label]
    if labels.dtype.kind not in "buif":
        raise LogError(f"{by} needs numbers in the column {label!r}, which has {labels.dtype}. Map the labels to 0, 1, 2, ... first.")
    if len(labels) and not (labels.min() >= 0 and (labels.dtype.kind != "f" or labels.max() < np.inf)):
        labels = log.columns[label]
        bad = ~((labels >= 0) & (labels < np.inf))
        refuse(bad, f"{by} needs {label} of 0 or more", "Shift, fill or drop the labels.", rows_are(log.offsets), labels)
    for block in blocks(log.offsets):
        yield RankedPages(log, block, labels, slots, by)


def exponential(labels: np.ndarray) -> np.ndarray:
    """Return 2^label - 1."""
    return np.exp2(labels, dtype=np.float64) - 1.0


def linear(labels: np.ndarray) -> np.ndarray:
    """Return the label itself."""
    return labels.astype(np.float64)


GAINS: dict[str, Gain] = {"exponential": exponential, "linear": linear}


def relevant(threshold: float) -> Gain:
    """Return the gain that is 1 where the label is at least `threshold`, else 0."""
    return lambda labels: (labels >= threshold).astype(np.float64)


def ranks(n: int) -> np.ndarray:
    """Return 1, 2, ..., n as float64."""
    return np.arange(1.0, n + 1.0)


def discounted_sum(gains: np.ndarray) -> np.ndarray:
    """Return the sum of gain / log2(rank + 1) of each page, shape [B], from gains by rank [B, K]."""
    return (gains / np.log2(ranks(gains.shape[1]) + 1.0)).sum(axis=1)


def expected_reciprocal_stop(stop: np.ndarray) -> np.ndarray:
    """Return E[1 / rank of the stop] of each page, shape [B]; never stopping counts 0.

    Args:
        stop: P(stop at this rank | not stopped above), shape [B, K].
    """
    passed = np.cumprod(1.0 - stop, axis=1)
    reached = np.concatenate([np.ones((len(stop), 1)), passed[:, :-1]], axis=1)
    return (reached * stop / ranks(stop.shape[1])).sum(axis=1)
