"""What learning a click model takes: the rows of a log by number, what an E-step expects, and the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ultr.data.checks import check_clicks, refuse, rows_are
from ultr.data.log import ClickLog
from ultr.data.padded import slots
from ultr.engine.base import Engine
from ultr.engine.serial import Serial
from ultr.errors import LogError

if TYPE_CHECKING:
    from ultr.click_models.base import ClickModel

PIECE_ROWS = 1 << 19  # rows read at a time
COLUMNS = ("item", "position", "click")  # row columns that are read


@dataclass(frozen=True, eq=False)
class Rows:
    """A piece of a log, by number.

    Args:
        offsets: Page boundaries, shape [P + 1].
        rate: Number of the attraction that each row has, shape [N].
        position: 0-based, rising within a page, shape [N].
        click: Clicks of each row, times the weight of its page where that is no count, shape [N].
        weight: How often each page was shown, or how much it counts, shape [P]; once when None.
    """

    offsets: np.ndarray
    rate: np.ndarray
    position: np.ndarray
    click: np.ndarray
    weight: np.ndarray | None = None

    @cached_property
    def length(self) -> int | None:
        """Rows of each page; None where pages differ."""
        lengths = np.diff(self.offsets)
        return int(lengths[0]) if len(lengths) and lengths.min() == lengths.max() else None

    @cached_property
    def clicked(self) -> np.ndarray:
        """Rows that were clicked, rising."""
        return np.flatnonzero(self.click)

    def page_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the page of each of these rows [n]."""
        return rows // self.length if self.length else np.searchsorted(self.offsets, rows, side="right") - 1

    def of_pages(self, values: np.ndarray) -> np.ndarray:
        """Repeat values of the pages [P] on their rows, shape [N]."""
        if self.length is not None:
            return np.broadcast_to(values[:, None], (len(values), self.length)).reshape(-1)
        return np.repeat(values, np.diff(self.offsets))

    def weighted(self, weight: np.ndarray) -> Rows:
        """Return the rows of pages shown once that count `weight` [P] each."""
        return replace(self, click=(self.click > 0) * self.of_pages(weight), weight=weight)


@dataclass(frozen=True, eq=False)
class Expected:
    """What an E-step expects, and the law that makes it most likely. U rates.

    Args:
        law: The law with its new parameters.
        attracted: How often each row's attraction was seen to hold, shape [U].
        tried: How often it could be seen, shape [U]: attraction becomes attracted / tried, both plus the prior.
        log_likelihood: Of the parameters that the expectation was taken under, nats.
        satisfied: How often a click was seen to satisfy, shape [U]; None where the law knows no satisfaction.
        judged: How often that could be seen, shape [U].
    """

    law: ClickModel
    attracted: np.ndarray
    tried: np.ndarray
    log_likelihood: float = 0.0
    satisfied: np.ndarray | None = None
    judged: np.ndarray | None = None


class Learner(ABC):
    """What a log says to one law, in a form that costs little to go through again and again."""

    linear: ClassVar[bool] = False  # summed clicks say all, so pages that stand for several are welcome
    engine: Engine = Serial()  # what goes through the log at every step, where that takes long

    @abstractmethod
    def add(self, rows: Rows) -> None:
        """Take in a piece of the log."""

    @abstractmethod
    def start(self, law: ClickModel | None, prior: Prior, n_rates: int) -> State:
        """Return the state to start from, by counting; with the parameters of `law` where there is one."""

    @abstractmethod
    def expect(self, state: State) -> Expected:
        """Take one E-step and find the law that maximises what it expects."""

    def normalised(self, state: State) -> State:
        """Return the state in the form in which it is reported: laws that leave a scale open choose one."""
        return state

    def caution(self) -> str | None:
        """Say what about the log the user should know, if anything."""
        return None

    def propensity(self, law: ClickModel) -> np.ndarray | None:
        """Return P(examined) by position relative to the first one shown, NaN where no row was shown; None where it is more than that."""
        return None


@dataclass(frozen=True)
class Prior:
    """A Beta prior on attractions, as clicks and skips seen beforehand, both above 0."""

    clicks: float
    skips: float

    @property
    def mean(self) -> float:
        """What is expected where nothing was seen."""
        return self.clicks / (self.clicks + self.skips)

    @property
    def even(self) -> Prior:
        """As much seen, half of it clicks: the prior of satisfactions, of which the click rate says nothing."""
        return Prior((self.clicks + self.skips) / 2, (self.clicks + self.skips) / 2)

    def rate(self, seen: np.ndarray, tried: np.ndarray) -> np.ndarray:
        """Return the most likely rates, in (0, 1)."""
        return (seen + self.clicks) / (tried + self.clicks + self.skips)

    def log_density(self, rate: np.ndarray | None) -> float:
        """Return the logarithm of the prior of rates, up to a constant."""
        if rate is None:
            return 0.0
        return float(self.clicks * np.log(rate).sum() + self.skips * np.log1p(-rate).sum())


