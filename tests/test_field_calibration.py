"""Calibration by field: by hand, against SciPy, and coverage with a twin that must fail."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import ultr
from ultr.errors import ConfigError, LogError
from ultr.metrics.field_calibration import calibration_by_field

ALARM = 1e-5  # chance that a right test of this file fails, one-sided


def log_of(**columns):
    n = len(next(iter(columns.values())))
    return ultr.ClickLog.from_frame(pd.DataFrame({"page": np.arange(n), "item": 0, **columns}))


SMALL = log_of(
    campaign=["x", "y", "x", "x", "z", "y", "w"],
    click=[1, 1, 0, 1, 1, 1, 0],
    conversion=[1, 0, 0, 1, 1, 0, 0],
    predicted_conversion=[0.5, 0.25, 0.5, 0.75, 0.5, 0.25, 0.125],
)


def test_by_hand():
    found = calibration_by_field(SMALL, "campaign", min_rows=1)
    assert found.campaign.tolist() == ["x", "y", "z", "w"]
    assert found.rows.tolist() == [3, 2, 1, 1]
    assert found.mean_prediction.tolist() == pytest.approx([1.75 / 3, 0.25, 0.5, 0.125])
    assert found.mean_label.tolist() == pytest.approx([2 / 3, 0, 1, 0])
    assert found.ratio.tolist() == pytest.approx([1.75 / 2, np.nan, 0.5, np.nan], nan_ok=True)


def test_the_interval_is_clopper_and_pearsons():
    found = calibration_by_field(SMALL, "campaign", min_rows=1, level=0.9)
    for line in found.itertuples():
        interval = scipy.stats.binomtest(round(line.mean_label * line.rows), line.rows).proportion_ci(0.9)
        assert line.low == pytest.approx(line.mean_prediction / interval.high)
        assert line.high == pytest.approx(line.mean_prediction / interval.low if interval.low else np.inf)


def test_rare_values_are_added_up_in_the_last_line():
    found = calibration_by_field(SMALL, "campaign", min_rows=2)
    assert found.campaign.tolist() == ["x", "y", None]
    assert found["values"].tolist() == [1, 1, 2]
    assert found.rows.tolist() == [3, 2, 2]
    assert found.ratio.iloc[2] == pytest.approx(0.625 / 1)


def test_rows_that_do_not_count_are_left_out():
    found = calibration_by_field(SMALL, "campaign", among="click", min_rows=1)
    assert found.campaign.tolist() == ["x", "y", "z"]
    assert found.ratio.iloc[0] == pytest.approx(1.25 / 2)


def test_the_sums_of_all_lines_are_those_of_the_log():
    rng = np.random.default_rng(0)
    log = log_of(hour=rng.geometric(0.2, 500), conversion=rng.integers(0, 2, 500), predicted_conversion=rng.random(500))
    found = calibration_by_field(log, "hour", min_rows=30)
    assert found.rows.sum() == 500
    assert (found.rows * found.mean_label).sum() == pytest.approx(log.columns["conversion"].sum())
    whole = ultr.metrics.calibration_ratio(log.columns["conversion"], log.columns["predicted_conversion"])
    assert (found.rows * found.mean_prediction).sum() / (found.rows * found.mean_label).sum() == pytest.approx(whole)


def test_the_field_may_be_a_page_column_an_item_or_have_holes():
    frame = pd.DataFrame({"page": [0, 0, 1], "item": ["a", "b", "a"], "user": [7, 7, 8], "hour": [1.0, np.nan, np.nan]})
    log = ultr.ClickLog.from_frame(frame.assign(conversion=[1, 0, 1], predicted_conversion=0.5))
    assert calibration_by_field(log, "user", min_rows=1).user.tolist() == [7, 8]
    assert calibration_by_field(log, "item", min_rows=1).item.tolist() == ["a", "b"]
    assert calibration_by_field(log, "hour", min_rows=1).rows.tolist() == [2, 1]


def test_missing_values_of_text_are_one_value():
    device = np.array(["ios", None, "web", np.nan, "ios", None, 3], dtype=object)
    found = calibration_by_field(SMALL.with_columns(device=device), "device", min_rows=1)
    assert found["rows"].tolist() == [3, 2, 1, 1]
    assert found["device"].isna().tolist() == [True, False, False, False]
    assert found["device"].tolist()[1:] == ["ios", "web", 3]


def test_an_empty_log_has_no_line():
    empty = SMALL.select(np.zeros(len(SMALL), dtype=bool))
    assert len(calibration_by_field(empty, "campaign")) == 0
    assert len(calibration_by_field(SMALL.with_columns(click=np.zeros(7)), "campaign", among="click")) == 0


@pytest.mark.parametrize(
    "log, arguments, error, words",
    [
        (SMALL, {"field": "campain"}, LogError, "'campain', which the log lacks. Did you mean 'campaign'"),
        (SMALL, {"field": "campaign", "labels": "sale"}, LogError, "needs the column 'sale'"),
        (SMALL, {"field": "campaign", "predicted": "click", "labels": "predicted_conversion"}, LogError, "page 0, row 0 has 0.5"),
        (SMALL.with_columns(predicted_conversion=np.full(7, 1.5)), {"field": "campaign"}, LogError, r"\[0, 1\]: page 0, row 0 has 1.5"),
        (SMALL, {"field": ["campaign"]}, ConfigError, r"field is the name of one column, not \['campaign'\]"),
        (SMALL, {"field": "campaign", "among": ["click"]}, ConfigError, "among is the name of one column"),
        (SMALL, {"field": "campaign", "min_rows": 0}, ConfigError, "min_rows"),
        (SMALL, {"field": "campaign", "level": 1}, ConfigError, "level"),
        (SMALL.with_columns(ratio=np.zeros(7)), {"field": "ratio"}, ConfigError, "rename the field's column"),
    ],
)
def test_impossible_input_is_refused(log, arguments, error, words):
    with pytest.raises(error, match=words):
        calibration_by_field(log, **arguments)


def covered(error):
    """How many of 2,000 values of a field, 40 rows each, have 1 in the interval if predictions are `error` times the truth."""
    rng = np.random.default_rng(1)
    truth = rng.beta(1, 6, size=80_000)
    log = log_of(
        field=np.repeat(np.arange(2000), 40), conversion=rng.random(80_000) < truth, predicted_conversion=np.minimum(1, error * truth)
    )
    found = calibration_by_field(log, "field", min_rows=1)
    return ((found.low <= 1) & (found.high >= 1)).sum()


LEAST = scipy.stats.binom.ppf(ALARM, 2000, 0.95)


def test_right_predictions_are_covered_though_they_differ_within_a_value():
    assert covered(1.0) >= LEAST


def test_predictions_that_are_half_too_high_are_not():
    assert covered(1.5) < LEAST
