"""The reader of SVMrank / LETOR files and LightGBM's pairs: what it accepts, and which line it blames."""

import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_svmlight_file

from ultr import RankingData, load_svmrank
from ultr.data import svmrank
from ultr.errors import FileError

PLAIN = "2 qid:7 1:0.5 3:-1 # doc a\n0 qid:7 2:1e-3\n1 qid:4 1:2 2:3 3:4\n"


def write(folder: Path, text: str, name: str = "rank.txt") -> Path:
    path = folder / name
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def read(folder: Path, text: str, **arguments: object) -> RankingData:
    return load_svmrank(write(folder, text), **arguments)


def refused(path: Path, *words: str, **arguments: object) -> None:
    """Check that the file is refused in one line that says all of `words`."""
    with pytest.raises(FileError) as caught:
        load_svmrank(path, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


# What is read


def test_a_small_file_by_hand(tmp_path):
    data = read(tmp_path, PLAIN)
    np.testing.assert_array_equal(data.features, np.float32([[0.5, 0, -1], [0, 1e-3, 0], [2, 3, 4]]))
    assert data.features.dtype == np.float32
    np.testing.assert_array_equal(data.grades, [2, 0, 1])
    np.testing.assert_array_equal(data.offsets, [0, 2, 3])
    np.testing.assert_array_equal(data.query_ids, [7, 4])


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\n", "\r\n"),
        PLAIN.rstrip("\n"),
        "# a header\n\n   \n" + PLAIN.replace("\n", "\n\n# between\n"),
        PLAIN.replace("2 qid", "   2 qid").replace(" ", "  \t"),
        PLAIN.replace("0 qid:7", "0.0 qid:7").replace("-1", "-1.0").replace("1:2 ", "01:+2. "),
        "\ufeff" + PLAIN,
        PLAIN.replace("# doc a", "#doc:a 9:9 # 2"),
        PLAIN.replace(" # doc a", "#doc"),
        PLAIN.replace("\n", " \n"),
    ],
    ids=["CRLF", "no last line end", "comments and blank lines", "white space", "spellings", "BOM", "comment", "glued", "trailing space"],
)
def test_the_same_file_in_other_clothes(tmp_path, text):
    data = read(tmp_path, text)
    np.testing.assert_array_equal(data.features, np.float32([[0.5, 0, -1], [0, 1e-3, 0], [2, 3, 4]]))
    np.testing.assert_array_equal(data.grades, [2, 0, 1])
    np.testing.assert_array_equal(data.query_ids, [7, 4])


def test_documents_without_features_are_rows_of_zeros(tmp_path):
    data = read(tmp_path, "0 qid:1\n1 qid:1 1:3\n0 qid:2 # none\n")
    np.testing.assert_array_equal(data.features, [[0], [3], [0]])


def test_query_ids_beyond_32_bits(tmp_path):
    data = read(tmp_path, f"0 qid:{2**31} 1:1\n0 qid:{2**63 - 1} 1:1\n0 qid:-5 1:1\n")
    assert data.query_ids.tolist() == [2**31, 2**63 - 1, -5]


def test_a_file_that_uses_feature_0_counts_from_0(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, "0 qid:1 1:5 2:6\n0 qid:1 0:4\n").features, [[0, 5, 6], [4, 0, 0]])
    np.testing.assert_array_equal(read(tmp_path, "0 qid:1 1:5 2:6\n0 qid:1 0:0\n").features, [[0, 5, 6], [0, 0, 0]])
    np.testing.assert_array_equal(read(tmp_path, "0 qid:1 1:5 2:6\n0 qid:1 2:4\n").features, [[5, 6], [0, 4]])


def test_n_features_widens_the_result(tmp_path):
    data = read(tmp_path, PLAIN, n_features=5)
    assert data.n_features == 5
    assert not data.features[:, 3:].any()
    refused(write(tmp_path, PLAIN), "uses feature 3", "at least 3, not 2", n_features=2)
    assert read(tmp_path, "0 qid:1\n1 qid:1\n", n_features=2).features.tolist() == [[0, 0], [0, 0]]


