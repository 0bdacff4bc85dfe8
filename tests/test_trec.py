"""TREC's files: what is read and written, whose order it is, ir-measures as the oracle, and which line is blamed."""

import gzip
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ultr
from ultr.data.trec import load_qrels, load_run, write_qrels, write_run
from ultr.errors import ConfigError, FileError, LogError
from ultr.metrics import NDCG, AveragePrecision, Precision, Recall, ReciprocalRank

QRELS = "q1 0 a 2\nq1 0 b 0\nq2 0 a 1\nq1 0 z 1\nq2 0 c -1\n"
RUN = "q2 Q0 c 1 0.5 me\nq1 Q0 b 1 3.0 me\nq1 Q0 c 2 3.0 me\nq1 Q0 a 9 7e0 me\nq2 Q0 b 2 0.25 me\n"


def write(folder: Path, text: str, name: str = "file.txt") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def names(log, column="item"):
    return [log.items.ids[item] for item in log.columns[column]]


# What is read


def test_judgements_by_hand(tmp_path):
    log = load_qrels(write(tmp_path, QRELS))
    assert log.page_columns["query"].tolist() == ["q1", "q2"]
    assert log.offsets.tolist() == [0, 3, 5]
    assert names(log) == ["a", "b", "z", "a", "c"]
    assert log.columns["grade"].tolist() == [2, 0, 1, 1, 0]


def test_a_run_is_ordered_by_score_then_by_falling_document(tmp_path):
    log = load_run(write(tmp_path, RUN))
    assert log.page_columns["query"].tolist() == ["q2", "q1"]
    assert names(log) == ["c", "b", "a", "c", "b"]
    assert log.columns["score"].tolist() == [0.5, 0.25, 7, 3, 3]
    assert log.columns["position"].tolist() == [0, 1, 0, 1, 2]


def test_a_judged_run_knows_what_it_missed(tmp_path):
    qrels = load_qrels(write(tmp_path, QRELS))
    log = load_run(write(tmp_path, RUN, "run"), qrels)
    assert log.page_columns["query"].tolist() == ["q1", "q2"]
    assert names(log) == ["a", "c", "b", "z", "c", "b", "", "a"]
    assert log.columns["grade"].tolist() == [2, 0, 0, 1, 0, 0, 0, 1]
    assert log.columns["judged"].tolist() == [1, 0, 1, 1, 1, 0, 0, 1]
    assert log.columns["retrieved"].tolist() == [1, 1, 1, 0, 1, 1, 0, 0]
    assert (np.diff(log.columns["score"])[[0, 1, 2, 4, 5, 6]] <= 0).all()
    deeper = load_run(tmp_path / "run", qrels, depth=5)
    assert deeper.lengths.tolist() == [6, 6]
    assert Recall(5)(deeper).tolist() == [0.5, 0]


def test_a_judged_query_without_results_is_empty(tmp_path):
    qrels = load_qrels(write(tmp_path, QRELS + "q3 0 x 1\n"))
    log = load_run(write(tmp_path, RUN + "q9 Q0 x 1 1 me\n", "run"), qrels)
    assert log.page_columns["query"].tolist() == ["q1", "q2", "q3"]
    assert NDCG(3)(log)[2] == 0


@pytest.mark.parametrize(
    "text",
    [
        RUN.replace("\n", "\r\n"),
        RUN.replace("\n", "\n\n"),
        RUN.replace(" ", "\t"),
        RUN.replace(" ", "  "),
        RUN.rstrip("\n"),
        "\ufeff" + RUN,
    ],
    ids=["CRLF", "blank lines", "tabs", "padded", "no last line end", "byte order mark"],
)
def test_the_same_run_in_other_clothes(tmp_path, text):
    log, plain = load_run(write(tmp_path, text)), load_run(write(tmp_path, RUN, "plain"))
    assert names(log) == names(plain)
    assert log.page_columns["query"].tolist() == plain.page_columns["query"].tolist()


# The oracle

DOCUMENTS = [f"d{i}" for i in range(9)]
RESULTS = st.dictionaries(st.sampled_from(DOCUMENTS), st.sampled_from([0.5, 1.0, 2.0, 3.5, 4.0]), min_size=1, max_size=7)
JUDGED = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 3), min_size=1, max_size=7)


