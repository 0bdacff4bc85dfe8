"""Apply a fitted object to a log and judge the outcome, chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np

from ultr.data.ranking import RankingData
from ultr.data.source import LogSource
from ultr.engine.base import Engine, need_engine
from ultr.errors import ConfigError
from ultr.evaluation.judging import Fitted, FoldedMetric, Metric, judge, per, summarise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Fitted", "FoldedMetric", "Metric", "as_source", "evaluate", "judge", "mean_defined", "name_of", "named_metrics", "per"]


def evaluate(
    fitted: Fitted,
    source: LogSource | RankingData,
    metrics: Mapping[str, Metric] | Sequence[Metric] | Metric,
    engine: Engine | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Apply a fitted object to a log and judge it by metrics, chunk by chunk.

    Of each chunk only the sums of the metrics' values are kept. A metric of the whole log (`per = "log"`) keeps its state, where it has
    `state` and `value` (`FoldedMetric`); for any other one the applied chunks are kept and joined, with all their columns.

    Args:
        fitted: Any object with `apply`.
        source: The log, or a graded set (judged as `data.as_log()`).
        metrics: Name -> metric; or metrics, which are then named like "NDCG@10".
        engine: Where the shards of the log are judged; in this process when None, and then a log in memory in one piece. Every engine gives
            the same bits; so does None for a log on disk, and for one in memory up to rounding.
        progress: Show a progress bar on standard error, where the log is judged in shards.

    Returns:
        One line a metric, with the columns `mean` (over pages or sessions where the metric is defined; every page counts once, NaN where
        it is defined nowhere), `undefined` (how many are not) and `n` (how many there are).

    Raises:
        ConfigError: there is no metric, two have one name, or one cannot be called.
        ContractError: a metric returns another number of values than there are pages, sessions or logs.
    """
    import pandas as pd

    found = summarise(fitted, as_source(source, "source"), named_metrics(metrics), need_engine(engine), progress)
    rows = [(name, summary.mean, summary.n - summary.defined, summary.n) for name, summary in found.items()]
    return pd.DataFrame(rows, columns=["metric", "mean", "undefined", "n"]).set_index("metric")


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
