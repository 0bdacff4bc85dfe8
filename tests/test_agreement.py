"""Kendall's tau between metrics: by hand, and against SciPy and pandas."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ultr.errors import ConfigError
from ultr.evaluation.agreement import metric_agreement


def test_by_hand():
    found = metric_agreement({"x": [1, 2, 3, 4], "y": [1, 3, 2, 4], "z": [4, 3, 2, 1]})
    assert found.tau.to_numpy().tolist() == pytest.approx(np.array([[1, 4 / 6, -1], [4 / 6, 1, -4 / 6], [-1, -4 / 6, 1]]))
    assert (found.n == 4).all(axis=None)


def test_ties_and_holes_as_in_scipy_and_pandas():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.integers(0, 4, size=(30, 3)).astype(float), columns=["ndcg", "rbp", "err"])
    table.loc[[2, 7], "rbp"] = np.nan
    table.loc[[7, 9], "err"] = np.nan
    found = metric_agreement(table)
    pd.testing.assert_frame_equal(found.tau, table.corr(method="kendall"))
    both = table[["rbp", "err"]].dropna()
    assert found.tau.loc["rbp", "err"] == pytest.approx(scipy.stats.kendalltau(both.rbp, both.err, variant="b").statistic)
    assert found.n.to_numpy().tolist() == [[30, 28, 28], [28, 28, 27], [28, 27, 28]]


def test_a_metric_that_is_constant_or_undefined_agrees_with_none():
    found = metric_agreement({"x": [1.0, 2.0, 3.0], "flat": [1.0, 1.0, 1.0], "none": [np.nan] * 3})
    assert found.tau.loc["x", "x"] == 1
    assert np.isnan(found.tau.to_numpy()).sum() == 8
    assert found.n.loc["x", "none"] == 0


@pytest.mark.parametrize("values", [{}, {"x": [1, 2], "y": [1]}, {"x": []}, {"x": [1, np.inf]}])
def test_what_is_no_table_is_refused(values):
    with pytest.raises(ConfigError, match="metric_agreement"):
        metric_agreement(values)
