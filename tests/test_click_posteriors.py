"""The E-steps of all click models: what users did is expected given the whole page, and must equal the stories gone through way by way."""

import click_stories as stories
import numpy as np
import pytest
from click_laws import STORIES
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr.click_models.learning import Prior, Rows, State

A, S = np.array([0.7, 0.4, 0.55, 0.2]), np.array([0.6, 0.3, 0.5, 0.9])
PRIOR = Prior(1.0, 1.0)
FITTED = [name for name in STORIES if name not in ("GlobalRate", "RankRate", "ItemRankRate")]
LAWS = pytest.mark.parametrize("name", FITTED)
lists = st.integers(1, 4).flatmap(lambda n: st.tuples(*[st.lists(st.floats(0.02, 0.98), min_size=n, max_size=n)] * 2))


def expected(name, clicks, a=A, s=S):
    """The E-step on one page, whose rows have an attraction each, at the law's own parameters; and the learner."""
    law, n = STORIES[name][0], len(clicks)
    learner = law._learner()
    learner.add(Rows(np.array([0, n]), np.arange(n), np.arange(n), np.array(clicks)))
    learner.start(law, PRIOR, n)
    state = State(law, np.array(a)[:n], np.array(s)[:n] if law.reads_satisfaction else None)
    return learner.expect(state), learner, state


def posteriors(name, clicks, a=A, s=S):
    """Everything hidden on that page, its clicks given: P(clicks), and by row examined, satisfied, relevant; and the kind of user."""
    patterns, chance, events = stories.tables(STORIES[name][1], a, s, len(clicks))
    i = int(np.flatnonzero((patterns == clicks).all(axis=1))[0])
    return chance[i], {event: values[i] / chance[i] for event, values in events.items()} if chance[i] > 0 else None


def all_pages(name):
    for clicks in stories.tables(stories.click_through, A, S)[0]:
        chance, hidden = posteriors(name, clicks)
        if hidden is not None:
            yield clicks, chance, hidden


@LAWS
def test_likelihood_of_the_page(name):
    for clicks, chance, _ in all_pages(name):
        assert expected(name, clicks)[0].log_likelihood == pytest.approx(np.log(chance))


@pytest.mark.parametrize("name", [name for name in FITTED if name not in ("TrustBias", "ClickChain", "Mixture")])
def test_attraction_is_tried_when_the_row_was_examined(name):
    for clicks, _, hidden in all_pages(name):
        found = expected(name, clicks)[0]
        np.testing.assert_allclose(found.tried, hidden["examined"], atol=1e-12)
        np.testing.assert_allclose(found.attracted, clicks)


def test_the_defects_of_the_notes():
    """Section 4.3: no click on four rows, and one in the middle; posteriors must see the whole page and its own rows."""
    skipped = expected("DynamicBayesian", [0, 0, 0, 0])[0].tried
    a, gamma = A, stories.GAMMA
    quiet = [1 - a[3]]
    for j in (2, 1, 0):
        quiet.insert(0, (1 - a[j]) * (1 - gamma + gamma * quiet[0]))
    by_hand = np.cumprod([1.0] + [gamma * quiet[j + 1] / (1 - gamma + gamma * quiet[j + 1]) for j in range(3)])
    np.testing.assert_allclose(skipped, by_hand)
    clicked = expected("DynamicBayesian", [0, 1, 0, 0])[0]
    assert clicked.tried[1] == 1
    assert clicked.tried[2] < gamma * (1 - S[1])  # two skips below speak against having been there


@pytest.mark.parametrize("name", ["PositionBased", "UserBrowsing"])
def test_examination_of_one_page_is_its_posterior(name):
    """Of a single page the most likely examination of each context is what is expected of the row in it."""
    for clicks, _, hidden in all_pages(name):
        law = expected(name, clicks)[0].law
        theta = law.examination if name == "PositionBased" else law.examination[np.arange(4), last_clicks(clicks)]
        np.testing.assert_allclose(theta, hidden["examined"])


def last_clicks(clicks):
    return [max([j + 1 for j in range(k) if clicks[j]], default=0) for k in range(len(clicks))]


def test_relevance_under_trust_bias():
    for clicks, _, hidden in all_pages("TrustBias"):
        found, _, state = expected("TrustBias", clicks)
        np.testing.assert_allclose(found.attracted, hidden["relevant"])
        np.testing.assert_array_equal(found.tried, 1)
        bound = state.law.examination
        relevant, other = found.law.examination * found.law.trust_positive, found.law.examination * found.law.trust_negative
        np.testing.assert_allclose(relevant, np.minimum(clicks, bound))  # one row a position: it was clicked or not
        np.testing.assert_allclose(other, np.minimum(clicks, bound))


@pytest.mark.parametrize("name", ["SimplifiedDynamicBayesian", "DynamicBayesian"])
def test_satisfaction(name):
    """Judged where a click has a row below it: what follows the last row nobody knows."""
    for clicks, _, hidden in all_pages(name):
        found = expected(name, clicks)[0]
        judged = clicks * [1, 1, 1, 0]
        np.testing.assert_array_equal(found.judged, judged)
        np.testing.assert_allclose(found.satisfied, hidden["satisfied"] * judged, atol=1e-12)


def test_patience():
    """Gamma: those who went on, of those who saw a row above the last and were not satisfied."""
    for clicks, _, hidden in all_pages("DynamicBayesian"):
        asked = (hidden["examined"] - hidden["satisfied"])[:-1].sum()
        assert expected("DynamicBayesian", clicks)[0].law.continuation == pytest.approx(hidden["examined"][1:].sum() / asked)


