"""Apply a fitted object to a log and judge the outcome, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ultr.data.log import ClickLog
from ultr.data.ranking import RankingData
from ultr.data.source import LogSource, concat
from ultr.errors import ConfigError, ContractError

if TYPE_CHECKING:
    import pandas as pd

Metric = Callable[[ClickLog], np.ndarray]


class Fitted(Protocol):
    """What every fitted object can do."""

    def apply(self, log: ClickLog) -> ClickLog:
        """Return the log reranked, or with predicted columns."""


def evaluate(fitted: Fitted, source: LogSource | RankingData, metrics: Mapping[str, Metric] | Sequence[Metric] | Metric) -> pd.DataFrame:
    """Apply a fitted object to a log and judge it by metrics, chunk by chunk.

    A metric of the whole log (`per = "log"`) cannot be put together from chunks: for those the applied chunks are kept and joined.

    Args:
        fitted: Any object with `apply`.
        source: The log, or a graded set (judged as `data.as_log()`).
        metrics: Name -> metric; or metrics, which are then named like "NDCG@10".

    Returns:
        One line a metric, with the columns `mean` (over pages or sessions where the metric is defined; every page counts once, NaN where
        it is defined nowhere), `undefined` (how many are not) and `n` (how many there are).

    Raises:
        ConfigError: there is no metric, two have one name, or one cannot be called.
        ContractError: a metric returns another number of values than there are pages, sessions or logs.
    """
    import pandas as pd

    values = judge(fitted, as_source(source, "source"), named_metrics(metrics))
    rows = [(name, mean_defined(value), int(np.isnan(value).sum()), len(value)) for name, value in values.items()]
    return pd.DataFrame(rows, columns=["metric", "mean", "undefined", "n"]).set_index("metric")


def judge(fitted: Fitted, source: LogSource, metrics: Mapping[str, Metric]) -> dict[str, np.ndarray]:
    """Return every metric's values, float64: one a page, a session, or one for the whole log.

    Raises:
        ConfigError: there is nothing to apply.
        ContractError: `apply` returns no log with the same pages, or a metric returns values of a wrong shape.
    """
    if not callable(getattr(fitted, "apply", None)):
        hint = "fit it first." if hasattr(fitted, "fit") else "a propensity goes into an estimator, IPS(propensity=...)."
        raise ConfigError(f"{type(fitted).__name__} has no apply(log), so it cannot be judged: {hint}")
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    keep = [name for name in metrics if per(metrics[name]) == "log"]
    applied_chunks = []
    for chunk in source.chunks():
        applied = fitted.apply(chunk)
        if not isinstance(applied, ClickLog) or len(applied) != len(chunk):
            raise ContractError(f"{type(fitted).__name__}.apply must return the log with its {len(chunk)} pages, not {applied!r}.")
        for name in metrics:
            if name not in keep:
                pieces[name].append(_values(name, metrics[name], applied))
        if keep:
            applied_chunks.append(applied)
    for name in keep:
        pieces[name] = [_values(name, metrics[name], concat(applied_chunks))]
    return {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in pieces.items()}


def per(metric: Metric) -> str:
    """What a metric has one value for: "page" (also where it does not say), "session" or "log"."""
    return getattr(metric, "per", "page")


def _values(name: str, metric: Metric, log: ClickLog) -> np.ndarray:
    values = np.atleast_1d(np.asarray(metric(log), dtype=np.float64))
    unit = per(metric)
    n = {"page": len(log), "log": 1}.get(unit, len(log.sessions))
    if values.shape != (n,):
        raise ContractError(
            f"metric {name!r} must return one value a {unit}, shape ({n},), not {values.shape}; `per` says what it counts by."
        )
    return values


def mean_defined(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN where there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def as_source(test: object, what: str) -> LogSource:
    """Return a log as it is and a graded set as a log, or raise ConfigError."""
    if isinstance(test, RankingData):
        return test.as_log()
    if isinstance(test, LogSource):
        return test
    raise ConfigError(f"{what} must be a log (ClickLog, ParquetLog, ...) or RankingData, not {type(test).__name__}.")


def named_metrics(metrics: Mapping[str, Metric] | Sequence[Metric] | Metric) -> dict[str, Metric]:
    """Return name -> metric; metrics without a given name are called like "NDCG@10".

    Raises:
        ConfigError: there is none, two have one name, or one cannot be called.
    """
    if not isinstance(metrics, Mapping):
        listed = [metrics] if callable(metrics) else list(metrics)
        names = [name_of(metric) for metric in listed]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ConfigError(f"Two metrics are called {', '.join(doubled)}: give names, metrics={{'name': metric, ...}}.")
        metrics = dict(zip(names, listed, strict=True))
    if not metrics:
        raise ConfigError("metrics is empty: give at least one, e.g. {'ndcg@10': NDCG(10)}.")
    for name, metric in metrics.items():
        if isinstance(metric, type) or not callable(metric):
            hint = f"an instance, {metric.__name__}()" if isinstance(metric, type) else "a function metric(log) -> one value a page"
            raise ConfigError(f"metric {name!r} is {metric!r}; it must be {hint}.")
    return dict(metrics)


def name_of(metric: object) -> str:
    """Call a metric by its class, its cut-off and the settings that are not defaults: "NDCG@10", "NDCG@5(gain='linear')"."""
    if not is_dataclass(metric) or isinstance(metric, type):
        return str(getattr(metric, "__name__", type(metric).__name__))
    settings = {f.name: getattr(metric, f.name) for f in fields(metric) if f.init}
    defaults = {f.name: f.default for f in fields(metric) if f.default is not MISSING}
    cut = settings.pop("k", None)
    odd = ", ".join(f"{name}={value!r}" for name, value in settings.items() if name not in defaults or value != defaults[name])
    return type(metric).__name__ + (f"@{cut}" if cut is not None else "") + (f"({odd})" if odd else "")
