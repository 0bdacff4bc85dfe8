"""Removal effects: by hand, by listing the walks that avoid a channel, and by following the chain step by step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_attribution import LAW, journeys_of, some_journeys

from ultr.attribution import MarkovRemoval
from ultr.attribution.chain import fit_chain
from ultr.attribution.journeys import read_journeys
from ultr.errors import ConfigError

NOTES = journeys_of([["C1", "C2", "C3"], ["C1"], ["C2", "C3"]], [1, 0, 0])
TRAP = journeys_of([["X", "A"], ["A"], ["B", "A"]], [1, 0, 0])


def walked(paths, converted, count, order, removed=None, steps=3000):
    """P(conversion) of the chain by following all of its probability for many steps; states are tuples, removed ones lead to null."""
    moves = {}
    for path, n_converted, n in zip(paths, converted, count, strict=True):
        states = [tuple(path[max(0, i + 1 - order) : i + 1]) for i in range(len(path))]
        for a, b in zip(["start", *states], [*states, "end"], strict=True):
            for target, n_moves in [("conversion", n_converted), ("null", n - n_converted)] if b == "end" else [(b, n)]:
                moves.setdefault(a, {}).setdefault(target, 0)
                moves[a][target] += n_moves
    mass, total = {"start": 1.0}, 0.0
    for _ in range(steps):
        after = {}
        for state, weight in mass.items():
            leaving = sum(moves[state].values())
            for target, n_moves in moves[state].items():
                if target not in ("conversion", "null") and removed in target:
                    continue
                after[target] = after.get(target, 0.0) + weight * n_moves / leaving
        total += after.pop("conversion", 0.0)
        after.pop("null", 0.0)
        mass = after
    return total


def test_effects_of_the_notes():
    """P = 1/3. Without C1 only C2 > C3 starts lead on: 1/3 * 1 * 1/2 = 1/6. C2 and C3 are on every way to conversion."""
    effects = MarkovRemoval().removal_effects(NOTES)
    assert effects == pytest.approx({"C1": 0.5, "C2": 1, "C3": 1})
    assert MarkovRemoval().credit(NOTES) == pytest.approx([0.2, 0.4, 0.4, 0, 0, 0])


def test_a_channel_on_every_converting_path_need_not_have_effect_one():
    """X > A > conversion, A > null, B > A > null: A converts 1 time in 3 wherever it was reached from, so X and B lose a third each."""
    assert MarkovRemoval().removal_effects(TRAP) == pytest.approx({"X": 1 / 3, "A": 1, "B": 1 / 3})
    assert MarkovRemoval().credit(TRAP) == pytest.approx([1 / 4, 3 / 4, 0, 0, 0])


def test_memory_of_two_touches_tells_the_ways_apart():
    """Of order 2 the state A after X converts always, A alone and A after B never: X has effect 1, B none."""
    assert MarkovRemoval(order=2).removal_effects(TRAP) == pytest.approx({"X": 1, "A": 1, "B": 0}, abs=1e-12)
    assert MarkovRemoval(order=2).credit(TRAP) == pytest.approx([1 / 2, 1 / 2, 0, 0, 0])


def test_touches_of_a_channel_split_its_effect():
    log = journeys_of([["A", "B", "A"], ["A"], ["B"], ["B", "C"]], [1, 0, 0, 0])
    effects = MarkovRemoval().removal_effects(log)
    a, b = effects["A"] / (effects["A"] + effects["B"]), effects["B"] / (effects["A"] + effects["B"])
    assert MarkovRemoval().credit(log)[:3] == pytest.approx([a / 2, b, a / 2])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_chain_converts_as_often_as_the_journeys_did(order):
    log = journeys_of([[0, 1, 1, 2], [1, 0], [], [2, 2, 2, 0, 1], [3]], [3, 0, 0, 1, 1], [7, 2, 3, 2, 1])
    chain = fit_chain(read_journeys(log, by="the test"), order)
    assert chain.conversion_rate() == pytest.approx(5 / 15, abs=1e-12)
    leaving = chain.step.sum(axis=1) + chain.convert
    assert (leaving <= 1 + 1e-12).all()


@pytest.mark.parametrize("order", [1, 2, 3])
@LAW
@given(log=some_journeys())
def test_effects_are_those_of_walks_that_avoid_the_channel(order, log):
    paths = [part.tolist() for part in np.split(log.columns["item"], log.offsets[1:-1])]
    touched = [i for i, path in enumerate(paths) if path]
    converted, count = (log.page_columns[name][touched].tolist() for name in ("converted", "count"))
    paths = [paths[i] for i in touched]
    rate = walked(paths, converted, count, order)
    for channel, effect in MarkovRemoval(order=order).removal_effects(log).items():
        left = walked(paths, converted, count, order, removed=channel)
        assert effect == pytest.approx(1 - left / rate, abs=1e-6)


@LAW
@given(log=some_journeys())
def test_one_factorisation_and_one_solve_a_channel_agree(log):
    chain = fit_chain(read_journeys(log, by="the test"), 1)
    assert chain.effects_of_states() == pytest.approx(chain.effects_of_channels(), abs=1e-9)


def test_many_channels_are_counted_as_few_are(monkeypatch):
    rng = np.random.default_rng(0)
    paths = [rng.integers(0, 40, rng.integers(1, 9)).tolist() for _ in range(300)]
    log = journeys_of(paths, rng.integers(0, 2, 300), rng.integers(1, 3, 300))
    expected = [MarkovRemoval(order=order).credit(log) for order in (1, 2, 3)]
    monkeypatch.setattr("ultr.attribution.tally.TABLE", 0)
    monkeypatch.setattr("ultr.attribution.chain._COLUMNS", 7)
    for order, credit in zip((1, 2, 3), expected, strict=True):
        assert MarkovRemoval(order=order).credit(log) == pytest.approx(credit, abs=1e-12)


@LAW
@given(log=some_journeys())
def test_touches_of_one_channel_in_a_row_change_no_effect(log):
    paths = [part.tolist() for part in np.split(log.columns["item"], log.offsets[1:-1])]
    plain = [[c for i, c in enumerate(path) if i == 0 or path[i - 1] != c] for path in paths]
    once = journeys_of(plain, log.page_columns["converted"], log.page_columns["count"])
    effects, expected = MarkovRemoval().removal_effects(log), MarkovRemoval().removal_effects(once)
    assert effects == pytest.approx(expected, abs=1e-9)


def test_nothing_converted_has_no_effects():
    effects = MarkovRemoval().removal_effects(journeys_of([["A"]], [0]))
    assert list(effects) == ["A"]
    assert np.isnan(effects["A"])


def test_order_changes_the_credit():
    assert MarkovRemoval(order=1).credit(TRAP)[0] != pytest.approx(MarkovRemoval(order=2).credit(TRAP)[0], abs=0.1)
    three = journeys_of([["X", "B", "A"], ["Y", "B", "A"], ["A"]], [1, 0, 1])
    assert MarkovRemoval(order=2).credit(three)[0] != pytest.approx(MarkovRemoval(order=3).credit(three)[0], abs=0.01)


@pytest.mark.parametrize("order", [0, 4, 1.5, 1.0, True, "1", [1]])
def test_impossible_orders(order):
    with pytest.raises(ConfigError, match="MarkovRemoval: order must be 1, 2 or 3"):
        MarkovRemoval(order=order)


@LAW
@given(st.integers(1, 6))
def test_the_only_way_to_conversion_has_effect_one(n):
    log = journeys_of([[0] * n + [1], [0] * n, [2]], [1, 0, 0])
    assert MarkovRemoval().removal_effects(log)[1] == pytest.approx(1)
