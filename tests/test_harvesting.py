"""Propensities from random orders and from swaps: by hand, exact on tables without noise, NaN where a log says nothing."""

import itertools
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import simulators
import ultr
from ultr import ClickLog
from ultr.click_models import PositionBased
from ultr.config import read_config
from ultr.data.source import Chunked
from ultr.errors import ConfigError, IdentifiabilityWarning, LogError, PropensityError, UltrWarning
from ultr.estimators import IPS
from ultr.evaluation import overlap
from ultr.propensity import Harvested, Randomised, as_propensity, attach, propensities
from ultr.propensity.bradley_terry import strengths
from ultr.testing import check_propensity, tiny_log
from ultr.training import Batch

METHODS = ("all_pairs", "adjacent", "pivot")
every_method = pytest.mark.parametrize("method", METHODS)
every_weight = pytest.mark.parametrize("weights", ["harmonic", "uniform"])

THETA = np.array([0.68, 0.61, 0.48, 0.34])
GAMMA = np.array([0.1, 0.16, 0.28, 0.52])


def log_of(pages, query=None, counts=None, **columns):
    """Pages as lists of (item, position, clicks)."""
    item, position, click = np.array([row for page in pages for row in page], dtype=float).reshape(-1, 3).T
    page_columns = {"query": np.zeros(len(pages), dtype=int) if query is None else np.asarray(query)}
    if counts is not None:
        page_columns["count"] = np.asarray(counts)
    offsets = np.concatenate([[0], np.cumsum([len(page) for page in pages])])
    return ClickLog(offsets, {"item": item.astype(int), "position": position.astype(int), "click": click, **columns}, page_columns)


def noiseless(orders, theta, gamma, counts=None, query=None):
    """Pages with the expected clicks theta_k gamma_d in the column `expected`, position-based model."""
    pages = [[(item, k, 0) for k, item in enumerate(order)] for order in orders]
    log = log_of(pages, query, counts)
    return log.with_columns(expected=np.asarray(theta)[log.columns["position"]] * np.asarray(gamma)[log.columns["item"]])


# By hand


def three_rows():
    """Item 0: 4 times at 0 with 2 clicks, twice at 1 with 1 click. Item 1: once at 0 with 1 click, 4 times at 1 with 1 click."""
    return log_of([[(0, 0, 2)], [(0, 1, 1)], [(1, 0, 1)], [(1, 1, 1)]], counts=[4, 2, 1, 4])


def test_two_positions_by_hand():
    # harmonic weights 4 * 2 / 6 and 1 * 4 / 5; rates at 0: 1/2 and 1, at 1: 1/2 and 1/4
    harmonic = (8 / 6 * 1 / 2 + 4 / 5 * 1 / 4) / (8 / 6 * 1 / 2 + 4 / 5 * 1)
    uniform = (1 / 2 + 1 / 4) / (1 / 2 + 1)
    for method in METHODS:
        np.testing.assert_allclose(Harvested(method=method).fit(three_rows()).theta, [1, harmonic])
        np.testing.assert_allclose(Harvested(method=method, weights="uniform").fit(three_rows()).theta, [1, uniform])
    table = Harvested(weights="uniform").fit(three_rows()).pairs
    assert table.to_dict("records") == [
        {"position": 0, "other": 1, "n_pairs": 2, "clicks": 3.0, "clicks_other": 2.0, "ratio": pytest.approx(1 / uniform)}
    ]


def noisy_log(seed=0, n_positions=5, n_pages=300):
    """Clicks of a position-based model on 7 items in random order, pages of any length."""
    rng = np.random.default_rng(seed)
    relevance, theta = rng.uniform(0.3, 0.9, 7), 1 / np.arange(1, n_positions + 1)
    pages = []
    for order in rng.permuted(np.tile(np.arange(7), (n_pages, 1)), axis=1):
        length = rng.integers(1, n_positions + 1)
        pages.append([(item, k, int(rng.random() < theta[k] * relevance[item])) for k, item in enumerate(order[:length])])
    return log_of(pages, query=rng.integers(0, 12, n_pages))


