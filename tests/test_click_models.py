"""Click models: the position-based law by hand, and what the base class makes of a law that is one method long."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr.click_models import ClickModel, PositionBased
from ultr.click_models.base import _CELLS
from ultr.errors import ContractError, LogError, PropensityError
from ultr.random import generator

FALSE_ALARM = 1e-5  # a test, all its comparisons together

THETA = np.array([0.68, 0.61, 0.48, 0.34])
ATTRACTION = np.array([0.7, 0.4, 0.55, 0.2])


class PlainPositions(ClickModel):
    """The position-based law as a user would write it: one method."""

    def __init__(self, theta):
        self.theta = np.asarray(theta)

    def conditional(self, attraction, clicks, satisfaction=None, mask=None):
        return self.theta[: attraction.shape[1]] * attraction


class KnownPositions(PlainPositions):
    """The same, which also says what is examined."""

    def examination_given(self, attraction, clicks, satisfaction=None, mask=None):
        return np.broadcast_to(self.theta[: attraction.shape[1]], attraction.shape)


class OneClick(ClickModel):
    """A cascade: the eye goes down the page until the first click."""

    def examination_given(self, attraction, clicks, satisfaction=None, mask=None):
        above = np.cumsum(clicks, axis=1) - clicks
        return (above == 0).astype(float)

    def conditional(self, attraction, clicks, satisfaction=None, mask=None):
        return self.examination_given(attraction, clicks) * attraction


class Satisfied(OneClick):
    """A click ends the page with probability `satisfaction`; else the row below is examined. (Simplified DBN without its posterior.)"""

    def examination_given(self, attraction, clicks, satisfaction=None, mask=None):
        go_on = np.where(clicks == 1, 1 - satisfaction, 1.0)
        return np.cumprod(np.hstack([np.ones((len(clicks), 1)), go_on[:, :-1]]), axis=1)

    def conditional(self, attraction, clicks, satisfaction=None, mask=None):
        return self.examination_given(attraction, clicks, satisfaction) * attraction


def patterns(length):
    return np.array(list(itertools.product((0, 1), repeat=length)))


def chi_square_p(observed, probabilities):
    """P-value of counts against probabilities, some of which may be 0."""
    observed, probabilities = np.asarray(observed), np.asarray(probabilities)
    if observed[probabilities == 0].any():
        return 0.0
    possible = probabilities > 0
    return scipy.stats.chisquare(observed[possible], observed.sum() * probabilities[possible]).pvalue


# --- by hand


def test_position_based_by_hand():
    model = PositionBased([0.5, 0.25])
    np.testing.assert_allclose(model.conditional([0.8, 0.4], [1, 0]), [0.4, 0.1])
    np.testing.assert_allclose(model.marginal([0.8, 0.4]), [0.4, 0.1])
    np.testing.assert_allclose(model.examination_given([[0.8, 0.4]], [[1, 0]]), [[0.5, 0.25]])
    np.testing.assert_allclose(model.marginal_examination([0.8, 0.4]), [0.5, 0.25])
    np.testing.assert_allclose(model.log_likelihood([[0.8, 0.4], [0.8, 0.4]], [[1, 0], [0, 1]]), np.log([0.4 * 0.9, 0.6 * 0.1]))
    assert model.log_likelihood([0.8, 0.4], [0, 0]) == pytest.approx(np.log(0.6 * 0.9))


def test_one_click_law_of_the_notes():
    """Given no click above, a row of a cascade is examined, so P(click) is its attraction."""
    model, page = OneClick(), ATTRACTION
    np.testing.assert_allclose(model.conditional(page[None], np.zeros((1, 4), int))[0], page)
    assert model.log_likelihood(page, [0, 0, 0, 1]) == pytest.approx(np.log(0.3 * 0.6 * 0.45 * 0.2))
    assert model.log_likelihood(page, [1, 0, 0, 1]) == -np.inf
    np.testing.assert_allclose(model.marginal(page), [0.7, 0.3 * 0.4, 0.3 * 0.6 * 0.55, 0.3 * 0.6 * 0.45 * 0.2])
    np.testing.assert_allclose(model.marginal_examination(page), [1, 0.3, 0.3 * 0.6, 0.3 * 0.6 * 0.45])


def test_satisfaction_reaches_the_law():
    a, s = np.array([0.7, 0.4]), np.array([0.6, 0.3])
    np.testing.assert_allclose(Satisfied().marginal(a, s), [0.7, 0.4 * (1 - 0.7 * 0.6)])
    assert Satisfied().log_likelihood(a, [1, 1], s) == pytest.approx(np.log(0.7 * 0.4 * 0.4))


def test_certain_and_impossible_clicks():
    model = PositionBased([1.0, 1.0, 1.0])
    assert model.log_likelihood([1.0, 0.0, 1e-30], [1, 0, 0]) == pytest.approx(-1e-30, abs=1e-35)
    assert model.log_likelihood([1.0, 0.0, 1e-30], [1, 0, 1]) == pytest.approx(np.log(1e-30))
    assert model.log_likelihood([1.0, 0.0, 0.5], [0, 0, 0]) == -np.inf
    assert model.log_likelihood([1.0, 0.0, 0.5], [1, 1, 0]) == -np.inf


# --- enumeration

pages = st.integers(1, 5).flatmap(lambda n: st.lists(st.floats(0, 1), min_size=n, max_size=n))


@settings(deadline=None, max_examples=40)
@given(page=pages, law=st.sampled_from([PositionBased(np.linspace(0.9, 0.1, 5)), PlainPositions(np.linspace(0.9, 0.1, 5)), OneClick()]))
def test_likelihoods_of_all_patterns_sum_to_one_and_give_the_marginals(page, law):
    clicks = patterns(len(page))
    chance = np.exp(law.log_likelihood(np.tile(page, (len(clicks), 1)), clicks))
    assert chance.sum() == pytest.approx(1)
    np.testing.assert_allclose(law.marginal(page), chance @ clicks, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(page=pages, length=st.integers(0, 5))
def test_defaults_of_the_base_class_equal_the_closed_forms(page, length):
    closed, plain = PositionBased(np.linspace(0.9, 0.1, 5)), KnownPositions(np.linspace(0.9, 0.1, 5))
    mask, clicks = np.arange(len(page)) < length, (np.arange(len(page)) % 2).astype(int)
    for method in ("marginal", "marginal_examination"):
        np.testing.assert_allclose(getattr(plain, method)(page, mask=mask), getattr(closed, method)(page, mask=mask), atol=1e-12)
    np.testing.assert_allclose(plain.log_likelihood(page, clicks, mask=mask), closed.log_likelihood(page, clicks, mask=mask))
    np.testing.assert_allclose(closed.examination_given(page, clicks, mask=mask), np.where(mask, plain.theta[: len(page)], 0))


def test_many_pages_are_enumerated_in_pieces():
    """2,048 patterns a page of twelve rows: 20 pages do not fit into one piece."""
    attraction, theta = generator(0, "test").random((20, 12)), np.linspace(0.9, 0.1, 12)
    np.testing.assert_allclose(PlainPositions(theta).marginal(attraction), theta * attraction, atol=1e-12)


# --- padding


@settings(deadline=None, max_examples=40)
@given(
    page=pages,
    extra=st.integers(1, 15),
    law=st.sampled_from([PositionBased(np.full(5, 0.5)), KnownPositions(np.full(20, 0.5)), OneClick()]),
)
def test_padding_never_changes_anything(page, extra, law):
    mask = np.array([[True] * len(page) + [False] * extra, [True] + [False] * (len(page) + extra - 1)])
    clicks = (np.arange(len(page)) % 2).tolist()
    junk = np.array([page + [np.nan] * extra, page[:1] + [99.0] * (len(page) - 1 + extra)])
    clicked = np.array([clicks + [7] * extra, [0] + [-1] * (len(page) - 1 + extra)])
    for values, short in (
        (law.marginal(junk, mask=mask), law.marginal(page)),
        (law.marginal_examination(junk, mask=mask), law.marginal_examination(page)),
    ):
        np.testing.assert_allclose(values[0], np.append(short, np.zeros(extra)))
        assert not values[1, 1:].any()
    likelihoods = [law.log_likelihood(page, clicks), law.log_likelihood(page[:1], [0])]
    np.testing.assert_allclose(law.log_likelihood(junk, clicked, mask=mask), likelihoods)
    certain = np.where(mask, 1.0, np.nan)
    assert not law.sample(certain, generator(0), mask=mask)[~mask].any()
    assert not law.sample_counts(certain, [5, 5], generator(0), mask=mask)[~mask].any()


def test_a_masked_row_in_the_middle_is_left_out():
    mask = np.array([True, False, True])
    np.testing.assert_allclose(OneClick().marginal([0.5, 0.9, 0.4], mask=mask), [0.5, 0, 0.5 * 0.4])
    np.testing.assert_allclose(PositionBased([0.5, 0.5, 0.5]).marginal([0.5, np.nan, 0.4], mask=mask), [0.25, 0, 0.2])


def test_empty_arrays():
    model = PositionBased([0.5])
    for shape in ((0, 1), (2, 0), (0, 0)):
        assert model.sample(np.zeros(shape), generator(0)).shape == shape
        assert PlainPositions([0.5]).sample(np.zeros(shape), generator(0)).shape == shape
        assert PlainPositions([0.5]).marginal(np.zeros(shape)).shape == shape
        assert model.log_likelihood(np.zeros(shape), np.zeros(shape)).shape == shape[:1]


# --- sampling


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("law", [PositionBased(THETA), PlainPositions(THETA)])
def test_all_patterns_are_sampled_at_their_rate(law, dtype):
    n = 200_000
    clicks = law.sample(np.tile(ATTRACTION.astype(dtype), (n, 1)), generator(1))
    assert clicks.dtype == np.int8
    counts = np.bincount(clicks @ (1 << np.arange(4)), minlength=16)
    all_clicks = (np.arange(16)[:, None] >> np.arange(4)) & 1

    def p_value(theta):
        return chi_square_p(counts, np.exp(PositionBased(theta).log_likelihood(np.tile(ATTRACTION, (16, 1)), all_clicks)))

    assert p_value(THETA) > FALSE_ALARM
    assert p_value(THETA * [1, 1, 1, 1.1]) < FALSE_ALARM  # the test sees one propensity that is ten percent wrong


def test_clicks_that_depend_on_the_clicks_above_are_sampled_at_their_rate():
    n = 100_000
    clicks = OneClick().sample(np.tile(ATTRACTION, (n, 1)), generator(2))
    counts = np.bincount(np.where(clicks.any(axis=1), clicks.argmax(axis=1), 4), minlength=5)
    stop = np.append(OneClick().marginal(ATTRACTION), 0)
    stop[4] = 1 - stop.sum()
    assert clicks.sum(axis=1).max() == 1
    assert chi_square_p(counts, stop) > FALSE_ALARM
    wrong = np.append(OneClick().marginal(ATTRACTION * 1.03), 0)
    wrong[4] = 1 - wrong.sum()
    assert chi_square_p(counts, wrong) < FALSE_ALARM


def test_summed_clicks_of_equal_pages_have_the_law_of_a_sum():
    """Three shows of a page of one-click rows: all joint sums against the convolution of the single page's patterns."""
    page, shows, n = [0.7, 0.4], 3, 60_000
    single = {(1, 0): 0.7, (0, 1): 0.12, (0, 0): 0.18}
    exact = np.zeros((shows + 1, shows + 1))
    for triple in itertools.product(single, repeat=shows):
        exact[sum(c[0] for c in triple), sum(c[1] for c in triple)] += np.prod([single[c] for c in triple])

    def observed(attraction):
        sums = OneClick().sample_counts(np.tile(attraction, (n, 1)), np.full(n, shows), generator(3))
        return np.bincount(sums @ [shows + 1, 1], minlength=exact.size)

    assert chi_square_p(observed(page), exact.reshape(-1)) > FALSE_ALARM
    assert chi_square_p(observed([0.7, 0.43]), exact.reshape(-1)) < FALSE_ALARM


