"""Unbiased metrics, strata, candidates, prediction error, calibration of exposure: by hand, by enumeration, and what is refused."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import simulators
import ultr
from ultr.data import all_items, item_counts
from ultr.errors import ConfigError, LogError
from ultr.estimators import RandomOrder
from ultr.evaluation import propensity_calibration
from ultr.metrics import DCG, Among, PredictionError, Recall, UnbiasedAveragePrecision, UnbiasedDCG, UnbiasedRecall
from ultr.propensity import Popularity

GAMMA, THETA = np.array([0.7, 0.2, 0.5, 0.9]), np.array([0.9, 0.3, 0.5, 0.25])
METRICS = [UnbiasedDCG, UnbiasedRecall, UnbiasedAveragePrecision]


CATALOGUE = {n: ultr.Items(ids=np.arange(n)) for n in range(1, 5)}


def page(click, theta=THETA, score=None, **columns):
    """One page in the order given."""
    n = len(click)
    score = -np.arange(n, dtype=float) if score is None else np.asarray(score, dtype=float)
    columns = {"item": np.arange(n), "click": np.asarray(click), "propensity": np.asarray(theta)[:n], "score": score, **columns}
    return ultr.ClickLog(np.array([0, n]), columns, {"user": np.array([0])}, CATALOGUE[n])


def true_value(metric, relevant, k):
    """The sum that a metric stands for, written out."""
    total, above = 0.0, 0
    for rank, r in enumerate(relevant[: k or len(relevant)], start=1):
        total += r * {UnbiasedDCG: 1 / np.log2(rank + 1), UnbiasedRecall: 1, UnbiasedAveragePrecision: (above + 1) / rank}[metric]
        above += r
    return total


@pytest.mark.parametrize("k", [1, 3, None])
@pytest.mark.parametrize("metric", METRICS)
def test_the_mean_over_exposure_and_relevance_is_the_mean_over_relevance(metric, k):
    expected, ideal = 0.0, 0.0
    for o, r in itertools.product(itertools.product([0, 1], repeat=4), repeat=2):
        o, r = np.array(o), np.array(r)
        chance = np.prod(np.where(o, THETA, 1 - THETA)) * np.prod(np.where(r, GAMMA, 1 - GAMMA))
        expected += chance * metric(k=k, method="ips")(page(o * r))[0]
        ideal += chance * true_value(metric, r, k)
    assert expected == pytest.approx(ideal, abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, None])
@pytest.mark.parametrize("metric", METRICS)
def test_ties_are_the_mean_over_all_orders(metric, k):
    click, theta, score = np.array([1, 1, 0, 1]), np.array([0.9, 0.3, 0.5, 0.25]), np.array([3.0, 2.0, 2.0, 2.0])
    values = []
    for tail in itertools.permutations([1, 2, 3]):
        order = np.array([0, *tail])
        values.append(metric(k=k, method="ips")(page(click[order], theta[order]))[0])
    found = metric(k=k, method="ips", ties="expected")(page(click, theta, score))[0]
    assert found == pytest.approx(np.mean(values), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_three_ways_to_normalise(metric):
    log = ultr.ClickLog.concat([page([1, 0, 1, 0]), page([0, 1, 0, 0]), page([0, 0, 0, 0])])
    sums = metric(k=2, method="ips")(log)
    mass = np.array([1 / 0.9 + 1 / 0.5, 1 / 0.3, 0.0])
    assert sums[2] == 0
    np.testing.assert_allclose(metric(k=2, method="snips")(log), [sums[0] / mass[0], sums[1] / mass[1], np.nan])
    pooled = metric(k=2, method="pooled")
    np.testing.assert_allclose(pooled(log), [sums.sum() / mass.sum()])
    assert (pooled.per, metric(method="snips").per) == ("log", "page")
    if metric is not UnbiasedAveragePrecision:  # which is quadratic in the weights
        halved = log.with_columns(propensity=log.columns["propensity"] / 2)
        np.testing.assert_allclose(pooled(halved), pooled(log))
        np.testing.assert_allclose(metric(k=2, method="ips")(halved), 2 * sums)
    seen = log.with_columns(propensity=np.ones(12))
    np.testing.assert_allclose(
        metric(k=2, method="ips")(seen), [true_value(metric, log.columns["click"][4 * i : 4 * i + 4], 2) for i in range(3)]
    )
    np.testing.assert_allclose(metric(k=None, method="ips", clip=1.0)(log), metric(k=None, method="ips")(seen))


def test_with_everything_seen_they_are_the_ordinary_metrics():
    log = ultr.ClickLog.concat([page([1, 0, 1, 1], np.ones(4)), page([0, 1, 0, 0], np.ones(4))])
    np.testing.assert_allclose(UnbiasedDCG(k=3)(log), DCG(3, gain="linear", label="click")(log))
    np.testing.assert_allclose(UnbiasedRecall(k=3, method="snips")(log), Recall(3, label="click")(log))
    precise = ultr.metrics.AveragePrecision(label="click")
    np.testing.assert_allclose(UnbiasedAveragePrecision(k=None, method="snips")(log), precise(log))


@pytest.mark.parametrize("metric", METRICS)
def test_every_setting_has_an_effect(metric):
    log = page([0, 1, 1, 1], score=[3, 3, 2, 1], other=np.array([1, 1, 0, 0]), theta_two=np.array([0.5, 0.6, 0.7, 0.8]))
    base = metric(k=3, method="ips")(log)
    for settings in (
        {"k": 1},
        {"method": "snips"},
        {"clip": 1.5},
        {"label": "other"},
        {"propensity": "theta_two"},
        {"k": 1, "ties": "expected"},
    ):
        assert not np.allclose(metric(**{"k": 3, "method": "ips", **settings})(log), base), settings


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UnbiasedDCG(method="self"), "method must be one of ips, snips, pooled"),
        (lambda: UnbiasedDCG(clip=0.5), "clip is the largest weight"),
        (lambda: UnbiasedDCG(k=0), "k must be a whole number"),
        (lambda: PredictionError(error="cubic"), "error must be one of squared, absolute"),
        (lambda: PredictionError(method="dr"), "method must be one of plain, ips, snips"),
        (lambda: PredictionError(clip=0), "clip is the largest weight"),
        (lambda: Among(Recall, [True]), "metric must be a metric such as"),
        (lambda: Among(Recall(5), [0, 3]), "items must be True or False"),
        (lambda: propensity_calibration(page([1]), "propensity", page([1]), bins=0), "bins must be a whole number"),
        (lambda: item_counts(page([1]), "users"), "of must be 'clicks' or 'impressions'"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# Strata


def test_rare_items_apart():
    log = ultr.ClickLog.concat([page([1, 0, 1, 1]), page([0, 1, 0, 0])])
    rare = np.array([False, True, True, False])
    np.testing.assert_allclose(Among(Recall(1, label="click"), rare)(log), [0, 1])  # rows 1, 2 of each page
    np.testing.assert_allclose(Among(Recall(1, label="click"), ~rare)(log), [0.5, np.nan])
    np.testing.assert_allclose(Among(Recall(1, label="click"), np.zeros(4, dtype=bool))(log), [np.nan, np.nan])
    reranked = log.rerank(np.tile([0.0, 1.0, 2.0, 3.0], 2))
    np.testing.assert_allclose(Among(Recall(1, label="click"), rare)(reranked), [1, 0])
    assert Among(UnbiasedRecall(), rare).per == "log"
    assert not Among(PredictionError(), rare).higher_is_better
    with pytest.raises(LogError, match="shows item 3, but items tells of 0 to 1 only"):
        Among(Recall(1, label="click"), [True, False])(log)


def test_counts_by_item():
    log = ultr.ClickLog.concat([page([1, 0, 1, 1]), page([0, 1, 0, 0])])
    assert item_counts(log).tolist() == [1, 1, 1, 1]
    assert item_counts(log, "impressions").tolist() == [2, 2, 2, 2]


# Candidates


def clicks_of(*pages, users=None, n_items=5):
    item = np.concatenate([np.asarray(p, dtype=int) for p in pages])
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in pages])])
    users = np.arange(len(pages)) if users is None else np.asarray(users)
    return ultr.ClickLog(
        offsets, {"item": item, "click": np.ones(len(item), dtype=int)}, {"user": users}, ultr.Items(ids=np.arange(n_items))
    )


def test_every_item_but_those_of_training():
    test, train = clicks_of([3], [], [0, 4], users=["b", "a", "b"]), clicks_of([1, 3], [2], users=["b", "c"])
    pages = all_items(test, exclude=train)
    assert pages.page_columns["user"].tolist() == ["b", "a"]
    assert [pages.columns["item"][a:b].tolist() for a, b in itertools.pairwise(pages.offsets)] == [[0, 2, 4], [0, 1, 2, 3, 4]]
    assert pages.columns["click"].tolist() == [1, 0, 1, 0, 0, 0, 0, 0]
    assert all_items(test).lengths.tolist() == [5, 5]
    with pytest.raises(LogError, match="test and exclude have 5 and 4 items"):
        all_items(test, exclude=clicks_of([1], n_items=4))
    with pytest.raises(LogError, match="needs the log's items"):
        all_items(ultr.ClickLog(test.offsets, test.columns, test.page_columns))


def test_a_constant_scorer_recalls_k_of_n():
    test = clicks_of([3], [0, 4], [2])
    floor = Recall(2, label="click", ties="expected")(RandomOrder().fit(test).apply(all_items(test)))
    np.testing.assert_allclose(floor, 2 / 5)


# Prediction error


def test_prediction_error_by_hand():
    log = page([1, 1, 1, 1], score=[4.0, 3.0, 2.0, 1.0], rating=np.array([5, 3, 3, 3]))
    assert PredictionError()(log).tolist() == [1.5]
    assert PredictionError("absolute")(log).tolist() == [1.0]
    weight = 1 / THETA
    np.testing.assert_allclose(PredictionError(method="ips")(log), weight @ [1, 0, 1, 4] / 4)
    np.testing.assert_allclose(PredictionError(method="snips")(log), weight @ [1, 0, 1, 4] / weight.sum())
    np.testing.assert_allclose(
        PredictionError(method="snips", clip=2.0)(log), np.minimum(weight, 2) @ [1, 0, 1, 4] / np.minimum(weight, 2).sum()
    )
    with pytest.raises(LogError, match="needs the column 'rating'"):
        PredictionError()(page([1]))


def test_weighted_error_of_what_was_rated_is_the_error_of_all():
    """By enumeration of which of three ratings are given."""
    rating, score, theta = np.array([1.0, 4.0, 5.0]), np.array([2.0, 2.0, 4.5]), np.array([0.2, 0.5, 0.9])
    expected = 0.0
    for o in itertools.product([0, 1], repeat=3):
        kept = np.flatnonzero(o)
        log = ultr.ClickLog(
            np.array([0, len(kept)]), {"item": kept, "rating": rating[kept], "score": score[kept], "propensity": theta[kept]},
            {"user": np.array([0])}, ultr.Items(ids=np.arange(3)),
        )  # fmt: skip
        value = PredictionError(method="ips")(log)[0] if len(kept) else 0.0
        expected += np.prod(np.where(o, theta, 1 - theta)) * value
    assert expected == pytest.approx(((rating - score) ** 2).mean(), abs=1e-12)


# Calibration against a randomised slice


def world_and_slice(seed=0):
    world = simulators.MissingNotAtRandom(400, 200, exposure_power=2.0, seed=seed)
    return world, world.random_slice(40, seed=seed)


BOUND = 3.9  # two-sided normal quantile


def worst(table):
    """Largest |log ratio| in standard errors over the bins."""
    spread = np.log(table["observed_high"] / table["observed"]) / 1.96
    return (np.abs(np.log(table["ratio"])) / spread).max()


def test_the_true_exposure_is_calibrated_and_a_wrong_one_is_not():
    world, slice_ = world_and_slice()
    log = world.log(seed=7)
    assert worst(propensity_calibration(log, "propensity", slice_)) < BOUND  # false-alarm rate 5e-4
    assert worst(propensity_calibration(log, world.propensity, slice_)) < BOUND
    popular = propensity_calibration(log, Popularity(), slice_, bins=4)
    assert worst(popular) > 2 * BOUND
    assert len(popular) == 4
    halved = log.with_columns(propensity=log.columns["propensity"] / 2)
    ratio = propensity_calibration(halved, "propensity", slice_.with_columns(propensity=slice_.columns["propensity"] / 2))["ratio"]
    np.testing.assert_allclose(ratio, 2, rtol=0.3)


def test_calibration_by_hand():
    log = page([1, 1, 0, 0], theta=[0.8, 0.4, 0.1, 0.1])
    slice_ = page([1, 1, 1, 0], theta=[0.9, 0.6, 0.2, 0.2])
    table = propensity_calibration(log, "propensity", slice_, bins=1, n_pairs=40)
    assert table.loc[0, "propensity"] == pytest.approx((0.9 + 0.6 + 0.2) / 3)
    assert table.loc[0, "observed"] == pytest.approx(2 / (3 * 40 / 4))
    assert table.loc[0, ["clicks", "randomised_clicks"]].tolist() == [2, 3]
    with pytest.raises(LogError, match="has 3 clicks, too few for 5 bins"):
        propensity_calibration(log, "propensity", slice_)


def test_pages_without_a_user_are_one_users_in_calibration():
    pages = ultr.ClickLog.concat([page([1, 1, 0, 0])] * 3)
    log, filled = (replace(pages, page_columns={"user": np.array(u, dtype=object)}) for u in ([None, "a", np.nan], ["z", "a", "z"]))
    slice_ = page([1, 1, 1, 0])
    pd.testing.assert_frame_equal(*(propensity_calibration(each, "propensity", slice_, bins=1) for each in (log, filled)))


def test_calibration_of_pairs_not_of_clicks():
    log = ultr.ClickLog.concat([page([1, 1, 0, 0], theta=[0.8, 0.4, 0.1, 0.1])] * 2)  # the same pairs clicked twice
    slice_ = page([1, 1, 1, 0], theta=[0.9, 0.6, 0.2, 0.2])
    assert propensity_calibration(log, "propensity", slice_, bins=1, n_pairs=40).loc[0, "clicks"] == 2
    alike = propensity_calibration(
        log.with_columns(propensity=np.full(8, 0.5)), "propensity", slice_.with_columns(propensity=np.full(4, 0.5)), bins=3
    )
    assert len(alike) == 1
    with pytest.raises(ConfigError, match="n_pairs must be a number of at least 1"):
        propensity_calibration(log, "propensity", slice_, n_pairs=0)
    other = ultr.ClickLog(slice_.offsets, slice_.columns, slice_.page_columns, ultr.Items(ids=np.arange(4)[::-1]))
    with pytest.raises(LogError, match="number items differently: item 0 is 0 and 3"):
        propensity_calibration(log, "propensity", other)