def rates_by_hand(log, weights):
    """A[k, k'] by dictionaries, pair by pair."""
    shown, clicked = {}, {}
    query = np.repeat(log.page_columns["query"], log.lengths)
    for q, item, k, click in zip(query, *(log.columns[name] for name in ("item", "position", "click")), strict=True):
        shown[q, item, k] = shown.get((q, item, k), 0) + 1
        clicked[q, item, k] = clicked.get((q, item, k), 0) + click
    n = log.columns["position"].max() + 1
    rates = np.zeros((n, n))
    for (q, item, k), count in shown.items():
        for other in set(range(n)) - {k}:
            if (q, item, other) in shown:
                weight = 1 if weights == "uniform" else count * shown[q, item, other] / (count + shown[q, item, other])
                rates[k, other] += weight * clicked[q, item, k] / count
    return rates


@every_weight
def test_neighbours_and_the_pivot_are_products_of_ratios(weights):
    log = noisy_log()
    rates = rates_by_hand(log, weights)
    chain = np.cumprod([1, *(rates[k + 1, k] / rates[k, k + 1] for k in range(4))])
    np.testing.assert_allclose(Harvested(method="adjacent", weights=weights).fit(log).theta, chain, rtol=1e-9)
    for pivot in (0, 2):
        ratio = np.array([1 if k == pivot else rates[k, pivot] / rates[pivot, k] for k in range(5)])
        np.testing.assert_allclose(
            Harvested(method="pivot", weights=weights, pivot=pivot).fit(log).theta, ratio / ratio[0], rtol=1e-9, err_msg=f"pivot {pivot}"
        )


@every_weight
def test_all_pairs_solves_the_equations_of_bradley_and_terry(weights):
    log = noisy_log()
    rates, theta = rates_by_hand(log, weights), Harvested(weights=weights).fit(log).theta
    share = theta[:, None] / (theta[:, None] + theta)
    np.testing.assert_allclose(rates.sum(1), ((rates + rates.T) * share).sum(1), rtol=1e-9)  # wins as many as expected
    assert not np.allclose(theta, Harvested(method="adjacent", weights=weights).fit(log).theta)


def test_a_balanced_swap_experiment_compares_sums_of_clicks():
    """Every item as often at the pivot as at k: Joachims et al. (2017) divide the clicks at k by those at the pivot."""
    pages = [[(0, 0, 7), (1, 1, 3)], [(1, 0, 9), (0, 1, 2)], [(2, 0, 8), (3, 1, 5)], [(3, 0, 1), (2, 1, 1)]]
    log = log_of(pages, counts=[10] * 4, query=[0, 0, 1, 1])
    np.testing.assert_allclose(Harvested(method="pivot").fit(log).theta, [1, (3 + 2 + 5 + 1) / (7 + 9 + 8 + 1)])


