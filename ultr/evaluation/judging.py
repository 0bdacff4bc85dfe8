"""Apply a fitted object to the pieces of a log, and keep of each what the metrics say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Protocol, Self, TypeVar, runtime_checkable

import numpy as np

from ultr.data.log import ClickLog
from ultr.data.source import LogSource, concat
from ultr.engine.base import Engine, State, in_order
from ultr.engine.serial import Serial
from ultr.engine.shards import default_shards
from ultr.errors import ConfigError, ContractError

S = TypeVar("S", bound=State)
Metric = Callable[[ClickLog], np.ndarray]


class Fitted(Protocol):
    """What every fitted object can do."""

    def apply(self, log: ClickLog) -> ClickLog:
        """Return the log reranked, or with predicted columns."""


@runtime_checkable
class FoldedMetric(Protocol[S]):
    """A metric of the whole log (`per = "log"`) that is put together from pieces, without their rows.

    `metric.value(metric.state(a) + metric.state(b))` is what `metric` says of the pieces a and b joined, up to rounding.
    """

    def state(self, log: ClickLog) -> S:
        """Return what is kept of a piece of the log."""

    def value(self, state: S) -> np.ndarray:
        """Return the metric of all pieces whose states were added up."""


@dataclass(eq=False)
class _Judged:
    """What is kept of a piece of the log: values a page or session, states, and the applied log where a metric needs all of it."""

    pages: int = 0
    values: dict[str, list[np.ndarray]] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    applied: list[ClickLog] = field(default_factory=list)

    def __iadd__(self, other: _Judged) -> Self:
        self.pages += other.pages
        for name, parts in other.values.items():
            self.values.setdefault(name, []).extend(parts)
        for name, state in other.states.items():
            self.states[name] = self.states[name] + state if name in self.states else state
        self.applied += other.applied
        return self


def judge(
    fitted: Fitted, source: LogSource, metrics: Mapping[str, Metric], engine: Engine | None = None, progress: bool = False
) -> dict[str, np.ndarray]:
    """Return every metric's values, float64: one a page, a session, or one for the whole log.

    Pages are in the log's order; those of a source other than `ClickLog` and `ParquetLog` are in the order of its shards. `evaluate` tells
    what an engine does.

    Raises:
        ConfigError: there is nothing to apply.
        ContractError: `apply` returns no log with the same pages, or a metric returns values of a wrong shape.
    """
    judged, order = _all_judged(fitted, source, metrics, engine, progress)
    return {name: _whole(name, metric, judged, order) for name, metric in metrics.items()}


def summarise(
    fitted: Fitted, source: LogSource, metrics: Mapping[str, Metric], engine: Engine | None = None, progress: bool = False
) -> dict[str, Summary]:
    """Return what `judge` would give, metric by metric, summed up: the values of a piece are let go of with it."""
    folded = {name: metric if per(metric) == "log" else _Summed(name, metric) for name, metric in metrics.items()}
    judged, order = _all_judged(fitted, source, folded, engine, progress)
    found = {}
    for name, metric in folded.items():
        state = judged.states.get(name) if isinstance(metric, _Summed) else Summary.of(_whole(name, metric, judged, order))
        found[name] = state if isinstance(state, Summary) else Summary()
    return found


@dataclass(frozen=True)
class Summary:
    """Values of a metric, summed up.

    Args:
        total: Sum of those that are defined, in the longest floats there are, so that its float64 does not depend on the pieces.
        defined: How many are.
        n: How many there are.
    """

    total: np.floating = np.longdouble(0)  # noqa: RUF009 (a number)
    defined: int = 0
    n: int = 0

    @classmethod
    def of(cls, values: np.ndarray) -> Summary:
        """Sum up; NaN is undefined."""
        defined = values[~np.isnan(values)]
        return cls(defined.sum(dtype=np.longdouble), len(defined), len(values))

    def __add__(self, other: Summary) -> Summary:
        return Summary(self.total + other.total, self.defined + other.defined, self.n + other.n)

    @property
    def mean(self) -> float:
        """Mean of the values that are defined; NaN where none is."""
        return float(self.total / self.defined) if self.defined else float("nan")


@dataclass(frozen=True)
class _Summed:
    """A metric of pages or sessions as one of the log."""

    name: str
    metric: Metric
    per: ClassVar[str] = "log"

    def __call__(self, log: ClickLog) -> np.ndarray:
        return self.value(self.state(log))

    def state(self, log: ClickLog) -> Summary:
        return Summary.of(_checked(self.name, self.metric, self.metric(log), log))

    def value(self, state: Summary) -> np.ndarray:
        return np.array([state.mean])


def _all_judged(
    fitted: Fitted, source: LogSource, metrics: Mapping[str, Metric], engine: Engine | None, progress: bool
) -> tuple[_Judged, np.ndarray | None]:
    """Return what is kept of all pieces, and the order of their pages where it is not the log's."""
    if not callable(getattr(fitted, "apply", None)):
        hint = "fit it first." if hasattr(fitted, "fit") else "a propensity goes into an estimator, IPS(propensity=...)."
        raise ConfigError(f"{type(fitted).__name__} has no apply(log), so it cannot be judged: {hint}")
    judged, in_shards = _Judged(), engine is not None or not isinstance(source, ClickLog)
    if in_shards:
        for _, piece in in_order((engine or Serial()).map_shards(partial(_judge_shard, fitted, metrics), source, progress=progress)):
            judged += piece
    if not judged.pages:  # a log in one piece, or one without a page
        in_shards, judged = False, _judge(fitted, metrics, source.chunks())
    order = _order(source) if in_shards and isinstance(source, ClickLog) else None
    if judged.applied:
        judged.applied = [_rejoined(judged.applied, source, order)] if in_shards else [concat(judged.applied)]
    return judged, order


