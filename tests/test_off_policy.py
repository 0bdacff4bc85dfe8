"""Metrics under other scores from clicks: by hand, by enumeration of all click patterns, identities, coverage of the interval."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import ultr
from ultr.errors import ConfigError, LogError, PropensityError
from ultr.estimators import Naive
from ultr.evaluation import OffPolicyValue, off_policy_value
from ultr.metrics import DCG, ERR, NDCG, RBP, AverageRelevantPosition, Precision, Recall
from ultr.random import generator
from ultr.testing import tiny_log

LOG = tiny_log()
SCORES = generator(0, "test off policy").normal(size=LOG.n_rows)
ORDERS = list(itertools.permutations(range(3)))
METRICS = [DCG(2), DCG(None, gain="linear"), Precision(2), Precision(None), RBP(0.7), RBP(0.7, k=2)]


def log_of(lengths, page_columns=None, **columns):
    """Pages of these lengths; rows are different items, the propensity is 1, unless columns say otherwise."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n = int(offsets[-1])
    plain = {"item": np.arange(n), "propensity": np.ones(n)}
    return ultr.ClickLog(offsets, {**plain, **{name: np.asarray(values) for name, values in columns.items()}}, page_columns or {})


def by_hand_log(**page_columns):
    return log_of([2, 3], page_columns, click=[0, 1, 1, 0, 1], propensity=[1, 0.5, 1, 0.5, 0.25])


BY_HAND_SCORES = [1.0, 2.0, 3.0, 2.0, 1.0]  # the first page is turned over


# By hand


def test_ips_and_its_interval_by_hand():
    found = off_policy_value(by_hand_log(query=np.array(["a", "b"])), BY_HAND_SCORES, DCG(2))
    # page a: the click at rank 1 counts 1 / .5; page b: the click at rank 1 counts 1, the one at rank 3 is beyond k
    assert found.value == pytest.approx((2 + 1) / 2)
    half = stats.t.isf(0.025, 1) * np.sqrt(2 * (0.5**2 + 0.5**2) / 2**2)
    assert (found.interval.low, found.interval.high) == pytest.approx((1.5 - half, 1.5 + half))
    assert (found.n_pages, found.n_clusters, found.clustered_by, found.interval.degrees) == (2, 2, "query", 1)
    assert (found.overlap.smallest, found.overlap.clicks, found.overlap.weight) == (0.25, 3, 1 / 0.5 + 1 + 1 / 0.25)


def test_snips_and_its_interval_by_hand():
    found = off_policy_value(by_hand_log(), BY_HAND_SCORES, DCG(2), "snips", level=0.9)
    assert found.value == pytest.approx(3 / 7)  # the weighted clicks sum to 2 + (1 + 4)
    assert found.relevance_per_page == pytest.approx(7 / 2)
    residuals = np.array([2 - 3 / 7 * 2, 1 - 3 / 7 * 5])
    half = stats.t.isf(0.05, 1) * np.sqrt(2 * (residuals**2).sum() / 7**2)
    assert (found.interval.low, found.interval.high) == pytest.approx((3 / 7 - half, 3 / 7 + half))


def test_doubly_robust_by_hand():
    found = off_policy_value(by_hand_log(), BY_HAND_SCORES, DCG(2), "doubly_robust", clip=1, relevance=[0.5, 0.5, 0.2, 0.3, 0.9])
    page_a = (0.5 + (0 - 1 * 0.5)) / np.log2(3) + (0.5 + (1 - 0.5 * 0.5))
    page_b = (0.2 + (1 - 1 * 0.2)) + (0.3 + (0 - 0.5 * 0.3)) / np.log2(3)
    assert found.value == pytest.approx((page_a + page_b) / 2)


def test_the_average_relevant_position_is_a_ratio_over_the_log():
    log = by_hand_log()
    for method in ("ips", "snips"):
        found = off_policy_value(log, BY_HAND_SCORES, AverageRelevantPosition(), method)
        assert found.value == pytest.approx((2 * 1 + 1 * 1 + 4 * 3) / (2 + 1 + 4))
        assert found.per == "unit of relevance"


# Against the metrics themselves, and on noiseless logs


