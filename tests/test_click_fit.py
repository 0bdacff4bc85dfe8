"""Fitting click models: counts by hand, likelihoods that never fall, parameters that come back, and logs of every shape."""

import warnings

import numpy as np
import pandas as pd
import pytest
from click_laws import STORIES
from hypothesis import given, settings
from hypothesis import strategies as st

import simulators
from ultr import ClickLog, Items, RankingData, click_models
from ultr.click_models import (
    Cascade,
    ClickChain,
    ClickModel,
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
from ultr.errors import ConfigError, ContractError, LogError, PropensityError, UltrWarning
from ultr.random import generator

LEARNT = [PositionBased, TrustBias, UserBrowsing, DependentClick, SimplifiedDynamicBayesian, DynamicBayesian, ClickChain]
COUNTED = [Cascade, GlobalRate, RankRate, ItemRate, ItemRankRate]
MIXED = Mixture([PositionBased([0.9, 0.6, 0.5, 0.2]), Cascade(), DynamicBayesian(0.8)], [0.4, 0.3, 0.3])
every_law = pytest.mark.parametrize("law", [*LEARNT, *COUNTED, MIXED], ids=lambda law: law.__name__ if isinstance(law, type) else "Mixture")


def fit(law, log, **settings):
    """Fit, without a word about how far it came or what a cascade rules out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UltrWarning)
        return click_models.fit(law, log, **settings)


def pages_log(clicks, items=None, query=None, **columns):
    """A log of pages of any lengths; all of one query with items 0, 1, 2, ... unless said otherwise."""
    lengths = [len(page) for page in clicks]
    items = [range(n) for n in lengths] if items is None else items
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    query = np.zeros(len(clicks), dtype=int) if query is None else np.asarray(query)
    flat = {"item": np.concatenate([np.asarray(page, dtype=int) for page in items]), "click": np.concatenate(clicks).astype(int)}
    return ClickLog(offsets, {**flat, **{name: np.asarray(values) for name, values in columns.items()}}, {"query": query})


def world_of(n_queries=10, n_items=6, seed=0):
    """A graded set whose documents all have an attraction and a satisfaction of their own, and laws of grades that give them."""
    rng = generator(seed, "world")
    n = n_queries * n_items
    data = RankingData(rng.normal(size=(n, 2)), np.zeros(n, dtype=int), np.arange(0, n + 1, n_items))
    attraction, satisfaction = rng.uniform(0.1, 0.9, (2, n))
    return data, {"relevance": lambda grades: attraction, "satisfaction": lambda grades: satisfaction}


def simulated(law, n_pages=4000, seed=0, cutoff=4, **settings):
    data, truth = world_of()
    if not law.reads_satisfaction:
        truth.pop("satisfaction")
    settings = {"policy": simulators.RandomPolicy(), **settings}
    return simulators.simulate_clicks(data, click_model=law, n_pages=n_pages, cutoff=cutoff, seed=seed, **truth, **settings)


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
        fitted = click_models.fit(Cascade, log)
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


RECOVERED = [
    PositionBased([1.0, 0.6, 0.5, 0.3]),
    TrustBias([0.9, 0.6, 0.5, 0.3], [1, 1, 0.95, 0.9], [0.5, 0.3, 0.2, 0.1]),
    Cascade(),
    DependentClick([0.8, 0.5, 0.3, 0.5]),
    SimplifiedDynamicBayesian(),
    DynamicBayesian(0.85),
    ClickChain(0.9, 0.6, 0.2),
    UserBrowsing([[1, 0, 0, 0], [0.7, 0.95, 0, 0], [0.4, 0.6, 0.8, 0], [0.2, 0.3, 0.5, 0.7]]),
    ItemRate(),
]


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


def z(estimate, truth, error):
    return np.abs((estimate - truth) / error)


def test_chain_parameters_come_back():
    """Of 20,000 pages, about 5,000 decide each parameter: within .04, five standard errors of a share of 5,000, 2.5 of them biased."""
    np.testing.assert_allclose(fit(DependentClick, simulated(RECOVERED[3], 20_000)).model.continuation[:3], [0.8, 0.5, 0.3], atol=0.04)
    assert fit(DynamicBayesian, simulated(RECOVERED[5], 20_000)).model.continuation == pytest.approx(0.85, abs=0.04)
    chain = fit(ClickChain, simulated(RECOVERED[6], 40_000), max_iter=500).model
    assert chain.tau_skip == pytest.approx(0.9, abs=0.04)
    relative = fit(PositionBased, simulated(RECOVERED[0], 20_000), max_iter=500).propensity
    np.testing.assert_allclose(relative, [1, 0.6, 0.5, 0.3], atol=0.04)


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
    """Its own clicks: far better than the position-based model, and every ratio of examinations within .1 of the truth."""
    log = simulated(RECOVERED[7], 40_000)
    browsing, positions = fit(UserBrowsing, log, max_iter=500), fit(PositionBased, log, max_iter=500)
    assert browsing.log_likelihoods[-1] > positions.log_likelihoods[-1] + 100
    lower = np.tril_indices(4)
    found = browsing.model.examination[lower] / browsing.model.examination[0, 0]
    np.testing.assert_allclose(found, RECOVERED[7].examination[lower], atol=0.1)


def test_a_mixture_is_learnt_from_an_object():
    law = Mixture([PositionBased([1.0, 0.9, 0.8, 0.7]), Cascade()], [0.7, 0.3])
    log, test = (simulated(law, 10_000, seed=seed) for seed in (1, 2))
    start = Mixture([PositionBased([0.9, 0.6, 0.5, 0.4]), Cascade()], [0.5, 0.5])
    fitted = fit(start, log, max_iter=60)
    assert fitted.model.weights == pytest.approx([0.7, 0.3], abs=0.06)
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


# --- logs of every kind


def test_compressed_logs_are_taken_where_rows_are_independent():
    data = RankingData(np.zeros((6, 1)), [0, 1, 2, 0, 3, 4], [0, 3, 6])
    policy = simulators.SwapPairs(simulators.LinearPolicy(), 0.5)
    log = simulators.simulate_clicks(data, policy=policy, n_pages=3000, click_model=PositionBased([0.9, 0.6, 0.3]))
    small = log.compress()
    assert small.compressed
    for law in (PositionBased, TrustBias, GlobalRate, RankRate, ItemRate, ItemRankRate):
        whole, merged = fit(law, log, max_iter=20), fit(law, small, max_iter=20)
        np.testing.assert_allclose(merged.attraction(log), whole.attraction(log), rtol=1e-9)
        np.testing.assert_allclose(merged.log_likelihoods, whole.log_likelihoods)
        assert merged.n_rows == whole.n_rows == log.n_rows
        assert merged.log_likelihood(small).sum() == pytest.approx(merged.log_likelihood(log).sum())
    for law in (UserBrowsing, Cascade, DynamicBayesian, ClickChain, Mixture([ItemRate()], [1.0])):
        with pytest.raises(LogError, match=r"needs every page by itself.*before compress\(\)"):
            fit(law, small)
    fitted = fit(UserBrowsing, log)
    for call in (fitted.log_likelihood, fitted.click_probability):
        with pytest.raises(LogError, match="UserBrowsing needs every page by itself"):
            call(small)
    assert fitted.click_probability(small, given_clicks=False).shape == (small.n_rows,)


def test_positions_are_those_logged():
    """A second result page, positions 2 and 3: examination is known there, and taken for the position above elsewhere."""
    clicks = [[1, 0], [0, 1], [1, 1]] * 20
    log = pages_log(clicks, [[0, 1], [1, 0], [0, 1]] * 20, position=[2, 3] * 60)
    fitted = fit(PositionBased, log)
    assert len(fitted.model.examination) == 4
    assert np.isnan(fitted.propensity[:2]).all()
    assert fitted.propensity[2] == 1
    assert fit(RankRate, log).table.index.tolist() == [(k,) for k in range(4)] or len(fit(RankRate, log).table) == 4
    for law in (UserBrowsing, DynamicBayesian, DependentClick):
        found = fit(law, log, max_iter=5, tol=0)
        assert found.log_likelihood(log).sum() == pytest.approx(found.log_likelihoods[-1])


def test_items_are_known_by_their_ids_in_other_logs():
    def frame(items, pages):
        return ClickLog.from_frame(
            pd.DataFrame(
                {"page": np.repeat(np.arange(pages), len(items)), "item": items * pages, "click": [1, 0, 0] * pages, "query": "shoes"}
            )
        )

    train, test = frame(["red", "blue", "green"], 5), frame(["blue", "red", "black"], 1)
    for query in ("query", None):
        fitted = fit(ItemRate, train, query=query)
        np.testing.assert_allclose(fitted.attraction(test), [1 / 7, 6 / 7, 1 / 2])
    assert fitted.table.loc[(None, "red"), "attraction"] == pytest.approx(6 / 7)


def test_an_item_may_belong_to_many_queries():
    """Pairs, not items: 3 items under 50 queries, in pieces."""
    rng = generator(4)
    query = rng.integers(0, 50, 400)
    log = pages_log([[(q + i) % 2 for i in range(3)] for q in query], [rng.permutation(3)] * 400, query=query)
    fitted = fit(ItemRate, Chunked(log, 13))
    assert len(fitted.table) == len({(q, i) for q in query for i in range(3)})
    rows = pd.DataFrame({"query": np.repeat(query, 3), "item": log.columns["item"], "click": log.columns["click"]})
    by_hand = rows.groupby(["query", "item"])["click"].agg(lambda c: (c.sum() + 1) / (len(c) + 2))
    found = fitted.table["attraction"].sort_index()
    np.testing.assert_allclose(found, by_hand)
    assert fitted.table.index.is_unique


# --- what a fitted model is for


def test_it_ranks_by_attraction_and_knows_examination():
    log = simulated(RECOVERED[5], 3000)
    fitted = fit(DynamicBayesian, log)
    ranked = fitted.apply(log)
    np.testing.assert_array_equal(ranked.columns["item"], fitted.rank(log).columns["item"])
    score = ranked.columns["score"].reshape(-1, 4)
    assert (np.diff(score, axis=1) <= 0).all()
    a, s = fitted.attraction(log).reshape(-1, 4), fitted.satisfaction(log).reshape(-1, 4)
    c = log.columns["click"].reshape(-1, 4)
    np.testing.assert_allclose(fitted.click_probability(log).reshape(-1, 4), fitted.model.conditional(a, c, s))
    np.testing.assert_allclose(fitted.click_probability(log, given_clicks=False).reshape(-1, 4), fitted.model.marginal(a, s))
    np.testing.assert_allclose(fitted.examination(log).reshape(-1, 4), fitted.model.examination_given(a, c, s))
    np.testing.assert_allclose(fitted.examination(log, given_clicks=False).reshape(-1, 4), fitted.model.marginal_examination(a, s))
    assert fitted.propensity is None
    assert fit(Cascade, log).satisfaction(log) is None
    with pytest.raises(LogError, match="position must rise within a page"):
        fitted.log_likelihood(ranked)


def test_convergence_is_reported(capsys):
    log = simulated(RECOVERED[0], 2000)
    with pytest.warns(
        UltrWarning, match=r"fit\(PositionBased, ...\) ended after max_iter=3 steps; the last one still gained .* nats a row"
    ):
        short = click_models.fit(PositionBased, log, max_iter=3)
    assert not short.converged
    assert short.n_iterations == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        long = click_models.fit(PositionBased, log, max_iter=2000, tol=1e-6)
    assert long.converged
    assert "converged" in repr(long)
    assert (long.objectives[-1] - long.objectives[-2]) / log.n_rows < 1e-6 <= (long.objectives[-2] - long.objectives[-3]) / log.n_rows
    assert capsys.readouterr() == ("", "")
    fit(PositionBased, log, max_iter=3, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "EM" in err


# --- bad input


def test_bad_settings():
    log = simulated(Cascade(), 10)
    for settings_, message in (
        ({"max_iter": -1}, "max_iter must be a whole number of at least 0"),
        ({"max_iter": 2.0}, "max_iter must be"),
        ({"tol": -1}, "tol must be at least 0"),
        ({"tol": np.nan}, "tol must be at least 0"),
        ({"prior": (0, 1)}, "prior must be two numbers above 0"),
        ({"prior": (1, 1, 1)}, "prior must be two numbers"),
    ):
        with pytest.raises(ConfigError, match=message):
            fit(PositionBased, log, **settings_)
    with pytest.raises(ConfigError, match="law must be a click model"):
        fit("PositionBased", log)


def test_a_law_of_ones_own_cannot_be_fitted():
    class Own(ClickModel):
        def conditional(self, attraction, clicks, satisfaction=None, mask=None):
            return np.asarray(attraction)

    with pytest.raises(ContractError, match="Own cannot be fitted: ultr learns its own click models only"):
        fit(Own(), simulated(Cascade(), 10))


@every_law
def test_bad_logs(law):
    log = simulated(Cascade(), 50)
    without = {name: values for name, values in log.columns.items() if name != "click"}
    bad = {
        "needs the column 'click'": ClickLog(log.offsets, without, log.page_columns, log.items),
        "has 200 rows and no click": log.with_columns(click=np.zeros(200, dtype=int)),
        "has 0 rows and no click": log.take(np.arange(0)),
        "click must be 0 or 1": log.with_columns(click=np.full(200, 2)),
        "position must rise within a page: page 0, row 1 has 0": log.with_columns(position=np.zeros(200, dtype=int)),
        r"needs the page column 'query'.*query=None": ClickLog(log.offsets, log.columns, {}, log.items),
    }
    for message, broken in bad.items():
        if "page column" in message and "query" not in getattr(law, "rates_by", ("query",)):
            continue
        with pytest.raises(LogError, match=message):
            fit(law, broken)


def test_clicks_that_every_kind_of_a_mixture_rules_out():
    with pytest.raises(LogError, match="All models of the mixture rule out the clicks of 1 pages"):
        fit(Mixture([Cascade()], [1.0]), pages_log([[1, 1], [1, 0]]))


@pytest.mark.parametrize("items", [None, Items(ids=np.array(list("abcdef")))])
def test_fitted_pairs_do_not_grow_when_other_logs_are_looked_up(items):
    train = pages_log([[1, 0], [0, 1]])
    train = ClickLog(train.offsets, train.columns, train.page_columns, items)
    fitted = fit(ItemRate, train)
    before = fitted.table.copy()
    other = pages_log([[0] * 5], [[0, 1, 2, 3, 4]], query=[0])
    fitted.attraction(
        ClickLog(other.offsets, other.columns, other.page_columns, None if items is None else Items(ids=np.array(list("xaybz"))))
    )
    pd.testing.assert_frame_equal(fitted.table, before)
    np.testing.assert_allclose(fitted.attraction(train), [1 / 2, 1 / 2, 1 / 2, 1 / 2])
