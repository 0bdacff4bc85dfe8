"""Discriminative power: how many pairs of systems a metric tells apart, and how sure it is of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ultr.data.checks import within
from ultr.errors import ConfigError
from ultr.evaluation.bootstrap import studentised, without_rounding
from ultr.evaluation.corrections import holm, randomised_tukey_hsd
from ultr.evaluation.resampling import TOLERANCE, batches, check_name, check_resamples, resampled
from ultr.evaluation.systems import complete_rows, pairs_of, side_by_side
from ultr.random import generator

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["bootstrap", "randomised_tukey_hsd"]
Correction = Literal["none", "holm"]

_BY = "discriminative_power"


@dataclass(frozen=True, eq=False)
class DiscriminativePower:
    """Achieved significance levels of every pair of systems by every metric.

    Args:
        pairs: One line a metric and pair: `metric`, `first`, `second`, `difference`, `p_value` (the achieved significance level), `n`
            (sessions used), `n_dropped`, and for the bootstrap `needed_difference`: how large a difference of this pair would have been at
            the edge of significance.
        alpha: Significance level of `needed_difference`.
    """

    pairs: pd.DataFrame
    alpha: float

    def curves(self) -> pd.DataFrame:
        """Return the curves of achieved significance levels: `metric`, `rank` (1, 2, ... pairs) and `p_value`, falling.

        The lower a metric's curve, the more pairs it tells apart.
        """
        import pandas as pd

        curves = [
            pd.DataFrame({"metric": metric, "rank": np.arange(1, len(pairs) + 1), "p_value": np.sort(pairs["p_value"].to_numpy())[::-1]})
            for metric, pairs in self.pairs.groupby("metric", sort=False)
        ]
        return pd.concat(curves, ignore_index=True)

    def summary(self, correction: Correction = "none") -> pd.DataFrame:
        """Return one line a metric, by falling power.

        Args:
            correction: "holm" adjusts the p-values of a metric's pairs first; for randomised Tukey HSD they are adjusted already.

        Returns:
            Index metric; columns `pairs`, `significant` (p-value below alpha), `share` of the pairs, and `needed_difference`: the largest
            of the pairs', which Sakai takes as the difference that a metric needs to be significant; NaN without the bootstrap.

        Raises:
            ConfigError: `correction` is no known name.
        """
        import pandas as pd

        check_name("summary", "correction", correction, get_args(Correction))
        lines = {}
        for metric, pairs in self.pairs.groupby("metric", sort=False):
            p_value = pairs["p_value"].to_numpy()
            significant = int(((holm(p_value) if correction == "holm" else p_value) < self.alpha).sum())
            lines[metric] = (len(pairs), significant, significant / len(pairs), pairs["needed_difference"].max())
        columns = ["pairs", "significant", "share", "needed_difference"]
        table = pd.DataFrame.from_dict(lines, orient="index", columns=columns).rename_axis("metric")
        return table.sort_values("share", ascending=False, kind="stable")


def discriminative_power(
    values: Mapping[str, Mapping[str, ArrayLike] | pd.DataFrame],
    *,
    method: Method = "bootstrap",
    alpha: float = 0.05,
    n_resamples: int = 1_000,
    seed: int = 0,
) -> DiscriminativePower:
    """Test every pair of systems by every metric.

    A metric that tells more pairs apart on the same sessions is more consistent across sessions; that says nothing about whether it
    measures the right thing (see `concordance`, `correlation_difference`).

    Args:
        values: Metrics, each with a column a system: {"ndcg": {"a": [S], "b": [S]}, ...} or DataFrames. Sessions on which a system is NaN
            are left out of that metric, and counted.
        method: "bootstrap" tests each pair on its own, two-sided, by the studentised paired bootstrap; "randomised_tukey_hsd" tests all
            pairs of a metric at once.
        alpha: Significance level, in (0, 1).
        n_resamples: Resamples, at least 1; all pairs and metrics with equally many sessions share them.
        seed: Of the resamples.

    Returns:
        Levels of all pairs, with `.curves()` and `.summary()`.

    Raises:
        ConfigError: there is no metric, a metric has fewer than two systems or complete sessions, or a setting has an impossible value.

    Source:
        Sakai (2006), Evaluating evaluation metrics based on the bootstrap, SIGIR. doi:10.1145/1148170.1148261
        Sakai (2012), WWW, doi:10.1145/2187836.2187904 (randomised Tukey HSD). The needed difference is reconstructed from the 2006 paper.

    Differs:
        One is added to both counts of a p-value.
    """
    import pandas as pd

    check_name(_BY, "method", method, get_args(Method))
    check_resamples(_BY, n_resamples)
    if not within(alpha, "(0, 1)"):
        raise ConfigError(f"{_BY}: alpha must be in (0, 1), not {alpha!r}.")
    if not values:
        raise ConfigError(f"{_BY}: there is no metric to judge.")
    tables = []
    for metric, systems in values.items():
        if method == "bootstrap":
            table = _bootstrapped(systems, f"{_BY}: {metric}", alpha, n_resamples, seed)
        else:
            table = randomised_tukey_hsd(systems, n_resamples=n_resamples, seed=seed).assign(needed_difference=np.nan)
        table.insert(0, "metric", metric)
        tables.append(table)
    return DiscriminativePower(pd.concat(tables, ignore_index=True), alpha)


def _bootstrapped(systems: Mapping[str, ArrayLike] | pd.DataFrame, by: str, alpha: float, n_resamples: int, seed: int) -> pd.DataFrame:
    """Return level and needed difference of every pair of one metric's systems."""
    import pandas as pd

    names, table = side_by_side(systems, by)
    complete = complete_rows(table, by)
    first, second = pairs_of(len(names))
    n, rng = len(complete), generator(seed, "discriminative power")
    statistics, means = np.empty((n_resamples, len(first))), np.empty((n_resamples, len(first)))
    difference = complete[:, first] - complete[:, second]
    shifted, ones, done = without_rounding(difference - difference.mean(axis=0), difference), np.ones(n), 0
    for batch in batches(n_resamples, n):
        some = slice(done, done := done + batch)
        statistics[some], means[some] = studentised(shifted, ones, resampled(batch, n, rng))
    statistics = np.abs(statistics)
    found = np.abs(studentised(difference, ones, ones[None, :])[0][0])
    p_value = (1 + (statistics >= found * (1 - TOLERANCE)).sum(axis=0)) / (1 + n_resamples)
    edge = np.argsort(-statistics, axis=0, kind="stable")[max(1, int(n_resamples * alpha)) - 1]
    needed = np.abs(means[edge, np.arange(len(first))])
    return pd.DataFrame(
        {
            "first": [names[i] for i in first],
            "second": [names[j] for j in second],
            "difference": difference.mean(axis=0),
            "p_value": p_value,
            "n": n,
            "n_dropped": len(table) - n,
            "needed_difference": needed,
        }
    )
