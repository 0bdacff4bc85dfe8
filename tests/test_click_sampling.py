"""What the click models draw: patterns, marginals, pairs and sums of equal pages, against the stories; and in simulated logs."""

import itertools
import warnings

import click_stories as stories
import numpy as np
import pytest
import scipy.stats
from click_laws import STORIES, TWINS

import simulators
from simulators import FixedOrder, GradedRelevance, LinearPolicy, RandomPolicy
from ultr import RankingData
from ultr.click_models import Cascade, ClickModel, DynamicBayesian, ItemRate, Mixture, SimplifiedDynamicBayesian
from ultr.errors import ConfigError, ContractError, LogError, UltrWarning
from ultr.random import generator

FALSE_ALARM = 1e-5  # a test, all its comparisons together
A, S = np.array([0.7, 0.4, 0.55, 0.2]), np.array([0.6, 0.3, 0.5, 0.9])
N = 400_000
LAWS = pytest.mark.parametrize("name", STORIES)


def chi_square_p(observed, probabilities):
    """P-value of counts against probabilities, some of which may be 0."""
    observed, probabilities = np.asarray(observed).reshape(-1), np.asarray(probabilities).reshape(-1)
    if observed[probabilities < 1e-12].any():
        return 0.0
    possible = probabilities >= 1e-12
    return scipy.stats.chisquare(observed[possible], observed.sum() * probabilities[possible] / probabilities[possible].sum()).pvalue


def drawn(law, dtype=np.float64):
    return law.sample(np.tile(A.astype(dtype), (N, 1)), generator(1, "drawn"), np.tile(S.astype(dtype), (N, 1)))