def per(metric: Metric) -> str:
    """What a metric has one value for: "page" (also where it does not say), "session" or "log"."""
    return getattr(metric, "per", "page")


def _judge_shard(fitted: Fitted, metrics: Mapping[str, Metric], shard: LogSource) -> _Judged:
    """Judge the chunks with pages; the items stay behind when the result goes to another process."""
    judged = _judge(fitted, metrics, (chunk for chunk in shard.chunks() if len(chunk)))
    judged.applied = [ClickLog(log.offsets, dict(log.columns), log.page_columns) for log in judged.applied]
    return judged


def _judge(fitted: Fitted, metrics: Mapping[str, Metric], chunks: Iterable[ClickLog]) -> _Judged:
    judged = _Judged()
    for chunk in chunks:
        applied = fitted.apply(chunk)
        if not isinstance(applied, ClickLog) or len(applied) != len(chunk):
            raise ContractError(f"{type(fitted).__name__}.apply must return the log with its {len(chunk)} pages, not {applied!r}.")
        by_unit = {name: metric for name, metric in metrics.items() if per(metric) != "log"}
        whole = [metric for metric in metrics.values() if per(metric) == "log" and not _folds(metric)]
        judged += _Judged(
            len(chunk),
            {name: [_checked(name, metric, metric(applied), applied)] for name, metric in by_unit.items()},
            {name: metric.state(applied) for name, metric in metrics.items() if _folds(metric)},  # type: ignore[attr-defined]
            [applied] if whole else [],
        )
    return judged


def _folds(metric: Metric) -> bool:
    return per(metric) == "log" and isinstance(metric, FoldedMetric)


def _whole(name: str, metric: Metric, judged: _Judged, order: np.ndarray | None) -> np.ndarray:
    """Put a metric's values of the whole log together, pages in the log's order; nothing for a source without a chunk."""
    if name in judged.values:
        values = np.concatenate(judged.values[name])
        return values if order is None or per(metric) != "page" else values[np.argsort(order)]
    if name in judged.states:
        return _checked(name, metric, metric.value(judged.states[name]))  # type: ignore[attr-defined]
    return _checked(name, metric, metric(judged.applied[0])) if judged.applied else np.empty(0)


def _rejoined(applied: Sequence[ClickLog], source: LogSource, order: np.ndarray | None) -> ClickLog:
    """Join what was applied in shards, with the items of the log."""
    log = concat(applied)
    log = ClickLog(log.offsets, log.columns, log.page_columns, next(iter(source.chunks())).items)
    return log if order is None else log.take(np.argsort(order))


def _order(log: ClickLog) -> np.ndarray | None:
    """Return the pages of a log as its shards hold them, which bring the pages of a session together; None where that is their order."""
    if "session" not in log.page_columns:
        return None
    numbered = ClickLog(np.arange(len(log) + 1), {"item": np.arange(len(log))}, {"session": log.page_columns["session"]})
    order = np.concatenate([shard.columns["item"] for shard in numbered.shards(default_shards(log))])
    return None if (order[1:] > order[:-1]).all() else order


def _checked(name: str, metric: Metric, values: np.ndarray, log: ClickLog | None = None) -> np.ndarray:
    """Return values as float64, after a look at how many there are."""
    values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    unit = per(metric)
    n = 1 if log is None or unit == "log" else len(log) if unit == "page" else len(log.sessions)
    if values.shape != (n,):
        raise ContractError(
            f"metric {name!r} must return one value a {unit}, shape ({n},), not {values.shape}; `per` says what it counts by."
        )
    return values