def test_blocks_meet_seamlessly(tmp_path, monkeypatch):
    text = "# top\n" + "".join(f"{i % 5} qid:{i // 3} {i % 7 + 1}:{i} 9:{i * i}\n" for i in range(50)) + "0 qid:99 12:1\n1 qid:99 0:8\n"
    whole = read(tmp_path, text)
    monkeypatch.setattr(svmrank, "_BLOCK", 4)
    parts = read(tmp_path, text)
    for name in ("features", "grades", "offsets", "query_ids"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert whole.n_features == 13
    refused(write(tmp_path, text.replace("6 9:36", "6 9:x")), "line 8", "'x'")
    refused(write(tmp_path, text.replace("qid:99 12", "qid:0 12")), "line 52", "qid 0 comes back")


VALUES = st.floats(width=32, allow_nan=False, allow_infinity=False)
DOCUMENTS = st.lists(st.tuples(st.integers(0, 4), st.dictionaries(st.integers(1, 9), VALUES, max_size=5)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=100)
@given(DOCUMENTS)
def test_what_is_read_is_what_was_written_and_what_scikit_learn_reads(tmp_path_factory, documents):
    rows = [
        f"{grade} qid:{i // 3} " + " ".join(f"{name}:{value!r}" for name, value in sorted(listing.items()))
        for i, (grade, listing) in enumerate([*documents, (0, {9: 1.0})])
    ]
    text = "\n".join(rows) + "\n"
    data = load_svmrank(write(tmp_path_factory.mktemp("data"), text))
    by_hand = np.zeros((len(rows), 9), dtype=np.float32)
    for row, (_, listing) in enumerate([*documents, (0, {9: 1.0})]):
        for name, value in listing.items():
            by_hand[row, name - 1] = value
    np.testing.assert_array_equal(data.features, by_hand)
    features, grades, qids = load_svmlight_file(io.BytesIO(text.encode()), dtype=np.float32, zero_based=False, n_features=9, query_id=True)
    np.testing.assert_array_equal(data.features, features.toarray())
    np.testing.assert_array_equal(data.grades, grades)
    np.testing.assert_array_equal(np.repeat(data.query_ids, np.diff(data.offsets)), qids)


# Files: packed, paired, missing


def test_gz_by_its_name_and_by_falling_back(tmp_path):
    write(tmp_path, PLAIN, "train.txt.gz")
    for name in ("train.txt.gz", "train.txt"):
        np.testing.assert_array_equal(load_svmrank(tmp_path / name).grades, [2, 0, 1])
    np.testing.assert_array_equal(load_svmrank(str(tmp_path / "train.txt")).grades, [2, 0, 1])


NO_QID = "2 1:0.5\n0 2:1\n1 1:2\n"


@pytest.mark.parametrize(
    ("data_name", "group_name"),
    [
        ("rank.train", "rank.train.query"),
        ("rank.train", "rank.train.group"),
        ("rank.train", "rank.train.query.gz"),
        ("rank.train.gz", "rank.train.query"),
        ("rank.train.gz", "rank.train.gz.query"),
        ("rank.train.gz", "rank.train.group.gz"),
    ],
)
def test_group_sizes_are_found_beside_the_file(tmp_path, data_name, group_name):
    write(tmp_path, NO_QID, data_name)
    write(tmp_path, "2\r\n\n1\n", group_name)
    data = load_svmrank(tmp_path / "rank.train")
    np.testing.assert_array_equal(data.offsets, [0, 2, 3])
    np.testing.assert_array_equal(data.query_ids, [0, 1])
    np.testing.assert_array_equal(data.features, [[0.5, 0], [0, 1], [2, 0]])


def test_group_sizes_given_by_path_go_before_those_beside_the_file(tmp_path):
    path = write(tmp_path, NO_QID)
    write(tmp_path, "2\n1\n", "rank.txt.query")
    np.testing.assert_array_equal(load_svmrank(path, write(tmp_path, "1\n2\n", "sizes")).offsets, [0, 1, 3])
    np.testing.assert_array_equal(load_svmrank(path).offsets, [0, 2, 3])


def test_files_of_group_sizes_that_do_not_fit(tmp_path):
    path = write(tmp_path, NO_QID)
    refused(path, "no qid", "rank.txt.query", ".group", "group_path")
    refused(path, "There is no file", "sizes", group_path=tmp_path / "sizes")
    for sizes, words in [
        ("2\n2\n", ["rank.txt.query", "2 queries 4 documents", "has 3"]),
        ("2\n", ["1 queries 2 documents", "truncated"]),
        ("2\n0\n1\n", ["line 2", "'0'", "1 or more"]),
        ("2\n-1\n", ["line 2", "'-1'"]),
        ("2\n1.0\n", ["line 2", "'1.0'", "whole number"]),
        ("2 1\n", ["line 1", "'2 1'"]),
        ("", ["0 queries 0 documents"]),
    ]:
        write(tmp_path, sizes, "rank.txt.query")
        refused(path, *words)
    refused(write(tmp_path, PLAIN), "has qids", "leave group_path out", group_path=tmp_path / "rank.txt.query")


def test_missing_files_say_what_was_looked_for(tmp_path):
    refused(tmp_path / "rank.txt", "There is no file", "rank.txt", "rank.txt.gz", "put the data there")
    write(tmp_path, PLAIN, "rank.train")
    refused(tmp_path / "rank.trian", "Did you mean 'rank.train'?")
    refused(tmp_path, "is a folder")
    refused(tmp_path / "nowhere" / "rank.txt", "There is no file")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_files_without_a_document(tmp_path, text):
    refused(write(tmp_path, text), "no document", "empty")
    refused(write(tmp_path, text, "packed.gz"), "no document", "empty")


def test_truncated_and_false_gz(tmp_path):
    rng = np.random.default_rng(0)
    whole = gzip.compress("".join(f"0 qid:{i} 1:{rng.random()}\n" for i in range(20_000)).encode())
    path = tmp_path / "train.gz"
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "train.gz", "cannot be read after line", "end-of-stream")
    path.write_bytes(whole[:5000] + b"\0" * 5000 + whole[10_000:])
    refused(path, "train.gz", "cannot be read after line")
    path.write_bytes(PLAIN.encode())
    refused(path, "cannot be read after line 0", "Not a gzipped file")


# Lines at fault


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x qid:1 1:1", ["'x' stands where the grade should", "'2 qid:1 1:0.5 2:0'"]),
        ("qid:1 1:1", ["'qid:1' stands where the grade should"]),
        ("label,qid,f1", ["'label,qid,f1' stands where the grade should"]),
        ("-1 qid:1 1:1", ["the grade is -1", "0..31"]),
        ("0.5 qid:1 1:1", ["the grade is 0.5"]),
        ("32 qid:1 1:1", ["the grade is 32"]),
        ("1e9 qid:1 1:1", ["the grade is 1e9"]),
        ("nan qid:1 1:1", ["the grade is nan"]),
        ("inf qid:1 1:1", ["the grade is inf"]),
        ("1 qid:a 1:1", ["'qid:a'", "whole number"]),
        ("1 qid:1.0 1:1", ["'qid:1.0'", "whole number"]),
        ("1 qid: 1:1", ["'qid:'", "whole number"]),
        (f"1 qid:{2**63} 1:1", [f"'qid:{2**63}'"]),
        ("1 qid:" + "9" * 5000 + " 1:1", ["whole number"]),
        ("1 qid:1 qid:2 1:1", ["'qid:2' is not 'feature:value'"]),
        ("1 qid:1 1:1 2", ["'2' is not 'feature:value'"]),
        ("1 qid:1 1:1 2:", ["feature 2 is ''"]),
        ("1 qid:1 1:1:1", ["feature 1 is '1:1'"]),
        ("1 qid:1 1 : 1", ["'1' is not 'feature:value'"]),
        ("1 qid:1 bm25:1", ["'bm25:1' is not 'feature:value'"]),
        ("1 qid:1 -1:1", ["'-1:1' is not 'feature:value'"]),
        ("1 qid:1 1.5:1", ["'1.5:1' is not 'feature:value'"]),
        ("1 qid:1 1:NULL", ["feature 1 is 'NULL'", "Leave a missing feature out"]),
        ("1 qid:1 1:abc", ["feature 1 is 'abc'"]),
        ("1 qid:1 1:nan", ["feature 1 is 'nan'", "finite"]),
        ("1 qid:1 1:-inf", ["feature 1 is '-inf'", "finite"]),
        ("1 qid:1 1:1e39", ["feature 1 is '1e39'", "finite"]),
        ("1 qid:1 1:1,5", ["feature 1 is '1,5'"]),
        ("1 qid:1 2:1 1:1", ["feature 1 stands after feature 2", "must rise"]),
        ("1 qid:1 2:1 2:1", ["feature 2 stands after feature 2"]),
        ("1 qid:1 65537:1", ["feature 65537 is beyond 65536", "dense"]),
        ("1 qid:1 99999999999:1", ["feature 99999999999 is beyond"]),
        ("\0\0\0", ["stands where the grade should"]),
    ],
)
def test_a_malformed_line_is_blamed_by_number_and_token(tmp_path, line, words):
    path = write(tmp_path, f"# header\n0 qid:1 1:1\n\n{line}\n0 qid:1 1:1\n")
    refused(path, "rank.txt, line 4: ", *words)
    refused(write(tmp_path, f"# header\n0 qid:1 1:1\n\n{line}\n", "rank.gz"), "rank.gz, line 4: ", *words)