@pytest.mark.parametrize("law", [PositionBased(THETA), PlainPositions(THETA)])
def test_summed_clicks_of_the_position_based_law_are_binomial(law):
    n, shows = 40_000, 4
    sums = law.sample_counts(np.tile(ATTRACTION, (n, 1)), np.full(n, shows), generator(4))
    assert sums.dtype == np.int64
    for k in range(4):
        counts = np.bincount(sums[:, k], minlength=shows + 1)
        p = THETA[k] * ATTRACTION[k]
        assert chi_square_p(counts, scipy.stats.binom(shows, p).pmf(range(shows + 1))) > FALSE_ALARM / 4
        assert chi_square_p(counts, scipy.stats.binom(shows, 1.1 * p).pmf(range(shows + 1))) < FALSE_ALARM / 4


def test_counts_differ_by_page_and_may_be_zero():
    attraction = np.ones((3, 2))
    for law in (PositionBased([1.0, 1.0]), PlainPositions([1.0, 1.0])):
        np.testing.assert_array_equal(law.sample_counts(attraction, [0, 3, 1], generator(0)), [[0, 0], [3, 3], [1, 1]])
        np.testing.assert_array_equal(law.sample_counts([1.0, 0.0], 7, generator(0)), [7, 0])
        assert not law.sample_counts(attraction, [0, 0, 0], generator(0)).any()


