"""The report on a propensity: what the weights do, whether level and shape agree with a randomised slice, and the words for it."""

import numpy as np
import pytest

import simulators
from ultr.errors import ConfigError
from ultr.evaluation import propensity_report
from ultr.propensity import Popularity

WORLD = simulators.MissingNotAtRandom(400, 200, exposure_power=2.0, seed=3)
LOG, SLICE = WORLD.log(seed=1), WORLD.random_slice(40, seed=2)


def test_the_true_exposure_passes():
    report = propensity_report(LOG, "propensity", SLICE)
    level, low, high = report.level
    assert low < level < high
    assert abs(np.log(level)) / (np.log(high / low) / 3.92) < 3.9  # false-alarm rate 1e-4
    assert report.uneven > 1e-4
    assert report.largest == pytest.approx(1 / LOG.columns["propensity"].min())
    assert report.overlap.effective_sample_size < report.overlap.clicks


def test_a_wrong_level_is_told_from_a_wrong_shape():
    halved = [log.with_columns(propensity=log.columns["propensity"] / 2) for log in (LOG, SLICE)]
    level = propensity_report(halved[0], "propensity", halved[1])
    assert level.level[1] > 1.5
    assert level.uneven > 1e-4
    assert "too low, weights too large" in level.explain()
    squared = [log.with_columns(propensity=np.sqrt(log.columns["propensity"])) for log in (LOG, SLICE)]
    shape = propensity_report(squared[0], "propensity", squared[1])
    assert shape.uneven < 1e-10
    assert "leave part of the bias" in shape.explain()
    assert "too high, weights too small" in shape.explain()


def test_without_a_slice_the_weights_alone():
    report = propensity_report(LOG, Popularity(), clip=2.0)
    assert report.calibration is None
    assert np.isnan(report.uneven)
    assert np.isnan(report.level).all()
    assert "Without a randomised slice" in repr(report)
    assert report.overlap.share_clipped > 0
    with pytest.raises(ConfigError, match="give propensity_report a randomised slice"):
        report.plot()


def test_few_clicks_that_carry_the_weight_are_called_out():
    theta = np.where(np.arange(LOG.n_rows) == 7, 1e-4, 0.9)
    assert "Few clicks carry most of the weight" in propensity_report(LOG.with_columns(propensity=theta), "propensity").explain()
    assert "Few clicks" not in propensity_report(LOG, "propensity").explain()


def test_the_plot_has_the_diagonal():
    (axis,) = propensity_report(LOG, Popularity(), SLICE, bins=3).plot().axes
    assert len(axis.lines) >= 2
    assert axis.get_xlabel() == "propensity"
