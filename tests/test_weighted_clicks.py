"""AffineCorrection, CascadeIPS, PolicyAware, DoublyRobust: what they learn from expected clicks, exactly, and when they are IPS."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
from click_logs import pages_log
from populations import EXACT, GAMMA, Tabular, centred, population, repeated_log, shares

import ultr
from ultr import click_models
from ultr.click_models import Cascade, DependentClick, PositionBased, TrustBias
from ultr.errors import ConfigError, IdentifiabilityWarning, LogError, PropensityError, UltrWarning
from ultr.estimators import IPS, AffineCorrection, CascadeIPS, ClickModelRanker, DoublyRobust, PolicyAware
from ultr.models import MLP
from ultr.propensity.affine import affine_of
from ultr.testing import tiny_log
from ultr.training.exposure import exposure_of

LOG = tiny_log()
QUICK = ultr.Training(steps=12, batch_pages=32, check_every=3)
RANK = np.arange(1, 6)
TRUST = TrustBias([0.68, 0.61, 0.48, 0.34, 0.28], 1 - (RANK + 1) / 100, 0.65 / RANK)  # trust as Vardasbi et al. simulate it
NO_TRUST = TrustBias(TRUST.examination, np.ones(5), np.zeros(5))
TRUTH = GAMMA / GAMMA.sum(1, keepdims=True)
SHUFFLED = ((0, 1, 2, 3), (1, 0, 3, 2), (3, 2, 1, 0))
LAW = DependentClick([0.8, 0.5, 0.3, 0.6, 0.6])


def trusted(orders=((0, 1, 2, 3),)):
    """`population` with the expected clicks of TRUST."""
    log = population(orders)
    position = log.columns["position"]
    return log.with_columns(expected=TRUST.alpha[position] * log.columns["relevance"] + TRUST.beta[position])


def scores(estimator, log=LOG):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UltrWarning)
        return estimator.fit(log).score_log(log)


# Trust bias


def test_ips_inverts_a_list_under_trust_bias_and_affine_correction_restores_it():
    """By hand: a row of relevance g at rank k is clicked, given that it is examined, with eps- + (eps+ - eps-) g."""
    by_hand = np.array([0.65 + 0.33 * 0.1, 0.325 + 0.645 * 0.16, 0.65 / 3 + (0.96 - 0.65 / 3) * 0.28, 0.1625 + 0.7875 * 0.52])
    np.testing.assert_allclose(by_hand, [0.683, 0.4282, 0.4248, 0.572], atol=1e-4)
    assert np.argmax(by_hand) == 0
    assert np.argmax(GAMMA[0]) == 3
    log = trusted()
    ips = IPS(propensity=TRUST.examination, model=Tabular(12), training=EXACT, label="expected").fit(log)
    np.testing.assert_allclose(shares(ips, log)[0], by_hand / by_hand.sum(), atol=1e-4)
    affine = AffineCorrection(click_model=TRUST, model=Tabular(12), training=EXACT, label="expected").fit(log)
    np.testing.assert_allclose(shares(affine, log), TRUTH, atol=1e-4)
    np.testing.assert_allclose(affine.propensity, TRUST.examination[:4] / TRUST.examination[0])


def test_every_click_pattern_together_says_the_relevance():
    """All clicks on a page of four, each pattern a page, its probability as the count of a label: the targets of the fit sum to gamma."""
    patterns = np.array(list(itertools.product([0, 1], repeat=4)))
    rate = TRUST.alpha[:4] * GAMMA[0] + TRUST.beta[:4]
    probability = np.where(patterns, rate, 1 - rate).prod(1)
    log = pages_log(patterns, position=np.tile(np.arange(4), 16))
    estimator = AffineCorrection(click_model=TRUST, normalise=None)
    targets = estimator.targets(log, log.columns["click"].astype(float))[0].reshape(16, 4)
    np.testing.assert_allclose(probability @ targets, GAMMA[0], atol=1e-12)
    clipped = dataclasses.replace(estimator, clip=2.0).targets(log, log.columns["click"].astype(float))[0].reshape(16, 4)
    np.testing.assert_allclose(probability @ clipped, GAMMA[0] * np.minimum(1, 2 * TRUST.alpha[:4]), atol=1e-12)


def test_without_mistaken_clicks_affine_correction_is_ips():
    affine = AffineCorrection(click_model=NO_TRUST, training=QUICK, loss="pairwise")
    ips = IPS(propensity=NO_TRUST.examination, training=QUICK, loss="pairwise")
    everything = dataclasses.replace(QUICK, batch_pages=1000)  # pages without a click are in the batches of one of them only
    affine, ips = (dataclasses.replace(each, training=everything) for each in (affine, ips))
    np.testing.assert_allclose(centred(affine.fit(LOG), LOG), centred(ips.fit(LOG), LOG), atol=1e-4)
    other = AffineCorrection(click_model=TRUST, training=everything, loss="pairwise")
    assert not np.allclose(centred(other.fit(LOG), LOG), centred(ips.fit(LOG), LOG), atol=1e-2)


def test_a_clipped_affine_weight_leaves_the_share_that_the_clip_leaves():
    log = trusted()
    fitted = AffineCorrection(click_model=TRUST, clip=2.5, model=Tabular(12), training=EXACT, label="expected").fit(log)
    left = GAMMA * np.minimum(1, 2.5 * TRUST.alpha[:4])
    np.testing.assert_allclose(shares(fitted, log), left / left.sum(1, keepdims=True), atol=1e-4)


def test_the_class_is_fitted_to_the_log():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UltrWarning)
        fitted = click_models.fit(TrustBias, LOG)
    by_hand = scores(AffineCorrection(click_model=fitted, training=QUICK))
    np.testing.assert_array_equal(scores(AffineCorrection(training=QUICK)), by_hand)
    np.testing.assert_array_equal(scores(AffineCorrection(click_model=fitted.model, training=QUICK)), by_hand)


def test_settings_of_a_fit_are_followed():
    rough, fine = (AffineCorrection(click_model=ClickModelRanker(law=TrustBias, max_iter=n), training=QUICK) for n in (1, 50))
    assert not np.allclose(scores(rough), scores(fine), rtol=1e-3)
    few, many = (CascadeIPS(click_model=ClickModelRanker(law=DependentClick, prior=prior), training=QUICK) for prior in ((1, 1), (1, 9)))
    assert not np.allclose(scores(few), scores(many), rtol=1e-3)
    by_hand = scores(PolicyAware(propensity=ClickModelRanker(law=PositionBased), training=QUICK))
    np.testing.assert_array_equal(by_hand, scores(PolicyAware(propensity=PositionBased, training=QUICK)))


def test_a_log_that_cannot_tell_says_so():
    fixed = pages_log([[1, 0], [0, 1]] * 3, position=np.tile([0, 1], 6))
    fixed = ultr.ClickLog(fixed.offsets, fixed.columns, fixed.page_columns, ultr.Items(np.eye(2)))
    with pytest.warns(IdentifiabilityWarning):
        AffineCorrection(training=QUICK).fit(fixed)


# Chain laws


def patterns(law, attraction):
    """One page for each possible click pattern, its probability in the clicks' place, and the law with the true attractions."""
    clicks = np.array([c for c in itertools.product([0, 1], repeat=4) if np.isfinite(law.log_likelihood(attraction, np.array(c)))])
    p = np.exp(law.log_likelihood(np.tile(attraction, (len(clicks), 1)), clicks))
    assert p.sum() == pytest.approx(1)
    log = pages_log(clicks, position=np.tile(np.arange(4), len(clicks)), expected=(clicks * p[:, None]).reshape(-1))
    log = ultr.ClickLog(log.offsets, log.columns, log.page_columns, ultr.Items(np.eye(4)))
    fitted = click_models.fit(law, log, max_iter=0)
    return log, dataclasses.replace(fitted, model=law, attractions=attraction[fitted.rates.pairs.item])