@given(
    qrels=st.dictionaries(st.sampled_from("xyz"), JUDGED, min_size=1, max_size=3),
    run=st.dictionaries(st.sampled_from("xyzw"), RESULTS, min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_metrics_agree_with_ir_measures(tmp_path_factory, qrels, run):
    ir_measures = pytest.importorskip("ir_measures")
    if not set(qrels) & set(run):
        return
    folder = tmp_path_factory.mktemp("trec")
    (folder / "qrels").write_text("".join(f"{q} 0 {d} {g}\n" for q, page in qrels.items() for d, g in page.items()))
    (folder / "run").write_text("".join(f"{q} Q0 {d} 1 {s} t\n" for q, page in run.items() for d, s in page.items()))
    log = load_run(folder / "run", load_qrels(folder / "qrels"), depth=10)
    ours = {
        "nDCG@10": NDCG(10, gain="linear")(log),
        "nDCG@2": NDCG(2, gain="linear")(log),
        "AP@10": AveragePrecision(10)(log),
        "RR": ReciprocalRank(10)(log),  # its RR@10 breaks ties by another rule than trec_eval
        "P@5": Precision(5)(log),
        "R@3": Recall(3)(log),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measures = {name: ir_measures.parse_measure(name) for name in ours}
        found = {(str(m.measure), m.query_id): m.value for m in ir_measures.iter_calc(list(measures.values()), qrels, run)}
    for name, values in ours.items():
        for query, value in zip(log.page_columns["query"], values, strict=True):
            if query in run and any(grade > 0 for grade in qrels[query].values()):
                assert value == pytest.approx(found[(str(measures[name]), query)]), (name, query)


def test_without_room_below_the_run_missed_documents_would_count_as_found(tmp_path):
    """What `depth` is for: with too small a depth, the missed document stands where metrics look."""
    qrels = load_qrels(write(tmp_path, "q 0 a 1\nq 0 z 1\n"))
    path = write(tmp_path, "q Q0 a 1 1 t\n", "run")
    assert AveragePrecision(10)(load_run(path, qrels, depth=10)).tolist() == [0.5]
    assert AveragePrecision(10)(load_run(path, qrels, depth=1)).tolist() == [1.0]


# What is written


@pytest.mark.parametrize("name", ["run", "run.gz"])
def test_a_run_comes_back(tmp_path, name):
    log = load_run(write(tmp_path, RUN))
    write_run(log, tmp_path / name, tag="mine")
    again = load_run(tmp_path / name)
    assert names(again) == names(log)
    assert again.columns["score"].tolist() == log.columns["score"].tolist()
    written = (tmp_path / name).read_bytes()
    text = gzip.decompress(written) if name.endswith(".gz") else written
    assert text.splitlines()[2] == b"q1 Q0 a 1 7.0 mine"


def test_what_a_judged_run_did_not_retrieve_is_not_written(tmp_path):
    write_run(load_run(write(tmp_path, RUN), load_qrels(write(tmp_path, QRELS, "qrels")), depth=6), tmp_path / "again")
    assert sorted(line.split()[2] for line in (tmp_path / "again").read_text().splitlines()) == sorted("cbcab")


def test_without_scores_the_order_is_written(tmp_path):
    log = ultr.ClickLog.from_frame(pd.DataFrame({"page": [1, 1, 2], "item": ["x", "y", "x"], "query": [5, 5, 6]}))
    write_run(log, tmp_path / "run")
    assert (tmp_path / "run").read_text() == "5 Q0 x 1 2.0 ultr\n5 Q0 y 2 1.0 ultr\n6 Q0 x 1 1.0 ultr\n"
    assert names(load_run(tmp_path / "run")) == ["x", "y", "x"]


def test_judgements_come_back(tmp_path):
    log = load_qrels(write(tmp_path, QRELS))
    twice = ultr.ClickLog.concat([log, log.select(np.array([True, False]))])
    write_qrels(twice, tmp_path / "qrels")
    again = load_qrels(tmp_path / "qrels")
    assert (names(again), again.columns["grade"].tolist()) == (names(log), log.columns["grade"].tolist())


# What is refused


@pytest.mark.parametrize(
    "load, text, words",
    [
        (load_qrels, "", "is empty: its lines are 'query iteration document grade'"),
        (load_qrels, "\n\n", "is empty"),
        (load_qrels, QRELS + "q1 0 a\n", "line 6: 3 fields, but a line is 'query iteration document grade'"),
        (load_qrels, QRELS + "\nq1 0 a 1\n", "line 7: document a of query q1 stands in line 1 already"),
        (load_qrels, "q1 0 a x\n", "line 1: the grade must be a whole number"),
        (load_qrels, "q1 0 a 1.5\n", "line 1: the grade must be a whole number"),
        (load_qrels, "q1 0 a 32\n", "line 1: the grade is 32, but must be at most 31"),
        (load_run, "q1 Q0 a 1 1.0\n", "line 1: 5 fields, but a line is 'query Q0 document rank score tag'"),
        (load_run, RUN + "q3 Q0 a 1 high me\n", "line 6: the score must be a finite number, not 'high'"),
        (load_run, "q3 Q0 a 1 nan me\n", "line 1: the score must be a finite number"),
        (load_run, RUN + "q1 Q0 a 1 1 me\n", "line 6: document a of query q1 stands in line 4 already"),
    ],
)
def test_the_line_at_fault_is_named(tmp_path, load, text, words):
    with pytest.raises(FileError) as caught:
        load(write(tmp_path, text))
    assert words in str(caught.value)
    assert "file.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_or_cut_are_refused(tmp_path):
    write(tmp_path, RUN, "run.gz")
    assert len(load_run(tmp_path / "run")) == 2
    (tmp_path / "cut.gz").write_bytes((tmp_path / "run.gz").read_bytes()[:-12])
    with pytest.raises(FileError, match="cannot be read after line"):
        load_run(tmp_path / "cut.gz")
    with pytest.raises(FileError, match="There is no file"):
        load_qrels(tmp_path / "qrels")
    (tmp_path / "latin").write_bytes(b"q1 0 a\xff 1\n")
    with pytest.raises(FileError, match="latin cannot be read after line"):
        load_qrels(tmp_path / "latin")


def test_a_run_of_other_queries_is_refused(tmp_path):
    with pytest.raises(FileError, match="none of its queries is judged, such as 'q2'"):
        load_run(write(tmp_path, RUN), load_qrels(write(tmp_path, "7 0 a 1\n", "qrels")))


@pytest.mark.parametrize("depth", [0, 2.5, True])
def test_an_impossible_depth_is_refused(tmp_path, depth):
    with pytest.raises(ConfigError, match="depth"):
        load_run(write(tmp_path, RUN), depth=depth)


def frame(**columns):
    return ultr.ClickLog.from_frame(pd.DataFrame({"page": [1, 1, 2], "item": ["x", "y", "x"], "query": ["p", "p", "q"]} | columns))


@pytest.mark.parametrize(
    "log, words",
    [
        (frame(query=["p", "p", "p"]), "a query must have one page: page 1 has 'p'"),
        (frame(item=["x", "x", "x"]), "documents of a page must differ: page 0, row 1 has 'x'"),
        (frame(score=[1.0, 2.0, 3.0]), "fall along a page: page 0, row 1 has 2.0"),
        (frame(score=[1.0, 0.0, np.nan]), "must be finite"),
        (frame(query=["p q", "p q", "q"]), "query must be one word: page 0, row 0 has 'p q'; 2 of 3"),
        (frame(item=["x", "", "x"]), "item must be one word: page 0, row 1"),
    ],
)
def test_what_has_no_place_in_a_run_is_refused(tmp_path, log, words):
    with pytest.raises(LogError, match=words):
        write_run(log, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_has_no_place_in_judgements_is_refused(tmp_path):
    with pytest.raises(LogError, match="document x has two grades for query p"):
        write_qrels(frame(item=["x", "x", "x"], grade=[0, 1, 1]), tmp_path / "qrels")
    with pytest.raises(ConfigError, match="tag must be one word"):
        write_run(frame(), tmp_path / "run", tag="my run")
    with pytest.raises(FileError, match="cannot be written"):
        write_run(frame(), tmp_path / "none" / "run")
