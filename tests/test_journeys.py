"""Journeys: the law by hand, decisions as often as it says, delays, windows, credits of every rule, the truth of subsets."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.stats

import simulators
from simulators import journey_truth
from simulators.journey_truth import converts, true_credit
from ultr.attribution import Linear, MarkovRemoval, TimeDecay
from ultr.errors import ConfigError, LogError
from ultr.random import generator

WORLD = simulators.Journeys(1500, seed=2, n_ads=60, base=-2.5)
LOG = WORLD.log(seed=1)
FALSE_ALARM = 1e-5
CREDITS = ("first", "last", "linear", "time_decay", "u_shaped", "markov", "counterfactual", "shapley")


def pages(log):
    return [slice(a, b) for a, b in itertools.pairwise(log.offsets)]


def test_decisions_follow_the_law():
    """P(decides) recomputed click by click from the ads, the segment, and the clicks before in the journey."""
    ads = WORLD._ads
    for page in range(60):
        rows = pages(LOG)[page]
        ad, time, decision = (LOG.columns[name][rows] for name in ("ad", "time", "decision"))
        level = WORLD._everyone.level[LOG.page_columns["user"][page]]
        for j in np.flatnonzero(decision):
            stock = sum(np.exp(-0.05 * (time[j] - time[i])) * ads.assist[ad[i]] for i in range(j))
            assert decision[j] == pytest.approx(1 / (1 + np.exp(-(level + ads.close[ad[j]] + stock))), rel=1e-9)
        assert (decision > 0).any()


def test_users_decide_as_often_as_the_chances_say():
    world = dataclasses.replace(WORLD, mean_delay=0.0)
    log = world.log(seed=3)
    chance = log.columns["decision"]
    spread = np.sqrt((chance * (1 - chance)).sum())
    z = (log.page_columns["converted"].sum() - chance.sum()) / spread
    assert abs(z) < scipy.stats.norm.isf(FALSE_ALARM / 2)
    last = log.offsets[1:] - 1
    assert (chance > 0).all()  # without delay every click can decide
    np.testing.assert_array_equal(log.columns["last"][last] > 0, log.page_columns["converted"] > 0)


def test_a_journey_ends_with_its_conversion_and_late_ones_are_not_seen():
    converted, end = LOG.page_columns["converted"] > 0, LOG.page_columns["conversion_time"]
    assert np.isnan(end[~converted]).all()
    assert (end[converted] <= 30).all()
    assert (LOG.columns["time"][LOG.offsets[1:] - 1][converted] <= end[converted]).all()
    user = LOG.page_columns["user"]
    follows = np.flatnonzero((user[1:] == user[:-1]) & converted[:-1])
    assert len(follows)
    assert (LOG.columns["time"][LOG.offsets[:-1]][follows + 1] > end[follows]).all()
    slow = dataclasses.replace(WORLD, mean_delay=20.0).log(seed=1)
    assert slow.page_columns["converted"].sum() < 0.8 * converted.sum()


def test_delays_are_exponential():
    world = dataclasses.replace(WORLD, days=1000.0, clicks_per_user=3.0, mean_delay=2.0)
    log = world.log(seed=5)
    delays = []
    for page in np.flatnonzero(log.page_columns["converted"]):
        rows = pages(log)[page]
        decided = np.flatnonzero(log.columns["decision"][rows])[-1]
        delays.append(log.page_columns["conversion_time"][page] - log.columns["time"][rows][decided])
    assert scipy.stats.kstest(delays, "expon", args=(0, 2.0)).pvalue > FALSE_ALARM


def test_credits_sum_to_one_and_follow_the_rules():
    converted = LOG.page_columns["converted"] > 0
    for name in CREDITS:
        total = np.add.reduceat(LOG.columns[name], LOG.offsets[:-1])
        np.testing.assert_allclose(total, converted, atol=1e-9)
    for name, rule in {"linear": Linear(), "time_decay": TimeDecay(), "markov": MarkovRemoval()}.items():
        np.testing.assert_allclose(LOG.columns[name], rule.credit(LOG))


def test_a_window_takes_credit_from_early_clicks():
    log = dataclasses.replace(WORLD, window=5.0).log(seed=1)
    assert log.n_rows == LOG.n_rows
    np.testing.assert_array_equal(log.columns["time"], LOG.columns["time"])
    late = np.isfinite(LOG.page_columns["conversion_time"])
    age = LOG.page_columns["conversion_time"] - LOG.columns["time"][LOG.offsets[1:] - 1]
    late[late] = age[late] > 5  # no click in the window: nobody to credit
    assert log.page_columns["converted"].sum() == LOG.page_columns["converted"].sum() - late.sum()
    end = np.repeat(log.page_columns["conversion_time"], log.lengths)
    assert (end - log.columns["time"])[~np.isnan(end)].max() <= 5
    np.testing.assert_array_equal(log.columns["last"], LOG.columns["last"] * ~np.repeat(late, LOG.lengths))
    assert not np.array_equal(log.columns["first"], LOG.columns["first"])


def test_what_clicks_before_the_window_built_up_stays_in_the_truth():
    """P(decides) from the page's clicks and what it inherits is the one by which the user decided."""
    world = dataclasses.replace(WORLD, window=5.0, mean_delay=2.0)
    log = world.log(seed=1)
    assert np.abs(log.columns["inherited"]).max() > 0
    for page, (base, pull) in enumerate(world._parts(log)):
        rows = pages(log)[page]
        decision = log.columns["decision"][rows]
        chance = 1 / (1 + np.exp(-(base + pull.sum(0))))
        np.testing.assert_allclose(chance[decision > 0], decision[decision > 0], rtol=1e-9)
    assert (LOG.columns["inherited"] == 0).all()