def relevances(estimator, log):
    """Shares of the items as the estimator ranks them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UltrWarning)
        return shares(estimator.fit(log), log)[0]


def test_examination_given_the_clicks_above_undoes_a_chain_law():
    """Every pattern of four rows, weighted by its probability: E[c / P(examined | clicks above)] = relevance."""
    attraction = np.array([0.3, 0.6, 0.2, 0.5])
    log, fitted = patterns(LAW, attraction)
    estimator = CascadeIPS(click_model=fitted, model=Tabular(4), training=EXACT, label="expected")
    np.testing.assert_allclose(relevances(estimator, log), attraction / attraction.sum(), atol=1e-4)
    marginal = dataclasses.replace(estimator, given_clicks=False)
    np.testing.assert_allclose(relevances(marginal, log), attraction / attraction.sum(), atol=1e-4)
    naive = IPS(propensity=np.ones(4), model=Tabular(4), training=EXACT, label="expected")
    assert np.abs(relevances(naive, log) - attraction / attraction.sum()).max() > 0.03


def test_a_cascade_keeps_only_what_pages_without_a_click_above_leave():
    attraction = np.array([0.3, 0.6, 0.2, 0.5])
    log, fitted = patterns(Cascade(), attraction)
    estimator = CascadeIPS(click_model=fitted, model=Tabular(4), training=EXACT, label="expected")
    with pytest.warns(UltrWarning, match="can hardly have been examined"):
        left = shares(estimator.fit(log), log)[0]
    unclicked = np.cumprod(np.r_[1, 1 - attraction[:3]])
    np.testing.assert_allclose(left, attraction * unclicked / (attraction * unclicked).sum(), atol=1e-4)
    marginal = relevances(dataclasses.replace(estimator, given_clicks=False), log)
    np.testing.assert_allclose(marginal, attraction / attraction.sum(), atol=1e-4)


def test_a_click_that_the_law_rules_out_is_named():
    clicked_twice = pages_log([[1, 1, 0]] * 4, position=np.tile([0, 1, 2], 4))
    log = ultr.ClickLog(clicked_twice.offsets, clicked_twice.columns, clicked_twice.page_columns, ultr.Items(np.eye(3)))
    with pytest.raises(LogError, match=r"page 0, row 1 has 0.0; 4 of 12 are wrong. The law does not fit"):
        scores(CascadeIPS(click_model=Cascade, training=QUICK), log)


def test_the_class_of_a_chain_law_is_fitted_to_the_log():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UltrWarning)
        fitted = click_models.fit(DependentClick, LOG)
    np.testing.assert_array_equal(scores(CascadeIPS(training=QUICK)), scores(CascadeIPS(click_model=fitted, training=QUICK)))


# Documents over all pages of their query


def top_two():
    """Three documents, two places; how often each order is drawn, in tenths. theta = .9, .5; expected clicks in the clicks' place."""
    orders, tenths = [(0, 1), (0, 2), (2, 1), (2, 0), (1, 0), (1, 2)], [3, 2, 1, 1, 2, 1]
    item, gamma, theta = np.array(orders).reshape(-1), np.array([0.8, 0.4, 0.2]), np.array([0.9, 0.5])
    position = np.tile([0, 1], 6)
    rho = np.array([0.5 * 0.9 + 0.3 * 0.5, 0.3 * 0.9 + 0.4 * 0.5, 0.2 * 0.9 + 0.3 * 0.5])
    columns = {
        "item": item,
        "position": position,
        "expected": theta[position] * gamma[item],
        "propensity": theta[position],
        "rho": rho[item],
    }
    page_columns = {"query": np.zeros(6, dtype=int), "count": np.array(tenths)}
    return ultr.ClickLog(np.arange(7) * 2, columns, page_columns, ultr.Items(np.eye(3))), gamma, rho


