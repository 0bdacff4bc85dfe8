"""The laws of all click models against their stories, told again without the library and enumerated way by way."""

import click_stories as stories
import numpy as np
import pytest
from click_laws import BROWSING, STORIES, TWINS
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr.click_models import (
    Cascade,
    ClickChain,
    ClickModel,
    DependentClick,
    DynamicBayesian,
    ItemRate,
    Mixture,
    PositionBased,
    SimplifiedDynamicBayesian,
    TrustBias,
    UserBrowsing,
)
from ultr.errors import ContractError, LogError, PropensityError
from ultr.random import generator

A, S = np.array([0.7, 0.4, 0.55, 0.2]), np.array([0.6, 0.3, 0.5, 0.9])
LAWS = pytest.mark.parametrize("name", STORIES)
chances = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0]))
pages = st.integers(1, 4).flatmap(lambda n: st.tuples(*[st.lists(chances, min_size=n, max_size=n)] * 2))


# --- by hand


def test_the_filter_of_the_notes_by_hand():
    """e = P(examined | clicks above): after a skip g e (1 - a) / (1 - e a), after a click what the law says; a click and two skips."""
    page, clicks = np.array([0.7, 0.4, 0.5]), [1, 0, 0]
    for law, skip, click in (
        (Cascade(), 1, 0),
        (DependentClick([0.8, 0.5, 0.3]), 1, 0.8),
        (SimplifiedDynamicBayesian(), 1, 1 - 0.6),
        (DynamicBayesian(0.85), 0.85, 0.85 * (1 - 0.6)),
        (ClickChain(0.9, 0.6, 0.25), 0.9, 0.6 * 0.3 + 0.25 * 0.7),
    ):
        third = skip * click * 0.6 / (1 - click * 0.4)
        np.testing.assert_allclose(law.examination_given(page, clicks, S[:3]), [1, click, third])
        np.testing.assert_allclose(law.conditional(page, clicks, S[:3]), [0.7, 0.4 * click, 0.5 * third])


def test_dynamic_bayesian_marginal_of_the_notes():
    """a = (.7, .4), s = (.6, .3), gamma = .85: the third row is examined with probability .3688."""
    examined = DynamicBayesian(0.85).marginal_examination([0.7, 0.4, 0.5], [0.6, 0.3, 0.5])
    assert examined[2] == pytest.approx(0.85 * (1 - 0.7 * 0.6) * 0.85 * (1 - 0.4 * 0.3))
    assert examined[2] == pytest.approx(0.3688, abs=5e-5)


def test_cascade_scores_skips_by_attraction():
    assert Cascade().log_likelihood(A, [0, 0, 0, 1]) == pytest.approx(np.log(0.3 * 0.6 * 0.45 * 0.2))
    assert Cascade().log_likelihood(A, [1, 0, 0, 1]) == -np.inf


def test_trust_bias_by_hand():
    law = TrustBias([0.8, 0.5], [1.0, 0.9], [0.4, 0.2])
    np.testing.assert_allclose(law.marginal([0.5, 0.25]), [0.8 * (0.5 + 0.4 * 0.5), 0.5 * (0.9 * 0.25 + 0.2 * 0.75)])
    np.testing.assert_allclose(law.alpha * [0.5, 0.25] + law.beta, law.marginal([0.5, 0.25]))
    np.testing.assert_allclose(law.marginal_examination([0.5, 0.25]), [0.8, 0.5])


def test_trust_parameters_that_invert_the_grades():
    """Notes, 7.3: with these parameters clicks divided by the propensity put an irrelevant first row above grade 3 in the fourth."""
    rank, relevance = np.arange(1, 5), np.array([0.1, 0.16, 0.28, 0.52])
    law = TrustBias([0.68, 0.61, 0.48, 0.34], 1 - (rank + 1) / 100, 0.65 / rank)
    weighted = law.marginal(relevance) / law.examination
    np.testing.assert_allclose(weighted, [0.683, 0.428, 0.425, 0.572], atol=5e-4)
    np.testing.assert_allclose((law.marginal(relevance) - law.beta) / law.alpha, relevance)


# --- the stories, way by way


def both(name, a, s, n):
    """The law's values for all patterns of one page, and the story's tables."""
    law, story = STORIES[name]
    patterns, chance, events = stories.tables(story, a, s, n)
    return law, patterns, chance, events, (np.tile(a, (len(patterns), 1)), patterns, np.tile(s, (len(patterns), 1)))