def test_the_first_of_several_malformed_lines_is_blamed(tmp_path):
    refused(write(tmp_path, "0 qid:1 1:1\n0 qid:1 1:nan\n0 qid:1 1:x\n"), "line 2", "'nan'")


def test_the_largest_grade_and_feature_that_are_read(tmp_path):
    data = read(tmp_path, "31 qid:1 65536:1\n")
    assert data.grades.tolist() == [31]
    assert data.n_features == 65536


def test_a_set_without_any_feature(tmp_path):
    refused(write(tmp_path, "1 qid:1\n0 qid:1\n"), "no feature on any line")


def test_qids_on_some_lines_only(tmp_path):
    refused(write(tmp_path, "1 qid:1 1:1\n\n1 1:1\n0 1:2\n"), "line 3 has no qid", "1 of 3 lines have one")
    refused(write(tmp_path, "1 1:1\n1 1:1\n0 qid:1 1:2\n"), "line 3 has a qid", "1 of 3 lines have one")


def test_queries_that_come_back(tmp_path):
    text = "".join(f"0 qid:{qid} 1:1\n" for qid in (5, 5, 3, 5, 3, 3, 9))
    refused(write(tmp_path, "#\n" + text), "line 5: qid 5 comes back", "2 times", "Sort")


# Files cut in the middle


