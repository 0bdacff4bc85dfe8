"""Dirty clicks with truth: what is added and what stays, and how well filters find it."""

import numpy as np
import pytest
import scipy.stats

from simulators import MissingNotAtRandom, RandomPolicy, noise, simulate_clicks
from ultr import ClickLog, ParquetLog, synthetic_ranking
from ultr.data.filters import Bursts, DoubleClicks, RobotTraffic, ShortDwell, masked
from ultr.errors import ConfigError, LogError

DAY = 86_400.0
FALSE_ALARM = 1e-5  # one-sided, a comparison
LAWS = [
    noise.Crawlers(users=2, clicks=40),
    noise.ClickBursts(items=3, clicks=20),
    noise.AccidentalDoubles(share=0.3),
    noise.Misclicks(share=0.1),
]
KINDS = ["crawler", "burst", "double click", "misclick"]


def implicit(seed=0):
    """A page all that a user did, times in a row column."""
    log = MissingNotAtRandom(300, 100, seed=1).log(seed=seed, rows="exposed")
    log = noise.timed(log, 30 * DAY, per="row", seed=seed)
    dwell = np.random.default_rng(seed).lognormal(4, 1, log.n_rows)
    return log.with_columns(dwell=np.where(log.columns["click"] > 0, dwell, np.nan))


def pages(seed=0, n_pages=2_000):
    """Pages of a search engine with times and users in page columns."""
    data = synthetic_ranking(20, 12, 3, seed=2)
    log = simulate_clicks(data, policy=RandomPolicy(), n_pages=n_pages, seed=seed)
    log = noise.timed(log, 30 * DAY, n_users=200, seed=seed)
    return log.with_columns(dwell=np.full(log.n_rows, 60.0))


def found(log, clean, kind):
    """Precision and recall of a filter."""
    out = clean(log)
    flagged, dirty = out.columns["weight"] == 0, out.columns["noise"] == kind
    return (flagged & dirty).sum() / max(1, flagged.sum()), (flagged & dirty).sum() / dirty.sum()


@pytest.mark.parametrize("make", [implicit, pages])
@pytest.mark.parametrize("law, kind", list(zip(LAWS, KINDS, strict=True)), ids=KINDS)
def test_noise_is_added_and_named_and_the_rest_stays(make, law, kind):
    log = make()
    out = law(log, seed=5)
    dirty = out.columns["noise"] == kind
    assert set(out.columns["noise"]) == {"", kind}
    assert (out.columns["click"][dirty] == 1).all()
    clean = np.ones(log.n_rows, dtype=bool)
    if kind == "misclick":
        clean = ~dirty
        assert out.n_rows == log.n_rows
        assert (log.columns["click"][dirty] == 0).all()
    else:
        assert out.n_rows == log.n_rows + dirty.sum() == log.n_rows + len(out) - len(log)
    for name, values in log.columns.items():
        np.testing.assert_array_equal(out.columns[name][~dirty], values[clean])
    for name, values in log.page_columns.items():
        whole = np.ones(len(out), dtype=bool)
        whole[out.page_of_row()[dirty & (kind != "misclick")]] = False
        np.testing.assert_array_equal(out.page_columns[name][whole], values)


@pytest.mark.parametrize("law", LAWS, ids=KINDS)
def test_the_seed_says_everything(law):
    log = pages()
    state = np.random.get_state()[1].copy()
    first, again, other = law(log, seed=5), law(log, seed=5), law(log, seed=6)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    for name, values in first.columns.items():
        np.testing.assert_array_equal(values, again.columns[name])
    for name, values in first.page_columns.items():
        np.testing.assert_array_equal(values, again.page_columns[name])
    differs = len(first) != len(other) or any((first.columns[name] != other.columns[name]).any() for name in ("item", "noise"))
    assert differs


def test_crawlers_have_ids_of_their_own_and_click_at_their_pace():
    log = pages()
    out = noise.Crawlers(users=3, clicks=200, pause=5)(log, seed=1)
    new = np.arange(len(log), len(out))
    user, time = out.page_columns["user"][new], out.page_columns["time"][new]
    assert np.unique(user).tolist() == [log.page_columns["user"].max() + i for i in (1, 2, 3)]
    assert (np.bincount(user)[-3:] == 200).all()
    gap = np.diff(time.reshape(3, 200), axis=1)
    assert (gap > 0).all()
    assert scipy.stats.kstest(gap.reshape(-1), "expon", args=(0, 5)).pvalue > FALSE_ALARM