# Exact without noise


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n_positions=st.integers(2, 6),
    method=st.sampled_from(METHODS),
    weights=st.sampled_from(["harmonic", "uniform"]),
)
def test_tables_without_noise_give_theta(seed, n_positions, method, weights):
    """Ragged pages in random orders, most swaps missing; what is estimated is exact, and what is connected is estimated."""
    rng = np.random.default_rng(seed)
    theta, gamma = rng.uniform(0.01, 1, n_positions), rng.uniform(0.01, 1, 8)
    orders = [rng.permutation(8)[: rng.integers(1, n_positions + 1)] for _ in range(6)] + [np.arange(n_positions)]
    log = noiseless(orders, theta, gamma, counts=rng.integers(1, 9, 7), query=[*rng.integers(0, 2, 6), 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentifiabilityWarning)
        found = Harvested(method=method, weights=weights, label="expected").fit(log).theta
    known = ~np.isnan(found)
    np.testing.assert_allclose(found[known], (theta / theta[0])[known], rtol=1e-9)
    if method == "all_pairs":
        group = next(group for group in ultr.evaluation.identifiability(log).components if 0 in group)
        assert np.flatnonzero(known).tolist() == group.tolist()


@every_method
@every_weight
def test_steep_and_long_curves_are_exact_too(method, weights):
    theta = 0.7 ** np.arange(40)  # down to 1e-6
    orders = [np.arange(40), *(np.roll(np.arange(40), shift) for shift in range(1, 40))]
    log = noiseless(orders, theta, np.linspace(0.1, 1, 40))
    np.testing.assert_allclose(Harvested(method=method, weights=weights, label="expected").fit(log).theta, theta, rtol=1e-9)


@pytest.mark.parametrize("ratio", [1e-9, 1e-3, 1, 1e9])
def test_strengths_of_two_are_the_ratio_of_their_wins(ratio):
    np.testing.assert_allclose(strengths(np.array([[0, 3.0], [3.0 * ratio, 0]])), [1, ratio], rtol=1e-12)


def all_orders():
    """Every order of four items once: pages in uniformly random order, by enumeration."""
    return list(itertools.permutations(range(4)))


def test_random_orders_give_theta():
    log = noiseless(all_orders(), THETA, GAMMA)
    np.testing.assert_allclose(Randomised(label="expected").fit(log).theta, THETA / THETA[0], rtol=1e-12)


def any_click(log):
    """P(any click) of each page, repeated on its rows."""
    none = np.multiply.reduceat(1 - log.columns["expected"], log.offsets[:-1])
    return np.repeat(1 - none, log.lengths)


def test_pages_without_a_click_may_be_dropped_but_not_drawn_again():
    """A dropped page holds no click. A page drawn again until it has one holds E[click | any click]."""
    log = noiseless(all_orders(), THETA, GAMMA)
    dropped = log.with_columns(expected=any_click(log) * (log.columns["expected"] / any_click(log)))
    np.testing.assert_allclose(Randomised(label="expected").fit(dropped).theta, [1, 0.897, 0.706, 0.5], atol=5e-4)
    drawn_again = log.with_columns(expected=log.columns["expected"] / any_click(log))
    np.testing.assert_allclose(Randomised(label="expected").fit(drawn_again).theta, [1, 0.911, 0.738, 0.539], atol=5e-4)


def test_pages_too_short_for_a_position_do_not_count_there():
    """Short pages have the better items: click rates over all pages would take that for a bias."""
    long, short = all_orders(), [(4, 5), (5, 4)]
    log = noiseless(long + short, THETA, [*GAMMA, 0.9, 0.8], query=[0] * 24 + [1] * 2)
    found = Randomised(label="expected").fit(log)
    np.testing.assert_allclose(found.theta, THETA / THETA[0], rtol=1e-12)
    assert found.pairs["pages"].tolist() == [26, 24, 24]
    rates = np.bincount(log.columns["position"], log.columns["expected"]) / np.bincount(log.columns["position"])
    assert abs(rates[3] / rates[0] - THETA[3] / THETA[0]) > 0.05  # the twin


def test_the_first_position_may_come_with_a_later_piece_and_need_not_be_0():
    pages = [[(0, 3, 1), (1, 4, 1)], [(0, 2, 1), (1, 4, 0)], [(1, 2, 1), (0, 3, 1)], [(1, 2, 1), (0, 4, 1)]]
    log = log_of(pages)
    expected = [np.nan, np.nan, 1, 1 / 1, 1 / 2]  # the first page has no row at position 2
    for source in (log, Chunked(log, 1), Chunked(log.take(np.array([3, 2, 1, 0])), 1)):
        np.testing.assert_allclose(Randomised().fit(source).theta, expected)
        assert np.isnan(Harvested().fit(source).theta[:2]).all()


# Where a log says nothing


@every_method
def test_positions_that_nothing_connects_are_nan_and_named(method):
    orders = [(0, 1, 2, 3), (1, 0, 3, 2)]
    log = noiseless(orders, THETA, GAMMA)
    with pytest.warns(IdentifiabilityWarning, match=r"Harvested: nothing that was shown connects positions 2, 3 with position 0.*NaN"):
        found = Harvested(method=method, label="expected").fit(log)
    np.testing.assert_allclose(found.theta, [1, THETA[1] / THETA[0], np.nan, np.nan])
    with pytest.raises(PropensityError, match="Harvested could not estimate the propensity of positions 2, 3; 4 rows stand there"):
        found(Batch(log))
    short = log.take(np.array([0]))
    short = ClickLog([0, 2], {name: values[:2] for name, values in short.columns.items()}, short.page_columns)
    np.testing.assert_allclose(propensities(short, found), [1, THETA[1] / THETA[0]], rtol=1e-6)


def test_a_way_over_other_positions_counts_for_all_pairs_alone():
    """Position 1 swaps with nothing; 0 and 2 swap."""
    log = noiseless([(0, 1, 2), (2, 3, 0)], THETA[:3], [0.2, 0.3, 0.4, 0.5])
    with pytest.warns(IdentifiabilityWarning, match="position 1 with position 0"):
        np.testing.assert_allclose(Harvested(label="expected").fit(log).theta, [1, np.nan, THETA[2] / THETA[0]])
    with pytest.warns(IdentifiabilityWarning, match="positions 1, 2 with position 0"):
        np.testing.assert_allclose(Harvested(method="adjacent", label="expected").fit(log).theta, [1, np.nan, np.nan])


@every_method
def test_a_position_without_a_click_is_nan_and_never_0(method):
    theta = np.array([1, 0.5, 0.0])
    log = noiseless(list(itertools.permutations(range(3))), theta, GAMMA[:3])
    with pytest.warns(UltrWarning, match=r"no clicks that compare position 2 with position 0, so the propensity there is NaN, not 0"):
        found = Harvested(method=method, label="expected").fit(log)
    np.testing.assert_allclose(found.theta, [1, 0.5, np.nan])
    with pytest.warns(UltrWarning, match="Randomised: there are no clicks that compare position 2"):
        np.testing.assert_allclose(Randomised(label="expected").fit(log).theta, [1, 0.5, np.nan])


def test_clicks_on_one_side_alone_give_no_ratio():
    """Position 1 won all its comparisons with 0: a likelihood without a largest value."""
    log = log_of([[(0, 0, 0)], [(0, 1, 1)], [(1, 2, 1)], [(1, 0, 1)]])
    with pytest.warns(UltrWarning, match="compare position 1 with position 0"):
        np.testing.assert_allclose(Harvested().fit(log).theta, [1, np.nan, 1])


def test_positions_that_were_never_shown_are_no_break():
    orders = [(0, 1, 2, 3), (1, 2, 3, 0), (2, 3, 0, 1)]
    log = noiseless(orders, THETA, GAMMA)
    holed = log.with_columns(position=np.array([0, 2, 3, 7])[log.columns["position"]])
    for method in METHODS:
        found = Harvested(method=method, label="expected").fit(holed).theta
        np.testing.assert_allclose(found[[0, 2, 3, 7]], THETA / THETA[0], rtol=1e-9)
        assert np.isnan(found[[1, 4, 5, 6]]).all()


def test_a_lower_position_may_be_seen_more():
    found = Harvested(label="expected").fit(noiseless(all_orders(), THETA[::-1], GAMMA))
    np.testing.assert_allclose(found.theta, THETA[::-1] / THETA[3])
    np.testing.assert_allclose(propensities(noiseless(all_orders(), THETA, GAMMA), found)[:4], THETA[::-1] / THETA[0], rtol=1e-6)


# Invariances


@pytest.mark.filterwarnings("ignore::ultr.errors.IdentifiabilityWarning")  # neighbours that swap do not reach a pivot further up
@every_method
def test_page_order_pieces_and_compression_change_nothing(method):
    data = ultr.synthetic_ranking(10, (2, 6), 3, seed=0)  # short pages too
    policy = simulators.SwapPairs(simulators.LinearPolicy(0.5), 0.5)
    log = simulators.simulate_clicks(data, policy=policy, click_model=PositionBased(THETA), n_pages=500, cutoff=4)
    shuffled, merged = log.take(np.random.default_rng(0).permutation(len(log))), log.compress()
    assert len(merged) < len(log) / 3
    for estimator in (Harvested(method=method), Randomised()):
        expected = estimator.fit(log).theta
        for source in (shuffled, Chunked(log, 7), merged, Chunked(merged, 3)):
            np.testing.assert_allclose(estimator.fit(source).theta, expected, rtol=1e-12)


# Monte Carlo

FALSE_ALARM = 1e-5  # two-sided, over the positions of one test together
REPLICATES = 40


def bound(n_positions):
    return scipy.stats.t.isf(FALSE_ALARM / 2 / n_positions, df=REPLICATES - 1)


def errors_of(estimator, policy, assumed):
    """Log ratio of estimate and assumed curve, a row for each simulated log, without the first position, which is 1."""
    data = ultr.synthetic_ranking(20, 8, 3, seed=0)
    law, errors = PositionBased(THETA), []
    for seed in range(REPLICATES):
        log = simulators.simulate_clicks(data, policy=policy, click_model=law, n_pages=20_000, cutoff=4, compressed=True, seed=seed)
        errors.append(np.log(estimator.fit(log).theta * assumed[0] / assumed)[1:])
    return np.array(errors)


def worst(errors):
    return np.abs(errors.mean(0) / (errors.std(0, ddof=1) / np.sqrt(REPLICATES))).max()


SWAPS = simulators.SwapPairs(simulators.LinearPolicy(0.5), 0.5)
CASES = [
    (Randomised(), simulators.RandomPolicy()),
    (Harvested(), simulators.RandomPolicy()),
    (Harvested(), SWAPS),
    (Harvested(weights="uniform"), SWAPS),
    (Harvested(method="adjacent"), SWAPS),
    (Harvested(method="pivot", pivot=1), simulators.RandomPolicy()),
]


@pytest.mark.parametrize(("estimator", "policy"), CASES)
def test_simulated_clicks_give_the_curve_they_were_drawn_from(estimator, policy):
    assert worst(errors_of(estimator, policy, THETA)) < bound(3)


def test_the_test_above_sees_a_curve_that_is_a_tenth_too_steep():
    assert worst(errors_of(Harvested(), SWAPS, THETA**1.1)) > bound(3)


def test_the_test_above_sees_click_rates_of_ranked_pages():
    """The same clicks without the comparison within items: a good ranker puts relevance into the curve."""
    assert worst(errors_of(Randomised(), SWAPS, THETA)) > bound(3)


# Where a propensity is expected


def test_an_estimator_takes_it_and_fits_it_on_the_training_log():
    log, training = tiny_log(n_pages=1000), ultr.Training(steps=5)
    for estimator in (Harvested(), Harvested(method="adjacent"), Randomised()):
        fitted = estimator.fit(log)
        given, ahead = IPS(propensity=estimator, training=training).fit(log), IPS(propensity=fitted, training=training).fit(log)
        np.testing.assert_array_equal(given.score_log(log), ahead.score_log(log))
        np.testing.assert_allclose(given.propensity, fitted.theta, rtol=1e-6)
        np.testing.assert_array_equal(attach(log, estimator).columns["propensity"], propensities(log, fitted))
        check_propensity(fitted)


def test_an_estimator_of_ones_own_needs_fit_alone():
    class Half:
        def fit(self, source, *, seed=0):
            return np.full(5, (1 + seed) / 4)

    assert np.unique(propensities(tiny_log(), Half())) == 0.25
    assert np.unique(propensities(tiny_log(), Half(), seed=1)) == 0.5
    assert np.unique(attach(tiny_log(), Half(), seed=2).columns["propensity"]) == 0.75


def test_what_can_be_called_is_a_model_even_if_it_can_be_fitted():
    class Both:
        def __call__(self, batch):
            return batch.mask * 0.5

        def fit(self, source, *, seed=0):
            raise RuntimeError("was fitted")

    assert np.unique(propensities(tiny_log(), Both())) == 0.5


def test_without_a_log_it_has_to_be_fitted_first():
    with pytest.raises(PropensityError, match=r"Harvested estimates a propensity from a log: give the result of its fit\(log\)"):
        as_propensity(Harvested())
    with pytest.raises(PropensityError, match=r"an object, not a class: write Harvested\(\.\.\.\)"):
        propensities(tiny_log(), Harvested)


def test_a_config_names_it(tmp_path):
    path = tmp_path / "c.toml"
    table = '[estimators.ips]\ntype = "ultr.estimators:IPS"\npropensity = {type = "ultr.propensity:Harvested", method = "adjacent"}\n'
    path.write_text(table)
    assert read_config(path).named("estimators")["ips"].propensity == Harvested(method="adjacent")
    path.write_text(table.replace("adjacent", "neighbours"))
    with pytest.raises(ConfigError, match="neighbours"):
        read_config(path).named("estimators")


def test_every_setting_has_an_effect():
    log = noisy_log()
    log = log.with_columns(saved=log.columns["click"] * (log.columns["item"] > 2))
    plain = Harvested().fit(log).theta
    for other in (Harvested(method="pivot"), Harvested(weights="uniform"), Harvested(query=None), Harvested(label="saved")):
        assert not np.allclose(plain, other.fit(log).theta, rtol=1e-6)
    assert not np.allclose(Harvested(method="pivot").fit(log).theta, Harvested(method="pivot", pivot=3).fit(log).theta, rtol=1e-6)
    assert not np.allclose(Randomised().fit(log).theta, Randomised(label="saved").fit(log).theta)


# What is wrong


@pytest.mark.parametrize("estimator", [Harvested(), Randomised()])
def test_missing_and_wrong_columns_are_named(estimator):
    log, name = noisy_log(n_pages=20), type(estimator).__name__
    for column in ("position", "click"):
        bare = ClickLog(log.offsets, {n: v for n, v in log.columns.items() if n != column}, log.page_columns)
        with pytest.raises(LogError, match=f"{name} needs the column '{column}'"):
            estimator.fit(bare)
    with pytest.raises(LogError, match=f"{name} has nothing to learn from: click is 0 on every row"):
        estimator.fit(log.with_columns(click=np.zeros(log.n_rows)))
    with pytest.raises(LogError, match="nothing to learn from"):
        estimator.fit(log.take(np.array([], dtype=int)))
    with pytest.raises(LogError, match="click must be 0 or 1"):
        estimator.fit(log.with_columns(click=np.full(log.n_rows, 2)))
    with pytest.raises(LogError, match="saved must be finite and not negative: page 0, row 0 has nan"):
        type(estimator)(label="saved").fit(log.with_columns(saved=np.full(log.n_rows, np.nan)))
    with pytest.raises(LogError, match=f"{name} is fitted on a ClickLog or another log source, not DataFrame"):
        estimator.fit(log.to_frame())


def test_pairs_need_a_query():
    log = noisy_log(n_pages=20)
    bare = ClickLog(log.offsets, log.columns)
    with pytest.raises(LogError, match=r"Harvested needs the page column 'query'.*query=None"):
        Harvested().fit(bare)
    assert Randomised().fit(bare).theta[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "pairs"}, "method must be one of all_pairs, adjacent, pivot, not 'pairs'"),
        ({"weights": None}, "weights must be one of harmonic, uniform, not None"),
        ({"method": "pivot", "pivot": -1}, "pivot is a 0-based position, not -1"),
        ({"pivot": 1}, "pivot=1 is read by method='pivot' alone, not by 'all_pairs'"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Harvested(**arguments)


def test_a_pivot_without_rows_and_a_position_without_a_value_are_named():
    with pytest.raises(LogError, match="no row stands at the pivot, position 9; rows stand at positions 0, 1, 2, 3, 4"):
        Harvested(method="pivot", pivot=9).fit(noisy_log())
    with pytest.raises(PropensityError, match="The log has position 4, but propensities are given for positions 0 to 1 only"):
        propensities(tiny_log(), Harvested().fit(three_rows()))


def test_overlap_estimates_from_the_whole_log_not_from_each_piece():
    log = tiny_log(n_pages=1000)
    pieces, whole = overlap(Chunked(log, 7), Harvested()), overlap(log, Harvested().fit(log))
    assert pieces.smallest == pytest.approx(whole.smallest, rel=1e-6)
    assert pieces.weight == pytest.approx(whole.weight, rel=1e-6)


def test_pages_that_never_change_their_order_were_not_randomised():
    fixed = tiny_log()
    fixed = fixed.take(np.arange(2, 22))
    with pytest.warns(IdentifiabilityWarning, match="were not in random order"):
        Randomised().fit(fixed)
