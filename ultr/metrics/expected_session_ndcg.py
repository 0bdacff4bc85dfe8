"""Expected NDCG of what a user reads in a session, over all the ways to read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.data.checks import within
from ultr.data.padded import offsets_of, row_index
from ultr.errors import ConfigError
from ultr.metrics.sessions import SessionMetric, Sessions, check_choice
from ultr.metrics.top import GAINS

_CELLS = 1 << 18  # numbers a step


@dataclass(frozen=True)
class ExpectedSessionNDCG(SessionMetric):
    """Expected NDCG of the list of all rows that a user looks at, for a user who goes down pages and reformulates by chance.

    The user looks at the first row of a page, and at the next one with probability `down` after each; after a page, read or left, at the
    next page with probability `reformulate`. What was looked at is one list; its DCG is divided by that of the best list of equal length.
    The mean over all such paths is exact, by dynamic programming over the length of the list.

    A document pays once on a path: the first time that the user sees it with a positive label. The best list ranks the documents with a
    positive label anywhere in the session by their largest one. Values are in [0, 1]; a path that sees nothing has 0. A session without
    a positive label is NaN, also where nothing was shown. An empty page is left at once.

    Args:
        reformulate: Probability of a next query, in [0, 1].
        down: Probability of a look at the next row of a page, in [0, 1].
        gain: "exponential" for 2^label - 1, "linear" for the label itself.
        label: Column of numbers of 0 or more; `click` or judgements.
        k: Rows of a page that can be looked at, at least 1; None for all of them.

    Raises:
        ConfigError: a setting has an impossible value.

    Examples:
        A user who looks at one row has 0, one who looks at two (.7) finds b at rank 2: .7 / log2(3). In the second session one in five
        stops before a; for the others a is the second row.

        >>> from ultr.metrics.sketch import sketch
        >>> ExpectedSessionNDCG()(sketch("a b*", "x | a*", "a*", " | a*", "a")).round(4)
        array([0.4417, 0.5047, 1.    , 0.8   ,    nan])

        A document that comes back pays once: "a* | a*" has 1 on both paths, since the best list is a alone.

        >>> ExpectedSessionNDCG()(sketch("a* | a*", "a* | b*")).round(4)
        array([1., 1.])

    Source:
        Kanoulas, Carterette, Clough and Sanderson (2011), Evaluating multi-query sessions, SIGIR. doi:10.1145/2009916.2010056
        Reconstructed from a published implementation, which takes the mean of sampled paths.

    Differs:
        Documents seen before pay nothing. Who would go on beyond the last row of a page leaves it there.
    """

    needs: ClassVar[tuple[str, ...]] = ("item",)
    reformulate: float = 0.8
    down: float = 0.7
    gain: str = "exponential"
    label: str = "click"
    k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("reformulate", "down"):
            if not within(vars(self)[setting], "[0, 1]"):
                raise ConfigError(f"ExpectedSessionNDCG: {setting} is a probability, not {vars(self)[setting]!r}.")
        check_choice("ExpectedSessionNDCG", "gain", self.gain, tuple(GAINS))

    def of_sessions(self, sessions: Sessions) -> np.ndarray:
        sessions = sessions.first_ranks(self.k)
        values = np.full(len(sessions), np.nan)
        found = _Found.of(sessions, self.gain)
        for some, n_pages, longest, most in _alike(sessions, found):
            values[some] = self._of_alike(sessions, found, some, (n_pages, longest, most))
        return values

    def _of_alike(self, sessions: Sessions, found: _Found, some: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Return the values of sessions of equally many pages, shape [B]; `shape` bounds pages, rows a page and documents that pay."""
        n_pages, longest, _ = shape
        pages = sessions.bounds[some][:, None] + np.arange(n_pages)
        lengths = np.diff(sessions.offsets)[pages]
        rank, gain, best = found.of_sessions(some, sessions, shape)
        discount = 1 / np.log2(np.arange(n_pages * longest) + 2.0)  # of place i of the list, from 0
        ideal = np.cumsum(-np.sort(-np.pad(best, ((0, 0), (0, len(discount)))), axis=1)[:, : len(discount)] * discount, axis=1)
        seen = np.zeros((len(some), 1))  # DCG of lists of each length, times the probability of that length
        new = np.zeros((*best.shape, 1))  # probability of that length with a document not paid yet
        new[:, :, 0] = 1.0
        length = np.ones((len(some), 1))  # probability of that length
        value = np.zeros(len(some))
        for m in range(n_pages):
            stops = self._stops(lengths[:, m], longest)
            seen, new, length = _read_page(stops, rank[:, m], gain[:, m], discount, (seen, new, length))
            ends = 1.0 if m == n_pages - 1 else 1.0 - self.reformulate
            value += ends * np.cumsum(seen[:, 1:] / ideal[:, : seen.shape[1] - 1], axis=1)[:, -1]  # zeros at the end change no bit
            seen, new, length = (self.reformulate * part for part in (seen, new, length))
        return value

    def _stops(self, lengths: np.ndarray, longest: int) -> np.ndarray:
        """Return the probability of looking at exactly 0, 1, ... rows of pages with these lengths [B], shape [B, longest + 1]."""
        n = np.arange(longest + 1)
        reached = np.where(n <= lengths[:, None], float(self.down) ** np.maximum(n - 1, 0), 0.0)
        reached[:, 0] = 1.0
        return reached - np.pad(reached[:, 1:], ((0, 0), (0, 1)))


