"""evaluate: means over defined pages, the same in any chunks, and contracts of metrics."""

import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from comparison_fakes import FakeRanker, graded_set

import ultr
from ultr.data.log import ClickLog
from ultr.data.source import Chunked
from ultr.errors import ConfigError, ContractError
from ultr.evaluation.evaluate import name_of
from ultr.metrics import NDCG, AverageRelevantPosition, Precision, ReciprocalRank

DATA = graded_set()
PERFECT = FakeRanker(np.zeros(48))
REVERSED = FakeRanker(-2.0 * DATA.grades)


@dataclass(frozen=True)
class Count:
    """One value for a session or for the log: how many pages it has."""

    per: str

    def __call__(self, log: ClickLog) -> np.ndarray:
        if self.per == "log":
            return np.array(len(log))
        session = log.page_columns["session"]
        return np.array([(session == s).sum() for s in log.sessions])


def test_a_perfect_and_a_reversed_order_by_hand():
    dcg = 7 + 3 / np.log2(3) + 1 / 2
    worst = 1 / np.log2(3) + 3 / 2 + 7 / np.log2(5)
    for ranker, value in ((PERFECT, 1.0), (REVERSED, worst / dcg)):
        found = ultr.evaluate(ranker, DATA, {"ndcg": NDCG(10)})
        assert found.loc["ndcg", "mean"] == pytest.approx(value)
        assert (found.loc["ndcg", "undefined"], found.loc["ndcg", "n"]) == (0, 12)


def test_undefined_pages_are_left_out_and_counted():
    log = DATA.as_log()
    grade = log.columns["grade"] * (log.page_of_row() >= 3)  # three pages without a relevant document
    found = ultr.evaluate(PERFECT, log.with_columns(grade=grade), [NDCG(10)])
    assert found.loc["NDCG@10"].tolist() == [1.0, 3, 12]
    nowhere = ultr.evaluate(PERFECT, log.with_columns(grade=0 * grade), NDCG(10))
    assert np.isnan(nowhere.loc["NDCG@10", "mean"])
    assert nowhere.loc["NDCG@10", "undefined"] == 12


@pytest.mark.parametrize("pages", [1, 5, 100])
def test_chunks_change_nothing_for_page_session_and_log_metrics(pages):
    log = DATA.as_log()
    log = ClickLog(log.offsets, log.columns, {**log.page_columns, "session": np.arange(12) // 4}, log.items)
    metrics = {"ndcg": NDCG(2), "pages a session": Count("session"), "pages": Count("log")}
    ranker = FakeRanker(np.random.default_rng(0).normal(size=48))
    whole, pieces = ultr.evaluate(ranker, log, metrics), ultr.evaluate(ranker, Chunked(log, pages), metrics)
    assert whole.equals(pieces)
    assert whole.loc["pages a session"].tolist() == [4.0, 0, 3]
    assert whole.loc["pages"].tolist() == [12.0, 0, 1]


def test_metrics_are_called_by_class_cutoff_and_odd_settings():
    assert name_of(NDCG(5)) == "NDCG@5"
    assert name_of(NDCG(5, gain="linear")) == "NDCG@5(gain='linear')"
    assert name_of(ReciprocalRank()).startswith("ReciprocalRank")
    assert name_of(AverageRelevantPosition(threshold=2)) == "AverageRelevantPosition(threshold=2)"
    assert name_of(np.mean) == "mean"
    assert list(ultr.evaluate(PERFECT, DATA, [NDCG(5), Precision(2)]).index) == ["NDCG@5", "Precision@2"]


def test_metrics_that_are_none_are_refused():
    for metrics, message in (
        ([], "at least one"),
        ([NDCG(5), NDCG(5)], "Two metrics are called NDCG@5"),
        ({"ndcg": NDCG}, r"an instance, NDCG\(\)"),
        ({"ndcg": 10}, "a function metric"),
    ):
        with pytest.raises(ConfigError, match=message):
            ultr.evaluate(PERFECT, DATA, metrics)
    with pytest.raises(ConfigError, match="source must be a log"):
        ultr.evaluate(PERFECT, np.zeros(3), NDCG(10))


def test_metrics_and_rankers_that_break_the_contract_are_named():
    with pytest.raises(ContractError, match=r"'short' must return one value a page, shape \(12,\), not \(11,\)"):
        ultr.evaluate(PERFECT, DATA, {"short": lambda log: np.zeros(11)})
    with pytest.raises(ContractError, match="must return the log with its 12 pages"):
        ultr.evaluate(SimpleNamespace(apply=lambda log: None), DATA, NDCG(10))


def test_judging_loads_nothing_heavy_before_it_has_to():
    code = (
        "import sys, ultr; ultr.evaluate; ultr.Comparison; ultr.evaluation.overlap; ultr.engine.Processes; ultr.diagnostics\n"
        "heavy = {'torch', 'pandas', 'scipy.stats', 'sklearn', 'duckdb', 'lightgbm', 'matplotlib', 'joblib', 'tqdm'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_of_the_room_are_not_shadowed_by_modules():
    import ultr.evaluation as room

    for name in dir(room):
        getattr(room, name)
    assert all(not isinstance(getattr(room, name), type(sys)) for name in room.__all__)
