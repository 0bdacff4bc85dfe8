"""Logging policies: who is labelled, which orders come how often, and what a fitted policy may be used for."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import simulators
from simulators import FittedPolicy, FixedOrder, LinearPolicy, PlackettLuce, RandomPolicy, SwapPairs
from simulators.fitted import RandomOrder
from simulators.policies import standardised
from simulators.race import Race
from ultr import RankingData
from ultr.errors import ConfigError, ContractError
from ultr.random import generator

FALSE_ALARM = 1e-5  # a test


def make_data(lengths, seed=0, n_features=4):
    rng = generator(seed, "test data")
    n = int(np.sum(lengths))
    return RankingData(rng.normal(size=(n, n_features)), rng.integers(0, 5, size=n), np.concatenate([[0], np.cumsum(lengths)]))


def one_query(scores):
    """Return a fixed order over one query with these scores."""
    n = len(scores)
    return FixedOrder(RankingData(np.zeros((n, 1)), np.zeros(n, int), [0, n]), np.asarray(scores, dtype=float))


def plackett_luce(weights, order):
    """P(the first documents are `order`), in order of choice."""
    left, chance = np.asarray(weights, dtype=float).copy(), 1.0
    for document in order:
        chance *= left[document] / left.sum()
        left[document] = 0
    return chance


def order_p_value(rows, weights):
    """P-value of pages [B, k] against the Plackett-Luce law of these weights."""
    orders = list(itertools.permutations(range(len(weights)), rows.shape[1]))
    expected = np.array([plackett_luce(weights, order) for order in orders])
    base = len(weights) ** np.arange(rows.shape[1])
    counts = np.bincount(rows @ base, minlength=len(weights) ** rows.shape[1])[np.array(orders) @ base]
    assert counts.sum() == len(rows)  # every page is an order without repetition
    return scipy.stats.chisquare(counts, len(rows) * expected).pvalue


# --- the linear policy


def test_linear_policy_is_ridge_regression_on_the_labelled_queries():
    data = make_data([5] * 40)
    policy = LinearPolicy(fraction_labelled=0.1, ridge=3.0).fit(data, seed=1)
    assert len(policy.labelled) == 4
    rows = np.concatenate([np.arange(data.offsets[q], data.offsets[q + 1]) for q in policy.labelled])
    x, y = data.features[rows].astype(float), data.grades[rows].astype(float)
    x0, y0 = x - x.mean(axis=0), y - y.mean()
    coefficients = np.linalg.solve(x0.T @ x0 + 3.0 * np.eye(4), x0.T @ y0)
    np.testing.assert_allclose(policy.scores, data.features @ coefficients, rtol=1e-5)
    for query, page in enumerate(policy.draw(np.arange(40), 5, generator(0))):
        documents = np.arange(5 * query, 5 * query + 5)
        np.testing.assert_array_equal(page, documents[np.argsort(-policy.scores[documents])])


def test_only_the_labelled_grades_are_seen():
    data = make_data([6] * 50)
    policy = LinearPolicy(fraction_labelled=0.1).fit(data, seed=3)
    seen = np.isin(np.repeat(np.arange(50), 6), policy.labelled)
    unseen_changed = RankingData(data.features, np.where(seen, data.grades, 4 - data.grades), data.offsets)
    seen_changed = RankingData(data.features, np.where(seen, 4 - data.grades, data.grades), data.offsets)
    np.testing.assert_array_equal(LinearPolicy(fraction_labelled=0.1).fit(unseen_changed, seed=3).scores, policy.scores)
    assert (LinearPolicy(fraction_labelled=0.1).fit(seen_changed, seed=3).scores != policy.scores).any()


def test_settings_of_the_linear_policy_have_an_effect():
    data = make_data([6] * 50)
    base = LinearPolicy(fraction_labelled=0.1, ridge=1.0)
    assert len(LinearPolicy(fraction_labelled=1e-9).fit(data, 0).labelled) == 1
    assert len(LinearPolicy(fraction_labelled=1.0).fit(data, 0).labelled) == 50
    for other, seed in (
        (LinearPolicy(fraction_labelled=0.2, ridge=1.0), 0),
        (LinearPolicy(fraction_labelled=0.1, ridge=9.0), 0),
        (base, 1),
    ):
        assert (other.fit(data, seed).scores != base.fit(data, 0).scores).any()
    np.testing.assert_array_equal(base.fit(data, 0).scores, base.fit(data, 0).scores)


def test_equal_scores_follow_the_rule_of_the_log():
    data = make_data([8, 8])
    policy = FixedOrder(data, np.zeros(16))
    expected = data.as_log().rerank(np.zeros(16)).columns["item"].reshape(2, 8)
    np.testing.assert_array_equal(policy.draw(np.array([0, 1]), 8, generator(0)), expected)


def test_queries_without_documents_are_not_labelled():
    data = make_data([0, 3, 0, 3])
    np.testing.assert_array_equal(LinearPolicy(fraction_labelled=1.0).fit(data, 0).labelled, [1, 3])


# --- Plackett-Luce


@pytest.mark.parametrize("cutoff", [1, 2, 4])
def test_plackett_luce_orders_come_at_their_rate(cutoff):
    scores, temperature = np.array([1.0, 0.2, -0.5, -1.5]), 0.8
    policy = one_query(scores)
    rows = PlackettLuce(policy, temperature).fit(policy.data).draw(np.zeros(100_000, int), cutoff, generator(1))
    z = (scores - scores.mean()) / scores.std()
    assert order_p_value(rows, np.exp(z / temperature)) > FALSE_ALARM
    assert order_p_value(rows, np.exp(z / (1.1 * temperature))) < FALSE_ALARM


@pytest.mark.parametrize("far", [False, True])
def test_the_race_is_right_for_every_length_and_for_huge_differences(far):
    """Three queries in two lanes; with `far`, their last documents are 900 nats behind, and the race is run in logarithms."""
    weights = [[1.0, 2.0, 4.0], [1.0, 0.5, 3.0, 2.0], [5.0, 1.0, 1.0]]
    log_weights, offsets = np.log(np.concatenate(weights)), np.array([0, 3, 7, 10])
    if far:
        behind = np.log([1.0, 3.0]) - 900
        log_weights = np.concatenate([part for w in weights for part in (np.log(w), behind)])
        offsets = offsets + 2 * np.arange(4)
    race = Race.of(log_weights, offsets)
    queries = generator(2, "queries").integers(3, size=120_000)
    rows = race.draw(queries, 7, generator(2))
    assert len(race.lanes) == (1 if far else 2)
    for query, w in enumerate(weights):
        pages = rows[queries == query] - offsets[query]
        assert order_p_value(pages[:, : len(w)], w) > FALSE_ALARM / 3
        assert order_p_value(pages[:, : len(w)], np.multiply(w, [1.1, *[1] * (len(w) - 1)])) < FALSE_ALARM / 3
        if far:  # the stragglers arrive last, in their own Plackett-Luce order
            assert order_p_value(pages[:, len(w) : len(w) + 2] - len(w), [1, 3]) > FALSE_ALARM / 3
            assert order_p_value(pages[:, len(w) : len(w) + 2] - len(w), [1.1, 3]) < FALSE_ALARM / 3
        assert (rows[queries == query][:, offsets[query + 1] - offsets[query] :] == -1).all()


def test_random_policy_shows_every_order_equally_often():
    data = make_data([4])
    rows = RandomPolicy().fit(data).draw(np.zeros(100_000, int), 3, generator(3))
    assert order_p_value(rows, np.ones(4)) > FALSE_ALARM
    assert order_p_value(rows, [1.05, 1, 1, 1]) < FALSE_ALARM
    np.testing.assert_array_equal(RandomPolicy().fit(data, 0).log_weights, RandomPolicy().fit(data, 1).log_weights)


@pytest.mark.parametrize("temperature", [1e-3, 1e-9, 1e-300])
def test_a_temperature_near_zero_gives_the_fixed_order(temperature):
    """Neighbours differ by at least 0.05 standard deviations: at 1e-3 they change places once in exp(50) times."""
    data = make_data([30, 7, 1, 12])
    policy = FixedOrder(data, generator(4).permutation(50).astype(float))
    queries = np.arange(4).repeat(50)
    cold = PlackettLuce(policy, temperature).fit(data).draw(queries, 10, generator(4))
    np.testing.assert_array_equal(cold, policy.draw(queries, 10, generator(4)))
    warm = PlackettLuce(policy, 1.0).fit(data).draw(queries, 10, generator(4))
    assert (warm != cold).any()


def test_a_high_temperature_gives_random_orders():
    policy = one_query([3.0, 1.0, -1.0, -3.0])
    rows = PlackettLuce(policy, 1e6).fit(policy.data).draw(np.zeros(100_000, int), 2, generator(5))
    assert order_p_value(rows, np.ones(4)) > FALSE_ALARM
    warm = PlackettLuce(policy, 20.0).fit(policy.data).draw(np.zeros(100_000, int), 2, generator(5))
    assert order_p_value(warm, np.ones(4)) < FALSE_ALARM


def test_scores_are_standardised_within_the_query():
    offsets = np.array([0, 3, 3, 5, 6])
    z = standardised(np.array([1.0, 2.0, 6.0, 7.0, 7.0, 9.0]), offsets)
    np.testing.assert_allclose(z, [*(np.array([-2.0, -1.0, 3.0]) / np.sqrt(14 / 3)), 0, 0, 0])
    np.testing.assert_allclose(standardised(5 * np.array([1.0, 2.0, 6.0, 7.0, 7.0, 9.0]) + 100, offsets), z, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6), cutoff=st.integers(1, 45), temperature=st.sampled_from([1e-4, 1.0, 50.0])
)
def test_pages_hold_different_documents_of_their_query(lengths, cutoff, temperature):
    data = make_data(lengths)
    queries = np.arange(len(lengths)).repeat(3)
    base = FixedOrder(data, data.features[:, 0])
    for policy in (base, PlackettLuce(base, temperature), RandomPolicy(), SwapPairs(base, 0.5), SwapPairs(RandomPolicy(), 0.5)):
        rows = simulators.fitted.fitted(policy, data, 0).draw(queries, cutoff, generator(0))
        assert rows.shape == (len(queries), cutoff)
        for query, page in zip(queries, rows, strict=True):
            size = min(cutoff, lengths[query])
            assert (page[size:] == -1).all()
            assert len(set(page[:size].tolist())) == size
            assert ((page[:size] >= data.offsets[query]) & (page[:size] < data.offsets[query + 1])).all()


# --- swaps


def test_orders_of_swapped_pairs_by_hand():
    policy = SwapPairs(one_query([3.0, 2.0, 1.0, 0.0]), 0.6).fit(one_query([3.0, 2.0, 1.0, 0.0]).data)
    rows, probability = policy.orders(3)
    np.testing.assert_array_equal(rows[0], [[0, 1, 2], [1, 0, 2], [0, 2, 1]])
    np.testing.assert_allclose(probability, [[0.4, 0.3, 0.3]])


def test_orders_of_short_pages():
    data = make_data([1, 2, 3])
    base = FixedOrder(data, -np.arange(6.0))
    rows, probability = SwapPairs(base, 0.6).fit(data).orders(3)
    np.testing.assert_allclose(probability, [[1, 0, 0], [0.4, 0.6, 0], [0.4, 0.3, 0.3]])
    np.testing.assert_array_equal(rows[0, 0], [0, -1, -1])
    np.testing.assert_array_equal(rows[1, :2], [[1, 2, -1], [2, 1, -1]])
    np.testing.assert_array_equal(rows[2], [[3, 4, 5], [4, 3, 5], [3, 5, 4]])


@pytest.mark.parametrize("cutoff", [3, 6])
def test_swapped_pages_come_at_the_rate_of_their_orders(cutoff):
    base = one_query([3.0, 2.0, 1.0, 0.0])
    rows = SwapPairs(base, 0.6).fit(base.data).draw(np.zeros(50_000, int), cutoff, generator(6))

    def p_value(rate):
        orders, probability = SwapPairs(base, rate).fit(base.data).orders(cutoff)
        shown = probability[0] > 0
        matches = (rows[:, None] == orders[0][shown]).all(axis=2)
        assert matches.sum() == len(rows)
        return scipy.stats.chisquare(matches.sum(axis=0), len(rows) * probability[0][shown]).pvalue

    assert p_value(0.6) > FALSE_ALARM
    assert p_value(0.63) < FALSE_ALARM


def test_extreme_swap_rates():
    base = one_query([2.0, 1.0])
    for rate, page in ((0.0, [0, 1]), (1.0, [1, 0])):
        rows = SwapPairs(base, rate).fit(base.data).draw(np.zeros(1000, int), 2, generator(7))
        np.testing.assert_array_equal(rows, np.tile(page, (1000, 1)))


def test_only_fixed_orders_can_be_listed():
    data = make_data([4, 4])
    assert RandomPolicy().fit(data).orders(3) is None
    assert SwapPairs(RandomPolicy(), 0.5).fit(data).orders(3) is None
    assert SwapPairs(SwapPairs(LinearPolicy(), 0.5), 0.5).fit(data).orders(3) is None
    rows, probability = LinearPolicy().fit(data).orders(3)
    assert rows.shape == (2, 1, 3)
    np.testing.assert_array_equal(probability, [[1], [1]])


# --- fitted policies and bad settings


def test_a_fitted_policy_is_taken_as_it_is():
    data = make_data([5] * 30)
    inner = LinearPolicy(fraction_labelled=0.1).fit(data, 1)
    assert simulators.fitted.fitted(inner, data, 2) is inner
    np.testing.assert_array_equal(PlackettLuce(inner, 1.0).fit(data, 2).log_weights, PlackettLuce(inner, 1.0).fit(data, 3).log_weights)
    fresh = PlackettLuce(LinearPolicy(fraction_labelled=0.1), 1.0)
    np.testing.assert_array_equal(fresh.fit(data, 1).log_weights, PlackettLuce(inner, 1.0).fit(data, 9).log_weights)
    assert (fresh.fit(data, 1).log_weights != fresh.fit(data, 2).log_weights).any()
    twin = RankingData(data.features, data.grades, data.offsets)
    assert simulators.fitted.fitted(inner, twin, 0) is inner  # the same set, read twice


def test_a_policy_of_another_set_is_refused():
    train, test = make_data([5] * 10).split()
    with pytest.raises(ContractError, match="FixedOrder was fitted to another set"):
        simulators.fitted.fitted(LinearPolicy().fit(train), test, 0)


def test_what_is_no_policy_is_refused():
    with pytest.raises(ContractError, match="policy must have fit"):
        simulators.fitted.fitted("linear", make_data([3]), 0)


def test_plackett_luce_needs_scores():
    with pytest.raises(ContractError, match="PlackettLuce needs a policy with scores"):
        PlackettLuce(RandomPolicy(), 1.0).fit(make_data([3]))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LinearPolicy(fraction_labelled=0.0), r"fraction_labelled must be in \(0, 1\], not 0.0"),
        (lambda: LinearPolicy(fraction_labelled=1.1), "fraction_labelled"),
        (lambda: LinearPolicy(ridge=0.0), "ridge must be above 0"),
        (lambda: PlackettLuce(LinearPolicy(), 0.0), "temperature must be above 0"),
        (lambda: PlackettLuce(LinearPolicy(), -1.0), "temperature must be above 0"),
        (lambda: PlackettLuce(LinearPolicy(), np.nan), "temperature must be above 0"),
        (lambda: PlackettLuce(LinearPolicy(), np.inf), "temperature must be above 0"),
        (lambda: SwapPairs(LinearPolicy(), -0.1), r"rate must be in \[0, 1\]"),
        (lambda: SwapPairs(LinearPolicy(), 1.1), r"rate must be in \[0, 1\]"),
        (lambda: SwapPairs(LinearPolicy(), np.nan), r"rate must be in \[0, 1\]"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_draw_is_all_that_a_policy_must_write():
    assert FittedPolicy.__abstractmethods__ == {"draw"}
    assert RandomOrder(make_data([3]), np.zeros(3)).scores is None