@pytest.mark.parametrize("ties", ["hash", "expected"])
@pytest.mark.parametrize("metric", METRICS)
def test_where_everything_is_examined_it_is_the_mean_of_the_metric(metric, ties):
    metric, scores = replace(metric, ties=ties), np.round(SCORES)  # many ties
    log = LOG.with_columns(propensity=np.ones(LOG.n_rows))
    expected = np.nanmean(replace(metric, label="click")(log.rerank(scores)))
    assert off_policy_value(log, scores, metric).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", [*METRICS, AverageRelevantPosition()])
@pytest.mark.parametrize("order", ORDERS)
def test_a_noiseless_log_gives_the_truth_under_every_order(metric, order):
    theta, gamma = np.array([1.0, 0.5, 0.2]), np.array([0.1, 0.4, 0.8])
    log = log_of([3], {"count": np.array([1000])}, click=np.rint(1000 * theta * gamma).astype(int), propensity=theta)
    truth = expectation(metric, gamma, order)
    mass = gamma.sum()
    is_ratio = isinstance(metric, AverageRelevantPosition)
    assert off_policy_value(log, order, metric).value == pytest.approx(truth, rel=1e-12)
    assert off_policy_value(log, order, metric, "snips").value == pytest.approx(truth if is_ratio else truth / mass, rel=1e-12)
    robust = off_policy_value(log, order, metric, "doubly_robust", relevance=gamma, clip=1)
    assert robust.value == pytest.approx(truth, rel=1e-12)
    assert robust.relevance_per_page == pytest.approx(mass)
    assert off_policy_value(log, order, metric, "doubly_robust", relevance=[0.5, 0.5, 0.5]).value == pytest.approx(truth, rel=1e-12)


def expectation(metric, gamma, scores):
    """What the metric is worth where a row is relevant with probability gamma, written out."""
    by_rank = gamma[np.argsort(-np.asarray(scores))]
    rank = np.arange(1, len(gamma) + 1)
    if isinstance(metric, AverageRelevantPosition):
        return (by_rank * rank).sum() / gamma.sum()
    k = min(metric.k or 3, 3)
    weight = {DCG: 1 / np.log2(rank + 1), RBP: 0.3 * 0.7 ** (rank - 1), Precision: np.full(3, 1 / k)}[type(metric)]
    return (by_rank * weight)[:k].sum()


# By enumeration of the click patterns

THETA, GAMMA = np.array([0.68, 0.61, 0.34]), np.array([0.1, 0.28, 0.52])


def expected_value(scores, metric, method="ips", theta=THETA, **settings):
    """E of the estimate over all clicks that a user of the position-based model can make on one page of three rows."""
    total = 0.0
    for clicks in itertools.product([0, 1], repeat=3):
        log = log_of([3], click=clicks, propensity=theta)
        chance = np.prod(np.where(clicks, THETA * GAMMA, 1 - THETA * GAMMA))
        total += chance * off_policy_value(log, scores, metric, method, **settings).value
    return total


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("order", ORDERS)
def test_ips_is_unbiased_for_every_order_and_raw_clicks_are_not(order, metric):
    truth = expectation(metric, GAMMA, order)
    assert expected_value(order, metric) == pytest.approx(truth, rel=1e-12)
    assert expected_value(order, metric, theta=np.ones(3)) < 0.7 * truth


def test_a_clip_leaves_gamma_times_the_smaller_of_1_and_theta_times_clip():
    assert expected_value([3, 2, 1], DCG(), clip=2.5) == pytest.approx(0.1 + 0.28 / np.log2(3) + 0.442 / 2)  # .52 * min(1, .34 * 2.5)
    assert expected_value([1, 2, 3], Precision(1), clip=2.5) == pytest.approx(0.442)
    assert expected_value([1, 2, 3], Precision(1), clip=3) == pytest.approx(0.52)  # at least 1 / .34: nothing is lost


@pytest.mark.parametrize("clip", [None, 1, 1.6, 2.5])
@pytest.mark.parametrize("order", ORDERS)
def test_doubly_robust_is_unbiased_if_the_prediction_is_right_whatever_the_clip(order, clip):
    found = expected_value(order, DCG(), "doubly_robust", clip=clip, relevance=GAMMA)
    assert found == pytest.approx(expectation(DCG(), GAMMA, order), rel=1e-12)