def test_what_a_policy_cuts_off_is_weighted_back():
    """pi = [[.5, .3, .2], [.3, .4, .3], [.2, .3, .5]], theta = (.9, .5, 0): mean IPS weights give (.64, .28, .10), rho gives gamma."""
    log, gamma, rho = top_two()
    theta, expected = log.columns["propensity"], log.columns["expected"]
    ips = exposure_of(log, expected / theta, theta, np.zeros(12))
    np.testing.assert_allclose(ips.rate, [0.64, 0.28, 0.10], atol=1e-12)
    found = exposure_of(log, expected, theta, np.zeros(12))
    np.testing.assert_allclose(found.alpha, rho, atol=1e-12)
    np.testing.assert_allclose(found.rate / found.alpha, gamma, atol=1e-12)
    assert found.pages.page_columns["count"].tolist() == [10]
    for exposure in (None, "rho"):
        fitted = PolicyAware(exposure=exposure, model=Tabular(3), training=EXACT, label="expected").fit(log)
        s = fitted.score_log(log)[[0, 1, 3]]  # items 0, 1, 2
        np.testing.assert_allclose(np.exp(s) / np.exp(s).sum(), gamma / gamma.sum(), atol=1e-4)


def test_one_order_a_query_makes_policy_aware_ips():
    log = population()
    aware = PolicyAware(model=Tabular(12), training=QUICK, label="expected").fit(log)
    ips = IPS(model=Tabular(12), training=QUICK, label="expected").fit(log)
    np.testing.assert_allclose(centred(aware, log), centred(ips, log), atol=1e-5)


