"""Comparison: pairing, intervals, what varies, what is kept, refusals."""

import warnings

import numpy as np
import pandas as pd
import pytest
from comparison_fakes import TEST, THETA, Fake, click_log, compare, graded_set, quietly

from ultr.data.log import ClickLog
from ultr.data.source import Chunked
from ultr.engine import Processes
from ultr.errors import ConfigError, ContractError, IdentifiabilityWarning, LogError
from ultr.evaluation import paired_interval, two_way_interval
from ultr.metrics import NDCG, AverageRelevantPosition, ReciprocalRank


def scores(estimator: Fake, seed: int, log: ClickLog | None = None) -> np.ndarray:
    """What a cell must contain, without the comparison."""
    fitted = estimator.fit(click_log(seed) if log is None else log, seed=seed)
    return NDCG(3)(fitted.apply(TEST.as_log()))


def line(frame: pd.DataFrame, estimator: str) -> pd.Series:
    found = frame[frame["estimator"] == estimator]
    assert len(found) == 1
    return found.iloc[0]


def test_the_tables_equal_a_loop_by_hand():
    result = quietly(compare())
    naive, ips = (np.array([scores(Fake(noise=noise), seed) for seed in range(4)]) for noise in (3.0, 1.0))
    over_seeds, both = paired_interval((ips - naive).mean(axis=1)), two_way_interval(ips - naive)
    mean = line(result.table, "ips")
    expected = paired_interval(ips.mean(axis=1))
    assert mean[["mean", "sd", "low", "high"]].tolist() == pytest.approx(
        [ips.mean(), ips.mean(axis=1).std(ddof=1), expected.low, expected.high]
    )
    assert (mean["undefined"], mean["n"]) == (0, 12)
    paired = line(result.paired, "ips")
    numbers = paired[["difference", "low", "high", "two_way_low", "two_way_high"]].tolist()
    assert numbers == pytest.approx([over_seeds.mean, over_seeds.low, over_seeds.high, both.low, both.high])
    assert paired["wins"] == f"{((ips - naive).mean(axis=1) > 0).sum()}/4"
    assert (paired["n"], paired["dropped"]) == (12, 0)
    assert result.paired["estimator"].tolist() == ["ips", "truth"]
    assert line(result.table, "truth")["mean"] == 1


def test_values_hold_every_score_and_survive_parquet(tmp_path):
    result = quietly(compare())
    values = result.values
    assert len(values) == 3 * 4 * 12
    one = values[(values["estimator"] == "ips") & (values["seed"] == 2)]
    assert one["value"].to_numpy() == pytest.approx(scores(Fake(noise=1.0), 2))
    assert one["id"].tolist() == [f"q{i}" for i in range(12)]
    assert set(one["unit"]) == {"query"}
    result.to_parquet(tmp_path / "values.parquet")
    assert pd.read_parquet(tmp_path / "values.parquet")["value"].tolist() == values["value"].tolist()
    assert list(tmp_path.iterdir()) == [tmp_path / "values.parquet"]


def test_curves_and_histories_keep_estimator_and_seed():
    result = quietly(compare())
    assert set(result.curves["estimator"]) == {"ips"}
    assert result.curves.groupby("seed").size().tolist() == [3] * 4
    assert (result.curves[result.curves["position"] == 0]["propensity"] == 1).all()
    assert len(result.histories) == 4 * 6
    assert list(result.histories.columns) == ["estimator", "seed", "step", "split", "loss"]
    assert result.fits[result.fits["estimator"] == "ips"]["best_step"].tolist() == [50] * 4
    assert set(result.fits["rows"]) == {36}


def test_the_truth_is_given_or_read_from_the_training_logs():
    assert quietly(compare()).truth == pytest.approx(THETA)
    assert quietly(compare(truth=[0.6, 0.3])).truth == pytest.approx([1, 0.5])
    assert quietly(compare(train=Chunked(click_log(0), 5))).truth == pytest.approx(THETA)

    def without(seed: int) -> ClickLog:
        log = click_log(seed)
        return ClickLog(log.offsets, {name: log.columns[name] for name in ("item", "click")}, log.page_columns, log.items)

    assert quietly(compare(train=without)).truth is None