def test_doubly_robust_is_biased_by_a_wrong_prediction_where_a_weight_is_clipped_and_by_a_wrong_propensity():
    truth = expectation(DCG(), GAMMA, [3, 2, 1])
    assert expected_value([3, 2, 1], DCG(), "doubly_robust", clip=1.6, relevance=GAMMA / 2) < 0.95 * truth
    assert expected_value([3, 2, 1], DCG(), "doubly_robust", clip=1.6, relevance=GAMMA, theta=0.7 * THETA) > 1.05 * truth


# Identities


@pytest.mark.parametrize("clip", [None, 2])
@pytest.mark.parametrize("metric", METRICS)
def test_doubly_robust_is_ips_without_predictions_or_without_clipping(metric, clip):
    ips = off_policy_value(LOG, SCORES, metric, clip=clip)
    nothing = off_policy_value(LOG, SCORES, metric, "doubly_robust", clip=clip, relevance=np.zeros(LOG.n_rows))
    assert nothing.value == pytest.approx(ips.value, rel=1e-12)
    assert nothing.interval.half_width == pytest.approx(ips.interval.half_width, rel=1e-9)
    other = off_policy_value(LOG, SCORES, metric, "doubly_robust", clip=clip, relevance="relevance")
    assert (other.value == pytest.approx(ips.value, rel=1e-9)) == (clip is None)


@settings(deadline=None)
@given(factor=st.floats(0.05, 1))
def test_snips_forgets_the_scale_of_the_propensities_and_ips_scales_with_it(factor):
    scaled = LOG.with_columns(propensity=factor * LOG.columns["propensity"])
    for method, by in (("snips", 1.0), ("ips", 1 / factor)):
        before, after = (off_policy_value(log, SCORES, DCG(3), method) for log in (LOG, scaled))
        assert after.value == pytest.approx(by * before.value, rel=1e-9)
        assert after.interval.half_width == pytest.approx(by * before.interval.half_width, rel=1e-9)


def test_snips_times_the_expected_relevance_is_ips_where_the_weights_sum_to_their_expectation():
    snips, ips = (off_policy_value(LOG, SCORES, DCG(3), method) for method in ("snips", "ips"))
    assert snips.value * snips.relevance_per_page == pytest.approx(ips.value, rel=1e-12)
    one = log_of([2, 2], click=[1, 0, 0, 1], propensity=[1, 0.5, 0.5, 1])  # one unit of relevance a page: 1/1 and 1/1
    assert off_policy_value(one, [1, 2, 1, 2], DCG(), "snips").value == off_policy_value(one, [1, 2, 1, 2], DCG()).value
    assert snips.value != pytest.approx(ips.value, rel=0.1)


def test_if_every_relevant_row_is_worth_1_snips_is_1_without_a_doubt():
    ones = off_policy_value(log_of([1] * 5, click=[0, 1, 1, 0, 1], propensity=[0.5] * 5), np.zeros(5), Precision(1), "snips")
    assert (ones.value, ones.interval.low, ones.interval.high) == (1, 1, 1)


# Pages, counts, clusters


def value_of(log, scores, method="ips", **settings):
    relevance = {"relevance": "relevance"} if method == "doubly_robust" else {}
    return off_policy_value(log, scores, DCG(3), method, clip=3, **relevance, **settings)


@pytest.mark.parametrize("method", ["ips", "snips", "doubly_robust"])
def test_a_compressed_log_has_the_same_value_and_interval(method):
    log = tiny_log(rows=2, n_pages=2000)
    log = log.with_columns(score=generator(1, "scores").normal(size=len(log.items))[log.columns["item"]])
    with pytest.warns(ultr.errors.CompressionWarning, match="drops columns"):
        small = log.compress()
    assert small.compressed
    full, merged = (value_of(each, each.columns["score"], method) for each in (log, small))
    assert (merged.n_pages, merged.n_clusters) == (full.n_pages, full.n_clusters) == (2000 - 1, 20)
    assert merged.overlap.effective_sample_size == pytest.approx(full.overlap.effective_sample_size)
    for name in ("mean", "low", "high"):
        assert getattr(merged.interval, name) == pytest.approx(getattr(full.interval, name), rel=1e-9)
    bare = ultr.ClickLog(small.offsets, small.columns, {"count": small.page_columns["count"]})
    alone = value_of(bare, small.columns["score"], method)
    assert (alone.clustered_by, alone.n_clusters) == ("page", len(small) - 1)  # one page is empty
    assert alone.value == pytest.approx(full.value, rel=1e-9)