def test_going_on_after_a_click():
    for clicks, _, hidden in all_pages("DependentClick"):
        law = expected("DependentClick", clicks)[0].law
        for k in range(3):
            went_on = hidden["examined"][k + 1] if clicks[k] else stories.LAMBDA[k]  # nothing was learnt there
            assert law.continuation[k] == pytest.approx(went_on)


def test_relevance_of_clicked_rows_in_the_click_chain():
    for clicks, _, hidden in all_pages("ClickChain"):
        found, learner, state = expected("ClickChain", clicks)
        asked = clicks * [1, 1, 1, 0]
        np.testing.assert_allclose(found.attracted, clicks + hidden["relevant"] * asked, atol=1e-12)
        np.testing.assert_allclose(found.tried, hidden["examined"] + asked, atol=1e-12)
        counts = learner.counts(state)[0]
        np.testing.assert_allclose(counts.went_on[:3], hidden["examined"][1:] * clicks[:3], atol=1e-12)
        skipped = hidden["examined"][:3] - clicks[:3]
        assert counts.asked_after_skip == pytest.approx(skipped.sum())
        assert counts.went_on_after_skip == pytest.approx((hidden["examined"][1:] * (1 - clicks[:3])).sum())


def test_taus_of_the_click_chain():
    """After relevant and irrelevant clicks: expected ways on over expected ways, the story's joint events by enumeration."""
    for clicks, chance, _ in all_pages("ClickChain"):
        if not clicks[:3].any():
            continue
        asked, went_on = np.zeros(3), np.zeros(3)
        for p, page in stories.all_ways(stories.click_chain, A, S, 4):
            if page.clicks == [bool(c) for c in clicks]:
                for k in range(3):
                    if page.examined[k]:
                        kind = (2 if page.relevant[k] else 1) if page.clicks[k] else 0
                        asked[kind] += p / chance
                        went_on[kind] += p / chance * page.examined[k + 1]
        law = expected("ClickChain", clicks)[0].law
        found = np.array([law.tau_skip, law.tau_click_irrelevant, law.tau_click_relevant])
        np.testing.assert_allclose(found[asked > 0], (went_on / np.where(asked > 0, asked, 1))[asked > 0])


def test_kinds_of_users_of_a_mixture():
    for clicks, _, hidden in all_pages("Mixture"):
        found, learner, state = expected("Mixture", clicks)
        rows = learner._pieces[0]
        np.testing.assert_allclose(learner.kinds(rows, state)[0][:, 0], hidden["kind"])
        np.testing.assert_allclose(found.law.weights, hidden["kind"])
        np.testing.assert_allclose(found.tried, hidden["examined"], atol=1e-12)
        np.testing.assert_allclose(found.attracted, clicks, atol=1e-12)
        np.testing.assert_allclose(found.satisfied, hidden["satisfied"] * clicks * [1, 1, 1, 0], atol=1e-12)


@LAWS
@settings(deadline=None, max_examples=15)
@given(page=lists, bits=st.integers(0, 15))
def test_any_parameters_and_lengths(name, page, bits):
    """Likelihood and examinations of pages of one to four rows with any attractions."""
    a, s = page
    clicks = (bits >> np.arange(len(a))) & 1
    chance, hidden = posteriors(name, clicks, a, s)
    if hidden is None:
        return
    found = expected(name, clicks, a, s)[0]
    assert found.log_likelihood == pytest.approx(np.log(chance), abs=1e-9)
    if name not in ("TrustBias", "ClickChain"):
        np.testing.assert_allclose(found.tried, hidden["examined"], atol=1e-9)


@LAWS
def test_pages_add_up_whatever_company_they_are_in(name):
    """Ragged pages, in one piece, in two, and with weights: expectations are sums over pages."""
    law = STORIES[name][0]
    pages = [
        clicks[:n] for n in (4, 2, 3, 1, 4) for clicks, _, _ in list(all_pages(name))[:: 3 if n > 2 else 5] if feasible(name, clicks[:n])
    ]
    offsets = np.concatenate([[0], np.cumsum([len(page) for page in pages])])
    rows = Rows(
        offsets,
        np.concatenate([np.arange(len(p)) for p in pages]),
        np.concatenate([np.arange(len(p)) for p in pages]),
        np.concatenate(pages),
    )
    weight = np.arange(1, len(pages) + 1) / 4
    single = [expected(name, page)[0] for page in pages]
    for weights in (None, weight):
        learner = law._learner()
        cut = len(pages) // 2
        for start, end in ((0, cut), (cut, len(pages))):
            some = slice(offsets[start], offsets[end])
            piece = Rows(offsets[start : end + 1] - offsets[start], rows.rate[some], rows.position[some], rows.click[some])
            learner.add(piece if weights is None else piece.weighted(weights[start:end]))
        learner.start(law, PRIOR, 4)
        found = learner.expect(State(law, A, S if law.reads_satisfaction else None))
        w = np.ones(len(pages)) if weights is None else weights
        for field in ("attracted", "tried", "satisfied", "judged"):
            if getattr(found, field) is not None:
                total = sum(np.pad(getattr(one, field), (0, 4 - len(page))) * x for one, page, x in zip(single, pages, w, strict=True))
                np.testing.assert_allclose(getattr(found, field), total, atol=1e-9)
        assert found.log_likelihood == pytest.approx(sum(one.log_likelihood * x for one, x in zip(single, w, strict=True)))


def feasible(name, clicks):
    return np.isfinite(STORIES[name][0].log_likelihood(A[: len(clicks)], clicks, S[: len(clicks)]))
