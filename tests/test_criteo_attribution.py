"""Criteo's attribution data, as journeys for credit rules and as impressions for estimators of conversions, from one small file."""

import gc
import gzip
import warnings

import numpy as np
import pandas as pd
import pytest

from ultr.attribution import FirstTouch, LastTouch, Linear, MarkovRemoval, TimeDecay
from ultr.data.criteo_attribution import load_criteo_attribution, load_criteo_impressions
from ultr.data.fields import Fields
from ultr.errors import ConfigError, FileError, UltrWarning
from ultr.estimators.conversion.esmm import ESMM
from ultr.training.settings import Training

DAY = 86_400
NAMES = ["timestamp", "uid", "campaign", "conversion", "conversion_timestamp", "conversion_id", "attribution", "click", "click_pos"]
NAMES += ["click_nb", "cost", "cpo", "time_since_last_click", *(f"cat{i}" for i in range(1, 10))]


def line(day, uid, campaign, click, conversion=None, at=-1.0):
    """One impression, by day, user, campaign and click; its conversion by id and day."""
    known = conversion is not None
    out = dict.fromkeys(NAMES, 5) | {"timestamp": int(day * DAY), "uid": uid, "campaign": campaign, "click": click}
    out |= {"conversion": int(known), "conversion_id": conversion if known else -1, "attribution": int(known)}
    out |= {"conversion_timestamp": int(at * DAY) if known else -1, "time_since_last_click": -1, "cost": 0.25, "cpo": 0.5}
    return out


LINES = [
    line(0, 7, 30, 1, conversion=100, at=3),
    line(1, 8, 10, 1),
    line(1, 7, 10, 0, conversion=100, at=3),
    line(2, 7, 20, 1, conversion=100, at=3),
    line(4, 7, 30, 1),
    line(5, 9, 10, 0),
    line(6, 7, 20, 1, conversion=101, at=6),
]


def written(folder, lines=LINES, name="criteo.tsv", **changed):
    """Write the file; `changed` sets the value of a column on line 4."""
    frame = pd.DataFrame(lines, columns=NAMES).astype(object)
    for column, value in changed.items():
        frame.loc[2, column] = value
    frame.to_csv(folder / name, sep="\t", index=False)
    return folder / name


def test_journeys_of_clicks_by_hand(tmp_path):
    log = load_criteo_attribution(written(tmp_path))
    assert log.lengths.tolist() == [2, 1, 1, 1]
    assert log.items.ids[log.columns["item"]].tolist() == [30, 20, 10, 30, 20]
    assert log.columns["time"].tolist() == [0, 2, 1, 4, 6]
    assert log.page_columns["user"].tolist() == [7, 8, 7, 7]
    assert log.page_columns["converted"].tolist() == [1, 0, 0, 1]
    assert log.page_columns["conversion_id"].tolist() == [100, -1, -1, 101]
    np.testing.assert_array_equal(log.page_columns["conversion_time"], [3, np.nan, np.nan, 6])
    assert log.columns["cost"].tolist() == [0.25] * 5
    assert {f"cat{i}" for i in range(1, 10)} <= set(log.columns)


def test_journeys_of_impressions_by_hand(tmp_path):
    log = load_criteo_attribution(written(tmp_path), touches="impressions")
    assert log.lengths.tolist() == [3, 1, 1, 1, 1]
    assert log.items.ids[log.columns["item"]].tolist() == [30, 10, 20, 10, 30, 10, 20]
    assert log.columns["click"].tolist() == [1, 0, 1, 1, 1, 0, 1]


def test_rules_credit_the_journeys(tmp_path):
    log = load_criteo_attribution(written(tmp_path))
    assert FirstTouch().credit(log).tolist() == [1, 0, 0, 0, 1]
    assert LastTouch().credit(log).tolist() == [0, 1, 0, 0, 1]
    assert Linear().credit(log).tolist() == [0.5, 0.5, 0, 0, 1]
    np.testing.assert_allclose(TimeDecay(half_life=2).credit(log), [1 / 3, 2 / 3, 0, 0, 1])  # ages 2 days apart
    assert MarkovRemoval().credit(log).sum() == pytest.approx(2)


