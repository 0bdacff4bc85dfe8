"""Settings that are no numbers, or numbers out of range, are refused as such, whoever asks."""

import numpy as np
import pandas as pd
import pytest

import simulators
import ultr
from ultr.data.checks import within
from ultr.data.model_folder import write_model
from ultr.errors import ConfigError, FileError, LogError, PropensityError
from ultr.estimators import DLA, IPS, WMF, AffineCorrection, Naive, PairDebias, RelMF, TwoTower, UnbiasedLambdaMART
from ultr.metrics import NDCG, PredictionError, UnbiasedRecall
from ultr.models import MLP, SetTransformer
from ultr.propensity import Popularity, PowerLaw, Tower
from ultr.testing import tiny_log


@pytest.mark.parametrize(
    ("value", "interval", "inside"),
    [
        (0, "[0, 1)", True),
        (1.0, "[0, 1)", False),
        (np.float32(0.5), "(0, 1]", True),
        (0, "(0, inf)", False),
        (1e300, "(0, inf)", True),
        (float("inf"), "(0, inf)", False),
        (float("nan"), "[0, inf)", False),
        (True, "[0, 1]", False),
        ("0.5", "[0, 1]", False),
        (None, "[0, 1]", False),
        ([0.5], "[0, 1]", False),
    ],
)
def test_an_interval_holds_numbers_alone(value, interval, inside):
    assert within(value, interval) is inside


@pytest.mark.parametrize(
    "make",
    [
        lambda: ultr.Training(learning_rate="0.1"),
        lambda: ultr.Training(weight_decay="0.1"),
        lambda: ultr.Training(validation="0.1"),
        lambda: IPS(clip="10"),
        lambda: AffineCorrection(clip="10"),
        lambda: DLA(max_weight="10"),
        lambda: UnbiasedLambdaMART(clip="10"),
        lambda: UnbiasedLambdaMART(debias="pairwise", regulariser="1"),
        lambda: PairDebias(regulariser="1"),
        lambda: TwoTower(dropout="0.1"),
        lambda: TwoTower(reversal="0.1"),
        lambda: TwoTower(head=3),
        lambda: WMF(weight="1"),
        lambda: RelMF(clip="10"),
        lambda: Popularity(power="1"),
        lambda: PowerLaw("1"),
        lambda: MLP(dropout="0.1"),
        lambda: SetTransformer(dropout="0.1"),
        lambda: Tower(hidden=3),
        lambda: Tower(columns=3),
        lambda: simulators.LinearPolicy(fraction_labelled="0.1"),
        lambda: simulators.PlackettLuce(simulators.RandomPolicy(), "1"),
        lambda: simulators.GradedRelevance(noise="0.1"),
    ],
)
def test_text_for_a_number_is_refused_with_the_setting(make):
    with pytest.raises((ConfigError, PropensityError), match=r"must be|is a|is the"):
        make()


@pytest.mark.parametrize("wrong", ["log", None, 3])
def test_what_is_no_log_is_said_to_be_none(wrong):
    log = tiny_log()
    ranker, law = Naive(training=ultr.Training(steps=2)).fit(log), ultr.click_models.fit(ultr.click_models.RankRate, log)
    for call in (ranker.score_log, ranker.rank, law.score_log, IPS().fit, lambda x: ultr.click_models.fit(ultr.click_models.RankRate, x)):
        with pytest.raises(LogError, match=f"is needed, not {type(wrong).__name__}"):
            call(wrong)
    with pytest.raises(LogError, match="as_log"):
        ranker.rank(ultr.synthetic_ranking(3, 4, 3))


@pytest.mark.parametrize("wrong", [None, 3, pd.DataFrame(), ["a.csv"]], ids=lambda wrong: type(wrong).__name__)
@pytest.mark.parametrize(
    "read",
    [
        ultr.load,
        ultr.read_table,
        ultr.load_criteo_attribution,
        ultr.load_criteo_impressions,
        ultr.load_mac,
        ultr.load_paths,
        lambda path: ultr.load_ali_ccp(path, path),
        lambda path: ultr.import_table(path, "log"),
        lambda path: ultr.import_table("log.csv", path),
        lambda path: tiny_log().write_parquet(path),
        lambda path: write_model(path, {}, lambda folder: None),
    ],
)
def test_what_is_no_path_is_said_to_be_none(read, wrong):
    with pytest.raises(FileError, match=rf"The path of a file or folder is needed, .* not {type(wrong).__name__}"):
        read(wrong)


def test_paths_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(FileError, match="cannot be looked for: File name too long"):
        ultr.read_table("page,item\n" * 1000)
    (tmp_path / "touches.csv").write_text("page,item\n")
    for inside in ("x", "x/y"):
        with pytest.raises(FileError, match=r"No model can be written to .*touches.csv/x.* Give another path"):
            write_model(tmp_path / "touches.csv" / inside, {}, lambda folder: None)


def test_what_cannot_be_judged_or_run_is_said_so():
    log = tiny_log()
    metrics = {"ndcg": ultr.metrics.NDCG()}
    with pytest.raises(ConfigError, match=r"IPS has no apply.*fit it first"):
        ultr.evaluate(IPS(), log, metrics)
    with pytest.raises(ConfigError, match=r"EstimatedCurve has no apply.*a propensity goes into an estimator"):
        ultr.evaluate(ultr.propensity.Randomised().fit(log), log, metrics)
    comparison = ultr.Comparison(log, log, estimators={"a": Naive(), "b": IPS()}, metrics=metrics, seeds=range(2), baseline="a")
    with pytest.raises(ConfigError, match="engine must be an object"):
        comparison.run(engine=2)
    with pytest.raises(ConfigError, match=r"model must be an object, not a class: write MLP\("):
        IPS(model=ultr.models.MLP).fit(log)


@pytest.mark.parametrize("metric", [NDCG(label=["grade"]), PredictionError(label=["rating"]), UnbiasedRecall(label=["click"])])
def test_a_list_of_names_is_no_column(metric):
    with pytest.raises(LogError, match=r"needs the column \['.*'\], which the log lacks"):
        metric(tiny_log())
