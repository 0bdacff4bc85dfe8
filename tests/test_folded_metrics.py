"""Metrics of the whole log, put together from pieces: the same number, whatever the pieces and wherever they are judged."""

from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr.click_models import PositionBased
from ultr.data.cells import count_cells
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.parquet import ParquetLog
from ultr.data.source import Chunked
from ultr.data.writer import write_log
from ultr.engine import Processes, Serial
from ultr.errors import LogError
from ultr.evaluation.judging import FoldedMetric, judge
from ultr.metrics import (
    Predicted,
    PredictionError,
    UnbiasedAveragePrecision,
    UnbiasedDCG,
    UnbiasedRecall,
    auc,
    calibration_by_field,
    expected_calibration_error,
    log_likelihood,
    perplexity,
)
from ultr.metrics.levels import Levels, aucs

PAGES = 60


def made(seed: int = 0) -> ClickLog:
    """Pages of 0 to 6 rows, with every column that the metrics below read."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 7, PAGES)
    offsets = offsets_of(lengths)
    n = int(offsets[-1])
    click = rng.integers(0, 2, n)
    score = np.round(rng.uniform(0.01, 0.99, n), 2)  # some are equal
    columns = {
        "item": rng.integers(0, 9, n),
        "position": np.arange(n) - np.repeat(offsets[:-1], lengths),
        "click": click,
        "conversion": click * rng.integers(0, 2, n),
        "chance": rng.random(n),
        "predicted_conversion": score,
        "score": score,
        "rating": rng.integers(1, 6, n),
        "propensity": rng.uniform(0.2, 1, n),
        "relevance": rng.uniform(0.1, 0.9, n),
    }
    user = np.array([f"user {number}" for number in rng.integers(0, 8, PAGES)])
    return ClickLog(offsets, columns, {"user": user, "query": np.arange(PAGES) % 7})


LOG = made()
SCORES = ("auc", "group_auc", "log_loss", "calibration_ratio", "expected_calibration_error")
METRICS = {
    **{f"{error} {method}": PredictionError(error, method) for error in ("squared", "absolute") for method in ("plain", "ips", "snips")},
    "clipped": PredictionError(method="snips", clip=2.0),
    **{kind.__name__: kind(k=3, method="pooled") for kind in (UnbiasedDCG, UnbiasedRecall, UnbiasedAveragePrecision)},
    **{score: Predicted(score) for score in SCORES},
    **{f"{score}, clicked": Predicted(score, rows="clicked") for score in SCORES},
    "auc of chances": Predicted("auc", label="chance", predicted="score"),
    "loss of chances": Predicted("log_loss", label="chance", predicted="score"),
    "auc by query": Predicted("group_auc", groups="query"),
    "auc by item": Predicted("group_auc", groups="item"),
}


class Nothing:
    """A fitted object that has predicted already."""

    def apply(self, log: ClickLog) -> ClickLog:
        return log


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_what_its_states_say(name):
    metric = METRICS[name]
    assert isinstance(metric, FoldedMetric)
    whole = metric(LOG)
    assert whole.shape == (1,)
    assert np.isfinite(whole).all()
    assert metric.value(metric.state(LOG)).tolist() == whole.tolist()


@given(name=st.sampled_from(sorted(METRICS)), cuts=st.sets(st.integers(1, PAGES - 1), max_size=9), left=st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_states_add_up_whatever_the_pieces_and_the_order_of_additions(name, cuts, left):
    metric, edges = METRICS[name], [0, *sorted(cuts), PAGES]
    states = [metric.state(LOG.take(np.arange(start, end))) for start, end in pairwise(edges)]
    close(metric.value(reduce(add, states)), metric(LOG))
    halves = [part for part in (states[:left], states[left:]) if part]
    close(metric.value(reduce(add, [reduce(add, part) for part in halves])), metric(LOG))


def test_the_mean_over_pieces_is_another_number_so_the_tests_above_see_it():
    pieces = list(Chunked(LOG, 7).chunks())
    for name, metric in METRICS.items():
        assert abs(np.nanmean([metric(piece)[0] for piece in pieces]) - metric(LOG)[0]) > 1e-6, name


def test_engines_agree_to_the_bit_and_with_memory(tmp_path):
    write_log(LOG, tmp_path / "log", pages_per_group=5)
    source = ParquetLog.open(tmp_path / "log")
    first, second = (judge(Nothing(), source, METRICS, engine) for engine in (Serial(), Processes(2)))
    for name, metric in METRICS.items():
        assert first[name].tolist() == second[name].tolist()
        close(first[name], metric(LOG))


@pytest.mark.parametrize("name", METRICS)
def test_a_log_without_rows_is_undefined_and_adds_nothing(name):
    metric, empty = METRICS[name], LOG.take(np.arange(0))
    assert np.isnan(metric(empty)).all()
    assert metric.value(metric.state(empty) + metric.state(LOG)).tolist() == metric(LOG).tolist()
    assert metric.value(metric.state(LOG) + metric.state(empty)).tolist() == metric(LOG).tolist()


# What an AUC keeps


def test_the_auc_of_two_pieces_by_hand():
    """Positives at 3 and 1, negatives at 2, 1 and 0, the tie counted half: (3 + 1.5) / 6."""
    first = Levels.of(np.array([3.0, 2.0, 0.0]), np.array([1.0, 0, 0]), np.array([0.0, 1, 1]))
    second = Levels.of(np.array([1.0, 1.0]), np.array([1.0, 0]), np.array([0.0, 1]))
    assert (first + second).auc() == 4.5 / 6
    assert auc([1, 0, 0, 1, 0], [3, 2, 0, 1, 1]) == 4.5 / 6


def test_levels_are_as_many_as_distinct_scores_however_many_rows():
    rng, total = np.random.default_rng(0), None
    for _ in range(200):
        label = rng.integers(0, 2, 50).astype(float)
        piece = Levels.of(rng.integers(0, 20, 50).astype(float), label, 1 - label, rng.integers(0, 3, 50))
        total = piece if total is None else total + piece
        assert sum(len(table.score) for table in total.tables) <= 2 * 3 * 20
    table = total.table()
    assert len(table.score) == 3 * 20
    assert (table.positive + table.negative).sum() == 200 * 50


def test_groups_that_meet_in_one_piece_only_stay_apart():
    left = Levels.of(np.array([0.1, 0.9]), np.array([0.0, 1]), np.array([1.0, 0]), np.array(["b", "b"]))
    right = Levels.of(np.array([0.9, 0.1, 0.5]), np.array([0.0, 1, 1]), np.array([1.0, 0, 0]), np.array(["ab", "ab", "c"]))
    for both in (left + right, right + left):
        assert both.table().groups.tolist() == ["ab", "b", "c"]
        assert aucs(both.table()).tolist() == pytest.approx([0, 1, np.nan], nan_ok=True)


def test_pieces_have_the_same_bins_however_few_rows_they_hold():
    state = reduce(add, [Predicted("expected_calibration_error").state(LOG.take(np.arange(i, i + 1))) for i in range(PAGES)])
    assert state.shape == (11,)
    error = expected_calibration_error(LOG.columns["conversion"], LOG.columns["predicted_conversion"])
    close(Predicted("expected_calibration_error").value(state), error)


def test_a_label_that_is_no_probability_is_refused():
    for score in SCORES:
        with pytest.raises(LogError, match="labels must be"):
            Predicted(score, label="rating", predicted="score")(LOG)


# Tables by rank and by field


@pytest.mark.parametrize("table", [log_likelihood, perplexity])
def test_clicks_are_judged_chunk_by_chunk(table, tmp_path):
    write_log(LOG, tmp_path / "log", pages_per_group=9)
    law = PositionBased([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    for source in (Chunked(LOG, 1), Chunked(LOG, 11), ParquetLog.open(tmp_path / "log")):
        pd.testing.assert_frame_equal(table(law, source), table(law, LOG), rtol=1e-12)
    with pytest.raises(LogError, match="the log is empty"):
        table(law, Chunked(LOG.take(np.arange(0)), 3))


@pytest.mark.parametrize("field", ["user", "query", "item", "rating"])
@pytest.mark.parametrize("among", [None, "click"])
def test_fields_are_calibrated_chunk_by_chunk(field, among, tmp_path):
    write_log(LOG, tmp_path / "log", pages_per_group=9)
    whole = calibration_by_field(LOG, field, among=among, min_rows=12)
    for source in (Chunked(LOG, 1), Chunked(LOG, 11), ParquetLog.open(tmp_path / "log")):
        pd.testing.assert_frame_equal(calibration_by_field(source, field, among=among, min_rows=12), whole, rtol=1e-12)


def test_a_missing_value_of_a_field_is_one_value_over_all_chunks():
    log = LOG.with_columns(hour=np.where(np.arange(LOG.n_rows) % 3 == 0, np.nan, np.arange(LOG.n_rows) % 2))
    whole, pieces = (calibration_by_field(source, "hour", min_rows=1) for source in (log, Chunked(log, 4)))
    pd.testing.assert_frame_equal(pieces, whole, rtol=1e-12)
    assert whole.hour.isna().sum() == 1


def test_a_shard_that_cannot_be_counted_names_its_file(tmp_path):
    click = LOG.columns["click"].astype(float)
    click[-1] = -1
    write_log(LOG.with_columns(gain=click), tmp_path / "log", pages_per_group=20)
    with pytest.raises(LogError, match=r"shard 2 of 3 \(.*parquet, row group 2\): gain must be finite"):
        count_cells(ParquetLog.open(tmp_path / "log"), label="gain", engine=Serial())