def _read_page(
    stops: np.ndarray, rank: np.ndarray, gain: np.ndarray, discount: np.ndarray, state: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Append what is read of one page to the lists.

    Args:
        stops: P(exactly n rows are looked at), shape [B, L + 1].
        rank: Where each document pays on the page, from 1, a rank beyond L where it does not; shape [B, X].
        gain: What it pays there, shape [B, X].
        discount: Of each place of a list, from 0.
        state: By length of the list, 0..T: DCG times probability [B, T + 1], P(document not paid yet) [B, X, T + 1], probability.

    Returns:
        The state after the page, for lengths 0..T + L.
    """
    seen, new, length = state[0].copy(), state[1].copy(), state[2]
    n_rows, width = stops.shape[1] - 1, length.shape[1]
    grown = [np.zeros((*part.shape[:-1], width + n_rows)) for part in state]
    for n in range(n_rows + 1):
        if n:  # the row at rank n: place i + n - 1 of a list that had i rows
            for x in range(rank.shape[1]):
                some = np.flatnonzero(rank[:, x] == n)
                seen[some] += gain[some, x, None] * new[some, x] * discount[n - 1 : n - 1 + width]
                new[some, x] = 0.0
        for part, after in zip((seen, new, length), grown, strict=True):
            stop = stops[:, n].reshape(-1, *[1] * (part.ndim - 1))
            after[..., n : n + width] += stop * part
    return grown[0], grown[1], grown[2]


@dataclass(frozen=True, eq=False)
class _Found:
    """The rows with a positive label, F of them, by session.

    Args:
        page: Page of the row, shape [F].
        rank: Rank in its page, from 1, shape [F].
        gain: What it pays, shape [F].
        document: Number of its document in the session, shape [F].
        bounds: First of the rows of each session, shape [S + 1].
        documents: How many documents each session has, shape [S].
    """

    page: np.ndarray
    rank: np.ndarray
    gain: np.ndarray
    document: np.ndarray
    bounds: np.ndarray
    documents: np.ndarray

    @classmethod
    def of(cls, sessions: Sessions, gain: str) -> _Found:
        """Find them."""
        labels = sessions.columns["label"]
        row = np.flatnonzero(labels)
        page = np.searchsorted(sessions.offsets, row, side="right") - 1
        session = sessions.session_of_page[page]
        order = np.lexsort((sessions.items[row], session))
        item, of = sessions.items[row][order], session[order]
        starts = np.append(True, (item[1:] != item[:-1]) | (of[1:] != of[:-1]))[: len(row)]
        documents = np.bincount(of[starts], minlength=len(sessions))
        number = np.empty(len(row), dtype=np.int64)
        number[order] = np.cumsum(starts) - 1
        number -= offsets_of(documents)[session]
        bounds = offsets_of(np.bincount(session, minlength=len(sessions)))
        return cls(page, row - sessions.offsets[page] + 1, GAINS[gain](labels[row]), number, bounds, documents)

    def of_sessions(self, some: np.ndarray, sessions: Sessions, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rank [B, M, X] and gain [B, M, X] of each document's first positive label on a page, and its best gain [B, X]."""
        n_pages, longest, most = shape
        index, mask = row_index(self.bounds, some)
        at, which = index[mask], np.nonzero(mask)[0]
        cell = (which, self.page[at] - sessions.bounds[some][which], self.document[at])
        rank = np.full((len(some), n_pages, most), longest + 1)
        gain, best = np.zeros(rank.shape), np.zeros((len(some), most))
        np.minimum.at(rank, cell, self.rank[at])  # of two rows of a document on one page the upper one
        upper = rank[cell] == self.rank[at]
        gain[tuple(axis[upper] for axis in cell)] = self.gain[at][upper]
        np.maximum.at(best, (cell[0], cell[2]), self.gain[at])
        return rank, gain, best


def _alike(sessions: Sessions, found: _Found) -> Iterator[tuple[np.ndarray, int, int, int]]:
    """Iterate over the sessions with a positive label, of equally many pages and of similar size: numbers, pages, rows, documents."""
    n_pages, lengths = np.diff(sessions.bounds), np.diff(sessions.offsets)
    longest = np.maximum.reduceat(np.append(lengths, 0), np.minimum(sessions.bounds[:-1], len(lengths))) if len(sessions) else n_pages
    some = np.flatnonzero(found.documents)
    size = np.stack([n_pages[some], *(np.ceil(np.log2(part[some])).astype(np.int64) for part in (longest, found.documents))], axis=1)
    kinds, kind = np.unique(size, axis=0, return_inverse=True)
    order = np.argsort(kind.reshape(-1), kind="stable")
    for group in np.split(some[order], offsets_of(np.bincount(kind.reshape(-1), minlength=len(kinds)))[1:-1]):
        if len(group):
            pages, rows, documents = int(n_pages[group[0]]), int(longest[group].max()), int(found.documents[group].max())
            step = max(1, _CELLS // (pages * rows * (documents + 2)))
            for at in range(0, len(group), step):
                yield group[at : at + step], pages, rows, documents