def test_a_fixed_log_is_told_from_logs_that_vary():
    log = click_log(7)
    fixed, varying = quietly(compare(train=log)), quietly(compare())
    assert not fixed.clicks_vary
    assert varying.clicks_vary
    assert "same training log" in repr(fixed)
    assert "Every seed drew its own training log" in repr(varying)
    assert line(fixed.table, "ips")["mean"] == pytest.approx(np.mean([scores(Fake(noise=1.0), seed, log) for seed in range(4)]))


def test_the_training_log_of_a_seed_is_built_once():
    built = []

    def train(seed: int) -> ClickLog:
        built.append(seed)
        return click_log(seed)

    quietly(compare(train=train, seeds=[3, 1]))
    assert built == [3, 1]
    quietly(compare(train=train, seeds=[3]))  # nothing is left over from the run before
    assert built == [3, 1, 3]


def test_processes_give_what_serial_gives():
    serial, processes = quietly(compare()), quietly(compare(), engine=Processes(2))
    assert processes.table.equals(serial.table)
    assert processes.paired.equals(serial.paired)
    assert processes.curves.equals(serial.curves)
    assert processes.histories.equals(serial.histories)


def test_the_order_of_the_seeds_changes_nothing_but_the_order():
    forth, back = quietly(compare()), quietly(compare(seeds=[3, 2, 1, 0]))
    assert back.paired["low"].tolist() == pytest.approx(forth.paired["low"].tolist())


def test_undefined_queries_are_dropped_pairwise_and_counted():
    log = TEST.as_log()
    page = log.page_of_row()
    empty = log.with_columns(grade=np.where(page == 4, 0, log.columns["grade"]))
    result = quietly(compare(test=empty))
    assert set(result.table["undefined"]) == {1}
    assert set(result.paired["dropped"]) == {1}
    kept = np.arange(12) != 4
    expected = np.mean([scores(Fake(noise=1.0), s)[kept] - scores(Fake(noise=3.0), s)[kept] for s in range(4)])
    assert line(result.paired, "ips")["difference"] == pytest.approx(expected)
    assert "undefined on 1 of 12 queries" in quietly_html(result)


def quietly_html(result) -> str:
    from ultr.evaluation.report import report

    return report(result)


def test_a_metric_that_is_undefined_everywhere_gives_nan_and_no_warning():
    log = TEST.as_log()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = quietly(compare(test=log.with_columns(grade=0 * log.columns["grade"])))
        assert result.table["mean"].isna().all()
        assert result.paired["difference"].isna().all()
        assert "–" in repr(result)


def test_pages_of_one_query_are_averaged_before_queries_are():
    log = TEST.as_log()
    twice = log.take(np.array([0, 0, 0, *range(1, 12)]))
    once, more = quietly(compare()), quietly(compare(test=twice))
    assert more.paired["difference"].tolist() == pytest.approx(once.paired["difference"].tolist())
    assert more.paired["two_way_low"].tolist() == pytest.approx(once.paired["two_way_low"].tolist())


def test_several_test_sets_stand_side_by_side():
    result = quietly(compare(test={"logged": TEST, "new": graded_set(seed=0).split(0.5)[0]}))
    assert result.table["test"].tolist() == ["logged"] * 3 + ["new"] * 3
    assert line(result.table[result.table["test"] == "logged"], "ips")["mean"] == line(quietly(compare()).table, "ips")["mean"]


def test_costs_are_won_by_being_lower():
    metrics = {"position": AverageRelevantPosition(threshold=3), "rr": ReciprocalRank(threshold=3)}
    result = quietly(compare(estimators={"naive": Fake(noise=30.0), "truth": Fake(noise=0.0)}, metrics=metrics))
    assert (result.paired["difference"] < 0).tolist() == [True, False]
    assert set(result.paired["wins"]) == {"4/4"}


def test_one_seed_has_no_interval_and_says_so():
    result = quietly(compare(seeds=[5]))
    assert result.paired[["low", "high", "two_way_low", "two_way_high"]].isna().all(axis=None)
    assert "one seed only" in repr(result)
    assert "unknown" in repr(result)


