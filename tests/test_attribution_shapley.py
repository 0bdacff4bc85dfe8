"""Shapley credit: by hand, by all orders of the players, by its axioms, and sampled orders against exact ones."""

from itertools import combinations, permutations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from test_attribution import LAW, journeys_of, some_journeys

from ultr.attribution import MarkovRemoval, Shapley, shapley_values
from ultr.errors import ConfigError, ContractError, LogError, UltrWarning

FALSE_ALARM = 1e-5  # two-sided, a comparison
NOISY_OR = {"a": 0.1, "b": 0.2, "c": 0.4}


def noisy_or(coalition):
    return 1 - np.prod([1 - NOISY_OR[player] for player in coalition])


def by_all_orders(players, value):
    """What each player adds on average, from the definition."""
    orders = list(permutations(players))
    return {p: np.mean([value({*o[: o.index(p)], p}) - value(set(o[: o.index(p)])) for o in orders]) for p in players}


def rate_of(log, coalition):
    """Conversion rate of the journeys whose channels all lie in a set, from the definition."""
    paths = [set(part.tolist()) for part in np.split(log.columns["item"], log.offsets[1:-1])]
    within = np.array([path <= set(coalition) for path in paths])
    count = log.counts[within].sum()
    return log.page_columns["converted"][within].sum() / count if count else 0.0


def test_noisy_or_of_the_notes():
    """v(S) = 1 - prod(1 - q); leave-one-out, (.048, .108, .288), would not sum to .568."""
    table = [noisy_or(["abc"[i] for i in range(3) if s >> i & 1]) for s in range(8)]
    assert shapley_values(table) == pytest.approx([0.0726667, 0.1526667, 0.3426667], abs=1e-7)
    assert shapley_values(table).sum() == pytest.approx(0.568)
    log = journeys_of([["b", "c", "a"]], [1])
    assert Shapley(value=noisy_or).credit(log) * 0.568 == pytest.approx([0.1526667, 0.3426667, 0.0726667], abs=1e-7)


def test_rates_by_hand():
    """v(a) = 1/4, v(b) = 0, v(ab) = 3/7: a adds (1/4 + 3/7) / 2 = 19/56, b adds (0 + 3/7 - 1/4) / 2 = 5/56."""
    log = journeys_of([["a"], ["b"], ["b", "a", "a"]], [1, 0, 2], [4, 1, 2])
    a, b = 19 / 56 * 7 / 3, 5 / 56 * 7 / 3
    assert Shapley().credit(log) == pytest.approx([1, 0, b, a / 2, a / 2])


def test_a_channel_that_hurts_gets_negative_credit():
    """v(a) = 1, v(b) = 0/9, v(ab) = 2/11: b adds (0 + 2/11 - 1) / 2 < 0."""
    log = journeys_of([["a"], ["b"], ["a", "b"]], [1, 0, 1], [1, 9, 1])
    assert Shapley().credit(log)[2:] == pytest.approx(np.array([13, -9]) / 22 / (2 / 11))


@LAW
@given(log=some_journeys())
def test_credit_is_that_of_all_orders(log):
    credit = np.split(Shapley().credit(log), log.offsets[1:-1])
    paths = [part.tolist() for part in np.split(log.columns["item"], log.offsets[1:-1])]
    for path, got, converted in zip(paths, credit, log.page_columns["converted"], strict=True):
        if converted:
            players = sorted(set(path))
            added = by_all_orders(players, lambda coalition: rate_of(log, coalition))
            expected = [added[channel] / rate_of(log, players) / path.count(channel) for channel in path]
            assert got == pytest.approx(expected, abs=1e-9)


@LAW
@given(log=some_journeys())
def test_rates_given_as_a_function_are_the_default(log):
    given_as_function = Shapley(value=lambda coalition: rate_of(log, coalition))
    assert given_as_function.credit(log) == pytest.approx(Shapley().credit(log), abs=1e-9)


@LAW
@given(values=st.lists(st.floats(-10, 10), min_size=16, max_size=16), others=st.lists(st.floats(-10, 10), min_size=16, max_size=16))
def test_axioms(values, others):
    values, others = np.array(values), np.array(others)
    added = shapley_values(values)
    assert added.sum() == pytest.approx(values[15] - values[0], abs=1e-9)  # efficiency
    assert shapley_values(values + 2 * others) == pytest.approx(added + 2 * shapley_values(others), abs=1e-9)  # additivity
    dummy = values.copy()
    dummy[8:] = dummy[:8] + 3
    assert shapley_values(dummy)[3] == pytest.approx(3, abs=1e-9)  # player 3 adds 3 to whatever coalition
    swapped = np.array([values[s & 12 | (s & 1) << 1 | (s & 2) >> 1] for s in range(16)])
    assert shapley_values(swapped) == pytest.approx(added[[1, 0, 2, 3]], abs=1e-9)  # symmetry
    assert shapley_values(np.stack([values, others]))[1] == pytest.approx(shapley_values(others))