@pytest.mark.parametrize("method", ["ips", "snips", "doubly_robust"])
def test_the_order_of_the_pages_and_the_names_of_the_queries_do_not_matter(method):
    log = LOG.with_columns(score=SCORES)
    turned = log.take(generator(0, "order").permutation(len(log)))
    names = np.array([f"q{query}" for query in turned.page_columns["query"]], dtype=object)
    turned = ultr.ClickLog(turned.offsets, turned.columns, {"query": names}, turned.items)
    before, after = value_of(log, SCORES, method), value_of(turned, turned.columns["score"], method)
    assert after.value == pytest.approx(before.value, rel=1e-12)
    assert after.interval.high == pytest.approx(before.interval.high, rel=1e-9)
    assert after.n_clusters == before.n_clusters == 20


def test_the_displayed_order_of_a_reranked_log_does_not_matter():
    ranked = LOG.with_columns(mine=SCORES).rerank(-SCORES)
    assert value_of(ranked, ranked.columns["mine"]).value == pytest.approx(value_of(LOG, SCORES).value, rel=1e-12)


def test_one_cluster_has_a_value_and_no_interval():
    found = off_policy_value(log_of([2], click=[1, 0]), [1, 2], DCG())
    assert found.value == pytest.approx(1 / np.log2(3))
    assert np.isnan(found.interval.low)
    assert "There is no interval: clicks on fewer than two pages say nothing about others." in found.explain()


# Coverage of the interval
FALSE_ALARM, REPLICATES, LEVEL = 1e-5, 400, 0.95  # a comparison; two-sided binomial test of the share of intervals that cover

POOL = generator(0, "pool")
POOL_GAMMA = POOL.uniform(0.05, 0.95, size=(50, 1)) * POOL.uniform(0.3, 1.0, size=(50, 4))  # queries differ in relevance
POOL_SCORES = POOL_GAMMA + POOL.normal(scale=0.2, size=(50, 4))
WORLD = np.array([1.0, 0.7, 0.5, 0.35])


def replicate(seed):
    """100 queries drawn from the pool, 3 to 20 pages each, four rows roughly in the order of the scores."""
    rng = generator(seed, "coverage")
    kind = np.repeat(rng.integers(50, size=100), pages := rng.integers(3, 21, size=100))
    order = np.argsort(rng.gumbel(scale=0.3, size=(len(kind), 4)) - POOL_SCORES[kind], axis=1)
    gamma, scores = POOL_GAMMA[kind[:, None], order], POOL_SCORES[kind[:, None], order]
    click = (rng.random(gamma.shape) < WORLD * gamma).astype(int)
    return log_of(
        [4] * len(kind),
        {"query": np.repeat(np.arange(100), pages)},
        click=click.ravel(),
        propensity=np.broadcast_to(WORLD, gamma.shape).ravel(),
        score=scores.ravel(),
        relevance=gamma.ravel(),
        nothing=np.zeros(gamma.size),
    )


def truth_of(metric):
    values = [expectation_of_four(metric, gamma, scores) for gamma, scores in zip(POOL_GAMMA, POOL_SCORES, strict=True)]
    return np.mean(values), np.sum(values) / POOL_GAMMA.sum()


def expectation_of_four(metric, gamma, scores):
    rank = np.argsort(np.argsort(-scores)) + 1
    return (gamma * (rank if isinstance(metric, AverageRelevantPosition) else (rank <= 2) / np.log2(rank + 1))).sum()


def coverage_p_value(metric, method, change=lambda log: log, **settings):
    mean, ratio = truth_of(metric)
    truth = ratio if method == "snips" or isinstance(metric, AverageRelevantPosition) else mean
    covered = 0
    for seed in range(REPLICATES):
        log = change(replicate(seed))
        found = off_policy_value(log, log.columns["score"], metric, method, level=LEVEL, **settings).interval
        covered += found.low <= truth <= found.high
    return stats.binomtest(covered, REPLICATES, LEVEL).pvalue


@pytest.mark.parametrize("metric, method", [(DCG(2), "ips"), (DCG(2), "snips"), (AverageRelevantPosition(), "ips")])
def test_the_interval_covers_as_often_as_it_says(metric, method):
    assert coverage_p_value(metric, method) > FALSE_ALARM