def test_a_page_shown_more_often_than_one_step_draws():
    sums = PlainPositions([1.0]).sample_counts([[1.0], [1.0]], [_CELLS + 5, 2], generator(0))
    np.testing.assert_array_equal(sums, [[_CELLS + 5], [2]])


def test_marginals_of_long_pages_are_estimated():
    """14 rows have no closed form here: the mean over 4,096 drawn pages, compared at 14 rows, spread below 1/2 a page."""
    attraction, theta = np.linspace(0.9, 0.2, 14), np.linspace(1, 0.3, 14)
    with pytest.raises(ContractError, match=r"pages of 14 rows .*rng= to estimate"):
        OneClick().marginal(attraction)
    estimate = OneClick().marginal(attraction, rng=generator(5))
    exact = attraction * np.cumprod(np.append(1, 1 - attraction[:-1]))
    bound = scipy.stats.norm.isf(FALSE_ALARM / 14 / 2) * 0.5 / 64
    assert np.abs(estimate - exact).max() < bound
    wrong = np.append(attraction[0] * 0.9, attraction[1:])
    assert np.abs(estimate - wrong * np.cumprod(np.append(1, 1 - wrong[:-1]))).max() > bound
    np.testing.assert_allclose(PositionBased(theta).marginal(attraction), theta * attraction)