def item_rates(log, kind):
    """Mean true relevance of the clicked rows of a kind, standardised against that of a click on a uniform item."""
    relevance, item = log.columns["relevance"], log.columns["item"]
    known = log.columns["noise"] == ""
    mean = np.bincount(item[known], relevance[known]) / np.maximum(1, np.bincount(item[known]))
    listed = np.unique(item[known])
    clicks = (log.columns["click"] > 0) & (log.columns["noise"] == kind)
    values = mean[item[clicks]]
    return (values.mean() - mean[listed].mean()) / (mean[listed].std() / np.sqrt(len(values)))


def test_crawlers_click_whatever_the_relevance():
    log = noise.Crawlers(users=5, clicks=400)(implicit(), seed=1)
    assert abs(item_rates(log, "crawler")) < scipy.stats.norm.isf(FALSE_ALARM)


def test_the_test_above_sees_that_people_do_not():
    log = noise.Crawlers(users=5, clicks=400)(implicit(), seed=1)
    assert item_rates(log, "") > scipy.stats.norm.isf(FALSE_ALARM)


def test_bursts_stand_on_few_items_within_the_time():
    log = noise.ClickBursts(items=4, clicks=30, within=600)(pages(), seed=2)
    dirty = log.columns["noise"] == "burst"
    item, time = log.columns["item"][dirty], log.page_columns["time"][log.page_of_row()[dirty]]
    assert len(np.unique(item)) == 4
    assert (np.unique(item, return_counts=True)[1] == 30).all()
    for one in np.unique(item):
        assert np.ptp(time[item == one]) < 600


def test_accidental_clicks_come_before_the_click_that_they_double():
    log = pages()
    out = noise.AccidentalDoubles(share=0.5, within=10)(log, seed=3)
    row = np.flatnonzero(out.columns["noise"] == "double click")
    page = out.page_of_row()[row]
    dirty = np.zeros(len(out), dtype=bool)
    dirty[page] = True
    following = np.flatnonzero(~dirty)[np.searchsorted(np.flatnonzero(~dirty), page)]  # the next page that is clean
    for name in ("user", "query"):
        np.testing.assert_array_equal(out.page_columns[name][page], out.page_columns[name][following])
    gap = out.page_columns["time"][following] - out.page_columns["time"][page]
    assert ((gap >= 0) & (gap <= 10)).all()
    n = int((log.columns["click"] > 0).sum())
    assert scipy.stats.binomtest(len(row), n, 0.5).pvalue > FALSE_ALARM


def test_ids_stay_unique_and_sessions_whole(tmp_path):
    log = pages(n_pages=300)
    session = np.array([f"s{i // 3}" for i in range(300)], dtype=object)
    log = ClickLog(log.offsets, log.columns, {**log.page_columns, "session": session, "page": np.arange(300)}, log.items)
    for law in LAWS[:3] + LAWS[:1]:
        log = law(log, seed=1)
    assert len(np.unique(log.page_columns["page"])) == len(log)
    log.write_parquet(tmp_path / "log")  # refuses sessions that are cut
    assert sum(chunk.n_rows for chunk in ParquetLog.open(tmp_path / "log").chunks()) == log.n_rows


def test_names_get_names():
    log = pages(n_pages=50)
    named = np.array([f"user {i}" for i in log.page_columns["user"]], dtype=object)
    log = ClickLog(log.offsets, log.columns, {**log.page_columns, "user": named}, log.items)
    twice = noise.Crawlers(users=2, clicks=3)(noise.Crawlers(users=2, clicks=3)(log))
    assert len(set(twice.page_columns["user"])) == len(set(named)) + 4


def test_times_of_a_calendar():
    log = pages(n_pages=200)
    start = np.datetime64("2024-05-01", "ms")
    time = start + (log.page_columns["time"] * 1000).astype("timedelta64[ms]")
    dated = ClickLog(log.offsets, log.columns, {**log.page_columns, "time": time}, log.items)
    for law in LAWS[:3]:
        plain, out = law(log, seed=1), law(dated, seed=1)
        assert out.page_columns["time"].dtype == time.dtype
        apart = (out.page_columns["time"] - start) / np.timedelta64(1, "s") - plain.page_columns["time"]
        assert np.abs(apart).max() < 0.01


def test_timed():
    log = MissingNotAtRandom(50, 20).log()
    rows, once = noise.timed(log, 100.0, per="row", seed=1), noise.timed(log, 100.0, seed=1)
    assert rows.columns["time"].shape == (log.n_rows,)
    assert once.page_columns["time"].shape == (50,)
    assert "time" not in once.columns
    assert "time" not in noise.timed(rows, 100.0).columns  # the old times are gone
    np.testing.assert_array_equal(once.page_columns["user"], log.page_columns["user"])
    assert noise.timed(log, 100.0, n_users=3).page_columns["user"].max() == 2
    assert (noise.timed(log, 100.0, seed=2).page_columns["time"] != once.page_columns["time"]).any()
    assert scipy.stats.kstest(noise.timed(pages(), DAY).page_columns["time"] / DAY, "uniform").pvalue > FALSE_ALARM


