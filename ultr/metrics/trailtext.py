"""What NUM and the U-measure share: the text that a user reads in a session, and what it pays at which offset."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.data.checks import within
from ultr.data.order import Block, blocks
from ultr.errors import ConfigError
from ultr.metrics.credit import credit
from ultr.metrics.sessions import SessionMetric, Sessions, check_choice

_COSTS = {"snippet": "(0, inf)", "document": "[0, inf)", "reformulation": "[0, inf)", "horizon": "(0, inf]"}


@dataclass(frozen=True, eq=False)
class Trailtext:
    """The documents of sessions of equally many rows.

    Args:
        gains: What a document pays, at the row where it pays, else 0; shape [B, T].
        lengths: What a document's text costs to read, shape [B, T]; or the one number that all have.
        offsets: Where the user is after reading the row, shape [B, T].
        shown: False for rows that were not shown, shape [B, T]; None if all were.
    """

    gains: np.ndarray
    lengths: np.ndarray | float
    offsets: np.ndarray
    shown: np.ndarray | None

    def utility(self, horizon: float) -> np.ndarray:
        """Return the gains of the documents shown, each discounted by its offset, shape [B]."""
        gains = self.gains if self.shown is None else self.gains * self.shown
        return (gains * np.maximum(0.0, 1.0 - self.offsets / horizon)).sum(axis=1)

    def best(self, snippet: float, horizon: float) -> np.ndarray:
        """Return the utility of one query that shows the paying documents only, most gain per text first, shape [B]."""
        if isinstance(self.lengths, np.ndarray):
            order = np.argsort(-self.gains / (snippet + self.lengths), axis=1, kind="stable")
            gains, lengths = (np.take_along_axis(values, order, axis=1) for values in (self.gains, self.lengths))
            return (gains * np.maximum(0.0, 1.0 - np.cumsum(snippet + lengths, axis=1) / horizon)).sum(axis=1)
        gains = -np.sort(-self.gains, axis=1)
        offsets = (snippet + self.lengths) * np.arange(1.0, gains.shape[1] + 1)
        return (gains * np.maximum(0.0, 1.0 - offsets / horizon)).sum(axis=1)


class TrailtextMetric(SessionMetric):
    """A metric of the text that a user reads in a session: snippets, the text of documents that pay, and reformulations."""

    needs: ClassVar[tuple[str, ...]] = ("item", "length")
    snippet: float
    document: float
    reformulation: float
    horizon: float
    depth: str
    enhance: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        by = type(self).__name__
        for setting, interval in _COSTS.items():
            if not within(vars(self)[setting], interval):
                raise ConfigError(f"{by}: {setting} must be in {interval}, not {vars(self)[setting]!r}.")
        check_choice(by, "depth", self.depth, ("full", "last"))
        if not isinstance(self.enhance, bool):
            raise ConfigError(f"{by}: enhance must be True or False, not {self.enhance!r}.")

    def of_sessions(self, sessions: Sessions) -> np.ndarray:
        """Read the sessions that have a positive label; the others have 0."""
        if vars(self).get("ideal") != "pool":
            sessions = sessions.first_ranks(self.k)
        values = np.zeros(len(sessions))
        for block in blocks(sessions.rows):
            some = block.of(sessions.columns["label"]).any(axis=1)
            if some.any():
                block = Block(block.pages[some], block.starts[some], block.length)
                values[block.pages] = self.of_text(self._read(sessions, block))
        return values

    @abstractmethod
    def of_text(self, text: Trailtext) -> np.ndarray:
        """Return the values of sessions of equally many rows, each with a positive label, shape [B]."""

    def _read(self, sessions: Sessions, block: Block) -> Trailtext:
        """Find out what pays, what is read, and how far down the text each row stands."""
        labels = block.of(sessions.columns["label"])
        slot = block.of(sessions.slot_of_row) if self.k is not None or self.depth == "last" else None
        shown = None if self.k is None or slot is None else slot < self.k
        later = None if self.enhance else np.where(labels == 0, 2, 0)
        if shown is not None:  # a row that nobody saw comes after all that pay, and before those that never do
            later = (~shown).astype(np.int64) if later is None else np.maximum(later, ~shown)
        gains = credit(block.of(sessions.items), labels, later)
        pays = gains > 0 if shown is None else (gains > 0) & shown
        read = shown
        if self.depth == "last" and slot is not None:
            hit = (labels > 0) | pays
            read = read_to_last(slot, hit if shown is None else hit & shown, shown)
        seen = np.arange(1, block.length + 1) if read is None else np.cumsum(read, axis=1)
        lengths: np.ndarray | float = self.document
        if "length" in sessions.columns:
            own = block.of(sessions.columns["length"])
            lengths = np.where(np.isnan(own), self.document, own)
        texts = np.cumsum(pays, axis=1) * lengths if isinstance(lengths, float | int) else np.cumsum(pays * lengths, axis=1)
        queries = block.of(sessions.page_number_of_row).astype(np.float64)  # a short integer would overflow
        offsets = texts + self.snippet * seen + self.reformulation * queries
        return Trailtext(gains, lengths, offsets, shown)


def read_to_last(slot: np.ndarray, hit: np.ndarray, shown: np.ndarray | None) -> np.ndarray:
    """Return which rows are read where a page is read down to its last hit; whole where it has none.

    Args:
        slot: 0-based place in the page, shape [B, T]; 0 starts a page.
        hit: True for rows that were clicked or pay, shape [B, T].
        shown: False for rows that were not shown, shape [B, T]; None if all were.
    """
    flat = slot.reshape(-1).astype(np.int64)
    starts = np.flatnonzero(flat == 0)
    last = np.maximum.reduceat(np.where(hit.reshape(-1), flat, -1), starts)
    last[last < 0] = flat.max()
    read = (flat <= np.repeat(last, np.diff(starts, append=len(flat)))).reshape(slot.shape)
    return read if shown is None else read & shown