@dataclass(frozen=True, eq=False)
class State:
    """Where learning stands.

    Args:
        law: The law.
        attraction: P(click | examined) of each rate, shape [U].
        satisfaction: P(satisfied | clicked) of each rate, shape [U]; None where the law knows none.
    """

    law: ClickModel
    attraction: np.ndarray
    satisfaction: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Learned:
    """The end of learning.

    Args:
        state: What was learnt.
        log_likelihoods: Of the log, nats, before the first step and after each, shape [T + 1].
        objectives: The same plus the logarithm of the prior: what never falls, shape [T + 1].
        converged: Whether the last step gained less than the tolerance.
    """

    state: State
    log_likelihoods: np.ndarray
    objectives: np.ndarray
    converged: bool


def learn(learner: Learner, state: State, prior: Prior, n_rows: float, max_iter: int, tol: float, progress: bool) -> Learned:
    """Expectation maximisation: go on while a step gains `tol` nats a row or more, and for at most `max_iter` steps."""
    likelihoods: list[float] = []
    objectives: list[float] = []
    converged = False
    for step in _steps(max_iter + 1, progress):
        expected = learner.expect(state)
        likelihoods.append(expected.log_likelihood)
        objectives.append(expected.log_likelihood + prior.log_density(state.attraction) + prior.even.log_density(state.satisfaction))
        converged = step > 0 and objectives[-1] - objectives[-2] < tol * n_rows
        if converged or step == max_iter:
            break
        satisfied, judged = expected.satisfied, expected.judged
        satisfaction = None if satisfied is None or judged is None else prior.even.rate(satisfied, judged)
        state = State(expected.law, prior.rate(expected.attracted, expected.tried), satisfaction)
    return Learned(state, np.array(likelihoods), np.array(objectives), converged)


def log_sum(times: np.ndarray, p: np.ndarray) -> float:
    """Return the sum of times * log(p), where nothing that never happened counts, whatever its probability."""
    if p.min(initial=1) > 0:
        return float((times * np.log(p)).sum())  # no BLAS: its threads would cost more than they save
    with np.errstate(divide="ignore"):
        return float((times[times > 0] * np.log(p[times > 0])).sum())


def _steps(n: int, progress: bool) -> Iterator[int]:
    if not progress:
        yield from range(n)
        return
    from tqdm import tqdm

    yield from tqdm(range(n), desc="EM", unit="step")


def pieces(log: ClickLog) -> Iterator[ClickLog]:
    """Cut a log into pieces of about PIECE_ROWS rows, with the row columns COLUMNS and all page columns."""
    cuts = np.searchsorted(log.offsets, np.arange(PIECE_ROWS, log.n_rows, PIECE_ROWS))
    for start, end in pairwise(np.unique(np.concatenate([[0], cuts, [len(log)]]))):
        offsets = log.offsets[start : end + 1]
        rows = slice(offsets[0], offsets[-1])
        columns = {name: log.columns[name][rows] for name in COLUMNS if name in log.columns}
        page_columns = {name: values[start:end] for name, values in log.page_columns.items()}
        yield ClickLog(offsets - offsets[0], columns, page_columns, log.items)


def clicks_of(log: ClickLog, by: str) -> np.ndarray:
    """Return the column `click`, checked: 0 or 1, up to the count on a page that stands for several."""
    click = log.column("click", by)
    if click.dtype.kind in "biu" and click.min(initial=0) >= 0 and click.max(initial=0) <= 1 and not log.compressed:
        return click
    return check_clicks(click, np.repeat(log.counts, log.lengths), rows_are(log.offsets))


def positions_of(log: ClickLog, by: str) -> np.ndarray:
    """Return the 0-based position of each row, shape [N]: as logged, else its place in the page.

    Raises:
        LogError: positions do not rise within a page. Clicks were made on another order then.
    """
    position, lengths = log.columns.get("position"), log.lengths
    if position is None:
        return slots(log.offsets)
    if log.n_rows and lengths.min() == lengths.max() and (position.reshape(len(lengths), -1) == np.arange(lengths[0])).all():
        return position
    places = slots(log.offsets)
    falls = np.flatnonzero((position[1:] <= position[:-1]) & (places[1:] > 0)) + 1
    bad = np.zeros(len(position), dtype=bool)
    bad[falls] = True
    refuse(
        bad,
        f"{by} needs the order that was clicked on: position must rise within a page",
        "Give the log as it was shown, not reranked.",
        rows_are(log.offsets),
        position,
    )
    if position.min(initial=0) < 0:
        raise LogError(f"{by}: position must be 0 or more; the smallest is {position.min()}.")
    return position


def padded(rows: Rows, values: np.ndarray, width: int) -> np.ndarray:
    """Lay values of rows [N] out by page and position, shape [P, width], 0 where no row is shown."""
    out = np.zeros((len(rows.offsets) - 1, width), dtype=values.dtype)
    out[rows.of_pages(np.arange(len(out))), rows.position] = values
    return out