def frequencies(clicks):
    """How often each of the 16 patterns was drawn, in the order of the stories' tables."""
    return np.bincount(clicks.astype(int) @ [8, 4, 2, 1], minlength=16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@LAWS
def test_patterns_are_drawn_as_often_as_the_story_goes_that_way(name, dtype):
    law, story = STORIES[name]
    clicks = drawn(law, dtype)
    assert clicks.dtype == np.int8
    assert chi_square_p(frequencies(clicks), stories.tables(story, A, S)[1]) > FALSE_ALARM


@pytest.mark.parametrize("name", TWINS)
def test_the_test_above_sees_a_wrong_parameter(name):
    assert chi_square_p(frequencies(drawn(TWINS[name])), stories.tables(STORIES[name][1], A, S)[1]) < FALSE_ALARM


def z_scores(clicks, patterns, chance):
    """Standardised errors of the 4 marginals and the 6 pairs; 0 where a pair cannot and did not happen."""
    sets = [(k,) for k in range(4)] + list(itertools.combinations(range(4), 2))
    out = []
    for rows in sets:
        p = chance @ patterns[:, rows].all(axis=1)
        error = clicks[:, rows].all(axis=1).mean() - p
        out.append(0.0 if error == 0 else error / np.sqrt(max(p * (1 - p), 1e-300) / len(clicks)))
    return np.abs(out)


@LAWS
def test_marginals_and_pairs(name):
    """The pairs catch a sampler with right marginals and wrong memory. A twin draws the rows independently at their marginals."""
    patterns, chance, _ = stories.tables(STORIES[name][1], A, S)
    bound = scipy.stats.norm.isf(FALSE_ALARM / 20)
    assert z_scores(drawn(STORIES[name][0]), patterns, chance).max() < bound
    forgetful = ItemRate().sample(np.tile(chance @ patterns, (N, 1)), generator(2, "forgetful"))
    assert z_scores(forgetful, patterns, chance)[:4].max() < bound
    if not STORIES[name][0].independent_rows:
        assert z_scores(forgetful, patterns, chance)[4:].max() > bound


@LAWS
def test_sums_of_equal_pages_have_the_law_of_a_sum(name):
    """A page of three rows shown twice: all 27 joint sums against the convolution of the story's 8 patterns, and a twin."""
    patterns, chance, _ = stories.tables(STORIES[name][1], A, S, n=3)
    exact = np.zeros((3, 3, 3))
    for i, j in itertools.product(range(8), repeat=2):
        exact[tuple(patterns[i] + patterns[j])] += chance[i] * chance[j]

    def observed(law):
        sums = law.sample_counts(np.tile(A[:3], (N, 1)), np.full(N, 2), generator(3, "sums"), np.tile(S[:3], (N, 1)))
        assert sums.dtype == np.int64
        return np.bincount(sums @ [9, 3, 1], minlength=27)

    assert chi_square_p(observed(STORIES[name][0]), exact) > FALSE_ALARM
    if name in TWINS and name != "GlobalRate":
        assert chi_square_p(observed(TWINS[name]), exact) < FALSE_ALARM


@LAWS
def test_sums_of_a_billion_pages_cost_nothing(name):
    """A page shown 10^9 times: the share of clicks is the marginal, to 7 standard errors of a mean."""
    law, n = STORIES[name][0], 10**9
    share = law.sample_counts(A, n, generator(4, "billion"), S) / n
    p = law.marginal(A, S)
    assert (np.abs(share - p) <= 7 * np.sqrt(p * (1 - p) / n)).all()


@LAWS
def test_counts_differ_by_page_and_may_be_zero(name):
    a, s = np.tile([1.0, 0.0, 1.0, 0.0], (3, 1)), np.zeros((3, 4))
    sums = STORIES[name][0].sample_counts(a, [0, 40, 7], generator(0), s)
    assert not sums[0].any()
    assert name == "TrustBias" or not sums[:, [1, 3]].any()  # which clicks on what does not attract
    assert (sums.max(axis=1) <= [0, 40, 7]).all()
    assert not STORIES[name][0].sample_counts(a, [0, 0, 0], generator(0), s).any()


@LAWS
def test_the_generator_decides(name):
    """Pages are drawn in blocks: 40,000 pages take several, and the same seed gives the same."""
    law = STORIES[name][0]
    a, s = generator(6).random((2, 40_000, 4))
    one, again, other = (law.sample(a, generator(seed), s) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    np.testing.assert_array_equal(law.sample(a[0], generator(0), s[0]).shape, (4,))
    assert law.sample(np.zeros((0, 4)), generator(0), np.zeros((0, 4))).shape == (0, 4)
    assert law.sample(np.zeros((3, 0)), generator(0), np.zeros((3, 0))).shape == (3, 0)


# --- simulated logs


def graded(lengths=(4, 6, 3)):
    n = sum(lengths)
    return RankingData(generator(0, "graded").normal(size=(n, 3)), np.arange(n) % 5, np.concatenate([[0], np.cumsum(lengths)]))


def simulate(law, data=None, **settings):
    relevance = GradedRelevance(0.1, max_grade=5)
    reads = {"satisfaction": GradedRelevance(0.2, max_grade=6)} if law.reads_satisfaction else {}
    data = graded() if data is None else data
    settings = {"policy": LinearPolicy(), "cutoff": 4, "n_pages": 3000, "relevance": relevance, **reads, **settings}
    return simulators.simulate_clicks(data, click_model=law, **settings)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("policy", [LinearPolicy(), RandomPolicy()], ids=["one order", "random orders"])
@LAWS
def test_every_law_can_be_simulated(name, policy, compressed):
    """The log keeps the truth: relevance, satisfaction where it is read, and the propensity, the law's own marginal examination."""
    law, data = STORIES[name][0], graded()
    log = simulate(law, data, policy=policy, compressed=compressed)
    item = log.columns["item"]
    np.testing.assert_allclose(log.columns["relevance"], GradedRelevance(0.1, max_grade=5)(data.grades)[item], rtol=1e-6)
    assert ("satisfaction" in log.columns) == law.reads_satisfaction
    if law.reads_satisfaction:
        np.testing.assert_allclose(log.columns["satisfaction"], GradedRelevance(0.2, max_grade=6)(data.grades)[item], rtol=1e-6)
    assert log.counts.sum() == 3000
    for page in range(0, len(log), max(1, len(log) // 5)):
        rows = slice(*log.offsets[page : page + 2])
        s = log.columns["satisfaction"][rows] if law.reads_satisfaction else None
        np.testing.assert_allclose(log.columns["propensity"][rows], law.marginal_examination(log.columns["relevance"][rows], s), rtol=1e-5)


@pytest.mark.parametrize("compressed", [False, True])
@LAWS
def test_simulated_clicks_come_at_the_marginal_rate(name, compressed):
    """Mean clicks at each position of one fixed order, against the law's marginals; the twin with relevance a tenth smaller is seen."""
    law, data = STORIES[name][0], graded((4,))
    log = simulate(law, data, policy=FixedOrder(data, np.arange(4.0)), n_pages=100_000, compressed=compressed)
    rate = np.bincount(log.columns["position"], log.columns["click"], minlength=4) / log.counts.sum()
    a = log.columns["relevance"][:4].astype(float)
    s = log.columns["satisfaction"][:4].astype(float) if law.reads_satisfaction else None
    bound = scipy.stats.norm.isf(FALSE_ALARM / 8)

    def largest(p):
        return np.abs((rate - p) / np.sqrt(p * (1 - p) / 100_000)).max()

    assert largest(law.marginal(a, s)) < bound
    assert largest(law.marginal(0.9 * a, s)) > bound


def test_satisfaction_has_to_fit_the_law():
    for law in (SimplifiedDynamicBayesian(), DynamicBayesian(0.9), Mixture([ItemRate(), DynamicBayesian(0.9)], [0.5, 0.5])):
        with pytest.raises(ConfigError, match=f"{type(law).__name__} needs satisfaction=, a law of grades"):
            simulate(law, satisfaction=None)
    with pytest.raises(ConfigError, match=r"Cascade does not read satisfaction: leave satisfaction= out"):
        simulate(Cascade(), satisfaction=GradedRelevance(0.1))
    with pytest.raises(LogError, match=r"satisfaction must be in \[0, 1\]: document 0 has 2"):
        simulate(DynamicBayesian(0.9), satisfaction=lambda grades: np.full(len(grades), 2.0))
    with pytest.raises(ContractError, match="satisfaction must map the grades"):
        simulate(DynamicBayesian(0.9), satisfaction=lambda grades: 0.5)


def test_a_law_of_ones_own_that_reads_satisfaction():
    class Own(ClickModel):
        reads_satisfaction = True

        def conditional(self, attraction, clicks, satisfaction=None, mask=None):
            return np.asarray(attraction) * satisfaction

    log = simulate(Own(), n_pages=50_000)
    p = log.columns["relevance"].astype(float) * log.columns["satisfaction"]
    z = (log.columns["click"] - p).sum() / np.sqrt((p * (1 - p)).sum())
    assert abs(z) < scipy.stats.norm.isf(FALSE_ALARM / 2)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("policy", ["fixed", "random"])
def test_below_a_document_that_is_always_clicked(policy, compressed):
    """Nobody reads on in a cascade: those rows have propensity 0, which no log may have, so the column is left out, with a warning."""
    data = RankingData(np.zeros((3, 1)), [4, 0, 1], [0, 3])
    policy = FixedOrder(data, -np.arange(3.0)) if policy == "fixed" else RandomPolicy()
    plain = {"policy": policy, "compressed": compressed, "n_pages": 50}
    with pytest.warns(UltrWarning, match="Cascade never examines query 0, position .*no column 'propensity'.*max_grade") as caught:
        log = simulate(Cascade(), data, relevance=GradedRelevance(0.1), **plain)
    assert "propensity" not in log.columns
    assert caught[0].filename == __file__.replace(".pyc", ".py")
    assert len([w for w in caught if w.category is UltrWarning]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "propensity" in simulate(Cascade(), data, relevance=GradedRelevance(0.1, max_grade=5), **plain).columns


@pytest.mark.parametrize("model", [Cascade(), ItemRate(), Mixture([Cascade()], [1.0])], ids=lambda model: type(model).__name__)
def test_a_seed_or_the_old_kind_of_generator_is_no_source_of_draws(model):
    for rng in (0, np.random.RandomState(0), np.random):
        with pytest.raises(ConfigError, match=r"rng must be a numpy.random.Generator.* write numpy.random.default_rng\(seed\)"):
            model.sample(np.full((2, 3), 0.5), rng)
