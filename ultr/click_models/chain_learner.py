"""Learning chain laws: down to the last click of a page all is known; what a user saw below it has to be expected, the whole page given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.learning import Expected, Learner, Prior, Rows, State, log_sum
from ultr.click_models.tails import Tails, TailStore
from ultr.engine.serial import Serial

if TYPE_CHECKING:
    from ultr.click_models.chain import ChainLaw


@dataclass(frozen=True, eq=False)
class ChainCounts:
    """How often it came to what, for certain or in expectation. U rates, K positions.

    "Asked" whether to go on is who has a row below.

    Args:
        clicks: Clicks, shape [U].
        examined: Examinations, shape [U].
        asked: Users asked after a click, shape [U].
        went_on: Of these, those who went on, shape [U].
        asked_at: The same by position, shape [K].
        went_on_at: Shape [K].
        asked_after_skip: Users asked after a skip.
        went_on_after_skip: Of these, those who went on.
    """

    clicks: np.ndarray
    examined: np.ndarray
    asked: np.ndarray
    went_on: np.ndarray
    asked_at: np.ndarray
    went_on_at: np.ndarray
    asked_after_skip: float
    went_on_after_skip: float


@dataclass(frozen=True, eq=False)
class _Swept:
    """What tails add to the counts, and their log-likelihood."""

    examined: np.ndarray
    went_on: np.ndarray
    went_on_at: np.ndarray
    asked_after_skip: float
    went_on_after_skip: float
    log_likelihood: float


@dataclass(eq=False)
class _Sums:
    """Counts that grow with the numbers they are about."""

    values: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, numbers: np.ndarray, weights: np.ndarray | None = None) -> None:
        new = np.bincount(numbers, weights, len(self.values))
        if len(new) > len(self.values):
            self.values = np.pad(self.values, (0, len(new) - len(self.values)))
        self.values += new

    def upto(self, n: int) -> np.ndarray:
        return np.pad(self.values, (0, n - len(self.values)))


class ChainLearner(Learner):
    """Counts what is known once, and keeps the tails.

    Args:
        law: The class to learn.
    """

    def __init__(self, law: type[ChainLaw]) -> None:
        self._law = law
        self._clicks, self._examined, self._asked, self._went_on, self._asked_at, self._went_on_at = (_Sums() for _ in range(6))
        self._skips_passed, self._positions = 0.0, 0
        self._tails = TailStore()

    def add(self, rows: Rows) -> None:
        """Count the known part of each page, and keep the rest."""
        clicked, page = rows.clicked, rows.page_of(rows.clicked)
        self._positions = max(self._positions, int(rows.position.max(initial=-1)) + 1)
        start, end = rows.offsets[:-1], rows.offsets[1:] - 1
        last = start - 1
        last[page] = clicked  # of the clicks on a page the last one wins
        none = last < start
        known = np.where(none & self._law.skips_go_on, end, last)  # who never stops skipping has seen all of a page without clicks
        self._examined.add(*_weighted(rows, rows.rate, _rows_upto(rows, known)))
        weights = None if rows.weight is None else rows.weight[page]
        self._clicks.add(rows.rate[clicked], weights)
        for rates, positions, some in (
            (self._asked, self._asked_at, clicked < end[page]),
            (self._went_on, self._went_on_at, clicked < last[page]),
        ):
            some_weights = None if weights is None else weights[some]
            rates.add(rows.rate[clicked[some]], some_weights)
            positions.add(rows.position[clicked[some]], some_weights)
        passed = np.where(none, 0, last - start)  # rows above the last click
        passed -= np.bincount(page, minlength=len(start)) - ~none  # that were skipped
        self._skips_passed += float(passed.sum() if rows.weight is None else passed @ rows.weight)
        if self._law.has_tails:
            self._keep_tails(rows, known, end, none)

    def _keep_tails(self, rows: Rows, known: np.ndarray, end: np.ndarray, none: np.ndarray) -> None:
        length = end - known
        order = np.argsort(length.astype(np.min_scalar_type(int(length.max(initial=0)))), kind="stable")
        cuts = np.flatnonzero(np.diff(length[order])) + 1
        for pages in np.split(order, cuts):
            t = int(length[pages[0]]) if len(pages) else 0
            if t > 0:
                at, clicked = known[pages], ~none[pages]
                tails = Tails(
                    rows.rate.take(at + np.arange(1, t + 1)[:, None]),
                    np.where(clicked, rows.rate.take(np.maximum(at, 0)), -1),
                    np.where(clicked, rows.position.take(np.maximum(at, 0)), 0),
                    None if rows.weight is None else rows.weight[pages],
                )
                self._tails.add(tails, self._away)

    @property
    def _away(self) -> bool:
        """Whether tails go to files, since another process goes through them."""
        return not isinstance(self.engine, Serial)

    def start(self, law: ClickModel | None, prior: Prior, n_rates: int) -> State:
        """Start from what is known, as if users stopped after their last click."""
        self._known = ChainCounts(
            clicks=self._clicks.upto(n_rates),
            examined=self._examined.upto(n_rates),
            asked=self._asked.upto(n_rates),
            went_on=self._went_on.upto(n_rates),
            asked_at=self._asked_at.upto(self._positions),
            went_on_at=self._went_on_at.upto(self._positions),
            asked_after_skip=self._skips_passed,
            went_on_after_skip=self._skips_passed,
        )
        self._tails.close(self._away)
        return self._law._counted(law, self._known, prior)

    def expect(self, state: State) -> Expected:
        """Expect what users saw and did below their last clicks."""
        law: ChainLaw = state.law  # type: ignore[assignment]
        counts, likelihood = self.counts(state)
        maximised = law._maximised(counts, state)
        known, a = self._known, state.attraction
        likelihood += log_sum(known.clicks, a) + log_sum(known.examined - known.clicks, 1 - a)
        likelihood += law._log_went_on(known, state) + log_sum(np.array([self._skips_passed]), np.array([law._after_skip()]))
        return replace(maximised, log_likelihood=likelihood)

    def counts(self, state: State) -> tuple[ChainCounts, float]:
        """Return the expected counts, the whole of every page given, and the log-likelihood of the tails."""
        known, n = self._known, len(state.attraction)
        examined, went_on, went_on_at = known.examined.copy(), known.went_on.copy(), known.went_on_at.copy()
        asked_after_skip = went_on_after_skip = self._skips_passed
        likelihood = 0.0
        for swept in self._tails.map(partial(_sweep, state, len(went_on_at)), n, self.engine):
            examined += swept.examined
            went_on += swept.went_on
            went_on_at += swept.went_on_at
            asked_after_skip += swept.asked_after_skip
            went_on_after_skip += swept.went_on_after_skip
            likelihood += swept.log_likelihood
        counts = replace(
            known,
            examined=examined,
            went_on=went_on,
            went_on_at=went_on_at,
            asked_after_skip=asked_after_skip,
            went_on_after_skip=went_on_after_skip,
        )
        return counts, likelihood


def _sweep(state: State, n_positions: int, blocks: Iterable[Tails]) -> _Swept:
    """Expect what users saw in some tails."""
    n = len(state.attraction)
    examined, went_on, went_on_at = np.zeros(n), np.zeros(n), np.zeros(n_positions)
    asked_after_skip = went_on_after_skip = likelihood = 0.0
    for tails in blocks:
        seen, chance = expected_tails(tails, state)
        weighted = seen if tails.weight is None else seen * tails.weight
        examined += np.bincount(tails.rate.reshape(-1), weighted.reshape(-1), n)
        clicked = tails.last >= 0
        went_on += np.bincount(tails.last[clicked], weighted[0, clicked], n)
        went_on_at += np.bincount(tails.position[clicked], weighted[0, clicked], n_positions)
        asked_after_skip += float(weighted[:-1].sum())
        went_on_after_skip += float(weighted[1:].sum())
        likelihood += float(chance.sum() if tails.weight is None else chance @ tails.weight)
    return _Swept(examined, went_on, went_on_at, asked_after_skip, went_on_after_skip, likelihood)


def _rows_upto(rows: Rows, last: np.ndarray) -> np.ndarray:
    """Return True for the rows of each page down to row `last` [P] of the piece, shape [N]."""
    if rows.length:
        slot = (last - rows.offsets[:-1]).astype(np.int32)
        return (np.arange(rows.length, dtype=np.int32) <= slot[:, None]).reshape(-1)
    return np.arange(rows.offsets[-1]) <= rows.of_pages(last)


def _weighted(rows: Rows, numbers: np.ndarray, some: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the numbers of some rows, and what each counts."""
    return numbers[some], None if rows.weight is None else rows.of_pages(rows.weight)[some]