@pytest.mark.parametrize("end", ["1 qi", "1 qid:", "1 qid:3 1:0.5 2", "1 qid:3 1:0.5 2:", "1 qid:3 1:0.5 2:-"])
def test_a_last_line_cut_within_a_token(tmp_path, end):
    refused(write(tmp_path, PLAIN + end), "line 4", "truncated")


def test_a_last_line_cut_between_tokens_shows_where_all_others_are_equally_long(tmp_path):
    dense = "".join(f"0 qid:{i // 5} 1:1 2:2 3:3\n" for i in range(30))
    refused(write(tmp_path, dense + "0 qid:9 1:1 2:2"), "line 31", "2 features where all others have 3", "truncated")
    assert len(read(tmp_path, dense + "0 qid:9 1:1 2:2\n")) == 7
    assert len(read(tmp_path, dense + "0 qid:9 1:1 2:2 3:3")) == 7
    assert len(read(tmp_path, PLAIN + "1 qid:9 1:0.5")) == 3  # few lines, of different lengths: nothing says that it is cut


def test_a_cut_file_without_qid_does_not_fit_its_group_sizes(tmp_path):
    write(tmp_path, "2\n1\n", "rank.txt.query")
    refused(write(tmp_path, "0 1:1\n0 1:1\n"), "2 queries 3 documents", "has 2", "truncated")


# Real sets


def real_data(name: str) -> Path:
    """Return a folder of public data, where this machine has it."""
    folder = Path(os.environ.get("ULTR_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")) / name
    if not folder.is_dir():
        pytest.skip(f"no data folder {name}: set ULTR_DATA to the folder that holds it")
    return folder


@pytest.mark.parametrize(
    ("part", "queries", "documents", "shortest", "longest", "labels"),
    [("train", 201, 3005, 1, 27, [645, 1211, 858, 222, 69]), ("test", 50, 768, 6, 24, [206, 256, 252, 44, 10])],
)
def test_the_ranking_example_of_lightgbm(part, queries, documents, shortest, longest, labels):
    path = real_data("lightgbm_lambdarank") / f"rank.{part}"
    data = load_svmrank(path, n_features=300)
    lengths = np.diff(data.offsets)
    assert (len(data), len(data.grades), lengths.min(), lengths.max()) == (queries, documents, shortest, longest)
    assert np.bincount(data.grades).tolist() == labels
    features, grades = load_svmlight_file(str(path), dtype=np.float32, zero_based=False, n_features=300)
    np.testing.assert_array_equal(data.features, features.toarray())
    np.testing.assert_array_equal(data.grades, grades)
    np.testing.assert_array_equal(lengths, np.loadtxt(f"{path}.query", dtype=int))


@pytest.mark.parametrize(("part", "queries", "documents"), [("train", 45, 782), ("test", 5, 41)])
def test_the_news_set_of_fastrank(part, queries, documents):
    path = real_data("fastrank_trecnews") / f"trec_news_2018.{part}"
    data = load_svmrank(path)
    assert (len(data), len(data.grades), data.n_features) == (queries, documents, 5)
    features, grades, qids = load_svmlight_file(str(path), dtype=np.float32, zero_based=False, query_id=True)
    np.testing.assert_array_equal(data.features, features.toarray())
    np.testing.assert_array_equal(data.grades, grades)
    np.testing.assert_array_equal(np.repeat(data.query_ids, np.diff(data.offsets)), qids)