def test_touches_are_sorted_by_time_and_a_conversion_without_a_touch_is_left_out(tmp_path):
    turned = load_criteo_attribution(written(tmp_path, LINES[::-1]))
    assert sorted(turned.page_columns["conversion_id"].tolist()) == [-1, -1, 100, 101]
    journey = turned.page_columns["conversion_id"].tolist().index(100)
    assert turned.columns["time"][turned.offsets[journey] : turned.offsets[journey + 1]].tolist() == [0, 2]
    unclicked = [*LINES, line(6, 5, 10, 0, conversion=102, at=7)]
    assert 102 not in load_criteo_attribution(written(tmp_path, unclicked)).page_columns["conversion_id"]
    assert 102 in load_criteo_attribution(written(tmp_path, unclicked), "impressions").page_columns["conversion_id"]


def test_touches_after_the_conversion_are_dropped_with_a_warning(tmp_path):
    late = [*LINES, line(8, 7, 30, 1, conversion=101, at=6)]
    with pytest.warns(UltrWarning, match=r"criteo.tsv, line 9: a touch after its conversion; dropped 1 of 6"):
        log = load_criteo_attribution(written(tmp_path, late))
    assert log.columns["time"].tolist() == [0, 2, 1, 4, 6]


def test_impressions_by_hand(tmp_path):
    lines = [LINES[0] | {"time_since_last_click": DAY // 2}, *LINES[1:]]
    log = load_criteo_impressions(written(tmp_path, lines))
    assert log.lengths.tolist() == [1] * 7
    assert log.columns["click"].tolist() == [1, 1, 0, 1, 1, 0, 1]
    assert log.columns["conversion"].tolist() == [1, 0, 0, 1, 0, 0, 1]  # the third was not clicked
    assert log.items.ids[log.columns["item"]].tolist() == [30, 10, 10, 20, 30, 10, 20]
    np.testing.assert_array_equal(log.columns["time_since_last_click"], [0.5, *[np.nan] * 6])
    assert log.page_columns["user"].tolist() == [7, 8, 7, 7, 7, 9, 7]


def test_impressions_whose_conversion_came_at_another_time_are_dropped_with_a_warning(tmp_path):
    odd = [line(6, 7, 20, 1, conversion=102, at=5), line(6, 7, 20, 1, conversion=103, at=36.5), line(6, 7, 20, 0, conversion=104, at=5)]
    with pytest.warns(UltrWarning, match=r"criteo.tsv, line 9: a conversion -1 days after the impression, not in 0..30; dropped 2 of 10"):
        log = load_criteo_impressions(written(tmp_path, [*LINES, *odd]))
    assert log.columns["conversion"].tolist() == [1, 0, 0, 1, 0, 0, 1, 0]  # the last one was not clicked
    with pytest.raises(FileError, match="no impression is left"), pytest.warns(UltrWarning, match="dropped 1 of 1"):
        load_criteo_impressions(written(tmp_path, odd[:1]))


def test_a_conversion_at_either_end_of_the_thirty_days_counts(tmp_path):
    log = load_criteo_impressions(written(tmp_path, [line(6, 7, 20, 1, conversion=102, at=at) for at in (6, 36)]))
    assert log.columns["conversion"].tolist() == [1, 1]


def test_an_estimator_reads_the_impressions(tmp_path):
    log = load_criteo_impressions(written(tmp_path, LINES * 5))
    fields = Fields(categorical={"item": "vocabulary", "cat1": 10}, dense=("cost", "time_since_last_click"))
    fitted = ESMM(fields=fields, towers=(), training=Training(steps=3, validation=0)).fit(log)
    assert fitted.predict(log).shape == (35, 3)


def test_a_packed_file(tmp_path):
    plain = load_criteo_attribution(written(tmp_path))
    (tmp_path / "packed.tsv.gz").write_bytes(gzip.compress((tmp_path / "criteo.tsv").read_bytes()))
    packed = load_criteo_attribution(tmp_path / "packed.tsv")
    assert plain.columns["time"].tolist() == packed.columns["time"].tolist()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"uid": "nan"}, r"criteo.tsv, line 4: uid must be a whole number, but it is missing"),
        ({"uid": "inf"}, r"criteo.tsv, line 4: uid must be a whole number, not 'inf'"),
        ({"uid": "1e30"}, r"criteo.tsv, line 4: uid must be a whole number, not '1e30'"),
        ({"uid": "ann"}, r"criteo.tsv, line 4: uid must be a whole number, not 'ann'"),
        ({"timestamp": ""}, r"line 4: timestamp must be a whole number, but it is missing"),
        ({"timestamp": 2**40}, r"line 4: timestamp must be a whole number, not '1099511627776'"),
        ({"cat3": 1.5}, r"line 4: cat3 must be a whole number, not '1.5'"),
        ({"cost": "free"}, r"line 4: cost must be a number, not 'free'"),
        ({"cpo": "inf"}, r"line 4: cpo must be a finite number, not inf; 1 of 7 is wrong"),
        ({"cpo": ""}, r"line 4: cpo must be a finite number, not nan"),
        ({"click": 2}, r"line 4: click must be 0 or 1, not 2; 1 of 7 is wrong"),
        ({"click": 300}, r"line 4: click must be a whole number, not '300'"),
        ({"conversion": 0}, r"line 4: conversion_id must be -1 exactly where conversion is 0, not 100"),
        ({"conversion_id": -1}, r"line 4: conversion_id must be -1 exactly where conversion is 0, not -1"),
        ({"conversion_timestamp": -1}, r"line 4: conversion_timestamp must be known where conversion is 1, not -1"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(tmp_path, changed, message):
    for read in (load_criteo_attribution, load_criteo_impressions):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy has nothing to add
            with pytest.raises(FileError, match=message):
                read(written(tmp_path, **changed))


def test_a_refused_file_is_closed(tmp_path):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(FileError):
            load_criteo_attribution(written(tmp_path, uid="ann"))
        gc.collect()
    assert not [warning for warning in told if warning.category is ResourceWarning]


def test_wrong_files_are_named(tmp_path):
    file = written(tmp_path)
    text = file.read_text()
    for changed, message in [
        ("", r"criteo.tsv is empty"),
        (text.partition("\n")[0] + "\n", r"has a header, but no impression"),
        (text.replace("campaign", "campain", 1), r"has no column 'campaign'. Did you mean 'campain'"),
        (text.replace("\n0\t", "\n\n0\t", 1), r"line 2: timestamp must be a whole number, but it is missing"),
        (text[:-30], r"line 8: .* must be a (whole )?number"),
        (text.replace("\n0\t", "\n0\t0\t", 1), r"criteo.tsv cannot be read: .* in line 2, saw 23"),
        (text.replace("\n86400\t", "\n86400\t0\t", 1), r"criteo.tsv, line 3: "),
    ]:
        file.write_text(changed)
        with pytest.raises(FileError, match=message):
            load_criteo_attribution(file)
    with pytest.raises(FileError, match=r"There is no file .*other.tsv"):
        load_criteo_impressions(tmp_path / "other.tsv")
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(text.encode())[:-15])
    with pytest.raises(FileError, match=r"cut.tsv.gz cannot be read"):
        load_criteo_attribution(tmp_path / "cut.tsv.gz")


def test_wrong_settings_and_a_file_without_a_touch_are_named(tmp_path):
    with pytest.raises(ConfigError, match="touches must be 'clicks' or 'impressions', not 'all'"):
        load_criteo_attribution(written(tmp_path), touches="all")
    with pytest.raises(FileError, match="no touch is left"):
        load_criteo_attribution(written(tmp_path, [line(1, 1, 1, 0)]))