def test_policy_aware_takes_mistaken_clicks_off():
    log = trusted(SHUFFLED)
    fitted = PolicyAware(propensity=TRUST, model=Tabular(12), training=EXACT, label="expected").fit(log)
    np.testing.assert_allclose(shares(fitted, trusted()), TRUTH, atol=1e-4)


def test_an_exposure_that_differs_within_a_document_is_refused():
    log = LOG.with_columns(rho=np.linspace(0.1, 1, LOG.n_rows))
    with pytest.raises(LogError, match="rho must be one value in"):
        PolicyAware(exposure="rho", training=QUICK).fit(log)


def doubly_robust(log, **settings):
    fitted = DoublyRobust(model=Tabular(12), training=EXACT, label="expected", **settings).fit(log)
    return shares(fitted, population())


def test_where_nothing_is_clipped_the_regression_changes_nothing():
    log = LOG.with_columns(guess=np.linspace(0, 1, LOG.n_rows))
    aware = PolicyAware(training=QUICK).fit(log)
    for clip in (None, 1e6):
        robust = DoublyRobust(clip=clip, relevance="guess", training=QUICK).fit(log)
        np.testing.assert_allclose(centred(robust, log), centred(aware, log), atol=1e-5)
    clipped = DoublyRobust(clip=1.5, relevance="guess", training=QUICK).fit(log)
    assert not np.allclose(centred(clipped, log), centred(aware, log), atol=1e-2)


def test_the_right_regression_makes_clipping_harmless_and_none_leaves_its_bias():
    log = population(SHUFFLED)
    nothing = log.with_columns(nothing=np.zeros(log.n_rows))
    np.testing.assert_allclose(doubly_robust(log, clip=1.2, relevance="relevance"), TRUTH, atol=1e-4)
    rho = exposure_of(log, log.columns["expected"], log.columns["propensity"], np.zeros(log.n_rows)).alpha.reshape(3, 4)
    left = GAMMA * np.minimum(1, 1.7 * rho)
    assert set((1.7 * rho > 1).reshape(-1)) == {True, False}
    np.testing.assert_allclose(doubly_robust(nothing, clip=1.7, relevance="nothing"), left / left.sum(1, keepdims=True), atol=1e-4)
    assert np.abs(left / left.sum(1, keepdims=True) - TRUTH).max() > 0.02


@pytest.mark.parametrize("propensity", ["propensity", TRUST], ids=["position", "trust"])
def test_the_own_regression_finds_the_relevance(propensity):
    log = population(SHUFFLED) if propensity == "propensity" else trusted(SHUFFLED)
    np.testing.assert_allclose(doubly_robust(log, clip=1.2, propensity=propensity), TRUTH, atol=2e-3)


# What they have in common

