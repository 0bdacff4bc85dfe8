"""Simulated sessions: what came of each by hand, draws as often as the chances say, settings, determinism, errors."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

import simulators
import ultr
from simulators import sessions as module
from simulators.session_user import FoundPerEffort, NeedMet, NeedMetLessEffort, Outcomes, Searcher, TotalGain
from simulators.sessions import simulate_sessions
from ultr.click_models import Cascade, ClickModel, PositionBased, SimplifiedDynamicBayesian
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, ContractError, LogError, PropensityError, UltrError, UltrWarning
from ultr.metrics import NUM, SessionDCG

DATA = ultr.synthetic_ranking(80, range(10, 21), 5, seed=1)
POLICY = simulators.RandomPolicy()
LOG = simulate_sessions(DATA, policy=POLICY, n_sessions=1500, seed=2)
FALSE_ALARM = 1e-5
BOUND = scipy.stats.norm.isf(FALSE_ALARM / 2)
CUTOFF_ALL = 20


def topics(log):
    return np.searchsorted(DATA.query_ids, log.page_columns["query"])  # the ids are 0, 1, 2, ...


def stories(log):
    """Pages of each session, as lists of (item, click, grade) rows."""
    out = {}
    for page, session in enumerate(log.page_columns["session"]):
        rows = slice(log.offsets[page], log.offsets[page + 1])
        out.setdefault(session, []).append(list(zip(*(log.columns[name][rows] for name in ("item", "click", "grade")), strict=True)))
    return out


def truth(log, name):
    return dict(zip(log.page_columns["session"], log.page_columns[name], strict=True))


def z(successes, chances):
    return (successes.sum() - chances.sum()) / np.sqrt((chances * (1 - chances)).sum())


def same(a, b):
    return a.to_frame().equals(b.to_frame())


def test_found_gain_and_effort_by_hand():
    for session, pages in stories(LOG).items():
        read, gain, effort = set(), 0, 5 * (len(pages) - 1)
        for page in pages:
            clicked = [rank for rank, (_, click, _) in enumerate(page, 1) if click]
            effort += 4 * len(clicked) + (clicked[-1] if clicked else len(page))
            for item, click, grade in page:
                gain += grade if click and item not in read else 0
                read |= {item} if click else set()
        found = sum(DATA.grades[item] >= 1 for item in read)
        assert [truth(LOG, name)[session] for name in ("found", "gain", "effort")] == [found, gain, effort]
        if session == 200:
            break


def test_users_stop_when_the_need_is_met_and_never_before_if_patient():
    log = simulate_sessions(DATA, policy=POLICY, n_sessions=300, max_queries=4, searcher=Searcher(patience=np.inf), seed=1)
    need = truth(log, "need")
    lengths = set()
    for session, pages in stories(log).items():
        found = np.cumsum([0, *(0 for _ in pages)])
        read = set()
        for number, page in enumerate(pages, 1):
            read |= {item for item, click, grade in page if click and grade >= 1}
            found[number] = len(read)
        assert (found[:-1] < need[session]).all()
        assert found[-1] >= need[session] or len(pages) == 4
        lengths.add(len(pages))
    assert lengths == {1, 2, 3, 4}


def test_a_page_shows_documents_of_the_topic_once_and_truth_is_constant_in_a_session():
    page = LOG.page_of_row()
    owner = np.repeat(np.arange(len(DATA)), np.diff(DATA.offsets))
    np.testing.assert_array_equal(owner[LOG.columns["item"]], topics(LOG)[page])
    np.testing.assert_array_equal(LOG.columns["grade"], DATA.grades[LOG.columns["item"]])
    assert len(np.unique(np.stack([page, LOG.columns["item"]]), axis=1).T) == LOG.n_rows
    np.testing.assert_array_equal(LOG.columns["position"], LOG.slots())
    assert (np.diff(LOG.page_columns["session"]) >= 0).all()
    np.testing.assert_array_equal(LOG.sessions, np.arange(1500))
    for name in ("query", "need", "found", "gain", "effort", "satisfaction"):
        pairs = np.stack([LOG.page_columns["session"], LOG.page_columns[name].astype(float)])
        assert len(np.unique(pairs, axis=1).T) == 1500
    assert LOG.items is DATA.items


def test_what_was_read_before_is_less_attractive():
    read, session_before = set(), None
    fresh = simulators.GradedRelevance(noise=0.1)(DATA.grades)
    page, again = LOG.page_of_row(), 0
    for start, end in zip(LOG.offsets[:-1], LOG.offsets[1:], strict=True):
        if start == end:
            continue
        session = LOG.page_columns["session"][page[start]]
        read = read if session == session_before else set()
        session_before = session
        items = LOG.columns["item"][start:end]
        share = np.array([0.2 if item in read else 1.0 for item in items])
        again += (share < 1).sum()
        np.testing.assert_allclose(LOG.columns["relevance"][start:end], fresh[items] * share, rtol=1e-6)
        read |= set(items[LOG.columns["click"][start:end] > 0])
    assert again > 100


def excess(share=1.0):
    """Clicks against their chances in standard errors, all rows and those of documents read before, whose chance is times `share`."""
    log = simulate_sessions(DATA, policy=POLICY, n_sessions=4000, click_model=PositionBased(np.full(10, 0.9)), seed=9)
    fresh = simulators.GradedRelevance(noise=0.1)(DATA.grades)[log.columns["item"]]
    before = log.columns["relevance"] < 0.9 * fresh
    chance = log.columns["relevance"] * log.columns["propensity"] * np.where(before, share, 1.0)
    return z(log.columns["click"], chance), z(log.columns["click"][before], chance[before])


def test_clicks_are_as_frequent_as_the_law_says():
    np.testing.assert_allclose(LOG.columns["propensity"], simulators.eye_tracking_examination()[LOG.columns["position"]], rtol=1e-6)
    assert max(map(abs, excess())) < BOUND


def test_the_test_above_sees_that_what_was_read_before_counts_in_full():
    assert abs(excess(share=5.0)[1]) > BOUND


def retrieved(shift=0.0):
    """How many standard errors apart from what the quality says are the relevant documents shown, and the others from the clutter."""
    log = simulate_sessions(DATA, policy=POLICY, n_sessions=1500, cutoff=CUTOFF_ALL, click_model=PositionBased(np.full(20, 0.5)), seed=4)
    page, helps = log.page_of_row(), log.columns["grade"] >= 1
    relevant = np.add.reduceat(DATA.grades >= 1, DATA.offsets[:-1])[topics(log)]
    others = np.diff(DATA.offsets)[topics(log)] - relevant
    quality = log.page_columns["quality"] + shift
    spread = np.sqrt((relevant * quality * (1 - quality)).sum())
    good = (np.bincount(page[helps], minlength=len(log)) - relevant * quality).sum() / spread
    bad = (np.bincount(page[~helps], minlength=len(log)) - others * (0.5 + shift)).sum() / np.sqrt(others.sum() * 0.25)
    return good, bad


def test_queries_find_documents_as_often_as_their_quality_says():
    assert max(map(abs, retrieved())) < BOUND


def test_the_test_above_sees_three_percent():
    assert min(map(abs, retrieved(-0.03))) > BOUND


def test_pages_keep_the_order_of_the_policy():
    scores = np.random.default_rng(0).normal(size=len(DATA.grades))
    log = simulate_sessions(DATA, policy=simulators.FixedOrder(DATA, scores), n_sessions=200)
    falls = np.diff(scores[log.columns["item"]]) < 0
    assert falls[np.diff(log.page_of_row()) == 0].all()


def test_needs_are_uniform():
    relevant = np.add.reduceat(DATA.grades >= 1, DATA.offsets[:-1])
    first = np.unique(LOG.page_columns["session"], return_index=True)[1]
    need, room = LOG.page_columns["need"][first], np.minimum(6, relevant[topics(LOG)[first]])
    assert (need <= np.maximum(room, 1)).all()
    counts = np.bincount(need[room == 6], minlength=7)[1:]
    assert scipy.stats.chisquare(counts).pvalue > FALSE_ALARM
    assert scipy.stats.chisquare(counts, counts.sum() * np.array([0.12, 0.12, 0.19, 0.19, 0.19, 0.19])).pvalue < FALSE_ALARM


def hopeless(patience, n=4000):
    """Sessions in which all is irrelevant and nothing clicked: each page of ten rows costs 10, and 5 more after the first."""
    data = ultr.RankingData(np.zeros((10, 1)), np.zeros(10, dtype=int), offsets_of(np.array([10])))
    searcher = Searcher(clutter=1.0, patience=patience)
    return simulate_sessions(data, policy=POLICY, searcher=searcher, n_sessions=n, relevance=np.zeros_like, max_queries=3, seed=5)


@pytest.mark.parametrize("patience", [10.0, 40.0])
def test_patience_is_exponential(patience):
    queries = Outcomes.of(hopeless(patience)).queries
    for pages, effort in ((1, 10), (2, 25)):
        assert abs(z(queries > pages, np.full(len(queries), np.exp(-effort / patience)))) < BOUND
        assert abs(z(queries > pages, np.full(len(queries), np.exp(-effort / (1.25 * patience))))) > BOUND


def test_skill_belongs_to_the_user_and_chance_to_the_query():
    searcher = Searcher(skill=0.5, skill_spread=0.8, query_spread=0.6, patience=np.inf, relevant=5)  # no grade is 5: nobody stops early
    log = simulate_sessions(DATA, policy=POLICY, searcher=searcher, n_sessions=1000, max_queries=2, seed=6)
    logit = np.log(log.page_columns["quality"] / (1 - log.page_columns["quality"]))
    first, second = logit.reshape(1000, 2).T
    gap = first - second
    for values, variance in ((gap, 2 * 0.6**2), (first, 0.8**2 + 0.6**2)):
        tail = scipy.stats.chi2.cdf((len(values) - 1) * values.var(ddof=1) / variance, len(values) - 1)
        assert FALSE_ALARM / 2 < tail < 1 - FALSE_ALARM / 2
    assert abs(first.mean() - 0.5) / np.sqrt((0.8**2 + 0.6**2) / 1000) < BOUND


def test_satisfaction_has_the_noise_it_says():
    log = simulate_sessions(DATA, policy=POLICY, n_sessions=1000, satisfaction=NeedMet(), satisfaction_noise=0.3, seed=8)
    first = np.unique(log.page_columns["session"], return_index=True)[1]
    noise = (log.page_columns["satisfaction"][first] - Outcomes.of(log).met) / 0.3
    assert abs(noise.mean()) * np.sqrt(1000) < BOUND
    assert FALSE_ALARM / 2 < scipy.stats.chi2.cdf((noise**2).sum(), 1000) < 1 - FALSE_ALARM / 2
    exact = simulate_sessions(DATA, policy=POLICY, n_sessions=50, satisfaction=NeedMet(), satisfaction_noise=0.0)
    np.testing.assert_array_equal(
        exact.page_columns["satisfaction"], np.minimum(exact.page_columns["found"], exact.page_columns["need"]) / exact.page_columns["need"]
    )


def test_satisfactions_by_hand():
    outcomes = Outcomes(*map(np.array, ([2, 4, 1], [3, 1, 0], [5, 4, 0], [20.0, 50.0, 0.0], [1, 2, 1])))
    assert NeedMet()(outcomes).tolist() == [1, 0.25, 0]
    assert NeedMetLessEffort(100)(outcomes).tolist() == [0.8, -0.25, 0]
    assert FoundPerEffort()(outcomes).tolist() == [0.1, 0.02, 0]
    assert TotalGain()(outcomes).tolist() == [5, 4, 0]


def test_a_better_policy_finds_more_with_less():
    """Paired by seed, ten seeds: Student's t, one-sided; the twin compares the random policy with itself on other seeds."""

    def value(policy, seed):
        outcomes = Outcomes.of(simulate_sessions(DATA, policy=policy, n_sessions=300, seed=seed))
        return outcomes.met.mean() - outcomes.effort.mean() / 100

    best = simulators.FixedOrder(DATA, DATA.grades.astype(float))
    random = np.array([value(POLICY, seed) for seed in range(20)])
    gain = np.array([value(best, seed) for seed in range(10)]) - random[:10]
    assert scipy.stats.ttest_1samp(gain, 0, alternative="greater").pvalue < FALSE_ALARM
    assert scipy.stats.ttest_1samp(random[10:] - random[:10], 0, alternative="greater").pvalue > FALSE_ALARM


