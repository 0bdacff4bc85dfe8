"""Fitting click models: counts by hand, likelihoods that never fall, parameters that come back."""

import numpy as np
import pandas as pd
import pytest
from click_laws import STORIES
from click_logs import LEARNT, MIXED, RECOVERED, every_law, fit, pages_log, simulated
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr import ClickLog, click_models
from ultr.click_models import (
    Cascade,
    ClickChain,
    DependentClick,
    DynamicBayesian,
    GlobalRate,
    ItemRankRate,
    ItemRate,
    Mixture,
    PositionBased,
    RankRate,
    SimplifiedDynamicBayesian,
    TrustBias,
    UserBrowsing,
)
from ultr.data.source import Chunked
from ultr.errors import ConfigError, LogError, PropensityError, UltrWarning
from ultr.random import generator

# --- by hand


def test_click_rates_by_hand():
    log = pages_log([[1, 0], [0, 0, 1]], items=[[0, 1], [1, 0, 2]], query=[5, 5])
    prior = 1 / 2  # one click and one skip beforehand
    assert fit(GlobalRate, log).attraction(log) == pytest.approx([(2 + 1) / (5 + 2)] * 5)
    np.testing.assert_allclose(fit(RankRate, log).attraction(log), [2 / 4, 1 / 4, 2 / 4, 1 / 4, 2 / 3])
    np.testing.assert_allclose(fit(ItemRate, log).attraction(log), [2 / 4, 1 / 4, 1 / 4, 2 / 4, 2 / 3])
    np.testing.assert_allclose(fit(ItemRankRate, log).attraction(log), [2 / 3, 1 / 3, 1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(fit(ItemRate, log, prior=(0.5, 1.5)).attraction(log), [1.5 / 4, 0.5 / 4, 0.5 / 4, 1.5 / 4, 1.5 / 3])
    other = pages_log([[0, 0]], items=[[0, 7]], query=[5])
    np.testing.assert_allclose(fit(ItemRate, log).attraction(other), [2 / 4, prior])


def test_cascade_by_hand():
    """Rows down to the first click are examined: item 0 clicked 2 of 3 times, item 1 once of 2, item 2 never seen again."""
    log = pages_log([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    with pytest.warns(UltrWarning, match=r"rules out more than one click a page: 1 of 3 pages"):
        fitted = click_models.fit(Cascade, log, prior=(1, 1))
    np.testing.assert_allclose(fitted.table["attraction"], [(2 + 1) / (3 + 2), (1 + 1) / (1 + 2), 1 / 2])
    np.testing.assert_allclose(fitted.log_likelihood(log)[2], -np.inf)
    assert fitted.converged


def test_what_the_papers_count():
    """Without a step: users stop at their last click; a page without clicks was seen whole."""
    log = pages_log([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]])
    for law in (DependentClick, SimplifiedDynamicBayesian):
        fitted = fit(law, log, max_iter=0)
        np.testing.assert_allclose(fitted.table["attraction"], [2 / 5, 2 / 5, 2 / 4, 1 / 3])
    satisfaction = fit(SimplifiedDynamicBayesian, log, max_iter=0).table["satisfaction"]
    np.testing.assert_allclose(satisfaction, [1 / 3, 2 / 3, 2 / 3, 1 / 2])  # went on after item 0; items 1 and 2 were the last
    assert len(fitted.log_likelihoods) == 1


def test_position_based_converges_to_the_hand_made_truth():
    """A table of exact rates, 10^4 shows a cell: examination (1, .5), attractions (.8, .4); the likelihood has its peak there."""
    shows, theta, a = 10_000, np.array([1.0, 0.5]), np.array([0.8, 0.4])
    clicks = (shows * theta * np.array([[a[0], a[1]], [a[1], a[0]]])).round().astype(int)
    log = ClickLog([0, 2, 4], {"item": np.array([0, 1, 1, 0]), "click": clicks.reshape(-1)}, {"query": [0, 0], "count": [shows, shows]})
    fitted = fit(PositionBased, log, max_iter=5000, tol=1e-13, prior=(1e-9, 1e-9))
    np.testing.assert_allclose(fitted.model.examination, theta, rtol=1e-3)
    np.testing.assert_allclose(fitted.attraction(log), a[[0, 1, 1, 0]], rtol=1e-3)
    np.testing.assert_allclose(fitted.propensity, theta / theta[0], rtol=1e-3)


# --- what holds for every law


@every_law
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_the_penalised_likelihood_never_falls(law, data):
    """Small ragged logs with any clicks, weak and strong priors: 15 steps of expectation maximisation."""
    pages = data.draw(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=4), min_size=1, max_size=12))
    if law is Cascade or law is MIXED:
        pages = [[c if sum(page[:k]) == 0 else 0 for k, c in enumerate(page)] for page in pages]
    if not any(map(any, pages)):
        pages[0][0] = 1
    items = [data.draw(st.permutations(range(4)))[: len(page)] for page in pages]
    prior = data.draw(st.sampled_from([(1.0, 1.0), (0.01, 0.02), (3.0, 7.0)]))
    fitted = fit(law, pages_log(pages, items), max_iter=15, tol=0, prior=prior)
    assert np.isfinite(fitted.objectives).all()
    assert (np.diff(fitted.objectives) >= -1e-9 * np.abs(fitted.objectives[1:])).all()


@every_law
def test_the_likelihoods_reported_are_those_of_the_log(law):
    log = simulated(Cascade() if law is Cascade else STORIES["Mixture"][0], 500)
    fitted = fit(law, log, max_iter=7, tol=0)
    assert fitted.log_likelihood(log).sum() == pytest.approx(fitted.log_likelihoods[-1])
    loss = -fitted.objectives / log.n_rows
    np.testing.assert_allclose(fitted.history["loss"], loss)
    assert set(fitted.history["split"]) == {"train"}


@every_law
def test_a_log_in_pieces_gives_the_same(law):
    """Chunks of 7 pages, in which later chunks bring new queries and items, and pages in another order."""
    log = simulated(Cascade(), 400, cutoff=4)
    whole, pieces = fit(law, log, max_iter=5), fit(law, Chunked(log, 7), max_iter=5)
    shuffled = fit(law, log.take(generator(1).permutation(len(log))), max_iter=5)
    for other in (pieces, shuffled):
        np.testing.assert_allclose(other.attraction(log), whole.attraction(log), rtol=1e-9)
        assert other.log_likelihoods[-1] == pytest.approx(whole.log_likelihoods[-1])
        pd.testing.assert_frame_equal(other.table.sort_index(), whole.table.sort_index(), rtol=1e-9)


@every_law
def test_pages_of_any_length(law):
    """Ragged pages, one of them empty: the objective is that of the pages, and nothing depends on padding."""
    rng = generator(3)
    clicks = [(np.arange(n) == rng.integers(0, 6)).astype(int) for n in rng.integers(0, 5, 60)]
    items = [rng.permutation(6)[: len(page)] for page in clicks]
    log = pages_log(clicks, items, query=rng.integers(0, 3, 60))
    fitted = fit(law, log, max_iter=4, tol=0)
    assert fitted.log_likelihood(log).sum() == pytest.approx(fitted.log_likelihoods[-1])
    assert fitted.log_likelihood(log)[log.lengths == 0] == pytest.approx(0)
    nothing = ClickLog(
        np.zeros(4), {"item": np.zeros(0, int), "click": np.zeros(0, int), "position": np.zeros(0, int)}, {"query": [0, 1, 2]}
    )
    np.testing.assert_allclose(fitted.log_likelihood(nothing), 0, atol=1e-12)
    with pytest.raises(LogError, match="has 0 rows and no click"):
        fit(law, nothing)


@pytest.mark.parametrize("law", [*LEARNT, Cascade, ItemRate, ItemRankRate])
def test_unknown_pairs_have_the_prior_mean_and_known_ones_are_found(law):
    log = simulated(Cascade(), 300)
    fitted = fit(law, log, max_iter=3, prior=(1.0, 3.0))
    new = log.take(np.arange(2))
    stranger = ClickLog(new.offsets, {**new.columns, "item": new.columns["item"] + 10_000}, new.page_columns, None)
    np.testing.assert_array_equal(fitted.attraction(stranger), 0.25)
    elsewhere = ClickLog(new.offsets, new.columns, {"query": np.array([777, 778])}, new.items)
    np.testing.assert_array_equal(fitted.attraction(elsewhere), 0.25)
    assert not (fitted.attraction(new) == 0.25).all()
    table = fitted.table.reset_index()
    for row in range(4):
        query = new.page_columns["query"][new.page_of_row()[row]]
        lines = table[(table["query"] == query) & (table["item"] == new.columns["item"][row])]
        if "position" in lines:
            lines = lines[lines["position"] == new.columns["position"][row]]
        assert fitted.attraction(new)[row] == lines["attraction"].item()


# --- parameters come back


@pytest.mark.parametrize("law", RECOVERED, ids=lambda law: type(law).__name__)
def test_a_law_learnt_from_its_own_clicks_predicts_as_the_truth_does(law):
    """Held-out log-likelihood within 3 (parameters / 2) nats of the truth's: the expected loss of a fit is half a nat a parameter.

    The loss is about chi-square with 60 or 120 degrees of freedom, halved: three times its mean is exceeded with probability below
    1e-15. The twin, rates by position, misses it by far.
    """
    log, test = (simulated(law, 20_000, seed=seed) for seed in (1, 2))
    fitted = fit(type(law), log, max_iter=500)
    pages = test.columns["relevance"].reshape(-1, 4).astype(float)
    satisfaction = test.columns["satisfaction"].reshape(-1, 4) if law.reads_satisfaction else None
    truth = law.log_likelihood(pages, test.columns["click"].reshape(-1, 4), satisfaction).sum()
    parameters = sum(map(len, [fitted.attractions, *([fitted.satisfactions] if law.reads_satisfaction else [])]))
    allowed = 3 * parameters / 2
    assert truth - fitted.log_likelihood(test).sum() < allowed
    assert truth - fit(RankRate, log).log_likelihood(test).sum() > allowed


NEAR = 0.06  # parameters below have standard deviations of less than .01 and a bias of less than .005, measured over 20 seeds: 5.5 of them


def near(found, truth):
    """Whether parameters came back; the twin, a truth that is 15% smaller, must not."""
    return np.abs(found - truth).max() < NEAR < np.abs(found - 0.85 * truth).max()


def test_the_parameters_of_the_law_come_back():
    """20,000 pages (40,000 for the click chain), each test with a false alarm below 1e-7 a parameter."""
    assert near(fit(DependentClick, simulated(RECOVERED[3], 20_000)).model.continuation[:3], np.array([0.8, 0.5, 0.3]))
    assert near(fit(DynamicBayesian, simulated(RECOVERED[5], 20_000)).model.continuation, 0.85)
    chain = fit(ClickChain, simulated(RECOVERED[6], 40_000), max_iter=500).model
    assert near(np.array([chain.tau_skip, chain.tau_click_irrelevant, chain.tau_click_relevant]), np.array([0.9, 0.6, 0.2]))
    assert near(fit(PositionBased, simulated(RECOVERED[0], 20_000), max_iter=500).propensity, np.array([1, 0.6, 0.5, 0.3]))


def test_counting_alone_is_not_the_most_likely():
    """Why SDBN and DCM are learnt: counts take users who stopped without a click for satisfied ones."""
    for law in (RECOVERED[3], RECOVERED[4]):
        log = simulated(law, 20_000)
        counted, learnt = fit(type(law), log, max_iter=0), fit(type(law), log)
        assert learnt.log_likelihood(log).sum() > counted.log_likelihood(log).sum() + 100
        truth = log.columns["relevance"]
        bias = [np.mean(one.attraction(log) - truth) for one in (counted, learnt)]
        assert bias[0] > 0.01 > abs(bias[1])


def test_the_user_browsing_model_sees_the_last_click():
    """Its own clicks: far better than the position-based model, and every ratio of examinations comes back."""
    log = simulated(RECOVERED[7], 40_000)
    browsing, positions = fit(UserBrowsing, log, max_iter=500), fit(PositionBased, log, max_iter=500)
    assert browsing.log_likelihoods[-1] > positions.log_likelihoods[-1] + 100
    lower = np.tril_indices(4)
    found = browsing.model.examination[lower] / browsing.model.examination[0, 0]
    assert near(found, RECOVERED[7].examination[lower])


def test_a_mixture_is_learnt_from_an_object():
    law = Mixture([PositionBased([1.0, 0.9, 0.8, 0.7]), Cascade()], [0.7, 0.3])
    log, test = (simulated(law, 10_000, seed=seed) for seed in (1, 2))
    start = Mixture([PositionBased([0.9, 0.6, 0.5, 0.4]), Cascade()], [0.5, 0.5])
    fitted = fit(start, log, max_iter=60)
    assert fitted.model.weights == pytest.approx([0.7, 0.3], abs=NEAR)
    truth = law.log_likelihood(test.columns["relevance"].reshape(-1, 4).astype(float), test.columns["click"].reshape(-1, 4)).sum()
    assert truth - fitted.log_likelihood(test).sum() < 3 * 65 / 2
    with pytest.raises(ConfigError, match="A Mixture is fitted from an object"):
        fit(Mixture, log)


def test_trust_bias_holds_the_examination_of_an_object():
    law = RECOVERED[1]
    log = simulated(law, 5000)
    held = fit(law, log, max_iter=30)
    np.testing.assert_array_equal(held.model.examination, law.examination)
    free = fit(TrustBias, log, max_iter=30)
    np.testing.assert_allclose(np.maximum(free.model.trust_positive, free.model.trust_negative), 1)


def test_an_object_is_a_starting_point():
    """At the truth there is little to gain; a parameter at 0 or 1 stays, and scale is left as it comes."""
    log = simulated(RECOVERED[5], 3000)
    near, far = (fit(law, log, max_iter=0) for law in (DynamicBayesian(0.85), DynamicBayesian(0.2)))
    assert near.log_likelihoods[0] > far.log_likelihoods[0]
    assert near.model.continuation == 0.85
    assert fit(DynamicBayesian(1.0), log, max_iter=5).model.continuation == 1
    scaled = fit(PositionBased([0.5, 0.3, 0.25, 0.15]), log, max_iter=5).model.examination
    assert scaled.max() < 0.9
    assert fit(PositionBased, log, max_iter=5).model.examination.max() == 1
    with pytest.raises(PropensityError, match="continuation has 2 positions, but the longest page has 4 rows"):
        fit(DependentClick([0.5, 0.5]), log)