def test_the_same_generator_gives_the_same_clicks():
    attraction = generator(6).random((30_000, 4))
    for law in (PositionBased(THETA), PlainPositions(THETA)):
        first, again, other = (law.sample(attraction, generator(seed)) for seed in (7, 7, 8))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_a_single_page_comes_back_as_one():
    for law in (PositionBased(THETA), KnownPositions(THETA)):
        assert law.sample(ATTRACTION, generator(0)).shape == (4,)
        assert law.marginal(ATTRACTION).shape == law.marginal_examination(ATTRACTION).shape == (4,)
        assert np.shape(law.log_likelihood(ATTRACTION, [0, 0, 0, 0])) == ()


def test_parameters_are_copied():
    theta = np.array([0.5, 0.25])
    model = PositionBased(theta)
    theta[:] = 0
    np.testing.assert_array_equal(model.examination, [0.5, 0.25])
    with pytest.raises(ValueError, match="read-only"):
        model.examination[0] = 0


# --- bad input


@pytest.mark.parametrize(
    "theta, message",
    [
        ([0.5, 1.5, -1], r"\[0, 1\]: position 1 has 1\.5; 2 of 3"),
        ([np.nan], "position 0 has nan"),
        ([], "one number a position"),
        ([[0.5]], "one number a position"),
    ],
)
def test_bad_examination(theta, message):
    with pytest.raises(PropensityError, match=message):
        PositionBased(theta)


