"""Identifiability by hand and by brute force, effective sample size, overlap."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr.data.log import ClickLog
from ultr.data.source import Chunked
from ultr.diagnostics import effective_sample_size, identifiability, overlap_of
from ultr.errors import LogError, PropensityError
from ultr.evaluation import overlap


def log_of(orders: list[list[int]], queries: list[object] | None = None, **columns: np.ndarray) -> ClickLog:
    """Pages that show these items in these orders."""
    item = np.concatenate([np.array(order, dtype=np.int32) for order in orders])
    position = np.concatenate([np.arange(len(order), dtype=np.int32) for order in orders])
    offsets = np.concatenate([[0], np.cumsum([len(order) for order in orders])])
    pages = {} if queries is None else {"query": np.array(queries, dtype=object)}
    return ClickLog(offsets, {"item": item, "position": position, **columns}, pages)


def groups(log) -> list[list[int]]:
    return [component.tolist() for component in identifiability(log).components]


def test_one_fixed_order_a_query_connects_nothing():
    found = identifiability(log_of([[0, 1, 2]] * 5 + [[3, 4, 5]] * 5, ["a"] * 5 + ["b"] * 5))
    assert not found.identified
    assert [c.tolist() for c in found.components] == [[0], [1], [2]]
    assert (found.pairs, found.swapped, found.links.tolist()) == (6, 0, [0, 0, 0])
    assert "every propensity vector explains the clicks equally well" in found.explain()


def test_a_swap_connects_the_positions_it_touches():
    found = identifiability(log_of([[0, 1, 2], [1, 0, 2]], ["a", "a"]))
    assert [c.tolist() for c in found.components] == [[0, 1], [2]]
    assert (found.pairs, found.swapped, found.links.tolist()) == (3, 2, [2, 2, 0])
    assert "Within a group the ratios are identified" in found.explain()
    assert "0-1 | 2" in found.explain()


def test_connections_chain_over_pairs_of_different_queries():
    found = identifiability(log_of([[0, 1, 2], [1, 0, 2], [3, 4, 5], [3, 5, 4]], ["a", "a", "b", "b"]))
    assert found.identified
    assert found.components[0].tolist() == [0, 1, 2]
    assert "4 of 6 (query, item) pairs" in found.explain()


def test_the_same_item_of_two_queries_is_two_pairs():
    orders = [[0, 1], [1, 0]]
    assert groups(log_of(orders, ["a", "b"])) == [[0], [1]]
    assert groups(log_of(orders, ["a", "a"])) == [[0, 1]]
    assert groups(log_of(orders)) == [[0, 1]]  # without queries the item is the pair


def test_positions_never_shown_are_not_positions():
    log = log_of([[0, 1], [1, 0]]).with_columns(position=np.array([0, 4, 0, 4]))
    found = identifiability(log)
    assert found.identified
    assert found.positions.tolist() == [0, 4]
    assert "0, 4" in found.explain()


def test_one_position_has_no_bias_to_identify():
    found = identifiability(log_of([[0], [1]]))
    assert found.identified
    assert "no position bias" in found.explain()


def test_thin_ties_are_called_out_and_thick_ones_are_not():
    thin = identifiability(log_of([[0, 1], [1, 0]])).explain()
    assert "position 0 shares 2 pairs" in thin
    pages = [[i, i + 1] for i in range(0, 40, 2)]
    thick = identifiability(log_of(pages + [page[::-1] for page in pages])).explain()
    assert "noisy" not in thick


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.permutations(range(5))), min_size=1, max_size=8), st.integers(1, 4))
def test_components_equal_those_of_a_brute_force_search_in_any_chunks(pages, size):
    log = log_of([list(order) for _, order in pages], [f"q{query}" for query, _ in pages])
    group = {k: {k} for k in range(5)}  # merge the positions of each pair, one after the other
    seen: dict[tuple[int, int], set[int]] = {}
    for query, order in pages:
        for position, item in enumerate(order):
            seen.setdefault((query, item), set()).add(position)
    for positions in seen.values():
        union = set().union(*(group[k] for k in positions))
        for k in union:
            group[k] = union
    expected = sorted({tuple(sorted(g)) for g in group.values()})
    for source in (log, Chunked(log, size)):
        found = identifiability(source)
        assert [tuple(c) for c in found.components] == expected
        assert found.swapped == sum(len(positions) > 1 for positions in seen.values())
        assert found.links.tolist() == [sum(k in p and len(p) > 1 for p in seen.values()) for k in range(5)]


def test_what_identifiability_cannot_read_is_refused():
    log = log_of([[0, 1]])
    with pytest.raises(LogError, match="identifiability needs the column 'position'"):
        identifiability(ClickLog(log.offsets, {"item": log.columns["item"]}))
    with pytest.raises(LogError, match="no row"):
        identifiability(log.select(np.array([False])))


def test_effective_sample_size_by_hand():
    assert effective_sample_size([2, 2, 2]) == pytest.approx(3)
    assert effective_sample_size([1, 3]) == pytest.approx((1 + 3) ** 2 / (1 + 9))
    assert effective_sample_size([[0, 0], [5, 0]]) == pytest.approx(1)
    assert effective_sample_size([]) == 0
    assert effective_sample_size([0, 0]) == 0


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.floats(0.01, 100))
def test_effective_sample_size_is_bounded_and_knows_no_scale(weights, scale):
    n = effective_sample_size(weights)
    assert 1 - 1e-9 <= n <= len(weights) + 1e-9
    assert effective_sample_size(np.array(weights) * scale) == pytest.approx(n)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_impossible_weights_are_refused(bad):
    with pytest.raises(PropensityError, match="entry 1"):
        effective_sample_size([1.0, bad])


def test_overlap_by_hand():
    found = overlap_of(np.array([0.5, 0.1, 0.25, 1.0]), np.array([1, 1, 0, 1]), clip=5)
    assert (found.smallest, found.rows, found.clicks) == (0.1, 4, 3)
    assert found.share_clipped == 1 / 4
    assert found.effective_sample_size == pytest.approx((2 + 5 + 1) ** 2 / (4 + 25 + 1))
    assert overlap_of(np.array([0.5]), np.array([0])).effective_sample_size == 0


def test_overlap_of_a_compressed_log_is_that_of_its_pages():
    orders = [[0, 1], [0, 1], [0, 1], [1, 0]]
    log = log_of(orders, ["a"] * 4, click=np.array([1, 0, 1, 1, 0, 0, 0, 1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short = log.compress()
    assert len(short) == 2
    theta = np.array([1.0, 0.2])
    whole, less = overlap(log, theta, clip=4), overlap(short, theta, clip=4)
    assert less == whole
    assert whole.share_clipped == 0.5
    assert whole.effective_sample_size == pytest.approx((1 + 1 + 4 + 4) ** 2 / (1 + 1 + 16 + 16))


def test_overlap_takes_a_model_an_array_and_a_column_in_any_chunks():
    import torch

    log = log_of([[0, 1], [1, 0], [2, 3]], ["a"] * 3, click=np.array([1, 0, 1, 1, 0, 1]))
    log = log.with_columns(mine=np.array([1.0, 0.25] * 3))
    expected = overlap(log, np.array([1.0, 0.25]))
    for model in ("mine", lambda batch: torch.where(batch.position == 0, 1.0, 0.25), [1.0, 0.25]):
        assert overlap(Chunked(log, 1), model) == expected


def test_impossible_propensities_and_clips_are_refused():
    with pytest.raises(PropensityError, match=r"row 1 has 0\.0"):
        overlap_of(np.array([0.5, 0.0]), np.array([0, 1]))
    with pytest.raises(PropensityError, match="at least 1"):
        overlap_of(np.array([0.5]), np.array([1]), clip=0.5)
    with pytest.raises(LogError, match="overlap needs the column 'click'"):
        overlap(log_of([[0]]), [1.0])