def test_no_players_and_one():
    assert shapley_values([3.0]).shape == (0,)
    assert shapley_values([3.0, 5.0]).tolist() == [2.0]


@pytest.mark.parametrize("values", [[], [1, 2, 3], 1.0])
def test_values_of_no_game(values):
    with pytest.raises(LogError, match="values must have one entry a subset of the players"):
        shapley_values(values)
    with pytest.raises(LogError, match="values must be finite: 1 of 2"):
        shapley_values([0, np.inf])


@pytest.mark.parametrize("values", ["abc", ["a", "b"], [[1, 2], [1, 2, 3, 4]], [0, 1j], np.array([0, 1j])], ids=str)
def test_values_that_are_no_numbers(values):
    with pytest.raises(LogError, match="values must be real numbers, as many in every row"):
        shapley_values(values)


def many_channels(n, seed=0):
    """Journeys of n channels, of which the last one met all."""
    rng = np.random.default_rng(seed)
    paths = [rng.choice(n, rng.integers(1, 5), replace=False).tolist() for _ in range(400)] + [list(range(n))]
    converted = [int(rng.random() < 0.1 + 0.6 * (0 in path) * (1 in path)) for path in paths[:-1]] + [1]
    return journeys_of(paths, converted)


def test_sampled_orders_scatter_about_the_exact_values(monkeypatch):
    """Of 10 channels, exact and sampled: each credit within the spread that one order's contributions have by chance."""
    log = many_channels(10)
    exact = Shapley().credit(log)[-10:]
    monkeypatch.setattr("ultr.attribution.shapley.EXACT", 0)
    single = np.array([Shapley(permutations=1, seed=seed).credit(log)[-10:] for seed in range(200)])
    error, spread = single.mean(axis=0) - exact, single.std(axis=0, ddof=1) / np.sqrt(200)
    bound = scipy.stats.t.isf(FALSE_ALARM / 20, df=199)  # 10 comparisons
    assert (np.abs(error) <= bound * spread + 1e-12).all()
    off = single.mean(axis=0) - np.roll(exact, 1)
    assert (np.abs(off) > bound * spread).any()  # the twin: other channels' values


def test_sampled_rates_and_a_sampled_function_draw_the_same_orders():
    log = many_channels(14)
    log = type(log).concat([log, journeys_of([[], [0], []], [0, 0, 0])])  # journeys without a touch lie within every set
    rates = Shapley(permutations=40).credit(log)
    function = Shapley(lambda coalition: rate_of(log, coalition), permutations=40)
    assert function.credit(log) == pytest.approx(rates, abs=1e-9)
    assert rates[-15:-1].sum() == pytest.approx(1)


def test_seed_and_permutations_change_sampled_credit_only():
    log = many_channels(14)
    credits_by = {s: Shapley(permutations=s[0], seed=s[1]).credit(log) for s in ((20, 0), (20, 1), (30, 0))}
    assert (credits_by[20, 0] == Shapley(permutations=20).credit(log)).all()
    for setting in ((20, 1), (30, 0)):
        assert not np.allclose(credits_by[setting][-14:], credits_by[20, 0][-14:])
        assert credits_by[setting][:-14] == pytest.approx(credits_by[20, 0][:-14])


def test_whole_numbers_may_be_spelled_as_decimals():
    log = many_channels(13)
    assert Shapley(permutations=5.0, seed=1.0).credit(log).tolist() == Shapley(permutations=5, seed=1).credit(log).tolist()


def test_sampled_credit_does_not_depend_on_the_numbers_of_the_channels():
    log = many_channels(13)
    named = log.with_columns(item=np.array([f"c{item:02d}" for item in log.columns["item"]], dtype=object))
    shifted = log.take(np.roll(np.arange(len(log)), 5)).with_columns()
    turned = shifted.with_columns(item=np.array([f"c{item:02d}" for item in shifted.columns["item"]], dtype=object))
    expected = np.split(Shapley(permutations=10).credit(named), named.offsets[1:-1])
    got = np.split(Shapley(permutations=10).credit(turned), turned.offsets[1:-1])
    for a, b in zip(np.roll(np.arange(len(log)), 5), got, strict=True):
        assert b == pytest.approx(expected[a], abs=1e-12)


def test_touches_are_players():
    """Three touches of which the value knows the order: the first alone is worth 1, all others only after it."""
    log = journeys_of([["x"], ["a", "a", "b"]], [0, 1])

    def value(rows):
        return (1.0 + 0.5 * len(rows & {2, 3})) if 1 in rows else 0.0

    credit = Shapley(value, on="touches").credit(log)
    expected = by_all_orders([1, 2, 3], value)
    assert credit == pytest.approx([0, *(expected[row] / 2 for row in (1, 2, 3))])