def expected_tails(tails: Tails, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Return P(row examined | whole page) of the tails, shape [t, B], and the log-probability of no click in them, shape [B].

    With z_j = P(no click from row j on | j examined) = (1 - a_j) (1 - g + g z_j+1), g the chance to go on after a skip, a user who
    clicked last with chance h of going on has examined the first row with probability h z / (1 - h + h z), and from a row that was
    examined goes on to the next one with probability g z / (1 - g + g z).
    """
    law: ChainLaw = state.law  # type: ignore[assignment]
    a, skip = state.attraction.take(tails.rate), law._after_skip()
    goes_on = np.empty_like(a)  # row j: P(j + 1 is examined | j is, nothing is clicked from j on)
    np.subtract(1, a, out=a)
    quiet = a[-1]
    for j in range(len(a) - 2, -1, -1):
        goes_on[j] = skip * quiet
        quiet = goes_on[j] + (1 - skip)
        np.divide(goes_on[j], quiet, out=goes_on[j], where=quiet > 0)
        quiet = quiet * a[j]
    clicked, s = tails.last >= 0, state.satisfaction
    satisfaction = None if s is None else s.take(tails.last)
    first = np.where(clicked, law._after_click(state.attraction.take(tails.last), satisfaction, tails.position), 1.0)
    seen = a  # its numbers are no longer needed
    np.multiply(first, quiet, out=seen[0])
    total = seen[0] + (1 - first)
    np.divide(seen[0], total, out=seen[0], where=total > 0)
    for j in range(1, len(seen)):
        np.multiply(seen[j - 1], goes_on[j - 1], out=seen[j])
    with np.errstate(divide="ignore"):
        return seen, np.log(total)
