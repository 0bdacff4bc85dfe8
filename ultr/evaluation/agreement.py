"""How far metrics agree: Kendall's tau of every two, over sessions or over systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from ultr.evaluation.systems import pairs_of, side_by_side

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class MetricAgreement:
    """Kendall's tau-b of every two metrics.

    Args:
        tau: In [-1, 1], a line and a column a metric, 1 on the diagonal; NaN where a metric is constant or fewer than two values are
            defined by both.
        n: How many values both define, likewise; on the diagonal, how many the metric defines.
    """

    tau: pd.DataFrame
    n: pd.DataFrame


def metric_agreement(values: Mapping[str, ArrayLike] | pd.DataFrame) -> MetricAgreement:
    """Return Kendall's tau-b between metrics, each pair of metrics over the values that both define.

    Args:
        values: A column a metric: a mapping of names to vectors [S], or a DataFrame; NaN where undefined. A line is a session for
            agreement about sessions, or a system's mean for agreement about the order of systems.

    Returns:
        The matrix of tau-b and the matrix of counts.

    Raises:
        ConfigError: there is no metric, the vectors differ in length or are empty, or a value is infinite.

    Source:
        Kendall (1945), The treatment of ties in ranking problems. doi:10.1093/biomet/33.3.239
    """
    import pandas as pd

    names, table = side_by_side(values, "metric_agreement", least=1)
    known = ~np.isnan(table)
    n = known.T.astype(np.int64) @ known.astype(np.int64)
    tau = np.eye(len(names))
    for i, j in zip(*pairs_of(len(names)), strict=True):
        both = known[:, i] & known[:, j]
        tau[i, j] = tau[j, i] = scipy.stats.kendalltau(table[both, i], table[both, j]).statistic if both.sum() > 1 else np.nan
    constant = [not known[:, i].any() or np.ptp(table[known[:, i], i]) == 0 for i in range(len(names))]
    tau[constant, constant] = np.nan
    return MetricAgreement(pd.DataFrame(tau, index=names, columns=names), pd.DataFrame(n, index=names, columns=names))