def test_pages_longer_than_the_examination():
    model = PositionBased([0.5, 0.5, 0.5])
    message = "examination has 3 positions, but the longest page has 5 rows"
    for call in (
        model.marginal,
        lambda a: model.sample(a, generator(0)),
        lambda a: model.sample_counts(a, [1, 1], generator(0)),
        lambda a: model.examination_given(a, np.zeros((2, 5), int)),
        lambda a: model.log_likelihood(a, np.zeros((2, 5), int)),
    ):
        with pytest.raises(PropensityError, match=message):
            call(np.full((2, 5), 0.5))


@pytest.mark.parametrize(
    "attraction, clicks, mask, message",
    [
        ([[0.5, 1.5]], [[0, 0]], None, r"attraction must be in \[0, 1\]: page 0, row 1 has 1.5; 1 of 2 is wrong"),
        ([[0.5, 0.5], [np.nan, -1]], [[0, 0], [0, 0]], None, "page 1, row 0 has nan; 2 of 4"),
        ([0.5, 0.5], [0, 2], None, r"click must be 0 or 1 .*page 0, row 1 has 2"),
        ([0.5, 0.5], [0], None, r"clicks has shape \(1,\), attraction has \(2,\)"),
        ([[[0.5]]], [[[0]]], None, "attraction must have shape"),
        (0.5, 0, None, "attraction must have shape"),
        ([0.5], [0], [1], "mask must be boolean"),
        ([0.5], [0], [[True]], "mask has shape"),
    ],
)
def test_bad_arrays(attraction, clicks, mask, message):
    for law in (PositionBased(THETA), PlainPositions(THETA)):
        with pytest.raises(LogError, match=message):
            law.log_likelihood(attraction, clicks, mask=mask)


def test_minus_zero_is_a_probability():
    np.testing.assert_array_equal(PositionBased([0.5]).marginal([[-0.0]]), [[0]])


def test_bad_satisfaction():
    with pytest.raises(LogError, match=r"satisfaction must be in \[0, 1\]"):
        Satisfied().marginal([0.5], [1.2])


@pytest.mark.parametrize("counts", [[1], [1, -1], [1.0, 2.0], [[1, 1]]])
def test_bad_counts(counts):
    with pytest.raises(LogError, match="counts must be one whole number from 0 for each of 2 pages"):
        PositionBased([0.5]).sample_counts([[0.5], [0.5]], counts, generator(0))


@pytest.mark.parametrize(
    "returned, message",
    [
        (np.array([[0.5, 1.5]]), r"Broken.conditional must return probabilities in \[0, 1\]: page 0, row 1 has 1.5; 1 of 2"),
        (np.array([[0.5, np.nan]]), "page 0, row 1 has nan"),
        (np.array([0.5, 0.5]), r"returned shape \(2,\), but the pages have shape \(1, 2\)"),
    ],
)
def test_a_law_that_breaks_its_contract(returned, message):
    class Broken(ClickModel):
        def conditional(self, attraction, clicks, satisfaction=None, mask=None):
            return returned

    with pytest.raises(ContractError, match=message):
        Broken().log_likelihood([[0.5, 0.5]], [[0, 0]])


def test_a_law_without_examination_says_so():
    model = PlainPositions(THETA)
    assert not model.knows_examination
    assert KnownPositions(THETA).knows_examination
    assert PositionBased(THETA).knows_examination
    for call in (model.examination_given, lambda a, c: model.marginal_examination(a)):
        with pytest.raises(ContractError, match="PlainPositions does not say what was examined"):
            call(ATTRACTION, [0, 0, 0, 0])


def test_conditional_is_all_that_a_law_must_write():
    assert ClickModel.__abstractmethods__ == {"conditional"}