@LAWS
@settings(deadline=None, max_examples=25)
@given(page=pages)
def test_likelihood_and_marginals_of_the_story(name, page):
    a, s = page
    law, patterns, chance, events, arguments = both(name, a, s, len(a))
    likelihood = np.exp(law.log_likelihood(*arguments))
    np.testing.assert_allclose(likelihood, chance, atol=1e-12)
    assert likelihood.sum() == pytest.approx(1)
    np.testing.assert_allclose(law.marginal(a, s), chance @ patterns, atol=1e-12)
    np.testing.assert_allclose(law.marginal_examination(a, s), events["examined"].sum(axis=0), atol=1e-12)


@LAWS
@settings(deadline=None, max_examples=25)
@given(page=pages)
def test_conditionals_of_the_story(name, page):
    """P(click or examined on row k | clicks above) is a ratio of sums over the ways with those clicks above, where there is one."""
    a, s = page
    law, patterns, chance, events, arguments = both(name, a, s, len(a))
    conditional, examined = law.conditional(*arguments), law.examination_given(*arguments)
    assert ((conditional >= 0) & (conditional <= 1)).all()
    for i, k in np.ndindex(patterns.shape):
        same = (patterns[:, :k] == patterns[i, :k]).all(axis=1)
        total = chance[same].sum()
        if total > 1e-9:
            assert conditional[i, k] == pytest.approx(chance[same] @ patterns[same, k] / total, abs=1e-6)
            assert examined[i, k] == pytest.approx(events["examined"][same, k].sum() / total, abs=1e-6)


@pytest.mark.parametrize("name", TWINS)
def test_the_tests_above_see_a_wrong_parameter(name):
    _, chance, _ = stories.tables(STORIES[name][1], A, S)
    patterns = stories.tables(STORIES[name][1], A, S)[0]
    wrong = np.exp(TWINS[name].log_likelihood(np.tile(A, (16, 1)), patterns, np.tile(S, (16, 1))))
    assert np.abs(wrong - chance).max() > 1e-3


# --- one law is another one


def position_free(theta):
    """A table in which the last click does not matter."""
    return np.repeat(np.asarray(theta)[:, None], len(theta), axis=1)


NESTED = {
    "DBN, gamma 1, is SDBN": (DynamicBayesian(1.0), SimplifiedDynamicBayesian(), S),
    "SDBN, all satisfied, is the cascade": (SimplifiedDynamicBayesian(), Cascade(), np.ones(4)),
    "DCM, never on, is the cascade": (DependentClick(np.zeros(4)), Cascade(), S),
    "DCM, one continuation, is CCM": (DependentClick([0.4] * 4), ClickChain(1, 0.4, 0.4), S),
    "CCM, never on after a click, is the cascade": (ClickChain(1, 0, 0), Cascade(), S),
    "DBN, nobody satisfied, is CCM": (DynamicBayesian(0.8), ClickChain(0.8, 0.8, 0.8), np.zeros(4)),
    "UBM, last click forgotten, is position-based": (UserBrowsing(position_free(stories.THETA)), PositionBased(stories.THETA), S),
    "trust bias without trust is position-based": (TrustBias(stories.THETA, np.ones(4), np.zeros(4)), PositionBased(stories.THETA), S),
    "position-based, all examined, is the click rate": (PositionBased(np.ones(4)), ItemRate(), S),
    "CCM, always on, is the click rate": (ClickChain(1, 1, 1), ItemRate(), S),
    "a mixture of one is that one": (Mixture([DynamicBayesian(0.8)], [1.0]), DynamicBayesian(0.8), S),
    "a mixture of two alike is each of them": (Mixture([Cascade(), DependentClick(np.zeros(4))], [0.3, 0.7]), Cascade(), S),
    "a weight of 0 counts for nothing": (Mixture([Cascade(), ItemRate()], [0.0, 1.0]), ItemRate(), S),
}


@pytest.mark.parametrize("identity", NESTED)
def test_nesting(identity):
    one, other, s = NESTED[identity]
    patterns = stories.tables(stories.click_through, A, S)[0]
    a, s = np.tile(A, (16, 1)), np.tile(s, (16, 1))
    np.testing.assert_allclose(np.exp(one.log_likelihood(a, patterns, s)), np.exp(other.log_likelihood(a, patterns, s)), atol=1e-12)
    possible = np.isfinite(other.log_likelihood(a, patterns, s))
    for method in ("conditional", "examination_given"):
        mine, theirs = (getattr(law, method)(a, patterns, s)[possible] for law in (one, other))
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    for method in ("marginal", "marginal_examination"):
        np.testing.assert_allclose(getattr(one, method)(A, s[0]), getattr(other, method)(A, s[0]), atol=1e-12)