def by_hand(base, pull, members):
    """P(a decision) with some touches only."""
    stays = 1.0
    for j in members:
        stays *= 1 - 1 / (1 + np.exp(-(base[j] + sum(pull[i, j] for i in members if i < j))))
    return 1 - stays


def test_values_of_subsets_by_hand_and_their_credits_by_enumeration():
    rng = generator(0, "subsets")
    base, pull = rng.normal(size=4), np.triu(rng.normal(size=(4, 4)), 1)
    values = converts(base, pull)
    for m in range(16):
        assert values[m] == pytest.approx(by_hand(base, pull, [j for j in range(4) if m >> j & 1]), abs=1e-12)
    shapley = np.zeros(4)
    for order in itertools.permutations(range(4)):
        for place, j in enumerate(order):
            before = sorted(order[:place])
            shapley[j] += (by_hand(base, pull, sorted([*before, j])) - by_hand(base, pull, before)) / 24
    lost, found = true_credit(base, pull, rng)
    np.testing.assert_allclose(found, shapley / values[15], atol=1e-12)
    missing = np.maximum([values[15] - values[15 ^ (1 << j)] for j in range(4)], 0)
    np.testing.assert_allclose(lost, missing / missing.sum(), atol=1e-12)


def test_long_journeys_are_sampled_close_to_the_truth(monkeypatch):
    rng = generator(1, "long")
    base, pull = rng.normal(size=8) - 1, np.triu(rng.normal(size=(8, 8)), 1) * 0.3
    exact = true_credit(base, pull, rng)[1]
    monkeypatch.setattr(journey_truth, "EXACT", 5)
    sampled = np.mean([true_credit(base, pull, rng)[1] for _ in range(20)], axis=0)
    np.testing.assert_allclose(sampled, exact, atol=0.02)


def test_the_truth_of_a_journey_of_the_log():
    page = int(np.argmax(LOG.lengths * (LOG.lengths <= 12)))
    values = WORLD.subset_values(LOG, page)
    assert values[0] == 0
    assert values[-1] == pytest.approx(WORLD.conversion_probability(LOG.take(np.array([page])))[0])
    alone = WORLD.subset_values(LOG, page)[1]
    rows = pages(LOG)[page]
    level = WORLD._everyone.level[LOG.page_columns["user"][page]]
    assert alone == pytest.approx(1 / (1 + np.exp(-(level + WORLD._ads.close[LOG.columns["ad"][rows][0]]))))
    long = dataclasses.replace(WORLD, clicks_per_user=30.0, base=-9.0).log(seed=1)
    with pytest.raises(LogError, match="its subsets are too many to list"):
        WORLD.subset_values(long, int(np.argmax(long.lengths)))


def test_impressions_add_rows_without_a_click_and_change_no_click():
    log = WORLD.log(seed=1, rows="impressions")
    clicked = log.columns["click"] > 0
    for name in ("ad", "time", "last", "shapley", "decision"):
        np.testing.assert_allclose(log.columns[name][clicked], LOG.columns[name])
        if name in CREDITS:
            assert (log.columns[name][~clicked] == 0).all()
    rate = clicked.mean()
    assert abs(rate - 0.1) < 5 * np.sqrt(0.1 * 0.9 / log.n_rows)
    same = log.page_of_row()[1:] == log.page_of_row()[:-1]
    assert (np.diff(log.columns["time"])[same] >= 0).all()


@pytest.mark.parametrize(
    "setting",
    [{"carry": 0.0}, {"correlation": 0.0}, {"decay": 1.0}, {"effects": 0.2}, {"segment_effect": 2.0}, {"intent": 2.0}, {"base": -1.0},
     {"mean_delay": 0.1}, {"n_ads": 50}, {"n_channels": 3}, {"n_segments": 2}, {"clicks_per_user": 3.0}, {"days": 10.0}, {"seed": 1}],
    ids=str,
)  # fmt: skip
def test_settings_change_the_log(setting):
    log = dataclasses.replace(WORLD, **setting).log(seed=1)
    same = log.n_rows == LOG.n_rows and len(log) == len(LOG)
    assert not (same and all(np.array_equal(log.columns[n], LOG.columns[n]) for n in ("decision", "item", "ad", "time", "shapley")))


def test_blocks_and_seeds():
    np.testing.assert_array_equal(WORLD.log(seed=1).columns["shapley"], LOG.columns["shapley"])
    assert not np.array_equal(WORLD.log(seed=4).columns["ad"][:50], LOG.columns["ad"][:50])
    fewer = dataclasses.replace(WORLD, click_rate=1.0)
    assert fewer.log(seed=1, rows="impressions").n_rows == LOG.n_rows


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_users": 0}, "n_users must be a whole number"),
        ({"n_channels": 500}, "500 channels need as many ads"),
        ({"clicks_per_user": 0}, r"clicks_per_user must be in \(0, inf\)"),
        ({"window": -1.0}, r"window must be in \(0, inf\)"),
        ({"correlation": 2}, r"correlation must be in \[-1, 1\]"),
        ({"click_rate": 0}, r"click_rate must be in \(0, 1\]"),
        ({"carry": -1}, r"carry must be in \[0, inf\)"),
        ({"base": None}, r"base must be in \(-inf, inf\)"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        simulators.Journeys(**{"n_users": 5, **settings})
    with pytest.raises(ConfigError, match="rows must be one of clicks, impressions"):
        WORLD.log(rows="all")