def test_warnings_are_told_once_each_with_their_cells():
    estimators = {"a": Fake(warn="swaps: {seed} of 10 pairs"), "b": Fake(noise=2.0)}
    with pytest.warns(IdentifiabilityWarning) as caught:
        result = quietly(compare(estimators=estimators, baseline=None))
    assert [str(w.message) for w in caught] == ["swaps: 0 of 10 pairs (In a (seeds 0–3).)"]
    assert [(note.message, note.where()) for note in result.warnings] == [("swaps: 0 of 10 pairs", "a (seeds 0–3)")]
    assert "IdentifiabilityWarning in a (seeds 0–3)" in repr(result)


def test_a_failing_cell_is_named_and_finished_ones_are_kept(tmp_path):
    class Refuses(Fake):
        def fit(self, source, *, seed=0):
            if seed == 1:
                raise LogError("no click.")
            return super().fit(source, seed=seed)

    with pytest.raises(LogError, match=r"cell 'odd', seed 1: no click\."):
        quietly(compare(estimators={"naive": Fake(), "odd": Refuses()}), directory=tmp_path)
    assert sorted(file.name for file in (tmp_path / "cells").iterdir()) == ["naive-seed-0.npz", "naive-seed-1.npz", "odd-seed-0.npz"]


def test_progress_goes_to_standard_error_and_only_where_wanted(capfd):
    compare(seeds=[0]).run()
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "3/3" in shown.err
    compare(seeds=[0]).run(progress=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 3}, "train must be a log"),
        ({"train": TEST}, "train must be a log"),
        ({"train": lambda: TEST}, "a function seed -> log of one argument"),
        ({"train": lambda seed, n: TEST}, "of one argument; .* 'n'"),
        ({"test": {}}, "test is empty"),
        ({"test": [TEST]}, "test 'test' must be a log"),
        ({"estimators": {}}, "at least one"),
        ({"estimators": [Fake()]}, "name -> estimator"),
        ({"estimators": {"naive": Fake}}, r"has no fit\(log, seed=\)\. Give an instance, Fake\(\)"),
        ({"estimators": {"naive": 3}}, "estimator 'naive' is 3, which has no fit"),
        ({"metrics": {}}, "metrics is empty"),
        ({"metrics": {"ndcg": NDCG}}, "an instance"),
        ({"seeds": []}, "there is none"),
        ({"seeds": 5}, "sequence of integers"),
        ({"seeds": [0, -1]}, "-1 is none"),
        ({"seeds": [0.5]}, "0.5 is none"),
        ({"seeds": [True]}, "True is none"),
        ({"seeds": [1, 2**63]}, r"seeds must be below 2\^63, .*: 9223372036854775808 is not"),
        ({"seeds": range(2**70)}, "sequence of integers"),
        ({"seeds": [1, 2, 1]}, "distinct: 1 occurs"),
        ({"baseline": "naiv"}, "Did you mean 'naive'"),
        ({"truth": [1.0, 0.0]}, "truth must be the positive propensity"),
        ({"truth": []}, "truth must be"),
    ],
)
def test_impossible_comparisons_are_refused_at_once(changes, message):
    with pytest.raises(ConfigError, match=message):
        compare(**changes)


def test_the_largest_seed_is_tabulated(tmp_path):
    result = quietly(compare(seeds=[2**63 - 1, 0]))
    result.to_parquet(tmp_path / "values.parquet")
    assert set(pd.read_parquet(tmp_path / "values.parquet")["seed"]) == {2**63 - 1, 0}


def test_a_train_function_that_returns_no_log_is_named_with_the_seed():
    with pytest.raises(ConfigError, match="for seed 0 it returned NoneType"):
        quietly(compare(train=lambda seed: None))


@pytest.mark.parametrize(
    ("fitted", "message"),
    [({"propensity": np.ones((2, 2))}, "one value a position"), ({"history": pd.DataFrame({"step": [1]})}, "lacks split, loss")],
)
def test_fitted_objects_that_break_the_contract_are_named(fitted, message):
    class Odd:
        def fit(self, source, *, seed=0):
            return type("Fitted", (), {"apply": staticmethod(lambda log: log), **fitted})()

    with pytest.raises(ContractError, match=f"'odd' must .*{message}"):
        quietly(compare(estimators={"odd": Odd()}, baseline=None))


def test_the_baseline_is_the_first_estimator_where_none_is_named():
    assert quietly(compare(baseline=None)).baseline == "naive"