@pytest.mark.parametrize("name", ["Cascade", "DependentClick", "SimplifiedDynamicBayesian", "DynamicBayesian", "ClickChain"])
def test_chains_click_the_first_row_with_its_attraction(name):
    assert STORIES[name][0].marginal(A, S)[0] == pytest.approx(A[0])


# --- padding, gaps, causality


@LAWS
@settings(deadline=None, max_examples=25)
@given(page=pages, extra=st.integers(1, 12))
def test_padding_never_changes_anything(name, page, extra):
    """Junk behind a page, of any width: also wider than the parameters reach."""
    (a, s), law = page, STORIES[name][0]
    clicks = (np.arange(len(a)) % 2).tolist()
    mask = np.array([[True] * len(a) + [False] * extra, [True] + [False] * (len(a) + extra - 1)])
    junk_a, junk_s = (np.array([x + [np.nan] * extra, x[:1] + [99.0] * (len(a) - 1 + extra)]) for x in (a, s))
    junk_c = np.array([clicks + [7] * extra, [0] + [-1] * (len(a) - 1 + extra)])
    likelihood = [law.log_likelihood(a, clicks, s), law.log_likelihood(a[:1], [0], s[:1])]
    np.testing.assert_allclose(law.log_likelihood(junk_a, junk_c, junk_s, mask), likelihood)
    for method, first in (("conditional", (junk_a, junk_c)), ("examination_given", (junk_a, junk_c)), ("marginal", (junk_a,))):
        values = getattr(law, method)(*first, junk_s, mask)
        short = (a, clicks) if len(first) == 2 else (a,)
        np.testing.assert_allclose(values[0, : len(a)], getattr(law, method)(*short, s), atol=1e-12)
        assert not values[~mask].any()
    assert not law.sample(np.where(mask, 1.0, np.nan), generator(0), junk_s, mask)[~mask].any()
    assert not law.sample_counts(np.where(mask, 1.0, np.nan), [5, 5], generator(0), junk_s, mask)[~mask].any()


@pytest.mark.parametrize("name", ["Cascade", "SimplifiedDynamicBayesian", "DynamicBayesian", "ClickChain", "GlobalRate"])
def test_a_row_that_is_not_shown_is_passed_over(name):
    """A gap between the rows: the law reads as if it were not there. (Laws with positions count the gap as a position.)"""
    law, mask = STORIES[name][0], np.array([True, False, True, True])
    gap = ([0.7, np.nan, 0.4, 0.55], [0.6, np.nan, 0.3, 0.5])
    for clicks in ([0, 9, 0, 1], [1, 9, 0, 0], [0, 9, 1, 1]):
        shown = np.array(clicks)[mask]
        found = law.log_likelihood(gap[0], clicks, gap[1], mask)
        np.testing.assert_allclose(found, law.log_likelihood(A[:3], shown, [0.6, 0.3, 0.5]))
    np.testing.assert_allclose(law.marginal(gap[0], gap[1], mask)[mask], law.marginal(A[:3], [0.6, 0.3, 0.5]))
    certain = law.sample(np.tile([0.0, np.nan, 1.0, 0.0], (50, 1)), generator(0), np.zeros((50, 4)), np.tile(mask, (50, 1)))
    assert not certain[:, 1].any()


@LAWS
@settings(deadline=None, max_examples=25)
@given(page=pages, below=st.integers(0, 15))
def test_a_click_changes_nothing_above_it(name, page, below):
    (a, s), law = page, STORIES[name][0]
    clicks, other = np.zeros(len(a), dtype=int), (below >> np.arange(len(a))) & 1
    k = len(a) // 2
    other[:k] = 0
    np.testing.assert_array_equal(law.conditional(a, clicks, s)[: k + 1], law.conditional(a, other, s)[: k + 1])


def test_pages_of_a_thousand_rows_have_exact_marginals():
    """The chains are products: 0.99 to the power of the row, at any length."""
    a, rank = np.full(1000, 0.01), np.arange(1000)
    np.testing.assert_allclose(Cascade().marginal(a), 0.01 * 0.99**rank)
    np.testing.assert_allclose(DynamicBayesian(0.999).marginal_examination(a, np.zeros(1000)), 0.999**rank)
    assert np.isfinite(ClickChain(0.99, 0.9, 0.5).log_likelihood(a, rank % 7 == 0))
    table = np.full((300, 300), 0.5)
    np.testing.assert_allclose(UserBrowsing(table).marginal(a[:300]), 0.005)