@pytest.mark.parametrize("make", [implicit, pages])
def test_filters_find_what_was_added(make):
    log = make()
    precision, recall = found(noise.Crawlers()(log), RobotTraffic(rates=[(60, 3600)]), "crawler")
    assert (precision, recall) == (1, 1)
    precision, recall = found(noise.AccidentalDoubles()(log), DoubleClicks(), "double click")
    assert recall == 1
    assert precision > 0.95
    precision, recall = found(noise.ClickBursts()(log), Bursts(window=3600, z=4), "burst")
    assert recall > 0.8  # an edge of a burst may fall into the next window
    assert precision > 0.9


def misclicks_found(dwell):
    """P-value, two-sided, of the law that misclicks stay for 2 seconds in the mean."""
    out = ShortDwell(seconds=5)(noise.Misclicks(share=0.2, dwell=dwell)(implicit(), seed=4))
    dirty = out.columns["noise"] == "misclick"
    return scipy.stats.binomtest(int((out.columns["weight"][dirty] == 0).sum()), int(dirty.sum()), 1 - np.exp(-5 / 2)).pvalue


def test_short_dwell_finds_the_share_of_misclicks_that_it_should():
    assert misclicks_found(dwell=2) > FALSE_ALARM


def test_the_test_above_sees_misclicks_that_stay_longer():
    assert misclicks_found(dwell=3) < FALSE_ALARM


@pytest.mark.parametrize("make", [implicit, pages])
def test_filters_find_nothing_that_was_not_added(make):
    log = make(seed=3)
    for clean in (RobotTraffic(rates=[(60, 3600)]), Bursts(window=3600, z=6)):
        assert (clean(log).columns["weight"] == 1).all()


def test_masking_what_is_found_gives_the_clean_log_back():
    log = pages()
    dirty = noise.AccidentalDoubles(share=0.2)(noise.Crawlers()(log, seed=1), seed=2)
    clean = masked(DoubleClicks()(RobotTraffic(rates=[(60, 3600)])(dirty)))
    kept = masked(DoubleClicks()(log))
    assert clean.n_rows == kept.n_rows
    np.testing.assert_array_equal(clean.columns["item"], kept.columns["item"])
    np.testing.assert_array_equal(clean.columns["click"], kept.columns["click"])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: noise.Crawlers(users=0), "Crawlers: users must be a whole number of at least 1, not 0"),
        (lambda: noise.Crawlers(clicks=1.5), "Crawlers: clicks must be a whole number of at least 1, not 1.5"),
        (lambda: noise.Crawlers(pause=0), r"Crawlers: pause must be in \(0, inf\), not 0"),
        (lambda: noise.ClickBursts(items=0), "ClickBursts: items must be"),
        (lambda: noise.ClickBursts(clicks=True), "ClickBursts: clicks must be"),
        (lambda: noise.ClickBursts(within=-1), "ClickBursts: within must be"),
        (lambda: noise.AccidentalDoubles(share=0), r"AccidentalDoubles: share must be in \(0, 1\], not 0"),
        (lambda: noise.AccidentalDoubles(within=0), "AccidentalDoubles: within must be"),
        (lambda: noise.Misclicks(share=2), "Misclicks: share must be"),
        (lambda: noise.Misclicks(dwell=0), "Misclicks: dwell must be"),
        (lambda: noise.timed(pages(n_pages=5), 0), "timed: span must be above 0 and per one of page, row, not 0 and 'page'"),
        (lambda: noise.timed(pages(n_pages=5), 1, per="item"), "not 1 and 'item'"),
        (lambda: noise.timed(pages(n_pages=5), 1, n_users=0), "timed: n_users must be"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_logs_without_what_is_needed_are_refused():
    log = ClickLog([0, 1], {"item": [0], "click": [1]}, {"user": [0]})
    for law in LAWS[:3]:
        with pytest.raises(LogError, match="needs the row or page column 'time'"):
            law(log)
    with pytest.raises(LogError, match="Misclicks needs the column 'dwell'"):
        LAWS[3](log)
    with pytest.raises(LogError, match="Crawlers needs the page column 'user'"):
        LAWS[0](ClickLog([0, 1], {"item": [0], "time": [0.0]}))
    with pytest.raises(LogError, match=r"ClickBursts\(items=3\) needs as many distinct items; the log has 1"):
        LAWS[1](noise.timed(log, 5.0))
    with pytest.raises(LogError, match="no row of the 0 has a time"):
        LAWS[0](noise.timed(log, 5.0).take(np.arange(0)))
    with pytest.raises(LogError, match="a compressed log has merged pages"):
        LAWS[0](ClickLog([0, 1], {"item": [0], "click": [1]}, {"user": [0], "time": [0.0], "count": [2]}))