def test_the_doubly_robust_interval_covers_too():
    """With a clip and the right relevance, and with the wrong one, for which the test must fail."""
    assert coverage_p_value(DCG(2), "doubly_robust", clip=1.5, relevance="relevance") > FALSE_ALARM
    assert coverage_p_value(DCG(2), "doubly_robust", clip=1.5, relevance="nothing") < FALSE_ALARM


def test_the_test_above_sees_an_interval_that_ignores_that_pages_share_a_query():
    assert coverage_p_value(DCG(2), "ips", lambda log: ultr.ClickLog(log.offsets, log.columns)) < FALSE_ALARM


def test_the_test_above_sees_propensities_that_are_wrong_by_30_percent():
    assert coverage_p_value(DCG(2), "ips", propensity=0.7 * WORLD) < FALSE_ALARM


@pytest.mark.parametrize("metric, method", [(DCG(2), "snips"), (AverageRelevantPosition(), "ips")])
def test_the_test_above_sees_a_ratio_of_raw_clicks(metric, method):
    assert coverage_p_value(metric, method, propensity=np.ones(4)) < FALSE_ALARM


# What may be given


def test_any_propensity_model_and_any_fitted_ranker():
    ranker = Naive(training=ultr.Training(steps=3)).fit(LOG)
    found = off_policy_value(LOG, ranker, DCG())
    assert found.value == off_policy_value(LOG, ranker.score_log(LOG), DCG()).value
    curve = 1 / np.arange(1.0, 6.0) ** 0.7
    for model in (curve, list(curve), ultr.propensity.ByPosition(curve), lambda batch: batch.column("propensity")):
        assert off_policy_value(LOG, ranker, DCG(), propensity=model).value == pytest.approx(found.value, rel=1e-6)
    renamed = LOG.with_columns(mine=LOG.columns["propensity"], clicked=LOG.columns["click"], propensity=SCORES, click=SCORES)
    assert off_policy_value(renamed, ranker, DCG(), propensity="mine", label="clicked").value == found.value
    assert off_policy_value(LOG, ranker, DCG(), "doubly_robust", clip=2, relevance=LOG.columns["relevance"]).value == (
        off_policy_value(LOG, ranker, DCG(), "doubly_robust", clip=2, relevance="relevance").value
    )


def test_every_setting_has_an_effect():
    base = off_policy_value(LOG, SCORES, DCG(3))
    others = [
        off_policy_value(LOG, SCORES, DCG(3), "snips"),
        off_policy_value(LOG, SCORES, DCG(3), clip=2),
        off_policy_value(LOG, SCORES, DCG(3), propensity=np.full(5, 0.5)),
        off_policy_value(LOG, SCORES, DCG(2)),
        off_policy_value(LOG, -SCORES, DCG(3)),
    ]
    assert len({base.value, *(other.value for other in others)}) == 6
    assert off_policy_value(LOG, SCORES, DCG(3), level=0.5).interval.half_width < base.interval.half_width


def test_what_it_says():
    found = off_policy_value(LOG, SCORES, DCG(3), clip=2)
    assert isinstance(found, OffPolicyValue)
    assert (
        repr(found)
        == f"OffPolicyValue(DCG@3 {found.value:.4g} [{found.interval.low:.4g}, {found.interval.high:.4g}] per page, ips, 159 pages)"
    )
    text = found.explain()
    assert "DCG@3 of these scores is" in text
    assert "The 95% interval is" in text
    assert "over 20 queries" in text
    assert f"{found.overlap.share_clipped:.1%} of the rows are clipped: relevance there is underestimated" in text
    robust = off_policy_value(LOG, SCORES, DCG(3), "doubly_robust", relevance="relevance")
    assert "No weight is clipped, so that this is IPS" in robust.explain()
    assert "wrong as far as" in replace(robust, overlap=found.overlap).explain()
    assert "per unit of relevance (snips)" in off_policy_value(LOG, SCORES, DCG(3), "snips").explain()


# Wrong input


@pytest.mark.parametrize("metric", [NDCG(), ERR(), Recall(), DCG, lambda log: np.zeros(len(log)), "dcg"])
def test_metrics_that_are_not_linear_are_refused(metric):
    with pytest.raises(ConfigError, match=r"unbiased labels give a biased value. Use (DCG, Precision, RBP or Av|an instance, DCG)"):
        off_policy_value(LOG, SCORES, metric)


