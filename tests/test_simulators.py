"""Simulated click logs: the truth in their columns, clicks at the right rate, blocks that reproduce, compressed logs of the same law."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.stats

import simulators
from simulators import FittedPolicy, FixedOrder, GradedRelevance, LinearPolicy, PlackettLuce, RandomPolicy, SwapPairs
from simulators.world import BLOCK_PAGES
from ultr import ClickLog, RankingData, synthetic_ranking
from ultr.click_models import ClickModel, PositionBased
from ultr.errors import CompressionWarning, ConfigError, ContractError, LogError, PropensityError
from ultr.random import generator

FALSE_ALARM = 1e-5  # a test, all its comparisons together

THETA = simulators.eye_tracking_examination()
COLUMNS = ["item", "position", "click", "grade", "relevance", "propensity"]
POLICIES = [LinearPolicy(), RandomPolicy(), PlackettLuce(LinearPolicy(), 0.5), SwapPairs(LinearPolicy(), 0.5)]


def make_data(lengths, seed=0):
    rng = generator(seed, "test data")
    n = int(np.sum(lengths))
    ids = np.array([f"query {i}" for i in range(len(lengths))], dtype=object)
    return RankingData(rng.normal(size=(n, 3)), rng.integers(0, 5, size=n), np.concatenate([[0], np.cumsum(lengths)]), ids)


def simulate(data, policy=None, n_pages=1000, **settings):
    return simulators.simulate_clicks(data, policy=LinearPolicy() if policy is None else policy, n_pages=n_pages, **settings)


def same(one, other):
    np.testing.assert_array_equal(one.offsets, other.offsets)
    for kind in ("columns", "page_columns"):
        mine, theirs = getattr(one, kind), getattr(other, kind)
        assert list(mine) == list(theirs)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])
    return True


class OneClick(ClickModel):
    """A cascade: the eye goes down the page until the first click."""

    def conditional(self, attraction, clicks, satisfaction=None, mask=None):
        return (np.cumsum(clicks, axis=1) - clicks == 0) * attraction


class KnownOneClick(OneClick):
    """The same, which also says what is examined."""

    def examination_given(self, attraction, clicks, satisfaction=None, mask=None):
        return (np.cumsum(clicks, axis=1) - clicks == 0).astype(float)


# --- relevance and examination


def test_graded_relevance_of_the_paper():
    np.testing.assert_allclose(GradedRelevance(0.1)([0, 1, 2, 3, 4]), [0.1, 0.16, 0.28, 0.52, 1.0])
    np.testing.assert_allclose(GradedRelevance(noise=0.0)([0, 1, 2]), [0, 1 / 3, 1])
    np.testing.assert_allclose(GradedRelevance(0.1, max_grade=4)([0, 1]), [0.1, 0.16])
    np.testing.assert_allclose(GradedRelevance(0.1)([0, 0]), [0.1, 0.1])
    np.testing.assert_allclose(GradedRelevance(0.1, max_grade=31)([31, 30]), [1, 0.1 + 0.9 * (2**30 - 1) / (2**31 - 1)])


def test_orders_whose_probabilities_sum_to_1_up_to_rounding_can_be_drawn_compressed():
    class Rounded(FixedOrder):
        def orders(self, cutoff):
            orders = super().orders(cutoff)
            return orders._replace(probability=orders.probability * 1.000004)

    data = make_data([3, 2])
    log = simulators.simulate_clicks(data, policy=Rounded(data, np.zeros(5)), n_pages=50, compressed=True)
    assert log.counts.sum() == 50


@pytest.mark.parametrize("top", range(1, 8))
def test_graded_relevance_never_rounds_above_1(top):
    for noise in np.arange(100) / 100:  # 0.2 with two grades did
        assert GradedRelevance(noise, max_grade=top)([top])[0] <= 1


@pytest.mark.parametrize(
    "settings", [{"noise": 1.0}, {"noise": -0.1}, {"noise": np.nan}, {"max_grade": 0}, {"noise": 0.1, "max_grade": -2}], ids=str
)
def test_bad_relevance_settings(settings):
    with pytest.raises(ConfigError, match=r"noise must be in \[0, 1\)|max_grade must be at least 1"):
        GradedRelevance(**settings)


def test_bad_grades():
    with pytest.raises(LogError, match="grade must be at most max_grade=2: document 1 has 3; 1 of 3"):
        GradedRelevance(0.1, max_grade=2)([0, 3, 1])
    with pytest.raises(LogError, match="grade must be a whole number"):
        GradedRelevance(0.1)([0, -1])


def test_eye_tracking_examination():
    assert THETA.tolist() == [0.68, 0.61, 0.48, 0.34, 0.28, 0.20, 0.11, 0.10, 0.08, 0.06]
    np.testing.assert_allclose(simulators.eye_tracking_examination(2.0), THETA**2)
    np.testing.assert_array_equal(simulators.eye_tracking_examination(0.0), np.ones(10))
    for eta in (-1, np.nan, np.inf):
        with pytest.raises(ConfigError, match="eta must be at least 0"):
            simulators.eye_tracking_examination(eta)


# --- the log


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_columns_tell_the_truth(policy, compressed):
    """Queries of 1 to 15 documents, one without any: pages of 1 to 10 rows."""
    data = make_data([15, 1, 0, 10, 3, 12])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompressionWarning)
        log = simulate(data, policy, n_pages=500, compressed=compressed)
    columns, item = log.columns, log.columns["item"]
    assert list(columns) == COLUMNS
    assert log.items is data.items
    np.testing.assert_array_equal(columns["position"], log.slots())
    np.testing.assert_array_equal(columns["grade"], data.grades[item])
    np.testing.assert_allclose(columns["relevance"], GradedRelevance(0.1)(data.grades)[item], rtol=1e-7)
    np.testing.assert_allclose(columns["propensity"], THETA[columns["position"]], rtol=1e-7)
    owner = np.searchsorted(data.offsets, item, side="right") - 1
    np.testing.assert_array_equal(data.query_ids[owner], log.page_columns["query"][log.page_of_row()])
    number = {query: i for i, query in enumerate(data.query_ids)}
    np.testing.assert_array_equal(log.lengths, [min(10, np.diff(data.offsets)[number[query]]) for query in log.page_columns["query"]])
    assert log.counts.sum() == 500
    assert (log.counts >= 1).all()
    assert ((columns["click"] >= 0) & (columns["click"] <= log.counts[log.page_of_row()])).all()
    assert len(np.unique(log.page_of_row() * len(item) + item)) == len(item)  # no document twice on a page
    assert ("count" in log.page_columns) == compressed


def test_types_of_the_columns():
    log = simulate(make_data([12, 12]))
    kinds = {name: values.dtype for name, values in log.columns.items()}
    assert kinds == {"item": "i4", "position": "i4", "click": "i1", "grade": "i4", "relevance": "f4", "propensity": "f4"}
    assert simulate(make_data([12, 12]), compressed=True).columns["click"].dtype == np.int64


def test_cutoff_cuts():
    data = make_data([6, 3])
    assert set(simulate(data, cutoff=4).lengths.tolist()) == {4, 3}
    assert set(simulate(data, cutoff=1).lengths.tolist()) == {1}
    assert set(simulate(data, cutoff=99).lengths.tolist()) == {6, 3}


def test_logs_of_one_set_can_be_joined():
    data = make_data([5, 4])
    logs = [simulate(data, seed=seed, n_pages=10) for seed in range(3)]
    assert len(ClickLog.concat(logs)) == 30


# --- clicks at their rate


def cell_clicks(log, theta, by_hand_relevance):
    """Return z-scores of the clicks at each position against theta times relevance."""
    p = theta[log.columns["position"]] * by_hand_relevance[log.columns["item"]]
    excess = np.bincount(log.columns["position"], log.columns["click"] - p)
    return excess / np.sqrt(np.bincount(log.columns["position"], p * (1 - p)))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_clicks_come_at_the_rate_of_examination_times_relevance(policy):
    data = make_data([12, 20, 7, 11])
    log, relevance = simulate(data, policy, n_pages=100_000), GradedRelevance(0.1)(data.grades)
    bound = scipy.stats.norm.isf(FALSE_ALARM / 20)
    assert np.abs(cell_clicks(log, THETA, relevance)).max() < bound
    assert np.abs(cell_clicks(log, THETA**1.1, relevance)).max() > bound
    assert np.abs(cell_clicks(log, THETA, GradedRelevance(0.12)(data.grades))).max() > bound


def test_pages_without_a_click_stay():
    """P(any click) = .4007 on this page; a simulator that draws pages again until one is clicked would leave none without."""
    data = RankingData(np.zeros((4, 1)), [0, 1, 2, 3], [0, 4])
    log = simulate(data, FixedOrder(data, -np.arange(4.0)), n_pages=50_000, relevance=GradedRelevance(0.1, max_grade=4))
    clicked = log.columns["click"].reshape(-1, 4).any(axis=1).sum()
    any_click = 1 - np.prod(1 - THETA[:4] * [0.1, 0.16, 0.28, 0.52])
    assert any_click == pytest.approx(0.4007, abs=5e-5)
    assert scipy.stats.binomtest(int(clicked), 50_000, any_click).pvalue > FALSE_ALARM
    assert scipy.stats.binomtest(int(clicked), 50_000, 1.05 * any_click).pvalue < FALSE_ALARM


@pytest.mark.parametrize("compressed", [False, True])
def test_queries_with_documents_are_asked_equally_often(compressed):
    data = make_data([2, 3, 0, 1, 2])
    log = simulate(data, n_pages=40_000, compressed=compressed)
    asked = [log.counts[log.page_columns["query"] == query].sum() for query in data.query_ids]
    assert asked[2] == 0
    counts = np.array(asked)[[0, 1, 3, 4]]
    assert scipy.stats.chisquare(counts).pvalue > FALSE_ALARM
    assert scipy.stats.chisquare(counts, 10_000 * np.array([1.15, 0.95, 0.95, 0.95])).pvalue < FALSE_ALARM


# --- seeds and blocks


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize("lengths", [[12, 12], [12, 3, 30]], ids=str)
def test_a_longer_log_starts_with_the_same_blocks(policy, lengths):
    data = make_data(lengths)
    long, short = simulate(data, policy, n_pages=100_000), simulate(data, policy, n_pages=BLOCK_PAGES)
    assert same(long.take(np.arange(BLOCK_PAGES)), short)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_the_seed_decides(policy, compressed):
    data = make_data([3, 2])
    one, again, other = (simulate(data, policy, n_pages=3000, seed=seed, compressed=compressed) for seed in (1, 1, 2))
    assert same(one, again)
    assert one.n_rows != other.n_rows or (one.columns["click"] != other.columns["click"]).any()


def test_a_fitted_policy_keeps_its_order_when_clicks_are_drawn_anew():
    data = make_data([8] * 20)
    policy = LinearPolicy(fraction_labelled=0.1).fit(data, seed=5)
    one, other = (simulate(data, policy, seed=seed, compressed=True, n_pages=10_000) for seed in (1, 2))
    np.testing.assert_array_equal(one.columns["item"], other.columns["item"])
    assert (one.columns["click"] != other.columns["click"]).any()
    refitted = simulate(data, LinearPolicy(fraction_labelled=0.1), seed=1, compressed=True, n_pages=10_000)
    assert (refitted.columns["item"] != one.columns["item"]).any()


# --- compressed logs


def binomial_p(values, n, p):
    """P-value of repeated draws against a binomial law, its upper tail in one cell."""
    top = int(scipy.stats.binom(n, p).isf(1e-3))
    expected = scipy.stats.binom(n, p).pmf(np.arange(top + 1))
    expected[top] += 1 - expected.sum()
    return scipy.stats.chisquare(np.bincount(np.minimum(values, top), minlength=top + 1), len(values) * expected).pvalue


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("policy", ["fixed", "swapped", "random"])
def test_compressed_logs_have_the_law_of_full_ones(policy, compressed):
    """Two queries of two documents, 8 pages, 3,000 logs: a cell's clicks are Binomial(8, P(page) theta gamma), whichever way it is drawn.

    With a fixed order P(page) is 1/2. Swapped in 2 of 5 pages: .3 and .2. Random: 1/4. A twin with P(page) one tenth larger must fail.
    """
    data = RankingData(np.zeros((4, 1)), [3, 0, 4, 3], [0, 2, 4])
    fixed = FixedOrder(data, -np.arange(4.0))
    fitted = {"fixed": fixed, "swapped": SwapPairs(fixed, 0.4).fit(data), "random": RandomPolicy().fit(data)}[policy]
    first, swapped = {"fixed": (0.5, 0.0), "swapped": (0.3, 0.2), "random": (0.25, 0.25)}[policy]
    clicks = np.zeros((3000, 2, 2, 2), dtype=np.int64)  # log, query, swapped, position
    shows = np.zeros((3000, 2, 2), dtype=np.int64)
    for seed in range(3000):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompressionWarning)
            log = simulate(data, fitted, n_pages=8, seed=seed, compressed=compressed)
        item = log.columns["item"].reshape(-1, 2)
        page = item[:, 0] // 2, item[:, 0] % 2
        np.add.at(clicks[seed], page, log.columns["click"].reshape(-1, 2))
        np.add.at(shows[seed], page, log.counts)
    gamma = GradedRelevance(0.1)(data.grades)

    def smallest_p(factor):
        values = []
        for query in (0, 1):
            for order, chance in enumerate((first, swapped)):
                if chance:
                    documents = 2 * query + np.array([0, 1] if order == 0 else [1, 0])
                    p = factor * chance * THETA[:2] * gamma[documents]
                    values += [binomial_p(clicks[:, query, order, k], 8, p[k]) for k in (0, 1)]
                    values.append(binomial_p(shows[:, query, order], 8, factor * chance))
                else:
                    assert not shows[:, query, order].any()
        return min(values) * len(values)

    assert smallest_p(1.0) > FALSE_ALARM
    assert smallest_p(1.1) < FALSE_ALARM


@pytest.mark.parametrize("policy", [*POLICIES, PlackettLuce(LinearPolicy(), 0.02)], ids=str)
def test_compressed_logs_look_like_compress_of_full_ones(policy):
    data = make_data([3, 2, 1])
    log, full = simulate(data, policy, n_pages=70_000, compressed=True), simulate(data, policy, n_pages=70_000).compress()
    assert set(log.columns) == set(full.columns)
    assert set(log.page_columns) == set(full.page_columns)
    assert len(log) == len(full)  # every page that is shown now and then stands in both, once
    assert log.page_columns["count"].dtype == np.int64


def test_pages_that_are_never_shown_are_left_out():
    data = make_data([3] * 100)
    log = simulate(data, n_pages=20, compressed=True)
    assert len(log) < 21
    assert log.counts.min() >= 1
    assert log.counts.sum() == 20


def test_a_billion_impressions():
    data = make_data([10] * 50)
    log = simulate(data, n_pages=100_000_000, compressed=True)
    assert len(log) == 50
    rates = log.columns["click"] / log.counts.repeat(10)
    p = log.columns["relevance"].astype(float) * log.columns["propensity"]
    spread, bound = np.sqrt(p * (1 - p) / log.counts.repeat(10)), scipy.stats.norm.isf(FALSE_ALARM / 500 / 2)
    assert (np.abs(rates - p) / spread).max() < bound
    assert (np.abs(rates - 1.02 * p) / spread).max() > bound


def test_a_warning_where_all_orders_differ():
    with pytest.warns(CompressionWarning, match="hardly any of the 200 pages repeats"):
        log = simulate(make_data([20, 20]), RandomPolicy(), n_pages=200, compressed=True)
    assert len(log) == 200
    assert (log.counts == 1).all()


# --- laws and policies of one's own


@pytest.mark.parametrize("compressed", [False, True])
def test_a_law_of_ones_own(compressed):
    data = make_data([5, 4])
    relevance = GradedRelevance(0.1, max_grade=6)
    log = simulate(data, click_model=OneClick(), relevance=relevance, n_pages=20_000, compressed=compressed)
    assert list(log.columns) == [name for name in COLUMNS if name != "propensity"]
    assert (np.add.reduceat(log.columns["click"], log.offsets[:-1]) <= log.counts).all()
    known = simulate(data, click_model=KnownOneClick(), relevance=relevance, n_pages=20_000, compressed=compressed)
    np.testing.assert_array_equal(known.columns["click"], log.columns["click"])
    a = log.columns["relevance"][: log.lengths[0]].astype(float)
    np.testing.assert_allclose(known.columns["propensity"][: log.lengths[0]], np.cumprod(np.append(1, 1 - a[:-1])), rtol=1e-6)


def test_a_law_whose_examination_cannot_be_enumerated():
    with pytest.raises(ContractError, match="KnownOneClick has no closed form, and pages of 13 rows"):
        simulate(make_data([13]), click_model=KnownOneClick(), cutoff=13, n_pages=10)
    assert "propensity" not in simulate(make_data([13]), click_model=OneClick(), cutoff=13, n_pages=10).columns


def test_a_policy_of_ones_own_writes_draw_alone():
    class Backwards(FittedPolicy):
        def __init__(self, data):
            self.data = data

        def draw(self, queries, cutoff, rng):
            rows = self.data.offsets[queries + 1][:, None] - 1 - np.arange(cutoff)
            return np.where(rows >= self.data.offsets[queries][:, None], rows, -1)

    data = make_data([4, 2])
    log = simulate(data, Backwards(data), n_pages=100)
    page = log.take(np.flatnonzero(log.page_columns["query"] == "query 1")[:1])
    np.testing.assert_array_equal(page.columns["item"], [5, 4])
    assert len(simulate(data, Backwards(data), n_pages=100, compressed=True)) == 2


# --- bad input


@pytest.mark.parametrize("n_pages", [0, -5, 2.5, True, "many"])
def test_bad_n_pages(n_pages):
    with pytest.raises(ConfigError, match="n_pages must be a whole number of at least 1"):
        simulate(make_data([3]), n_pages=n_pages)


@pytest.mark.parametrize("cutoff", [0, -1, 1.5, None])
def test_bad_cutoff(cutoff):
    with pytest.raises(ConfigError, match="cutoff must be a whole number of at least 1"):
        simulate(make_data([3]), cutoff=cutoff)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_examination_shorter_than_the_pages(policy, compressed):
    message = "examination has 10 positions, but the longest page has 11 rows"
    with pytest.raises(PropensityError, match=message):
        simulate(make_data([11, 3]), policy, cutoff=20, compressed=compressed, n_pages=50)
    assert simulate(make_data([10, 3]), policy, cutoff=20, n_pages=50).lengths.max() == 10


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_a_position_that_is_never_examined(policy, compressed):
    data = make_data([3, 1])
    message = r"propensity must be in \(0, 1\]: query query 0, position 2 has 0.0; \d+ of \d+ (is|are) wrong"
    with pytest.raises(LogError, match=message):
        simulate(data, policy, click_model=PositionBased([1.0, 0.5, 0.0]), compressed=compressed)
    simulate(data, policy, click_model=PositionBased([1.0, 0.5, 0.0]), cutoff=2, compressed=compressed)


def test_bad_relevance():
    data = make_data([3])
    with pytest.raises(LogError, match=r"relevance must be in \[0, 1\]: document 0 has 2.0; 3 of 3"):
        simulate(data, relevance=lambda grades: np.full(len(grades), 2.0))
    with pytest.raises(ContractError, match="relevance must map the grades"):
        simulate(data, relevance=lambda grades: 0.5)


def test_policies_that_break_their_contract():
    data = make_data([3, 3])

    class Broken(FittedPolicy):
        def __init__(self, rows=None, orders=None):
            self.data, self.rows, self.listed = data, rows, orders

        def draw(self, queries, cutoff, rng):
            return self.rows

        def orders(self, cutoff):
            return self.listed

    page = np.array([[[0, 1, 2]], [[3, 4, 5]]])
    for policy, message in (
        (Broken(rows=np.zeros((1, 3), int)), "Broken.draw must return document rows below 6 in shape"),
        (Broken(rows=np.full((50, 3), 6)), "with rows up to 6"),
        (Broken(orders=simulators.fitted.Orders(page, np.array([[0.5], [1.0]]))), "that sum to 1 for each of 2 queries"),
        (Broken(orders=simulators.fitted.Orders(page[:, :, :2], np.ones((2, 1)))), "Broken.orders must return rows"),
    ):
        with pytest.raises(ContractError, match=message):
            simulate(data, policy, n_pages=50)


def test_a_policy_of_another_set():
    train, test = make_data([5] * 10).split()
    with pytest.raises(ContractError, match="was fitted to another set"):
        simulate(test, LinearPolicy().fit(train))


def test_simulating_loads_no_torch():
    code = (
        "import sys, numpy as np, simulators, ultr;"
        "data = ultr.RankingData(np.zeros((2, 1)), [0, 1], [0, 2]);"
        "simulators.simulate_clicks(data, policy=simulators.RandomPolicy(), n_pages=5);"
        "sys.exit(sum(name in sys.modules for name in ('torch', 'pandas', 'sklearn', 'scipy.stats')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"click_model": PositionBased}, r"must be a click model, an object.*write PositionBased\(\.\.\.\)"),
        ({"click_model": [1.0, 0.5]}, "must be a click model, an object"),
    ],
)
def test_a_law_is_an_object(settings, message):
    data = synthetic_ranking(5, 4, 2)
    with pytest.raises(ConfigError, match=message):
        simulators.simulate_clicks(data, policy=simulators.RandomPolicy(), n_pages=3, **settings)
    with pytest.raises(ConfigError, match="a RankingData, not ClickLog"):
        simulators.simulate_clicks(data.as_log(), policy=simulators.RandomPolicy(), n_pages=3)