def test_a_seed_gives_the_same_log_and_a_longer_one_starts_with_a_shorter(monkeypatch):
    again = simulate_sessions(DATA, policy=POLICY, n_sessions=1500, seed=2)
    assert same(again, LOG)
    assert not same(simulate_sessions(DATA, policy=POLICY, n_sessions=1500, seed=3), LOG)
    monkeypatch.setattr(module, "BLOCK", 16)
    short, long = (simulate_sessions(DATA, policy=POLICY, n_sessions=n, seed=2) for n in (32, 40))
    assert same(long.take(np.arange(len(short))), short)
    assert len(long.sessions) == 40
    need = short.page_columns["need"][np.unique(short.page_columns["session"], return_index=True)[1]]
    assert (need[:16] != need[16:]).any()  # blocks have generators of their own


SETTINGS = {
    "need": 2, "relevant": 2, "skill": 1.0, "skill_spread": 0.0, "query_spread": 0.0, "clutter": 0.1, "again": 1.0, "snippet": 2.0,
    "document": 1.0, "reformulation": 0.0, "patience": 20.0,
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_searcher_changes_the_log(name):
    other = simulate_sessions(DATA, policy=POLICY, n_sessions=1500, searcher=Searcher(**{name: SETTINGS[name]}), seed=2)
    assert not same(other, LOG)


@pytest.mark.parametrize(
    "change",
    [
        {"max_queries": 2},
        {"cutoff": 5},
        {"n_sessions": 1499},
        {"relevance": simulators.GradedRelevance(noise=0.2)},
        {"satisfaction": TotalGain()},
        {"satisfaction": NeedMetLessEffort(50)},
        {"satisfaction_noise": 0.1},
        {"click_model": PositionBased(np.ones(10))},
        {"policy": simulators.LinearPolicy()},
    ],
)
def test_every_other_setting_changes_the_log(change):
    assert not same(simulate_sessions(DATA, **{"policy": POLICY, "n_sessions": 1500, "seed": 2} | change), LOG)


def test_limits_hold():
    log = simulate_sessions(DATA, policy=POLICY, n_sessions=200, max_queries=2, cutoff=3)
    assert log.lengths.max() == 3
    assert Outcomes.of(log).queries.max() == 2
    assert (simulate_sessions(DATA, policy=POLICY, n_sessions=50, searcher=Searcher(clutter=0.0)).columns["grade"] > 0).all()


def test_empty_pages_are_kept_and_cost_a_reformulation():
    log = simulate_sessions(DATA, policy=POLICY, n_sessions=30, searcher=Searcher(clutter=0.0, skill=-50.0, patience=np.inf), max_queries=3)
    assert log.n_rows == 0
    assert len(log) == 90
    assert (log.page_columns["effort"] == 10).all()
    assert NUM()(log).tolist() == [0] * 30


def test_metrics_read_the_log():
    num = NUM()(LOG)
    assert num.shape == (1500,)
    assert 0 <= num.min() < num.max() <= 1
    assert SessionDCG()(LOG).max() > 1


def test_laws_that_read_satisfaction_get_it():
    graded = simulators.GradedRelevance(noise=0.2, max_grade=5)
    log = simulate_sessions(
        DATA, policy=POLICY, click_model=SimplifiedDynamicBayesian(), relevance=graded, satisfied=graded, n_sessions=100
    )
    np.testing.assert_allclose(log.columns["satisfied"], graded(DATA.grades)[log.columns["item"]], rtol=1e-6)
    with pytest.raises(ConfigError, match="SimplifiedDynamicBayesian needs satisfied="):
        simulate_sessions(DATA, policy=POLICY, click_model=SimplifiedDynamicBayesian())
    with pytest.raises(ConfigError, match="PositionBased does not read what satisfies"):
        simulate_sessions(DATA, policy=POLICY, satisfied=graded)


class Always(ClickModel):
    """A law of one's own, which says nothing about examination."""

    def conditional(self, attraction, clicks, satisfaction=None, mask=None):
        return np.asarray(attraction)


def test_propensity_is_there_where_it_is_known():
    assert "propensity" not in simulate_sessions(DATA, policy=POLICY, click_model=Always(), n_sessions=20).columns
    with pytest.warns(UltrWarning, match="Cascade never examines"):
        assert "propensity" not in simulate_sessions(DATA, policy=POLICY, click_model=Cascade(), n_sessions=200).columns
    below = simulators.GradedRelevance(noise=0.1, max_grade=5)
    assert "propensity" in simulate_sessions(DATA, policy=POLICY, click_model=Cascade(), relevance=below, n_sessions=200).columns


def test_queries_without_documents_are_never_asked():
    data = ultr.RankingData(np.zeros((3, 1)), np.array([1, 0, 2]), np.array([0, 0, 3, 3]), np.array(["a", "b", "c"]))
    log = simulate_sessions(data, policy=POLICY, n_sessions=20)
    assert set(log.page_columns["query"]) == {"b"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_sessions": 0}, ConfigError, "n_sessions must be a whole number of at least 1, not 0"),
        ({"max_queries": 1.5}, ConfigError, "max_queries must be"),
        ({"cutoff": True}, ConfigError, "cutoff must be"),
        ({"satisfaction_noise": -1}, ConfigError, "satisfaction_noise must be in"),
        ({"click_model": PositionBased}, ConfigError, r"write PositionBased\(...\)"),
        ({"click_model": PositionBased(np.ones(3))}, PropensityError, "3"),
        ({"policy": 3}, ContractError, "policy must have fit"),
        ({"relevance": lambda grades: grades + 0.5}, LogError, "relevance"),
        ({"relevance": lambda grades: 0.5}, ContractError, "one probability each"),
        ({"satisfaction": lambda outcomes: 1.0}, ContractError, "satisfaction must return one finite number"),
        ({"satisfaction": lambda outcomes: outcomes.effort * np.nan}, ContractError, "finite"),
    ],
)
def test_errors(change, error, message):
    with pytest.raises(error, match=message):
        simulate_sessions(DATA, **{"policy": POLICY, "n_sessions": 20} | change)
    with pytest.raises(ConfigError, match="not ClickLog"):
        simulate_sessions(LOG, policy=POLICY)


@pytest.mark.parametrize("name", SETTINGS)
def test_searchers_refuse_what_cannot_be(name):
    for value in (-1.0 if name != "skill" else np.inf, np.nan, "1"):
        with pytest.raises(ConfigError, match=f"Searcher: {name} must be"):
            Searcher(**{name: value})
    with pytest.raises(ConfigError, match="worth must be above 0"):
        NeedMetLessEffort(0)
    with pytest.raises(UltrError, match="need"):
        Outcomes.of(DATA.as_log())


def test_torch_is_not_loaded():
    code = "import sys, simulators.sessions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": simulators.RandomPolicy}, r"policy must be an object, not the class: write RandomPolicy\("),
        ({"searcher": {"need": 3}}, "searcher must be a Searcher"),
        ({"satisfaction": "need"}, "satisfaction must be a function"),
        ({"satisfaction": NeedMet}, r"satisfaction must be an object, not the class: write NeedMet\("),
        ({"relevance": 0.5}, "relevance must be a function"),
    ],
)
def test_objects_of_a_wrong_kind_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        simulate_sessions(DATA, **{"policy": POLICY, "n_sessions": 5, **settings})