def test_a_subclass_may_compute_anything_and_is_refused():
    class Squared(DCG):
        def of_pages(self, pages):
            return super().of_pages(pages) ** 2

    with pytest.raises(ConfigError, match="cannot judge Squared"):
        off_policy_value(LOG, SCORES, Squared())


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"method": "dm"}, ConfigError, "method must be one of ips, snips, doubly_robust, not 'dm'"),
        ({"method": "doubly_robust"}, ConfigError, "doubly_robust needs relevance="),
        ({"relevance": "relevance"}, ConfigError, "ips does not read relevance"),
        ({"method": "doubly_robust", "relevance": "rel"}, LogError, "needs the column 'rel'"),
        ({"method": "doubly_robust", "relevance": np.full(3, 0.5)}, LogError, r"one number a row, shape \(\d+,\), not \(3,\)"),
        ({"method": "doubly_robust", "relevance": np.full(LOG.n_rows, 1.5)}, LogError, r"relevance must be in \[0, 1\]: page 0, row 0"),
        ({"scores": np.zeros(3)}, LogError, "scores must have one number a row"),
        ({"scores": np.full(LOG.n_rows, np.nan)}, LogError, "scores must not be NaN"),
        ({"scores": np.full(LOG.n_rows, "high")}, LogError, "scores must be a number: page 0, row 0 has 'high'"),
        ({"label": "clicked"}, LogError, "off_policy_value needs the column 'clicked'"),
        ({"label": "relevance"}, LogError, "click must be 0 or 1"),
        ({"propensity": "examined"}, LogError, "off_policy_value needs the column 'examined'"),
        ({"propensity": "grade"}, PropensityError, r"grade must be in \(0, 1\]: page"),
        ({"propensity": np.array([1.0, 0.5])}, PropensityError, "propensities are given for positions 0 to 1 only"),
        ({"clip": 0.5}, PropensityError, "clip is the largest weight and must be at least 1, not 0.5"),
        ({"level": 1.5}, ConfigError, r"level must be in \(0, 1\), not 1.5"),
        ({"log": ultr.data.source.Chunked(LOG, 7)}, LogError, "needs a ClickLog, since scores are one number a row of it, not Chunked"),
        ({"log": LOG.take(np.array([1]))}, LogError, "1 pages and no row"),
        ({"method": "snips", "log": LOG.with_columns(click=np.zeros(LOG.n_rows))}, LogError, "sums to 0, so there is nothing to normalise"),
    ],
)
def test_wrong_input_is_refused(change, error, message):
    arguments = {"log": LOG, "scores": SCORES, "metric": DCG(), **change}
    with pytest.raises(error, match=message):
        off_policy_value(**arguments)


def test_a_log_without_a_click_has_the_ips_value_0():
    found = off_policy_value(LOG.with_columns(click=np.zeros(LOG.n_rows)), SCORES, DCG())
    assert found.value == 0
    assert np.isnan([found.interval.low, found.interval.high]).all()
    assert "There is no interval" in found.explain()


def test_relative_propensities_are_called_so_and_a_baseline_is_paired():
    curve = ultr.propensity.Harvested().fit(tiny_log(n_pages=1000))
    log = tiny_log(n_pages=1000)
    found = off_policy_value(log, np.zeros(log.n_rows), DCG(), propensity=curve)
    assert found.relative
    assert "relative" in found.explain()
    assert off_policy_value(log, np.zeros(log.n_rows), DCG(), propensity=ultr.propensity.Harvested()).value == found.value
    assert "relative" not in off_policy_value(log, np.zeros(log.n_rows), DCG(), "snips", propensity=curve).explain()
    assert not off_policy_value(log, np.zeros(log.n_rows), DCG()).relative
    scores = np.linspace(0, 1, log.n_rows)
    for method in ("ips", "snips"):
        new, logged = (off_policy_value(log, s, DCG(), method) for s in (scores, -log.slots()))
        paired = off_policy_value(log, scores, DCG(), method, baseline="logged")
        assert paired.difference.mean == pytest.approx(new.value - logged.value, rel=1e-9)
        assert paired.value == new.value
        assert "differs from the baseline" in paired.explain()
        assert new.difference is None
        same = off_policy_value(log, scores, DCG(), method, baseline=scores).difference
        assert (same.mean, same.low, same.high) == (0, 0, 0)