ESTIMATORS = [AffineCorrection(click_model=TRUST), CascadeIPS(click_model=LAW), PolicyAware(), DoublyRobust(clip=2.0)]
OTHER_LOG = LOG.with_columns(
    purchase=(LOG.columns["click"] > 0) * (LOG.columns["position"] % 2).astype(float),
    rho=np.full(LOG.n_rows, 0.5),
    guess=LOG.columns["relevance"] / 2,
)
SHARED = {
    "clip": 1.3,
    "normalise": None,
    "model": MLP((6,)),
    "training": dataclasses.replace(QUICK, steps=5),
    "label": "purchase",
    "loss": "pairwise",
}
OWN = {
    "AffineCorrection": {"click_model": NO_TRUST},
    "CascadeIPS": {"click_model": PositionBased, "given_clicks": False},
    "PolicyAware": {"propensity": [1.0, 0.9, 0.8, 0.7, 0.6], "exposure": "rho"},
    "DoublyRobust": {"propensity": [1.0, 0.9, 0.8, 0.7, 0.6], "relevance": "guess"},
}


@pytest.mark.parametrize(
    ("estimator", "name", "value"),
    [(e, name, value) for e in ESTIMATORS for name, value in {**SHARED, **OWN[type(e).__name__]}.items()],
    ids=lambda value: type(value).__name__ if dataclasses.is_dataclass(value) else str(value)[:20],
)
def test_a_setting_changes_the_ranker(estimator, name, value):
    base = dataclasses.replace(estimator, training=QUICK)
    assert not np.allclose(scores(base, OTHER_LOG), scores(dataclasses.replace(base, **{name: value}), OTHER_LOG), rtol=1e-3)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_every_setting_is_tried(estimator):
    assert {f.name for f in dataclasses.fields(estimator)} == {*SHARED, *OWN[type(estimator).__name__]}


@pytest.mark.parametrize("estimator", [e for e in ESTIMATORS if not isinstance(e, CascadeIPS)], ids=lambda e: type(e).__name__)
def test_compressed_and_reordered_pages_say_the_same(estimator):
    log = repeated_log()
    whole = dataclasses.replace(estimator, training=ultr.Training(steps=40, batch_pages=100_000, check_every=10))
    fitted = whole.fit(log)
    for other in (log.compress(), log.take(np.random.default_rng(0).permutation(len(log)))):
        again = whole.fit(other)
        np.testing.assert_allclose(centred(again, log), centred(fitted, log), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(again.propensity, fitted.propensity, rtol=1e-6)


def test_a_marginal_propensity_serves_compressed_logs():
    merged = repeated_log().compress()
    fitted = click_models.fit(DependentClick, repeated_log(), max_iter=0)
    assert np.isfinite(CascadeIPS(click_model=fitted, given_clicks=False, training=QUICK).fit(merged).score_log(merged)).all()
    with pytest.raises(LogError, match="every page by itself"):
        CascadeIPS(click_model=fitted, training=QUICK).fit(merged)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AffineCorrection(click_model=PositionBased([1.0])), "click_model must be a TrustBias"),
        (lambda: AffineCorrection(clip=0), "AffineCorrection: clip is the largest weight"),
        (lambda: AffineCorrection(loss="pointwise"), "set normalise=None"),
        (lambda: CascadeIPS(click_model="cascade"), "must be a click model"),
        (lambda: PolicyAware(normalise="first"), "a document has no first position"),
        (lambda: DoublyRobust(normalise="first"), "a document has no first position"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (
            AffineCorrection(click_model=TrustBias([1.0, 0.5], [1, 1], [0.1, 0.1])),
            LogError,
            "position must be below 2, .* TrustBias knows: page 0, row 2 has 2",
        ),
        (
            AffineCorrection(click_model=TrustBias([1.0] * 5, [0.5] * 5, [0.5] * 5)),
            LogError,
            "slope of the click probability must be above 0",
        ),
        (PolicyAware(propensity=DependentClick([0.5] * 5)), PropensityError, "Chain laws go to CascadeIPS"),
        (PolicyAware(exposure="rho"), LogError, "needs the column 'rho'"),
        (DoublyRobust(relevance="position"), LogError, r"position must be in \[0, 1\]"),
    ],
)
def test_logs_that_do_not_fit_are_refused(estimator, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(estimator, training=QUICK).fit(LOG)


def test_a_position_based_law_is_a_propensity():
    alpha, beta, examination = affine_of(LOG, PositionBased(TRUST.examination))
    np.testing.assert_array_equal(examination, alpha)
    np.testing.assert_array_equal(alpha, TRUST.examination[LOG.columns["position"]])
    assert not beta.any()
