"""The synthetic world: its law by hand, and what of it depends on the seed."""

import numpy as np
import pytest
import scipy.stats

from ultr import synthetic_ranking
from ultr.data.synthetic import GRADE_CUTS, NOISE, QUERY_SPREAD, LatentRelevance, grades_of, latent_relevance
from ultr.errors import LogError

FALSE_ALARM = 1e-6  # two-sided, of the four comparisons of grades with their law together
BOUND = scipy.stats.norm.isf(FALSE_ALARM / 8)


def test_the_latent_relevance_by_hand():
    line = np.array([1.0, 0.0, 0.0, 2.0])
    bends = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    features = np.array([[2.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 5.0, 0.0], [-1.0, -1.0, -1.0, 0.5], [1.0, 1.0, 1.0, 0.0]])
    by_hand = [
        2 / 2 + max(2 * 2 / 2, 0),  # x1 / sqrt(4) and the first bend
        -max(2 * 3 / 2, 0),  # the second bend counts down
        0.8 * max(2 * 5 / 2, 0),  # the third counts .8
        (-1 + 2 * 0.5) / 2,  # no bend below 0
        1 / 2 + 1 - 1 + 0.8,
    ]
    np.testing.assert_allclose(LatentRelevance(line, bends)(features), by_hand, atol=1e-12)


def test_grades_are_cut_at_three_tenths_one_and_so_on():
    latent = [-9.0, 0.29, 0.3, 0.99, 1.0, 1.59, 1.6, 2.39, 2.4, 99.0]
    np.testing.assert_array_equal(grades_of(np.array(latent)), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])


def test_shapes_and_ids():
    data = synthetic_ranking(50, range(10, 21), 20, seed=1)
    assert len(data) == 50
    assert data.n_features == 20
    assert data.query_ids.tolist() == list(range(50))
    assert set(np.diff(data.offsets)) <= set(range(10, 21))
    np.testing.assert_array_equal(np.diff(synthetic_ranking(7, 5, 3).offsets), [5] * 7)
    assert set(np.diff(synthetic_ranking(60, [2, 9], 3).offsets)) == {2, 9}  # one of them missing: once in 2^59


@pytest.mark.parametrize("seed", range(5))
def test_every_grade_occurs(seed):
    shares = np.bincount(synthetic_ranking(1000, range(10, 21), 20, seed=seed).grades, minlength=5) / 15_000
    assert len(shares) == 5
    assert (shares > 0.01).all()
    assert 0.3 < shares[0] < 0.7


def test_a_seed_is_a_world_and_its_queries():
    one, again, other = (synthetic_ranking(20, 10, 5, seed=seed) for seed in (2, 2, 3))
    np.testing.assert_array_equal(one.features, again.features)
    np.testing.assert_array_equal(one.grades, again.grades)
    np.testing.assert_array_equal(one.offsets, again.offsets)
    assert not np.isin(one.features, other.features).all()
    assert not np.array_equal(one.grades, other.grades)


def test_the_split_of_a_world_shares_no_query():
    train, test = synthetic_ranking(100, range(10, 21), 20).split(0.6)
    assert (len(train), len(test)) == (40, 60)
    assert not set(train.query_ids) & set(test.query_ids)
    assert not set(train.features[:, 0]) & set(test.features[:, 0])


def spread_of_queries_and_items(data):
    """Return the mean square of the difference of two items of a query, and of two queries' items, a feature."""
    blocks = data.features.reshape(len(data), -1, data.n_features).astype(float)
    return np.square(blocks[:, 0] - blocks[:, 1]).mean(), np.square(blocks[:-1, 0] - blocks[1:, 0]).mean()


def test_items_of_a_query_share_an_offset_of_a_half():
    # Each mean of n = 40,000 squares of normals has the relative standard error sqrt(2 / n) = .007 (.0087 for neighbours, whose
    # differences are correlated .5: sqrt(2 (1 + 2 * .25) / n)). Bound: 5.5 of them, two comparisons, false alarm below 1e-7.
    within, between = spread_of_queries_and_items(synthetic_ranking(2000, 2, 20, seed=11))
    assert abs(within / 2 - 1) < 5.5 * 0.0071
    assert abs(between / (2 + 2 * QUERY_SPREAD**2) - 1) < 5.5 * 0.0087


def test_the_test_above_sees_a_missing_offset():
    data = synthetic_ranking(2000, 2, 20, seed=11)
    blocks = data.features.reshape(2000, 2, 20)
    centred = blocks - blocks.mean(axis=1, keepdims=True)  # within: unchanged; between: the offset is gone
    between = np.square(centred[:-1, 0] - centred[1:, 0]).mean()
    assert abs(between / (2 + 2 * QUERY_SPREAD**2) - 1) > 5.5 * 0.0087


def calibration(noise: float) -> np.ndarray:
    """For each cut c: sum of (1[reached] - P)(z - c) over its standard deviation, where P = Phi((z - c) / noise).

    Standard normal if P is right.
    """
    data = synthetic_ranking(3000, 10, 20, seed=12)
    z = latent_relevance(20, seed=12)(data.features)
    out = []
    for grade, cut in enumerate(GRADE_CUTS, start=1):
        reached = scipy.stats.norm.cdf((z - cut) / noise)
        error = ((data.grades >= grade) - reached) * (z - cut)
        out.append(error.sum() / np.sqrt((reached * (1 - reached) * (z - cut) ** 2).sum()))
    return np.array(out)


def test_grades_follow_the_latent_relevance_with_the_stated_noise():
    assert np.abs(calibration(NOISE)).max() < BOUND


def test_the_test_above_sees_a_tenth_more_noise():
    assert np.abs(calibration(1.1 * NOISE)).max() > BOUND


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 10, 5), "n_queries must be a whole number, 1 or more, not 0"),
        ((10, 0, 5), "n_items"),
        ((10, [], 5), "n_items"),
        ((10, range(0, 3), 5), r"n_items must be a whole number, 1 or more, not range\(0, 3\)"),
        ((10, 10, 0), "n_features"),
        ((10, 10, 2.5), "n_features must be a whole number, 1 or more, not 2.5"),
        ((10, "ten", 5), "n_items"),
    ],
)
def test_worlds_that_cannot_be(arguments, words):
    with pytest.raises(LogError, match=words):
        synthetic_ranking(*arguments)
