"""Filters of dirty clicks: what is filtered, by hand and by twins; what is not, on clean clicks; and that it is masked, not negative."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr import ClickLog, Items
from ultr.data.filters import Bursts, DoubleClicks, RobotTraffic, ShortDwell, masked, masked_pairs, summary
from ultr.data.source import Chunked
from ultr.errors import ConfigError, FileError, LogError
from ultr.estimators import WMF
from ultr.training.feedback import feedback_of
from ultr.training.labels import labels_of
from ultr.training.settings import Training

FALSE_ALARM = 1e-5  # one-sided, a comparison


def clicks_at(time, user=0, item=0, **columns):
    """A log of clicks, one a page."""
    n = len(time)
    columns = {"item": np.broadcast_to(item, n), "click": np.ones(n, dtype=np.int8), "time": np.asarray(time), **columns}
    return ClickLog(np.arange(n + 1), columns, {"user": np.broadcast_to(user, n)})


def filtered(log):
    """True where a row has weight 0, which is where it has a reason."""
    np.testing.assert_array_equal(log.columns["weight"] == 0, log.columns["reason"] != "")
    return log.columns["weight"] == 0


def shuffled(log, rng):
    """The log with its pages, and the rows of each page, in another order; the column `row` says where a row was."""
    log = log.with_columns(row=np.arange(log.n_rows)).take(rng.permutation(len(log)))
    order = np.lexsort((rng.random(log.n_rows), log.page_of_row()))
    return ClickLog(log.offsets, {name: values[order] for name, values in log.columns.items()}, log.page_columns, log.items)


def dirty(rng, n_pages=400):
    """Pages of three rows with everything that a filter looks at; some users and times are busy, some dwell times missing."""
    shape = n_pages * 3
    columns = {
        "item": rng.integers(12, size=shape),
        "position": np.tile(np.arange(3), n_pages),
        "click": rng.integers(2, size=shape),
        "dwell": np.where(rng.random(shape) < 0.3, np.nan, rng.exponential(30, shape)),
        "length": rng.integers(100, 2000, size=shape).astype(float),
    }
    busy = rng.random(n_pages) < 0.3
    time = np.where(busy, 1500 + rng.random(n_pages) * 30, rng.random(n_pages) * 3600)
    user = np.where(busy, rng.geometric(0.5, n_pages), rng.integers(9, size=n_pages))
    return ClickLog(np.arange(0, shape + 1, 3), columns, {"user": user, "time": time})


FILTERS = [
    DoubleClicks(window=60),
    RobotTraffic(rates=[(12, 30.0)]),
    ShortDwell(quantile=0.2, bins=3),
    ShortDwell(seconds=20),
    Bursts(window=60, z=3, dispersion=0.1),
]


# Double clicks


@pytest.mark.parametrize(
    "times, kept",
    [
        (["10:01:00", "10:01:29"], [1]),
        (["10:01:00", "10:01:35"], [0, 1]),
        (["10:01:00", "10:01:30"], [1]),  # at most 30 seconds between the two
        (["10:01:00", "10:01:29", "10:01:58"], [2]),  # of two the first is removed, and so on
        (["10:01:00", "10:01:29", "10:02:00"], [1, 2]),
        (["10:01:29", "10:01:00"], [0]),  # the order of the rows is not that of the clicks
    ],
)
def test_the_example_of_counter(times, kept):
    for time in (np.array([f"2024-05-01T{time}" for time in times], dtype="datetime64[s]"), pd.to_timedelta(times).total_seconds()):
        out = DoubleClicks()(clicks_at(np.asarray(time)))
        assert np.flatnonzero(~filtered(out)).tolist() == kept
        assert set(out.columns["reason"][filtered(out)]) <= {"double click"}
        assert out.columns["click"].all()


def test_other_items_and_other_users_do_not_repeat_a_click():
    assert not filtered(DoubleClicks()(clicks_at([0, 1, 2], item=[0, 1, 2]))).any()
    assert not filtered(DoubleClicks()(clicks_at([0, 1, 2], user=["a", "b", "c"]))).any()


def test_a_skip_repeats_nothing():
    log = clicks_at([0, 1, 2]).with_columns(click=np.array([1, 0, 0]))
    assert not filtered(DoubleClicks()(log)).any()


def test_the_lower_of_two_simultaneous_clicks_is_kept():
    log = clicks_at([5, 5], position=np.array([3, 1]))
    assert filtered(DoubleClicks()(log)).tolist() == [False, True]


def gaps(rate, seed, users=100, clicks=200):
    """Clean clicks: each user clicks one item at a constant rate."""
    time = np.random.default_rng(seed).exponential(1 / rate, (users, clicks)).cumsum(axis=1)
    return clicks_at(time.reshape(-1), np.repeat(np.arange(users), clicks)), users * (clicks - 1)


def test_double_clicks_on_clean_clicks_come_at_the_nominal_rate():
    log, n = gaps(rate=1e-3, seed=0)  # two-sided, false alarm 1e-5
    assert scipy.stats.binomtest(int(filtered(DoubleClicks()(log)).sum()), n, 1 - np.exp(-30e-3)).pvalue > FALSE_ALARM


def test_the_test_above_sees_a_rate_that_is_a_quarter_higher():
    log, n = gaps(rate=1.25e-3, seed=0)
    assert scipy.stats.binomtest(int(filtered(DoubleClicks()(log)).sum()), n, 1 - np.exp(-30e-3)).pvalue < FALSE_ALARM


# Robots


def test_more_clicks_than_allowed_within_the_time_make_a_robot():
    robot, user = [0, 4, 9], [0, 4, 10]  # the rule counts within less than 10 seconds
    log = clicks_at(robot + user + robot[:2], ["r"] * 3 + ["u"] * 3 + ["v"] * 2)
    out = RobotTraffic(rates=[(2, 10)])(log)
    assert filtered(out).tolist() == [True] * 3 + [False] * 5
    assert set(out.columns["reason"]) == {"robot", ""}
    assert filtered(RobotTraffic(rates=[(2, 10), (1, 5)])(log)).all()  # any rule suffices


def test_what_a_robot_skips_is_filtered_too():
    log = ClickLog([0, 2, 4, 6], {"item": np.arange(6), "click": np.array([1, 0, 1, 0, 1, 0])}, {"user": [1, 1, 2], "time": [0, 1, 2]})
    assert filtered(RobotTraffic(rates=[(1, 10)])(log)).tolist() == [True] * 4 + [False] * 2


def test_user_agents_on_the_list_are_robots(tmp_path):
    (tmp_path / "robots.txt").write_text("# a list\n\nbot\n^curl/\\d\n")
    agents = ["Mozilla/5.0", "SomeBot/2.1", "curl/8", "not curl/8", None]
    log = ClickLog([0, 1, 2, 3, 4, 5], {"item": np.zeros(5, dtype=int)}, {"user_agent": np.array(agents, dtype=object)})
    robots = RobotTraffic(agents=tmp_path / "robots.txt")
    assert filtered(robots(log)).tolist() == [False, True, True, False, False]
    rows = ClickLog([0, 5], {"item": np.zeros(5, dtype=int), "client": np.array(agents, dtype=object)})
    assert filtered(RobotTraffic(agents=str(tmp_path / "robots.txt"), agent_column="client")(rows)).tolist() == [
        False,
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(
        LogError, match=r"RobotTraffic needs the row or page column 'user_agent', which the log lacks. It has: item, client"
    ):
        robots(rows)


def test_a_list_that_is_no_list_is_refused(tmp_path):
    (tmp_path / "robots.txt").write_text("bot\n(\n")
    with pytest.raises(FileError, match=r"robots.txt, line 2: '\(' is no regular expression: .*"):
        RobotTraffic(agents=tmp_path / "robots.txt")
    with pytest.raises(FileError, match="There is no file"):
        RobotTraffic(agents=tmp_path / "robot.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(FileError, match="holds no regular expression"):
        RobotTraffic(agents=tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="cannot be read as text"):
        RobotTraffic(agents=tmp_path / "binary.txt")


def robots_found(rate, seed, users=500, clicks=100):
    """How many of clean users the rule of more than 5 clicks within 60 seconds filters."""
    time = np.random.default_rng(seed).exponential(1 / rate, (users, clicks)).cumsum(axis=1)
    out = RobotTraffic(rates=[(5, 60)])(clicks_at(time.reshape(-1), np.repeat(np.arange(users), clicks)))
    return len(np.unique(np.repeat(np.arange(users), clicks)[filtered(out)]))


def most_robots(rate, users=500, clicks=100):
    """The count that is exceeded with a probability of FALSE_ALARM at most, where users are filtered at the nominal rate."""
    return scipy.stats.binom.isf(FALSE_ALARM, users, clicks * scipy.stats.poisson.sf(4, rate * 60))


def test_a_rate_rule_filters_no_more_clean_users_than_it_says():
    assert robots_found(0.01, seed=1) <= most_robots(0.01)


def test_the_test_above_sees_users_who_are_twice_as_fast():
    assert robots_found(0.02, seed=1) > most_robots(0.01)


# Dwell times


def test_one_threshold():
    log = clicks_at(np.zeros(4), dwell=np.array([9.9, 10.0, np.nan, 0.0]))
    out = ShortDwell(seconds=10)(log)
    assert filtered(out).tolist() == [True, False, False, True]
    assert set(out.columns["reason"]) == {"short dwell", ""}
    durations = log.with_columns(dwell=np.array([9900, 10000, "NaT", 0], dtype="timedelta64[ms]"))
    np.testing.assert_array_equal(filtered(ShortDwell(seconds=10)(durations)), filtered(out))


def test_a_threshold_for_each_bin_of_lengths():
    length = np.array([1.0, 2, 3, 100, 200, 300, np.nan])
    log = clicks_at(np.zeros(7), dwell=np.array([4.0, 6, 6, 6, 6, 60, 0]), length=length)  # half of the lengths are below 51.5
    assert filtered(ShortDwell(seconds=(5, 50), bins=2)(log)).tolist() == [True, False, False, True, True, False, False]


def test_a_quantile_of_each_bin_of_lengths():
    dwell, length = np.array([1.0, 2, 3, 4, 10, 20, 30, 40]), np.array([1.0] * 4 + [9.0] * 4)
    log = clicks_at(np.zeros(8), dwell=dwell, length=length)  # lower quartiles 1.75 and 17.5
    assert filtered(ShortDwell(quantile=0.25, bins=2)(log)).tolist() == [True, False, False, False, True, False, False, False]
    assert filtered(ShortDwell(quantile=0.25)(log)).tolist() == [True, True, False, False, False, False, False, False]
    renamed = ClickLog(log.offsets, {"item": log.columns["item"], "stay": dwell, "words": length})
    assert filtered(ShortDwell(quantile=0.25, bins=2, dwell="stay", length="words")(renamed)).sum() == 2


@given(
    dwell=st.lists(st.one_of(st.just(np.nan), st.floats(0, 1e6)), min_size=1, max_size=40),
    quantile=st.floats(0.01, 0.99),
    bins=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_missing_dwell_is_never_short_and_a_quantile_filters_no_more_than_it_says(dwell, quantile, bins, seed):
    length = np.random.default_rng(seed).integers(1, 5, len(dwell)).astype(float)
    out = filtered(ShortDwell(quantile=quantile, bins=bins)(clicks_at(np.zeros(len(dwell)), dwell=np.array(dwell), length=length)))
    assert not out[np.isnan(dwell)].any()
    assert not filtered(ShortDwell(seconds=1e9)(clicks_at(np.zeros(len(dwell)), dwell=np.array(dwell))))[np.isnan(dwell)].any()
    edges = np.quantile(length[~np.isnan(dwell)], np.arange(1, bins) / bins) if (~np.isnan(dwell)).any() else np.zeros(bins - 1)
    number = np.searchsorted(edges, length)
    for one in range(bins):
        known = (number == one) & ~np.isnan(dwell)
        assert out[known].sum() <= np.ceil(quantile * known.sum())


# Bursts


def counted(counts, seed=0):
    """Clicks [items, windows] at random times within windows of length 1, and the flat number of the window of each click."""
    counts = np.asarray(counts)
    cell = np.repeat(np.arange(counts.size), counts.reshape(-1))
    item, window = np.divmod(cell, counts.shape[1])
    return clicks_at(window + np.random.default_rng(seed).random(len(cell)), item=item), cell


def loud_windows(counts, **arguments):
    log, cell = counted(counts)
    out = np.zeros(np.asarray(counts).size, dtype=bool)
    out[cell[filtered(Bursts(window=1.0, **arguments)(log))]] = True
    return out.reshape(np.shape(counts))


def test_a_burst_by_hand():
    counts = np.array([[1, 1, 1, 9, 1, 1, 1]])
    log = clicks_at(np.repeat(np.arange(7), counts[0]) + 0.0)  # the first click is at 0, the last at 6: six windows long
    p = scipy.stats.binom.sf(8, 15, 1 / 6)  # 9 of 15 clicks in the one of 1 + 5 windows
    z = scipy.stats.norm.isf(p)
    assert filtered(Bursts(window=1, z=z - 1e-6)(log)).tolist() == [False] * 3 + [True] * 9 + [False] * 3
    assert not filtered(Bursts(window=1, z=z + 1e-6)(log)).any()
    dispersed = scipy.stats.norm.isf(scipy.stats.betabinom.pmf(np.arange(9, 16), 15, 1 / 0.3, 5 / 0.3).sum())
    assert filtered(Bursts(window=1, z=dispersed - 1e-6, dispersion=0.3)(log)).sum() == 9
    assert not filtered(Bursts(window=1, z=dispersed + 1e-6, dispersion=0.3)(log)).any()


def plain_bursts(counts, begin, end, z, baseline, dispersion):
    """The same definition in loops."""
    items, windows = counts.shape
    loud = np.zeros(counts.shape, dtype=bool)
    for _ in range(2):
        found = loud.copy()
        for item in range(items):
            for window in range(windows):
                around = [w for w in range(max(0, window - baseline), min(windows, window + baseline + 1)) if w != window]
                y = sum(counts[item, w] for w in around if not loud[item, w])
                whole = sum(min(end, w + 1) - max(begin, w) for w in around)
                m = max(0.0, whole - sum(loud[item, w] for w in around))
                x = counts[item, window]
                if x == 0 or m < 1e-9:
                    continue
                p = scipy.stats.binom.sf(x - 1, x + y, 1 / (1 + m))
                if dispersion:
                    p = max(p, scipy.stats.betabinom.pmf(np.arange(x, x + y + 1), x + y, 1 / dispersion, m / dispersion).sum())
                found[item, window] |= p < scipy.stats.norm.sf(z)
        loud = found
    return loud


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), z=st.floats(1, 4), baseline=st.integers(1, 9), dispersion=st.sampled_from([0.0, 0.4]))
def test_bursts_agree_with_loops(seed, z, baseline, dispersion):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.choice([0.3, 2.0], (3, 1)), (3, 12)) + 12 * (rng.random((3, 12)) < 0.1)
    counts[0, [0, -1]] += 1
    log, _ = counted(counts)
    begin, end = log.columns["time"].min(), log.columns["time"].max()
    expected = plain_bursts(counts, begin, end, z, baseline, dispersion)
    np.testing.assert_array_equal(loud_windows(counts, z=z, baseline=baseline, dispersion=dispersion), expected & (counts > 0))


def test_a_burst_does_not_hide_the_one_beside_it():
    counts = np.ones((1, 31), dtype=int)
    counts[0, [15, 16]] = 10, 60
    both = np.flatnonzero(loud_windows(counts, z=4.0))
    assert both.tolist() == [15, 16]
    hidden = scipy.stats.norm.isf(scipy.stats.binom.sf(9, 10 + 60 + 29, 1 / 30))  # in one look the smaller is not found
    assert hidden < 4.0


def test_skips_in_a_burst_are_filtered_too_where_their_time_is_known():
    time = np.r_[np.arange(20.0), np.full(30, 10.5), [10.2, np.nan]]
    log = clicks_at(time).with_columns(click=np.r_[np.ones(50, dtype=int), 0, 0])
    out = filtered(Bursts(window=1, z=4)(log))
    assert out[[10, 25, 50]].all()
    assert not out[[9, 11, 51]].any()


@pytest.mark.parametrize("counts", [[[30]], [[30, 0, 0, 0]], [[5, 5, 5, 5, 5, 5]]])
def test_what_has_no_baseline_or_is_steady_is_kept(counts):
    assert not loud_windows(counts, z=2).any()


def clean_excess(mean, truth, dispersion=0.0, z=2.5, items=400, windows=100):
    """Standardised excess, over the nominal rate, of the windows that are filtered though clicks are clean."""
    rng = np.random.default_rng(7)
    level = np.full((items, windows), float(mean)) if not truth else rng.gamma(1 / truth, mean * truth, (items, windows))
    excess = loud_windows(rng.poisson(level), z=z, dispersion=dispersion).mean(axis=1) - scipy.stats.norm.sf(z)
    return excess.mean() / (excess.std(ddof=1) / np.sqrt(items))


@pytest.mark.parametrize("mean", [0.05, 0.5, 5, 40])
def test_bursts_on_clean_poisson_clicks_are_no_more_than_nominal(mean):
    assert clean_excess(mean, 0.0) < scipy.stats.t.isf(FALSE_ALARM, df=399)


def test_bursts_on_clean_negative_binomial_clicks_are_no_more_than_nominal():
    assert clean_excess(5, 0.3, dispersion=0.3) < scipy.stats.t.isf(FALSE_ALARM, df=399)


def test_the_tests_above_see_clicks_that_are_more_dispersed_than_they_should_be():
    assert clean_excess(5, 0.3) > scipy.stats.t.isf(FALSE_ALARM, df=399)
    assert clean_excess(40, 0.05) > scipy.stats.t.isf(FALSE_ALARM, df=399)


# All of them


@pytest.mark.parametrize("clean", FILTERS)
def test_a_filter_drops_no_row_changes_no_click_and_comes_to_the_same_verdict_again(clean):
    log = dirty(np.random.default_rng(3))
    once = clean(log)
    assert 0 < filtered(once).sum() < log.n_rows
    for name, values in log.columns.items():
        np.testing.assert_array_equal(once.columns[name], values)
    np.testing.assert_array_equal(once.offsets, log.offsets)
    twice = clean(once)
    for name in ("weight", "reason"):
        np.testing.assert_array_equal(twice.columns[name], once.columns[name])
    chunked = clean(Chunked(log, 7))
    np.testing.assert_array_equal(chunked.columns["reason"], once.columns["reason"])


@pytest.mark.parametrize("clean", FILTERS)
def test_no_verdict_depends_on_the_order_of_rows_and_pages(clean):
    rng = np.random.default_rng(11)
    log = dirty(rng)
    mixed = clean(shuffled(log, rng))
    expected = clean(log).columns["reason"]
    np.testing.assert_array_equal(mixed.columns["reason"], expected[mixed.columns["row"]])


@pytest.mark.parametrize("clean", FILTERS)
def test_a_log_without_clicks_or_pages_passes(clean):
    log = dirty(np.random.default_rng(3))
    for empty in (log.take(np.arange(0)), log.with_columns(click=np.zeros(log.n_rows, dtype=int))):
        out = clean(empty)
        assert (out.columns["weight"] == 1).all()
        assert masked(out).n_rows == empty.n_rows
        assert summary(out)["rows"].sum() == empty.n_rows


@pytest.mark.parametrize("clean", FILTERS)
def test_a_compressed_log_is_refused(clean):
    log = ClickLog([0, 1], {"item": [0], "click": [2]}, {"user": [0], "time": [0.0], "count": [3]})
    with pytest.raises(LogError, match=f"{type(clean).__name__} judges single clicks, which a compressed log has merged"):
        clean(log)


def test_filters_follow_one_another():
    time = np.r_[np.zeros(10), 100 + np.arange(3.0)]
    log = clicks_at(time, user=["robot"] * 10 + ["user"] * 3, item=np.r_[np.arange(10), 0, 0, 0])
    log = log.with_columns(weight=np.r_[np.full(10, 0.5), 0.25, 0.25, 0.25])
    out = DoubleClicks()(RobotTraffic(rates=[(5, 10)])(log))
    assert out.columns["weight"].tolist() == [0] * 12 + [0.25]  # what was there is kept where a row is
    assert out.columns["reason"].tolist() == ["robot"] * 10 + ["double click"] * 2 + [""]
    seen = Bursts(window=1, z=1.0)(RobotTraffic(rates=[(5, 10)])(clicks_at(time, user=["robot"] * 10 + ["user"] * 3)))
    assert "burst" not in seen.columns["reason"]  # the robot's clicks, left out, are no burst


@pytest.mark.parametrize(
    "one, other",
    [
        (DoubleClicks(window=5), DoubleClicks(window=300)),
        (RobotTraffic(rates=[(12, 30)]), RobotTraffic(rates=[(20, 30)])),
        (RobotTraffic(rates=[(12, 30)]), RobotTraffic(rates=[(12, 10)])),
        (ShortDwell(seconds=20), ShortDwell(seconds=30)),
        (ShortDwell(quantile=0.2), ShortDwell(quantile=0.3)),
        (ShortDwell(quantile=0.2), ShortDwell(quantile=0.2, bins=4)),
        (Bursts(window=60, z=3), Bursts(window=120, z=3)),
        (Bursts(window=60, z=3), Bursts(window=60, z=8)),
        (Bursts(window=60, z=3), Bursts(window=60, z=3, baseline=1)),
        (Bursts(window=60, z=5), Bursts(window=60, z=5, dispersion=3)),
    ],
)
def test_every_setting_has_an_effect(one, other):
    log = dirty(np.random.default_rng(3))
    assert (filtered(one(log)) != filtered(other(log))).any()


# What is learnt from


def test_a_filtered_row_is_neither_a_click_nor_a_skip():
    log = ClickLog([0, 3, 3, 5], {"item": [0, 1, 2, 0, 1], "position": [0, 1, 2, 0, 1], "click": [1, 0, 1, 1, 0]}, {"user": [7, 8, 9]})
    out = masked(log.with_columns(weight=np.array([1, 1, 0, 0, 0])))
    assert len(out) == 2  # the third page tells nothing; the second is empty, and says so
    assert out.page_columns["user"].tolist() == [7, 8]
    assert out.offsets.tolist() == [0, 2, 2]
    assert out.columns["item"].tolist() == [0, 1]
    assert out.columns["click"].tolist() == [1, 0]
    assert masked(log.with_columns(weight=np.array([1, 0.5, 0, 1, 1]))).columns["position"].tolist() == [0, 1, 0, 1]


def test_pairs_of_which_only_filtered_clicks_are_known():
    item, click, weight = np.array([0, 0, 1, 2, 3, 4, 4]), np.array([1, 1, 1, 0, 0, 1, 0]), np.array([0, 1, 0, 0, 1, 0, 1])
    log = ClickLog([0, 7], {"item": item, "click": click, "weight": weight}, {"user": np.array(["u"], dtype=object)})
    users, items = masked_pairs(log)
    assert items.tolist() == [1, 2, 4]  # 0 has a kept click, 3 a kept skip and no other row
    assert users.tolist() == ["u"] * 3
    assert masked_pairs(log.with_columns(weight=np.ones(7)))[1].tolist() == []


def test_implicit_feedback_of_a_masked_log():
    log = ClickLog([0, 2, 3, 4], {"item": [0, 1, 1, 2], "click": [1, 1, 1, 1]}, {"user": [5, 6, 7]}, Items(ids=np.arange(4)))
    log = log.with_columns(weight=np.array([1, 0, 0, 1]))
    feedback, (users, items) = feedback_of(masked(log), "click", "a test"), masked_pairs(log)
    assert feedback.users.tolist() == [5, 7]  # nothing is known about user 6, so no pair of this user counts
    assert feedback.item.tolist() == [0, 2]
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == [(5, 1), (6, 1)]  # unlabelled pairs that are none


def test_summary():
    log = clicks_at([0, 1, 2, 50, 60], user=["a", "a", "b", "b", "b"]).with_columns(click=np.array([1, 1, 1, 1, 0]))
    table = summary(DoubleClicks()(log))
    assert table.to_dict("list") == {"reason": ["", "double click"], "rows": [4, 1], "clicks": [3, 1], "users": [2, 1]}
    nobody = ClickLog(log.offsets, log.columns)
    assert list(summary(Bursts(window=1)(nobody)).columns) == ["reason", "rows", "clicks"]


def test_a_filtered_log_is_written_and_read(tmp_path):
    from ultr import ParquetLog

    out = DoubleClicks()(clicks_at([0.0, 1.0, 2.0]))
    out.write_parquet(tmp_path / "log")
    back = ParquetLog.open(tmp_path / "log")
    assert masked(back).n_rows == 1
    np.testing.assert_array_equal(DoubleClicks()(back).columns["reason"], out.columns["reason"])


# What is refused


@pytest.mark.parametrize(
    "clean, without, message",
    [
        (DoubleClicks(), "time", "DoubleClicks needs the row or page column 'time', which the log lacks. It has: item"),
        (Bursts(window=1), "time", "Bursts needs the row or page column 'time'"),
        (RobotTraffic(rates=[(1, 1)]), "time", "RobotTraffic needs the row or page column 'time'"),
        (DoubleClicks(), "user", "DoubleClicks needs the page column 'user', which the log lacks"),
        (RobotTraffic(rates=[(1, 1)]), "user", "RobotTraffic needs the page column 'user', which the log lacks"),
        (ShortDwell(seconds=1), "dwell", "ShortDwell needs the column 'dwell', which the log lacks"),
        (ShortDwell(quantile=0.1, bins=2), "length", "ShortDwell needs the column 'length', which the log lacks"),
        (masked, "", "masked needs the column 'weight', which the log lacks"),
        (masked_pairs, "", "masked_pairs needs the column 'weight', which the log lacks"),
        (summary, "", "summary needs the column 'reason', which the log lacks"),
    ],
)
def test_a_missing_column_is_named(clean, without, message):
    log = dirty(np.random.default_rng(0), 5)
    columns, pages = ({name: values for name, values in kind.items() if name != without} for kind in (log.columns, log.page_columns))
    with pytest.raises(LogError, match=message) as caught:
        clean(ClickLog(log.offsets, columns, pages))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "clean, changes, message",
    [
        (ShortDwell(seconds=1), {"dwell": [1, -1, 2]}, "dwell must be finite and not negative: page 1, row 0 has -1.0; 1 of 3 is wrong."),
        (ShortDwell(seconds=1), {"dwell": [1, np.inf, 2]}, "dwell must be finite and not negative: page 1, row 0 has inf"),
        (ShortDwell(seconds=1), {"dwell": np.array(["1", "2", "long"])}, "dwell must be a number: page 2, row 0 has 'long'"),
        (ShortDwell(quantile=0.5, bins=2), {"dwell": [1, 1, 1], "length": [1, -5, 1]}, "length must be finite and not negative: page 1"),
        (
            DoubleClicks(),
            {"time": [0, np.nan, np.inf]},
            "time of a click must be known and finite: page 1, row 0 has nan; 2 of 3 are wrong.",
        ),
        (Bursts(window=1), {"time": np.array(["2024-01-01", "NaT", "2024-01-02"], "datetime64[s]")}, "time of a click must be known"),
        (DoubleClicks(), {"click": [0, 2, 1]}, "click must be 0 or 1"),
        (DoubleClicks(), {"weight": [0, 2, 1]}, r"weight must be in \[0, 1\]: page 1, row 0 has 2"),
        (masked, {"weight": [0, np.nan, 1]}, r"weight must be in \[0, 1\]: page 1, row 0 has nan"),
    ],
)
def test_bad_values_are_refused_with_their_place(clean, changes, message):
    with pytest.raises(LogError, match=message):
        clean(clicks_at([0.0, 1.0, 2.0]).with_columns(**{name: np.asarray(values) for name, values in changes.items()}))


def test_a_page_without_a_user_is_refused():
    with pytest.raises(LogError, match="user must not be missing: page 1 has None; 1 of 2 is wrong"):
        DoubleClicks()(clicks_at([0, 1], user=np.array(["a", None], dtype=object)))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DoubleClicks(window=0), "DoubleClicks: window must be a number of seconds above 0, not 0"),
        (lambda: DoubleClicks(window="30"), "not '30'"),
        (RobotTraffic, "RobotTraffic needs rates, such as"),
        (lambda: RobotTraffic(rates=(100, 3600)), r"rates must be pairs \(clicks, seconds\)"),
        (lambda: RobotTraffic(rates=[(0, 3600)]), r"a rate is a whole number of clicks, 1 or more, and seconds above 0, not \(0, 3600\)"),
        (lambda: RobotTraffic(rates=[(1.5, 3600)]), "a rate is a whole number"),
        (lambda: RobotTraffic(rates=[(np.inf, 3600)]), "a rate is a whole number"),
        (lambda: RobotTraffic(rates=[(5, -1)]), "seconds above 0"),
        (ShortDwell, "ShortDwell needs either seconds or quantile, not neither"),
        (lambda: ShortDwell(seconds=1, quantile=0.1), "not both"),
        (lambda: ShortDwell(seconds=1, bins=2), r"bins=2 needs 2, not 1"),
        (lambda: ShortDwell(seconds=(1, -2), bins=2), "a threshold above 0 for each bin"),
        (lambda: ShortDwell(seconds=0), "a threshold above 0"),
        (lambda: ShortDwell(quantile=1), r"quantile must be in \(0, 1\), not 1"),
        (lambda: ShortDwell(quantile=0.1, bins=0), "bins must be a whole number of at least 1, not 0"),
        (lambda: Bursts(window=0), "Bursts: window must be a number above 0, not 0"),
        (lambda: Bursts(window=1, z=-1), "z must be a number above 0"),
        (lambda: Bursts(window=1, baseline=0), "baseline must be a whole number of windows, at least 1, not 0"),
        (lambda: Bursts(window=1, dispersion=-1), "dispersion must be at least 0, not -1"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_estimators_refuse_rows_that_were_filtered_and_not_masked():
    log = DoubleClicks()(clicks_at([0.0, 1.0, 500.0]))
    with pytest.raises(LogError, match=r"Naive: 1 of 3 rows were filtered.*masked\(log\)"):
        labels_of(log, "click", "Naive")
    assert len(feedback_of(masked(log), "click", "test")) == 1
    WMF(training=Training(steps=1, validation=0)).fit(log)  # pairs whose clicks were filtered are left out