def test_many_touches_are_sampled():
    log = journeys_of([["a"] * 15], [1])
    linear = Shapley(lambda rows: float(len(rows)), on="touches", permutations=3).credit(log)
    assert linear == pytest.approx(np.full(15, 1 / 15))


def test_the_empty_set_is_valued_and_taken_off():
    log = journeys_of([["a", "b"]], [1])
    assert Shapley(lambda s: 5.0 + ("a" in s) + 3 * ("b" in s)).credit(log) == pytest.approx([0.25, 0.75])


def test_nothing_to_share_is_shared_equally_and_counted():
    log = journeys_of([["a", "b", "b"], ["a"], ["b", "a"], ["c"]], [1, 1, 1, 1])
    with pytest.warns(UltrWarning, match="no larger than that of the empty set in 2 of 4 converted journeys") as caught:
        credit = Shapley(lambda s: float(s in ({"a"}, {"c"}))).credit(log)
    assert credit == pytest.approx([0.5, 0.25, 0.25, 1, 0.5, 0.5, 1])
    assert caught[0].filename == __file__


def test_a_function_is_called_once_a_set():
    calls = []
    log = journeys_of([["a", "b"], ["b", "a"], ["b", "c"], ["d"]], [1, 1, 1, 0])
    Shapley(lambda s: calls.append(s) or float(len(s))).credit(log)
    assert sorted(map(sorted, calls)) == [[], ["a"], ["a", "b"], ["b"], ["b", "c"], ["c"]]


def test_a_value_must_be_a_number():
    for worth, spelled in ((np.nan, "nan"), (None, "None"), ("much", "'much'"), (np.ones(2), r"array\(\[1., 1.\]\)"), (1j, "1j")):
        with pytest.raises(ContractError, match=rf"value must return a finite number, not {spelled}, as it does for \{{'a'\}}"):
            Shapley(lambda s, worth=worth: worth if s else 0.0).credit(journeys_of([["a"]], [1]))


def test_a_value_may_be_true_and_be_called_in_any_way():
    log = journeys_of([["a", "b"]], [1])
    for value in (lambda s: len(s) > 0, lambda s, scale=2: scale * len(s), lambda *sets: len(sets[0]), len):
        assert Shapley(value).credit(log).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shapley(value=3), "value must be None or a function"),
        (lambda: Shapley(value=lambda: 1.0), "value must take one argument, a frozenset; <function"),
        (lambda: Shapley(value=lambda s, log: 1.0), "value must take one argument"),
        (lambda: Shapley(on="touches"), "on='touches' needs a value"),
        (lambda: Shapley(on="pages"), "on must be 'channels' or 'touches', not 'pages'"),
        (lambda: Shapley(permutations=0), "permutations must be a whole number, 1 or more, not 0"),
        (lambda: Shapley(seed=-1), "seed must be a whole number, 0 or more"),
        (lambda: Shapley(seed=0.5), "seed must be a whole number"),
    ],
)
def test_impossible_settings(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_journeys_without_touches_count_among_the_rest():
    """v(a) = 1/2, v(ab) = 2/3; three journeys without a touch make them 1/5 and 2/6."""
    few = journeys_of([["a"], ["a"], ["a", "b"]], [1, 0, 1])
    more = journeys_of([["a"], ["a"], ["a", "b"], [], [], []], [1, 0, 1, 0, 0, 0])
    assert Shapley().credit(few)[-2:] == pytest.approx(np.array([1 / 2 + 2 / 3, 2 / 3 - 1 / 2]) / 2 / (2 / 3))
    assert Shapley().credit(more)[-2:] == pytest.approx(np.array([1 / 5 + 2 / 6, 2 / 6 - 1 / 5]) / 2 / (2 / 6))


def test_every_set_is_found_among_many_channels():
    """Pairs and triples of 30 channels, with rates from the definition."""
    rng = np.random.default_rng(1)
    paths = [list(c) for c in combinations(range(0, 30, 3), 2)] + [sorted(rng.choice(30, 3, replace=False).tolist()) for _ in range(60)]
    log = journeys_of(paths, rng.integers(0, 2, len(paths)))
    credit = np.split(Shapley().credit(log), log.offsets[1:-1])
    for i in np.flatnonzero(log.page_columns["converted"])[::7]:
        added = by_all_orders(paths[i], lambda coalition: rate_of(log, coalition))
        assert credit[i] == pytest.approx([added[c] / rate_of(log, paths[i]) for c in paths[i]], abs=1e-9)


def test_channels_that_always_come_together_share_equally():
    log = journeys_of([["a", "b"], ["b", "a"], ["c"]], [1, 0, 1])
    assert Shapley().credit(log)[:2] == pytest.approx([0.5, 0.5])
    assert MarkovRemoval().credit(log)[0] != pytest.approx(0.5, abs=1e-3)  # which the order of touches tells apart
