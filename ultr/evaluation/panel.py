"""Scores of all estimators, seeds and queries by one metric on one test set, and the tables made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ultr.data.source import LogSource, projected
from ultr.evaluation.cell import Cell
from ultr.evaluation.evaluate import Metric, mean_defined, per
from ultr.evaluation.significance import Interval, paired_interval, two_way_interval

if TYPE_CHECKING:
    import pandas as pd

NOWHERE = Interval(np.nan, np.nan, np.nan, np.nan)


@dataclass(frozen=True, eq=False)
class Panel:
    """One metric on one test set.

    Args:
        test: Name of the test set.
        metric: Name of the metric.
        unit: What a score belongs to: "query" (pages of one query are averaged), "page" (a test set without queries), "session", "log".
        ids: Ids of the units, shape [U].
        scores: NaN where undefined, shape [estimators, seeds, U].
        higher_is_better: False for costs.
    """

    test: str
    metric: str
    unit: str
    ids: np.ndarray
    scores: np.ndarray
    higher_is_better: bool = True

    def title(self, several_tests: bool) -> str:
        """Name the panel: the metric, and the test set where there are several."""
        return f"{self.metric}, {self.test}" if several_tests else self.metric

    def by_seed(self, estimator: int) -> np.ndarray:
        """Mean over the units where the metric is defined, one a seed, shape [S]."""
        return np.array([mean_defined(scores) for scores in self.scores[estimator]])

    def undefined(self, estimator: int) -> int:
        """Number of units without a value in some seed."""
        return int(np.isnan(self.scores[estimator]).any(axis=0).sum())

    def differences(self, estimator: int, baseline: int) -> np.ndarray:
        """Paired differences over the units where both are defined in every seed, shape [S, units kept]."""
        difference = self.scores[estimator] - self.scores[baseline]
        return difference[:, ~np.isnan(difference).any(axis=0)]


def panels_of(
    cells: Sequence[Cell], estimators: Sequence[str], seeds: Sequence[int], tests: Mapping[str, LogSource], metrics: Mapping[str, Metric]
) -> list[Panel]:
    """Arrange the cells' values as one panel a test set and metric; the values of one query's pages are averaged."""
    cell = {(cell.estimator, cell.seed): cell for cell in cells}
    panels = []
    for test, source in tests.items():
        queries = _queries(source)
        for name, metric in metrics.items():
            values = np.array([[cell[e, s].values[test, name] for s in seeds] for e in estimators])
            unit, ids = per(metric), np.arange(values.shape[-1])
            if unit == "page" and queries is not None:
                unit = "query"
                ids, values = _average_by(queries, values)
            panels.append(Panel(test, name, unit, ids, values, getattr(metric, "higher_is_better", True)))
    return panels


def n_pages(source: LogSource) -> int:
    """Count the pages of a log, without reading them where it knows."""
    return len(source) if isinstance(source, Sized) else sum(len(chunk) for chunk in projected(source, ()).chunks())


def _queries(source: LogSource) -> np.ndarray | None:
    """Query of each page, None where the log has no queries."""
    pieces = [chunk.page_columns.get("query") for chunk in projected(source, ("query",)).chunks()]
    known = [piece for piece in pieces if piece is not None]
    return np.concatenate(known) if known and len(known) == len(pieces) else None


def _average_by(queries: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average the defined values [..., P] over the pages of each query; queries in order of first appearance."""
    import pandas as pd

    code, ids = pd.factorize(queries)
    if len(ids) == len(queries):
        return queries, values
    flat = values.reshape(-1, values.shape[-1])
    defined = ~np.isnan(flat)
    total = np.array([np.bincount(code, np.where(ok, row, 0.0), len(ids)) for row, ok in zip(flat, defined, strict=True)])
    n = np.array([np.bincount(code, ok, len(ids)) for ok in defined])
    mean = np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)
    return np.asarray(ids), mean.reshape(*values.shape[:-1], len(ids))


def table_of(panels: Iterable[Panel], estimators: Sequence[str]) -> pd.DataFrame:
    """One line a test set, metric and estimator: mean over the seeds with its t interval over seeds."""
    import pandas as pd

    rows = []
    for panel in panels:
        for e, name in enumerate(estimators):
            means = panel.by_seed(e)
            interval = NOWHERE if np.isnan(means).any() else paired_interval(means)
            sd = float(means.std(ddof=1)) if len(means) > 1 else np.nan
            n = panel.scores.shape[-1]
            rows.append((panel.test, panel.metric, name, interval.mean, sd, interval.low, interval.high, panel.undefined(e), n))
    return pd.DataFrame(rows, columns=["test", "metric", "estimator", "mean", "sd", "low", "high", "undefined", "n"])


def paired_of(panels: Iterable[Panel], estimators: Sequence[str], baseline: str) -> pd.DataFrame:
    """One line a test set, metric and estimator other than the baseline: the paired difference, its intervals and the seeds won."""
    import pandas as pd

    base = list(estimators).index(baseline)
    rows = []
    for panel in panels:
        for e, name in enumerate(estimators):
            if e == base:
                continue
            table = panel.differences(e, base)
            seeds, units = table.shape
            by_seed = table.mean(axis=1) if units else np.full(seeds, np.nan)
            over_seeds, over_both = (paired_interval(by_seed), two_way_interval(table)) if units else (NOWHERE, NOWHERE)
            wins = int((by_seed > 0 if panel.higher_is_better else by_seed < 0).sum())
            bounds = (over_seeds.low, over_seeds.high, over_both.low, over_both.high)
            dropped = panel.scores.shape[-1] - units
            rows.append((panel.test, panel.metric, name, over_seeds.mean, *bounds, f"{wins}/{seeds}", units, dropped))
    columns = ["test", "metric", "estimator", "difference", "low", "high", "two_way_low", "two_way_high", "wins", "n", "dropped"]
    return pd.DataFrame(rows, columns=columns)


def values_of(panels: Iterable[Panel], estimators: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    """One line a test set, metric, estimator, seed and unit: every score that the tables are made from."""
    import pandas as pd

    frames = []
    for panel in panels:
        E, S, U = panel.scores.shape
        frames.append(
            pd.DataFrame(
                {
                    "test": panel.test,
                    "metric": panel.metric,
                    "estimator": np.repeat(np.array(estimators, dtype=object), S * U),
                    "seed": np.tile(np.repeat(np.array(seeds), U), E),
                    "unit": panel.unit,
                    "id": np.tile(panel.ids.astype(str).astype(object), E * S),
                    "value": panel.scores.reshape(-1),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
