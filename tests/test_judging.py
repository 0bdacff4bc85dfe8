"""evaluate through an engine: the same bits, the log's order, and nothing kept that a metric does not need."""

import pickle
import weakref
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from comparison_fakes import FakeRanker, graded_set

import ultr
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.parquet import ParquetLog
from ultr.data.source import Chunked
from ultr.data.writer import write_log
from ultr.engine import Processes, Serial
from ultr.errors import ConfigError, ContractError
from ultr.evaluation.judging import _judge_shard, judge
from ultr.evaluation.panel import _queries
from ultr.metrics import NDCG, NUM

DATA = graded_set(queries=40)
RANKER = FakeRanker(np.random.default_rng(0).normal(size=160))
METRICS = {"ndcg": NDCG(3), "num": NUM(label="grade")}
ENGINES = [Serial(), Processes(2)]


def log_with(session: np.ndarray | None) -> ClickLog:
    log = DATA.as_log()
    return ClickLog(log.offsets, log.columns, log.page_columns | ({} if session is None else {"session": session}), log.items)


SESSIONS = {
    "none": None,
    "together": np.arange(40) // 3,
    "scattered": np.arange(40) * 7 % 11,
}


@dataclass(frozen=True)
class MeanGrade:
    """Mean grade of the first rows, and the number of known items: reads all rows, the items, and folds nothing."""

    per: ClassVar[str] = "log"

    def __call__(self, log: ClickLog) -> np.ndarray:
        return np.array([log.columns["grade"][log.offsets[:-1]] @ np.arange(1, len(log) + 1) + 1000 * len(log.items)])


@dataclass(frozen=True)
class Folded:
    """The mean score, by sums; calling it on a log would be an error."""

    per: ClassVar[str] = "log"

    def __call__(self, log: ClickLog) -> np.ndarray:
        raise AssertionError("a folded metric is not called")

    def state(self, log: ClickLog) -> np.ndarray:
        return np.array([log.columns["score"].sum(), log.n_rows])

    def value(self, state: np.ndarray) -> np.ndarray:
        return np.array([state[0] / state[1]])


@pytest.mark.parametrize("engine", ENGINES, ids=repr)
@pytest.mark.parametrize("session", SESSIONS)
def test_values_are_in_the_order_of_the_log(engine, session):
    log = log_with(SESSIONS[session])
    applied = RANKER.apply(log)
    found = judge(RANKER, log, METRICS, engine)
    for name, metric in METRICS.items():
        np.testing.assert_allclose(found[name], metric(applied), rtol=1e-12)


def test_shards_bring_scattered_sessions_together_so_the_order_above_had_to_be_restored():
    log = log_with(SESSIONS["scattered"])
    pages = np.concatenate([shard.page_columns["query"] for shard in log.shards(16)])
    assert not np.array_equal(pages, log.page_columns["query"])


@pytest.mark.parametrize("kind", ["memory", "pieces", "disk"])
def test_engines_agree_to_the_bit(tmp_path, kind):
    log = log_with(SESSIONS["together"])
    write_log(log, tmp_path / "log", pages_per_group=6)
    source = {"memory": log, "pieces": Chunked(log, 4), "disk": ParquetLog.open(tmp_path / "log")}[kind]
    metrics = {**METRICS, "mean": MeanGrade(), "folded": Folded()}
    first, second = (judge(RANKER, source, metrics, engine) for engine in ENGINES)
    for name in metrics:
        assert first[name].tolist() == second[name].tolist()
    if kind == "disk":
        for name, values in judge(RANKER, source, metrics).items():
            assert values.tolist() == first[name].tolist()


@pytest.mark.parametrize("engine", [None, *ENGINES], ids=repr)
@pytest.mark.parametrize("session", SESSIONS)
def test_a_metric_of_the_whole_log_sees_it_whole_with_its_items(engine, session):
    log = log_with(SESSIONS[session])
    assert judge(RANKER, log, {"mean": MeanGrade()}, engine)["mean"].tolist() == MeanGrade()(RANKER.apply(log)).tolist()


@pytest.mark.parametrize("engine", [None, *ENGINES], ids=repr)
def test_a_folded_metric_is_put_together_from_states(engine):
    log = log_with(None)
    for source in (log, Chunked(log, 3)):
        found = judge(RANKER, source, {"folded": Folded()}, engine)
        np.testing.assert_allclose(found["folded"], [RANKER.apply(log).columns["score"].mean()], rtol=1e-12)


def test_applied_logs_are_kept_only_for_metrics_that_cannot_fold():
    alive = []

    class Watched(FakeRanker):
        def apply(self, log):
            applied = super().apply(log)
            alive.append(weakref.ref(applied))
            return applied

    judge(Watched(RANKER.noise), Chunked(log_with(None), 2), {"ndcg": NDCG(3), "folded": Folded(), "last": lambda log: seen(alive, log)})


def seen(alive: list, log: ClickLog) -> np.ndarray:
    assert sum(reference() is not None for reference in alive) <= 2  # this one, and the one before until its name is given away
    return np.zeros(len(log))


@pytest.mark.parametrize("engine", [None, *ENGINES], ids=repr)
def test_a_log_without_pages_has_no_values(engine):
    empty = log_with(None).take(np.array([], dtype=int))
    assert {name: len(values) for name, values in judge(RANKER, empty, METRICS, engine).items()} == {"ndcg": 0, "num": 0}


def test_a_broken_metric_names_its_shard():
    with pytest.raises(ContractError, match=r"^shard 0 of 16: metric 'short' must return one value a page"):
        judge(RANKER, log_with(None), {"short": lambda log: np.zeros(1)}, Serial())


def test_evaluate_takes_an_engine_and_shows_progress(capfd):
    log = log_with(None)
    assert ultr.evaluate(RANKER, log, METRICS, Processes(2), progress=True).equals(ultr.evaluate(RANKER, log, METRICS, Serial()))
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "16/16" in shown.err
    with pytest.raises(ConfigError, match="engine must be an object such as"):
        ultr.evaluate(RANKER, log, METRICS, "processes")


def test_the_items_stay_behind_when_rows_go_back_to_the_process_that_asked():
    log = DATA.as_log()
    log = ClickLog(log.offsets, log.columns, log.page_columns, Items(np.ones((160, 4000), dtype=np.float32)))
    judged = _judge_shard(RANKER, {"mean": MeanGrade()}, log)
    assert len(judged.applied[0]) == 40
    assert len(pickle.dumps(judged)) < 20_000


def test_a_panel_reads_the_queries_of_a_test_log_and_nothing_else(tmp_path, monkeypatch):
    write_log(log_with(None), tmp_path / "log", pages_per_group=6)
    read, chunks = [], ParquetLog.chunks

    def noted(self):
        read.append(self.column_names)
        return chunks(self)

    monkeypatch.setattr(ParquetLog, "chunks", noted)
    queries = _queries(ParquetLog.open(tmp_path / "log"))
    assert queries.tolist() == DATA.as_log().page_columns["query"].tolist()
    assert read == [("item", "query")]


@pytest.mark.parametrize("source", ["memory", "pieces"])
def test_a_panel_of_a_log_without_queries_has_none(source):
    log = log_with(None)
    log = ClickLog(log.offsets, log.columns, {}, log.items)
    assert _queries(log if source == "memory" else Chunked(log, 3)) is None
