"""Discriminative power: levels by hand, curves, the summary, and a metric of noise that must lose."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ultr.errors import ConfigError
from ultr.evaluation.achieved_significance import discriminative_power
from ultr.evaluation.bootstrap import bootstrap_test
from ultr.evaluation.corrections import holm, randomised_tukey_hsd
from ultr.evaluation.resampling import resampled
from ultr.random import generator

ALARM = 1e-5  # chance that a right test of this file fails, one-sided
RNG = np.random.default_rng(0)
QUALITY = RNG.normal(size=(40, 1)) + np.array([0.0, 0.3, 0.6, 0.9]) + 0.5 * RNG.normal(size=(40, 4))
METRICS = {
    "good": pd.DataFrame(QUALITY, columns=list("abcd")),
    "noisy": pd.DataFrame(QUALITY + 2 * RNG.normal(size=QUALITY.shape), columns=list("abcd")),
}


def test_levels_and_needed_differences_by_hand():
    systems = {"a": np.array([0.2, 0.5, 0.9, 0.4, 0.7]), "b": np.array([0.1, 0.6, 0.3, 0.2, 0.4])}
    found = discriminative_power({"m": systems}, n_resamples=200, alpha=0.1, seed=3).pairs.iloc[0]
    d = systems["a"] - systems["b"]
    weights = resampled(200, 5, generator(3, "discriminative power")).astype(int)
    samples = [np.repeat(d - d.mean(), weight) for weight in weights]
    with np.errstate(divide="ignore", invalid="ignore"):
        statistics = np.array([abs(sample.mean()) / (sample.std(ddof=1) / np.sqrt(5)) for sample in samples])
    own = d.mean() / (d.std(ddof=1) / np.sqrt(5))
    assert found.p_value == pytest.approx((1 + (statistics >= own).sum()) / 201)
    edge = np.argsort(-statistics, kind="stable")[19]
    assert found.needed_difference == pytest.approx(abs(samples[edge].mean()))
    assert found.difference == pytest.approx(d.mean())


def test_a_pair_has_the_level_of_the_bootstrap_test():
    pairs = discriminative_power({"m": METRICS["noisy"]}, n_resamples=4000).pairs
    for pair in pairs.itertuples():
        alone = bootstrap_test(METRICS["noisy"][pair.first], METRICS["noisy"][pair.second], n_resamples=4000).p_value
        bound = scipy.stats.norm.isf(ALARM / 2) * np.sqrt(2 * max(alone, 1e-3) / 4000)
        assert abs(pair.p_value - alone) < bound


def test_curves_fall_and_hold_every_pair():
    found = discriminative_power(METRICS, n_resamples=300)
    curves = found.curves()
    assert list(curves.columns) == ["metric", "rank", "p_value"]
    for metric in METRICS:
        curve = curves[curves.metric == metric]
        assert curve["rank"].tolist() == list(range(1, 7))
        assert sorted(found.pairs[found.pairs.metric == metric].p_value, reverse=True) == curve.p_value.tolist()


@pytest.mark.parametrize("method", ["bootstrap", "randomised_tukey_hsd"])
def test_noise_costs_power(method):
    summary = discriminative_power({"noisy": METRICS["noisy"], "good": METRICS["good"]}, method=method, n_resamples=400).summary()
    assert summary.index.tolist() == ["good", "noisy"]
    assert summary.loc["good", "share"] > summary.loc["noisy", "share"]
    assert summary["pairs"].tolist() == [6, 6]


def test_noise_needs_larger_differences():
    summary = discriminative_power(METRICS, n_resamples=400).summary()
    assert summary.loc["noisy", "needed_difference"] > 2 * summary.loc["good", "needed_difference"]


def test_the_needed_difference_parts_significant_pairs_from_others():
    """For one pair it is about t(.975) standard errors, within what 4,000 resamples leave."""
    a = np.random.default_rng(1).normal(size=200)
    needed = discriminative_power({"m": {"a": a, "b": 0 * a}}, n_resamples=4000).pairs.needed_difference[0]
    assert needed == pytest.approx(scipy.stats.t.ppf(0.975, 199) * a.std(ddof=1) / np.sqrt(200), rel=0.15)


def test_a_summary_counts_what_is_below_alpha():
    found = discriminative_power(METRICS, n_resamples=300, alpha=0.2)
    p_value = found.pairs[found.pairs.metric == "noisy"].p_value.to_numpy()
    plain, corrected = (found.summary(correction).loc["noisy"] for correction in ("none", "holm"))
    assert plain["significant"] == (p_value < 0.2).sum()
    assert corrected["significant"] == (holm(p_value) < 0.2).sum()
    assert plain["share"] == plain["significant"] / 6


def test_tukeys_levels_are_those_of_the_correction():
    found = discriminative_power(METRICS, method="randomised_tukey_hsd", n_resamples=300, seed=2).pairs
    expected = randomised_tukey_hsd(METRICS["noisy"], n_resamples=300, seed=2)
    np.testing.assert_array_equal(found[found.metric == "noisy"].p_value, expected.p_value)


def test_equal_systems_are_never_told_apart():
    a = np.random.default_rng(2).normal(size=20)
    assert discriminative_power({"m": {"a": a, "b": a}}, n_resamples=50).pairs.p_value.tolist() == [1]


def test_holes_are_left_out_and_counted():
    table = METRICS["good"].copy()
    table.loc[3, "b"] = np.nan
    found = discriminative_power({"m": table}, n_resamples=100).pairs
    assert (found.n.unique().tolist(), found.n_dropped.unique().tolist()) == ([39], [1])
    expected = discriminative_power({"m": METRICS["good"].drop(index=3)}, n_resamples=100).pairs
    np.testing.assert_array_equal(found.p_value, expected.p_value)


def test_a_seed_is_a_result():
    one, same, other = (discriminative_power(METRICS, n_resamples=100, seed=seed).pairs for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"values": {}}, "no metric"),
        ({"values": {"m": {"a": [1, 2]}}}, "m needs 2 or more"),
        ({"values": METRICS, "method": "tukey"}, "method must be one of bootstrap"),
        ({"values": METRICS, "alpha": 5}, "alpha must be in"),
        ({"values": METRICS, "n_resamples": 0}, "n_resamples"),
    ],
)
def test_impossible_input_is_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        discriminative_power(**arguments)


def test_an_unknown_correction_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'holm'"):
        discriminative_power(METRICS, n_resamples=20).summary("hol")


def far_from_level(values, replicates=400):
    """Share of worlds without a difference with a level below 5%."""
    rng = np.random.default_rng(5)
    found = [discriminative_power({"m": values(rng)}, n_resamples=200, seed=i).pairs.p_value[0] for i in range(replicates)]
    return np.mean(np.array(found) <= 0.05)


MOST = scipy.stats.binom.isf(ALARM, 400, 0.06) / 400  # the bootstrap is an approximation


def test_levels_keep_the_level():
    assert far_from_level(lambda rng: dict(zip("ab", rng.normal(size=(2, 30)), strict=True))) <= MOST


def test_counting_every_session_four_times_does_not():
    assert far_from_level(lambda rng: dict(zip("ab", np.repeat(rng.normal(size=(2, 30)), 4, axis=1), strict=True))) > MOST