def test_float32_pages_are_scored_in_float64():
    a = A.astype(np.float32)
    for law, _ in STORIES.values():
        np.testing.assert_allclose(law.marginal(a, S), law.marginal(a.astype(float), S), rtol=1e-6)


# --- what laws read


def test_a_law_that_reads_satisfaction_asks_for_it():
    assert [name for name, (law, _) in STORIES.items() if law.reads_satisfaction] == [
        "SimplifiedDynamicBayesian",
        "DynamicBayesian",
        "Mixture",
    ]
    assert not Mixture([Cascade(), ItemRate()], [0.5, 0.5]).reads_satisfaction
    for law in (SimplifiedDynamicBayesian(), DynamicBayesian(0.8), Mixture([DynamicBayesian(0.8)], [1.0])):
        for call in (law.marginal, lambda a, law=law: law.sample(a, generator(0)), lambda a, law=law: law.log_likelihood(a, [0, 0, 0, 0])):
            with pytest.raises(LogError, match=r"needs satisfaction=, P\(satisfied \| clicked\)"):
                call(A)


def test_columns_beyond_the_row_are_never_read():
    full = np.where(np.isnan(BROWSING), 7.0, BROWSING)
    clicks = stories.tables(stories.click_through, A, S)[0]
    a = np.tile(A, (16, 1))
    np.testing.assert_array_equal(UserBrowsing(full).log_likelihood(a, clicks), UserBrowsing(BROWSING).log_likelihood(a, clicks))
    np.testing.assert_array_equal(UserBrowsing(full).marginal(a), UserBrowsing(BROWSING).marginal(a))
    assert np.isfinite(UserBrowsing(BROWSING).marginal(a)).all()


def test_parameters_are_copied():
    theta = np.full((2, 2), 0.5)
    law = UserBrowsing(theta)
    theta[:] = 0
    assert (law.examination == 0.5).all()
    with pytest.raises(ValueError, match="read-only"):
        law.examination[0] = 0


# --- bad input


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DependentClick([0.5, 1.5]), r"continuation must be in \[0, 1\]: position 1 has 1\.5; 1 of 2"),
        (lambda: DependentClick(0.5), "continuation must be one number a position"),
        (lambda: DynamicBayesian(1.2), r"continuation must be one number in \[0, 1\], not 1\.2"),
        (lambda: DynamicBayesian([0.5]), r"continuation must be one number in \[0, 1\]"),
        (lambda: DynamicBayesian(np.nan), "not nan"),
        (lambda: ClickChain(0.5, -0.1, 0.5), r"tau_click_irrelevant must be one number in \[0, 1\], not -0\.1"),
        (lambda: TrustBias([0.5], [0.5, 0.5], [0.1]), "not examination 1, trust_positive 2, trust_negative 1"),
        (lambda: TrustBias([0.5], [0.5], [2]), "trust_negative must be in"),
        (lambda: UserBrowsing([0.5, 0.5]), r"shape \[positions, positions\].*not \(2,\)"),
        (lambda: UserBrowsing([[0.5, 0.5]]), r"not \(1, 2\)"),
        (lambda: UserBrowsing([[0.5, 9], [1.5, -1]]), r"position 1, last click at rank 0 has 1\.5; 2 of 3 entries"),
        (lambda: Mixture([Cascade()], [0.5]), "weights must be one probability for each of 1 models, sum 1"),
        (lambda: Mixture([Cascade(), ItemRate()], [1.5, -0.5]), "weights must be"),
        (lambda: Mixture([], []), "each of 0 models"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(PropensityError, match=message):
        make()


def test_a_mixture_of_what_are_no_laws():
    with pytest.raises(ContractError, match="models of a Mixture must be click models, objects: model 1"):
        Mixture([Cascade(), Cascade], [0.5, 0.5])


def test_a_mixture_knows_examination_if_all_its_models_do():
    class Silent(ClickModel):
        def conditional(self, attraction, clicks, satisfaction=None, mask=None):
            return np.asarray(attraction)

    assert Mixture([Cascade(), ItemRate()], [0.5, 0.5]).knows_examination
    law = Mixture([Cascade(), Silent()], [0.5, 0.5])
    assert not law.knows_examination
    with pytest.raises(ContractError, match="Silent does not say what was examined"):
        law.examination_given(A, [0, 0, 0, 0])


@pytest.mark.parametrize("name", ["DependentClick", "UserBrowsing", "TrustBias", "Mixture"])
def test_pages_longer_than_the_parameters(name):
    with pytest.raises(PropensityError, match="has 4 positions, but the longest page has 5 rows"):
        STORIES[name][0].marginal(np.full((2, 5), 0.5), np.full((2, 5), 0.5))
