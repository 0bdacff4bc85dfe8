"""Import out of core: the same log as in memory, the same refusals, and nothing half-written whatever happens meanwhile."""

import gzip
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ultr
from ultr.cli import main
from ultr.commands.describe import describe_log
from ultr.commands.summary import Distinct, Roughly
from ultr.data import table_files, table_order
from ultr.data.table_import import import_table
from ultr.data.writer import write_log
from ultr.errors import ConfigError, FileError, LogError, UltrError

COLUMNS = {"page": "request", "item": "doc", "position": "rank", "click": "clicked"}
NAMES = {"columns": COLUMNS, "first_position": 1}
CONFIG = """
[data]
type = "ultr:read_table"
path = "clicks.csv"
columns = {page = "request", item = "doc", position = "rank", click = "clicked"}
first_position = 1
"""


def impressions(n_pages: int = 40, seed: int = 0) -> pd.DataFrame:
    """Pages of one to five documents, in order; ranks count from 1."""
    rng, rows = np.random.default_rng(seed), []
    for page in range(n_pages):
        query = int(rng.integers(6))
        for rank, doc in enumerate(rng.permutation(12)[: rng.integers(1, 6)], start=1):
            words, price = np.random.default_rng([query, doc]).random(2).round(3)
            rows.append((f"r{page}", f"q{query}", f"d{doc}", rank, int(rng.random() < 0.3), words, price, round(rng.random(), 2)))
    return pd.DataFrame(rows, columns=["request", "query", "doc", "rank", "clicked", "words", "price", "seconds"])


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in path.name else ",")
    return path


def assert_same(log: ultr.ClickLog, expected: ultr.ClickLog) -> None:
    """Compare two logs, dtypes and order included."""
    np.testing.assert_array_equal(log.offsets, expected.offsets)
    for kind in ("columns", "page_columns"):
        here, there = getattr(log, kind), getattr(expected, kind)
        assert list(here) == list(there)
        for name in there:
            assert here[name].dtype == there[name].dtype, name
            assert pd.Series(here[name]).equals(pd.Series(there[name])), name
    assert log.items.names == expected.items.names
    assert log.items.ids.dtype == expected.items.ids.dtype
    assert log.items.ids.tolist() == expected.items.ids.tolist()
    if expected.items.features is not None:
        np.testing.assert_array_equal(log.items.features, expected.items.features)


def check_equal(path: Path, folder: Path, **arguments: object) -> ultr.ClickLog:
    """Import a table, compare with reading it and writing that, and return the log."""
    import_table(path, folder / "ours", overwrite=True, **arguments)
    ultr.read_table(path, **arguments).write_parquet(folder / "theirs", overwrite=True)
    ours, theirs = (ultr.ParquetLog.open(folder / name).load() for name in ("ours", "theirs"))
    assert_same(ours, theirs)
    assert sorted(path.name for path in folder.glob(".*")) == []
    return ours


# The same log


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.tsv", "log.tsv.gz", "log.parquet"])
def test_every_kind_of_file_gives_the_log_that_reading_it_gives(tmp_path, name):
    frame = impressions()
    path = write(frame, tmp_path / name)
    check_equal(path, tmp_path, **NAMES)
    log = check_equal(path, tmp_path, **NAMES, features=["words", "price"], page_columns=["query"])
    assert len(log) == 40
    assert log.items.n_features == 2
    shuffled = write(frame.sample(frac=1, random_state=1), tmp_path / name)
    check_equal(shuffled, tmp_path, **NAMES, features=["price", "words"])


def test_without_positions_and_with_all_known_columns(tmp_path):
    frame = impressions().drop(columns="rank").rename(columns={"request": "page", "doc": "item", "clicked": "click"})
    frame["propensity"], frame["relevance"], frame["grade"] = (1 / (1 + frame["price"])).round(4), frame["words"], np.arange(len(frame)) % 5
    frame["count"], frame["user"], frame["policy"], frame["region"] = 3, frame["page"].str[1:].astype(int), 0.5, 'a,"b"\nc'
    path = write(frame, tmp_path / "log.csv")
    log = check_equal(path, tmp_path, page_columns=["region"])
    assert log.columns["click"].dtype == np.int64
    assert log.page_columns["region"][0] == 'a,"b"\nc'
    check_equal(write(frame, tmp_path / "log.parquet"), tmp_path, page_columns=["region"], features=["words"])


def test_types_of_text_columns_are_those_of_pandas(tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "_SAMPLE", 3)  # what comes later has to change the guess
    frame = pd.DataFrame({"page": [1, 1, 2, 3, 3], "item": ["7", "8", "7", "9", "x"]})
    frame["whole"], frame["signed"], frame["spaced"] = [1, 2, 3, -4, 2**63 - 1], ["+1", "-2", "3", "007", "0"], [" 1", "2 ", "3", "4", "5"]
    frame["large"] = [1, 2, 3, 2**63, 2**64 - 1]
    frame["becomes_real"], frame["becomes_text"] = ["1", "2", "3", "1e3", "5"], ["1", "2", "3", "4", "1_000"]
    frame["hexadecimal"], frame["real"] = ["0x1F", "1", "2", "3", "4"], [0.5, -1e300, 1e-300, np.inf, 0.1]
    frame["missing_later"], frame["missing"] = [1, 2, 3, 4, None], [None] * 5
    frame["late_text"], frame["yes"] = [None, None, None, "a", "NA "], ["True", "false", "TRUE", "False", "true"]
    frame["yes_or_else"], frame["null"] = ["True", "False", "True", "False", "yes"], ["a", "null", "b", "n/a", "N/A"]
    for kind in ("whole", "real"):
        frame[f"missing_{kind}"] = [1, None, 2, None, 3] if kind == "whole" else [0.5, None, 1, 2, 3]
    text = frame.astype({"missing_later": "Int64", "missing_whole": "Int64"})
    log = check_equal(write(text, tmp_path / "log.csv"), tmp_path)
    kinds = {name: values.dtype.str[1:] for name, values in log.columns.items()}
    assert (kinds["whole"], kinds["large"], kinds["becomes_real"], kinds["becomes_text"]) == ("i8", "u8", "f8", "O")
    assert (kinds["missing_later"], kinds["hexadecimal"], kinds["yes"], kinds["yes_or_else"]) == ("f8", "O", "b1", "O")


def test_types_of_parquet_columns_are_kept(tmp_path):
    frame = pd.DataFrame({"page": np.array([3, 3, 1], np.int16), "item": np.array([9, 5, 9], np.uint8), "position": [0, 1, 0]})
    for kind in ("int8", "int32", "int64", "uint8", "uint64", "float32", "float64", "bool"):
        frame[kind] = np.array([1, 0, 1], kind)
    frame["time"] = pd.to_datetime(["2026-01-01T01:02:03.000004005", None, "1969-01-01"], format="ISO8601")
    frame["zoned"] = frame["time"].dt.tz_localize("Europe/Berlin")
    for unit in ("s", "ms", "us"):
        frame[f"time_{unit}"] = frame["time"].astype(f"datetime64[{unit}]")
    frame["span"] = frame["time"] - frame["time"][0]
    frame["kind"], frame["name"] = pd.Categorical(["a", None, "b"]), ["x", None, "é"]
    frame["float_hole"], frame["float32_hole"] = [1.5, None, 2], np.array([1.5, np.nan, 2], np.float32)
    path = tmp_path / "log.parquet"
    frame.to_parquet(path, row_group_size=2)
    log = check_equal(path, tmp_path, page_columns=[])
    assert log.columns["float32_hole"].dtype == np.float64  # as pandas makes room for a missing value
    table = pa.table({"page": [1, 1], "item": ["a", "b"], "n": pa.array([1, None], pa.int32()), "e": pa.nulls(2)})
    pq.write_table(table.append_column("l", pa.array(["u", "v"], pa.large_string())), path)
    assert check_equal(path, tmp_path).columns["n"].dtype == np.float64


def test_an_index_is_a_column_where_it_has_a_name(tmp_path):
    impressions().set_index("request").to_parquet(tmp_path / "log.parquet")
    check_equal(tmp_path / "log.parquet", tmp_path, **NAMES)
    impressions().sample(frac=1, random_state=0).to_parquet(tmp_path / "log.parquet")  # an index without a name
    assert "__index_level_0__" not in check_equal(tmp_path / "log.parquet", tmp_path, **NAMES).columns


def test_line_ends_quotes_marks_and_names_that_differ_in_case_only(tmp_path):
    text = '\ufeffpage,item,click,Click,select\r\nr1,"a, with comma",1,x,1\r\n\r\nr1,"b ""quoted""",0,y,2\r\nr2,NA,1,,3'
    path = tmp_path / "log.csv"
    path.write_bytes(text.replace("NA", "c").encode())
    assert list(check_equal(path, tmp_path).columns) == ["item", "position", "click", "Click", "select"]


def test_one_column_of_the_file_may_get_two_of_our_names(tmp_path):
    path = write(impressions(), tmp_path / "log.csv")
    check_equal(path, tmp_path, columns={**COLUMNS, "session": "request", "cost": "price"}, features=["price"], first_position=1)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_small_table(tmp_path_factory, data):
    n = data.draw(st.integers(1, 30))
    draw = lambda values: data.draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))  # noqa: E731
    frame = pd.DataFrame({"page": draw(["b", "a", "10", "9"]), "item": draw([5, 3, 4]), "click": draw([0, 1]), "note": draw(["x", None])})
    frame["position"] = frame.groupby("page").cumcount()
    frame["query"] = frame["page"].map({"b": 1, "a": 2, "10": 1, "9": 3})
    frame["weight"] = frame["item"] * 10 + frame["query"]
    frame = frame.sample(frac=1, random_state=data.draw(st.integers(0, 9)))
    folder = tmp_path_factory.mktemp("any")
    features = ["weight"] if data.draw(st.booleans()) else []
    check_equal(write(frame, folder / data.draw(st.sampled_from(["t.csv", "t.parquet"]))), folder, features=features)


def test_many_pieces_make_the_same_log(tmp_path, monkeypatch):
    monkeypatch.setattr(table_order, "_ROWS", 7)
    path = write(impressions(300).sample(frac=1, random_state=3), tmp_path / "log.csv")
    check_equal(path, tmp_path, **NAMES, features=["price"])


def test_files_that_match_a_pattern_are_one_table(tmp_path):
    frame = impressions(30)
    check_equal(write(frame, tmp_path / "all.csv"), tmp_path, **NAMES)
    for i, part in enumerate(np.array_split(np.arange(len(frame)), 3)):  # pages go on in the next file
        write(frame.iloc[part], tmp_path / f"part-{i}.csv")
    import_table(tmp_path / "part-*.csv", tmp_path / "parts", **NAMES)
    assert_same(ultr.ParquetLog.open(tmp_path / "parts").load(), ultr.ParquetLog.open(tmp_path / "ours").load())


def test_pages_of_a_session_are_brought_together(tmp_path):
    frame = pd.DataFrame({"page": list("aabccd"), "session": [1, 1, 2, 1, 1, 2], "item": range(6), "click": 0})
    import_table(write(frame, tmp_path / "log.csv"), tmp_path / "log")
    log = ultr.ParquetLog.open(tmp_path / "log").load()
    assert log.page_columns["page"].tolist() == ["a", "c", "b", "d"]
    assert log.page_columns["session"].tolist() == [1, 1, 2, 2]
    assert log.items.ids[log.columns["item"]].tolist() == [0, 1, 3, 4, 2, 5]


def test_a_small_memory_limit_spills_and_changes_nothing(tmp_path):
    rng = np.random.default_rng(0)
    n = 400_000
    frame = pd.DataFrame({"page": rng.permutation(np.repeat(np.arange(n // 5), 5)), "item": rng.integers(0, 10**5, n)})
    frame["position"] = frame.groupby("page").cumcount()
    frame["note"] = np.char.add("a fairly long note that fills memory ", rng.integers(0, 10**9, n).astype(str))
    path = write(frame, tmp_path / "log.parquet")
    import_table(path, tmp_path / "small", memory_limit="60MB")
    import_table(path, tmp_path / "large", memory_limit="2GB")
    assert_same(*(ultr.ParquetLog.open(tmp_path / name).load() for name in ("small", "large")))
    with pytest.raises(ConfigError, match="memory_limit 1MB is too small"):
        import_table(path, tmp_path / "tiny", memory_limit="1MB")
    with pytest.raises(ConfigError, match="must be an amount of memory"):
        import_table(path, tmp_path / "tiny", memory_limit="much")
    assert not list(tmp_path.glob("*tiny*"))


# The same refusals


def changed(frame: pd.DataFrame, line: int, **values: object) -> pd.DataFrame:
    """Return the table with values of one line replaced."""
    frame = frame.astype(dict.fromkeys(values, object))
    for name, value in values.items():
        frame.loc[line, name] = value
    return frame


TABLE = impressions()
AGAIN = int(np.flatnonzero(TABLE.duplicated(["query", "doc"]))[0])
SECOND = int(np.flatnonzero(TABLE["rank"] == 2)[0])
BAD = {
    "click": (changed(TABLE, 3, clicked=2), {}),
    "click of text": (changed(TABLE, 3, clicked="x"), {}),
    "missing click": (changed(TABLE, 3, clicked=None), {}),
    "missing page": (changed(TABLE, 3, request=None), {}),
    "missing query": (changed(TABLE, 3, query=None), {}),
    "missing page column": (TABLE.assign(device=None), {"page_columns": ["device"]}),
    "grade": (TABLE.assign(grade=-1), {}),
    "propensity": (TABLE.assign(propensity=0.0), {}),
    "relevance": (TABLE.assign(relevance=1.5), {}),
    "position of text": (changed(TABLE, 3, rank="top"), {}),
    "broken position": (changed(TABLE, 3, rank=1.5), {}),
    "huge position": (changed(TABLE, 3, rank=2**40), {}),
    "missing position": (changed(TABLE, 3, rank=None), {}),
    "first position": (TABLE, {"first_position": 0}),
    "doubled position": (changed(TABLE, SECOND, rank=1), {}),
    "varying page column": (changed(TABLE, SECOND, query="other"), {}),
    "varying number": (TABLE.assign(price=np.arange(len(TABLE))), {"page_columns": ["price"]}),
    "two vectors": (changed(TABLE, AGAIN, price=7.5), {"features": ["words", "price"]}),
    "feature of text": (changed(TABLE, 3, price="dear"), {"features": ["price"]}),
    "missing feature": (changed(TABLE, 3, price=None), {"features": ["price"]}),
    "huge feature": (changed(TABLE, 3, price=1e300), {"features": ["price"]}),
    "apart": (TABLE.iloc[[*range(1, len(TABLE)), 0]].drop(columns="rank"), {"columns": {k: COLUMNS[k] for k in ("page", "item", "click")}}),
    "no such column": (TABLE, {"columns": {**COLUMNS, "click": "cliked"}}),
    "no such feature": (TABLE, {"features": ["prise"]}),
    "features as text": (TABLE, {"features": "price"}),
    "no item": (TABLE, {"columns": {"page": "request"}}),
    "page as feature": (TABLE, {"features": ["rank"]}),
    "empty": (TABLE.iloc[:0], {}),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_reading_refuses_importing_refuses_in_the_same_words(tmp_path, kind):
    frame, arguments = BAD[kind]
    path, arguments = write(frame, tmp_path / "log.csv"), {**NAMES, **arguments}
    with pytest.raises(UltrError) as theirs:
        ultr.read_table(path, **arguments)
    with pytest.raises(UltrError) as ours:
        import_table(path, tmp_path / "log", **arguments)
    assert (type(ours.value), str(ours.value)) == (type(theirs.value), str(theirs.value))
    assert os.listdir(tmp_path) == ["log.csv"]


def test_refusals_name_the_file_and_the_line_of_a_pattern(tmp_path):
    write(impressions(5), tmp_path / "a.csv")
    write(changed(impressions(5, seed=1).assign(request=lambda frame: "s" + frame["request"]), 3, clicked=9), tmp_path / "b.csv")
    with pytest.raises(LogError, match=r"\*.csv: click must be 0 or 1.*/b.csv, line 5, page sr\d has 9; 1 of \d+ is wrong"):
        import_table(tmp_path / "*.csv", tmp_path / "log", **NAMES)


def test_a_page_that_was_shown_half_a_time_is_refused(tmp_path):
    with pytest.raises(LogError, match=r"count must be a whole number, 1 or more: page r0 has 0\.5"):
        import_table(write(TABLE.assign(count=0.5), tmp_path / "log.csv"), tmp_path / "log", **NAMES)


def test_counts_of_a_long_table_say_what_was_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("ultr.data.table_lines.BATCH", 2048)
    frame = pd.DataFrame({"page": np.arange(10_000), "item": 1, "click": 0})
    frame.loc[5000, "click"] = 3
    with pytest.raises(LogError, match=r"line 5002, page 5000 has 3; 1 of 2048 is wrong.*Counted were lines 4098 to 6145"):
        import_table(write(frame, tmp_path / "log.csv"), tmp_path / "log")


def test_columns_that_no_log_on_disk_can_hold(tmp_path):
    table = pa.table({"page": [1], "item": [1], "tags": [["a"]], "page2": [1]})
    pq.write_table(table, tmp_path / "log.parquet")
    with pytest.raises(LogError, match="column 'tags' holds neither numbers"):
        import_table(tmp_path / "log.parquet", tmp_path / "log")
    (tmp_path / "log.csv").write_text("page,item,seen\n1,1,True\n1,2,\n")
    with pytest.raises(LogError, match="column 'seen' holds booleans and misses some"):
        import_table(tmp_path / "log.csv", tmp_path / "log")


# Damaged files


@pytest.mark.parametrize("name", ["log.csv.gz", "log.parquet"])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_file_is_refused_by_name(tmp_path, name, kept):
    path = write(impressions(3000), tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(FileError, match=f"{name}.*cannot be read.*truncated"):
        import_table(path, tmp_path / "log", **NAMES)
    assert os.listdir(tmp_path) == [name]


def test_a_flipped_bit_of_a_packed_file_is_found(tmp_path):
    path = tmp_path / "log.csv.gz"
    content = bytearray(gzip.compress(impressions(3000).to_csv(index=False).encode()))
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match=re.escape(str(path))):
        import_table(path, tmp_path / "log", **NAMES)


def test_lines_of_another_length_are_refused_by_number(tmp_path):
    lines = impressions().to_csv(index=False).splitlines()
    path = tmp_path / "log.csv"
    path.write_text("\n".join([*lines[:20], "r9,q1", *lines[20:]]) + "\n")
    with pytest.raises(FileError, match=r"log\.csv, line 21: it has 2 fields, the header has 8"):
        import_table(path, tmp_path / "log", **NAMES)
    path.write_text("\n".join([*lines[:20], "r9,q1"]))
    with pytest.raises(FileError, match="line 21: the last line has no line end and 2 of 8 fields: the file is truncated"):
        import_table(path, tmp_path / "log", **NAMES)
    path.write_text("\n".join([*lines[:20], 'r9,"q1', *lines[20:]]))
    with pytest.raises(FileError, match=r"log\.csv"):
        import_table(path, tmp_path / "log", **NAMES)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_of_another_schema_in_the_middle_of_a_pattern_is_named(tmp_path, suffix):
    for i in range(3):
        write(impressions(5).rename(columns={"price": "cost"} if i == 1 else {}), tmp_path / f"part-{i}.{suffix}")
    with pytest.raises(FileError, match=rf"part-1.{suffix} has other columns than .*part-0.{suffix}: no 'price'.*'cost'"):
        import_table(tmp_path / f"part-*.{suffix}", tmp_path / "log", **NAMES)
    write(impressions(5).astype({"price": "float32"}), tmp_path / f"part-1.{suffix}")
    if suffix == "parquet":
        with pytest.raises(FileError, match=r"part-1\.parquet has other columns.*'price' of type float32; there 'price' of type float64"):
            import_table(tmp_path / f"part-*.{suffix}", tmp_path / "log", **NAMES)
    write(impressions(5), tmp_path / "part-9.tsv")
    with pytest.raises(FileError, match=r"part-9\.tsv is of another kind"):
        import_table(tmp_path / "part-*", tmp_path / "log", **NAMES)
    with pytest.raises(FileError, match="No file matches the pattern"):
        import_table(tmp_path / "none-*", tmp_path / "log", **NAMES)


# The command


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    write(impressions(), Path("clicks.csv"))
    Path("c.toml").write_text(CONFIG)
    return tmp_path


def refused(capsys, *argv: str) -> str:
    capsys.readouterr()
    status = main(list(argv))
    out, err = capsys.readouterr()
    assert (status, out, err.count("ultr: "), err.count("\n")) == (2, "", 1, 1), err
    return err


def test_the_command_imports_out_of_core(place, capsys, monkeypatch):
    monkeypatch.setattr("ultr.commands.logs.open_data", None)  # the way into memory
    assert main(["import", "c.toml", "--out", "log", "--memory-limit", "500MB"]) == 0
    assert "pages         40" in capsys.readouterr().out
    assert_same(ultr.ParquetLog.open("log").load(), ultr.read_table("clicks.csv", **NAMES))


def test_other_readers_and_given_items_are_imported_in_memory(place, capsys):
    Path("rank.txt").write_text("1 qid:1 1:0.5\n0 qid:1 1:0.25\n")
    Path("d.toml").write_text('[data]\ntype = "ultr:load_svmrank"\npath = "rank.txt"\n')
    assert main(["import", "d.toml", "--out", "graded"]) == 0
    assert len(ultr.ParquetLog.open("graded")) == 1
    assert "--memory-limit is for tables" in refused(capsys, "import", "d.toml", "--out", "log", "--memory-limit", "1GB")
    Path("e.toml").write_text(CONFIG + 'items = {type = "ultr:Items", ids = ["d0"]}\n')
    assert "item must be one of the 1 items given" in refused(capsys, "import", "e.toml", "--out", "log")


def test_bad_input_of_the_command(place, capsys):
    for old, new, words in [
        ("columns = ", "colums = ", "[data] read_table has no setting 'colums'. Did you mean 'columns'?"),
        ("first_position = 1", 'first_position = "one"', "first_position must be"),
        ("first_position = 1", "first_position = 0", "[data] "),
        ("clicked", "cliked", "Did you mean 'clicked'?"),
        ("clicks.csv", "none.csv", "There is no none.csv"),
        ("clicks.csv", "c*.xls", "There is no c*.xls"),
        ("first_position = 1", "first_position = 1\n[rnu]\nseeds = 1", "unknown section [rnu]"),
        ("first_position = 1", "first_position = 1\n[run]\nsedes = 1", "[run] has no setting 'sedes'. Did you mean 'seeds'?"),
        ('path = "clicks.csv"', "path = 3", "[data] path must be a file name"),
    ]:
        Path("d.toml").write_text(CONFIG.replace(old, new))
        assert words in refused(capsys, "import", "d.toml", "--out", "log")
    assert "must be an amount of memory" in refused(capsys, "import", "c.toml", "--out", "log", "--memory-limit", "lots")
    assert not Path("log").exists()
    assert main(["import", "c.toml", "--out", "log"]) == 0
    assert "add --overwrite" in refused(capsys, "import", "c.toml", "--out", "log")
    assert main(["import", "c.toml", "--out", "log", "--overwrite"]) == 0


def test_patterns_in_a_config(place, capsys):
    for i in range(2):
        write(impressions(5, seed=i).assign(request=lambda frame, i=i: f"{i}-" + frame["request"]), Path(f"day-{i}.csv"))
    Path("d.toml").write_text(CONFIG.replace("clicks.csv", "day-*.csv"))
    assert main(["import", "d.toml", "--out", "log"]) == 0
    assert len(ultr.ParquetLog.open("log")) == 10


# What goes wrong meanwhile


SLOWLY = """
import sys, time
from ultr import cli
from ultr.data import table_order
chunks = table_order.OrderedTable.chunks

def slowly(self):
    for chunk in chunks(self):
        print("writing", flush=True)
        time.sleep(60)
        yield chunk

table_order.OrderedTable.chunks = slowly
cli.main(["import", "c.toml", "--out", "log"])
"""


def test_a_killed_import_leaves_no_log_and_the_next_one_cleans_up(place):
    process = subprocess.Popen([sys.executable, "-c", SLOWLY], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"writing\n", process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = list(place.glob(".log.*"))
    assert left
    assert not Path("log").exists()
    for folder in left:
        with pytest.raises(FileError):
            ultr.ParquetLog.open(folder)
    assert main(["import", "c.toml", "--out", "log"]) == 0
    assert_same(ultr.ParquetLog.open("log").load(), ultr.read_table("clicks.csv", **NAMES))
    assert not list(place.glob(".log.*"))


def test_an_interrupted_import_leaves_nothing(place):
    process = subprocess.Popen([sys.executable, "-c", SLOWLY], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert sorted(path.name for path in place.iterdir()) == ["c.toml", "clicks.csv"]


@pytest.mark.parametrize("limit", [20_000, 700_000])  # bytes: while lines are loaded, and while the log is written
def test_a_full_disk_is_bad_input_and_leaves_nothing(place, limit):
    n = 60_000
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"request": np.arange(n) // 5, "doc": rng.integers(0, 99, n), "rank": np.arange(n) % 5 + 1, "clicked": 0})
    write(frame.assign(noise=rng.random(n)), Path("clicks.csv"))
    result = subprocess.run(
        [sys.executable, "-m", "ultr", "import", "c.toml", "--out", "log"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 2, result.stderr
    assert re.fullmatch(r"ultr: .*log cannot be written: .*Nothing of it was kept\.\n", result.stderr)
    assert sorted(path.name for path in place.iterdir()) == ["c.toml", "clicks.csv"]


def test_a_bug_of_duckdb_is_no_bad_input(place, monkeypatch):
    def fails(*arguments: object) -> None:
        raise duckdb.InternalException("a bug")

    monkeypatch.setattr("ultr.data.table_import.load_lines", fails)
    with pytest.raises(duckdb.InternalException):
        import_table("clicks.csv", "log", **NAMES)
    assert not list(place.glob(".log.*"))


# The description of what was imported


def described(log: ultr.ClickLog, folder: Path, chunk: int = 7) -> str:
    """Describe a log on disk, in small pieces; the same log in memory has to be described in the same words."""
    write_log(log, folder / "described", overwrite=True, pages_per_group=chunk)
    text = describe_log(ultr.ParquetLog.open(folder / "described"), "log")
    assert text == describe_log(log, "log")
    return text


def test_a_description_does_not_depend_on_the_pieces(tmp_path):
    frame = impressions(60).rename(columns={"request": "page", "doc": "item", "rank": "position", "clicked": "click"})
    log = ultr.ClickLog.from_frame(frame.assign(session=frame["page"].str[:2]), first_position=1)
    log = log.take(np.argsort(log.page_columns["session"], kind="stable"))
    text = described(log, tmp_path)
    assert re.search(r"^queries +6, 10\.0 pages each$", text, re.MULTILINE)
    assert re.search(r"^sessions +10$", text, re.MULTILINE)
    orders = pd.Series([tuple(page) for page in np.split(log.columns["item"], log.offsets[1:-1])]).groupby(log.page_columns["query"])
    assert re.search(rf"^orders +.*, {orders.nunique().min()} to {orders.nunique().max()}$", text, re.MULTILINE)
    empty = np.add.reduceat(log.columns["click"], log.offsets[:-1]) == 0
    assert f"; {empty.mean():.2%} of the pages have none" in text


def test_a_description_speaks_of_what_the_log_has(tmp_path):
    rows = {"page": [1, 1, 2], "item": [1, 2, 1]}
    users = described(ultr.ClickLog.from_frame(pd.DataFrame({**rows, "user": [1, 1, 2], "click": 1})), tmp_path)
    ads = described(ultr.ClickLog.from_frame(pd.DataFrame({**rows, "click": 1, "conversion": [0, 0, 1]})), tmp_path)
    journeys = described(ultr.ClickLog.from_frame(pd.DataFrame({**rows, "converted": [1, 1, 0]})), tmp_path)
    pages = described(ultr.ClickLog.from_frame(pd.DataFrame({**rows, "click": 1})), tmp_path)
    assert "RelMF" in users
    assert "every conversion estimator can be fitted" in ads
    lost = described(ultr.ClickLog.from_frame(pd.DataFrame({**rows, "click": [1, 1, 0], "conversion": [0, 0, 1]})), tmp_path, chunk=1)
    assert "No conversion estimator can be fitted: a conversion needs a click: page 1, row 0 has 1; 1 of 3 is wrong." in lost
    assert "time  needed by rules that look at time" in journeys
    for text in (users, ads, journeys):
        assert "ranker" not in text
        assert "Swaps" not in text
    assert "needed by every ranker" in pages
    assert "identif" in pages


def test_a_description_of_too_many_pairs_looks_at_some_of_the_queries(tmp_path, monkeypatch):
    frame = impressions(300).rename(columns={"request": "page", "doc": "item", "rank": "position", "clicked": "click"})
    log = ultr.ClickLog.from_frame(frame.assign(query=frame["page"]), first_position=1)
    monkeypatch.setattr("ultr.commands.describe._PAIRS", len(frame) // 4)
    monkeypatch.setattr("ultr.commands.summary._MOST", 100)
    text = described(log, tmp_path)
    assert re.search(r"^On the pages of 25% of the queries, drawn by a hash: Swaps do not", text, re.MULTILINE)
    assert re.search(r"^queries +more than 100$", text, re.MULTILINE)
    assert re.search(r"^orders +more than 100 of queries and items together$", text, re.MULTILINE)


def test_distinct_and_roughly_count_what_they_are_given():
    rng = np.random.default_rng(0)
    keys, distinct, roughly = rng.integers(0, 2**64, 300_000, dtype=np.uint64), Distinct(), Roughly()
    for piece in np.array_split(np.concatenate([keys, keys[::3]]), 11):
        distinct.add(piece, piece >> np.uint64(60))
        roughly.add(piece)
    assert len(distinct.groups()) == len(np.unique(keys))
    np.testing.assert_array_equal(np.bincount(distinct.groups().astype(int)), np.bincount((np.unique(keys) >> np.uint64(60)).astype(int)))
    # 300,000 keys in 2^24 places: the estimate has a standard error of 52, so that 300 is passed by chance with probability 1e-8
    assert abs(float(roughly) - 300_000) < 300


def test_ids_stay_apart_whatever_line_comes_late(tmp_path):
    """As float64, 2^53 and 2^53 + 1 would be one id."""
    late = ["a1,12345678901234567890123,0", "a2,12345678901234567890124,0", "a3,1e3,0"]
    early = [f"{page},{9007199254740992 + page},0" for page in range(10_001)]
    (tmp_path / "t.csv").write_text("page,item,position\n" + "\n".join([*early, *late]) + "\n")
    import_table(tmp_path / "t.csv", tmp_path / "log")
    ids = ultr.ParquetLog.open(tmp_path / "log").load().items.ids
    assert len(set(ids)) == len(ids) == 10_004
    assert {"9007199254740992", "9007199254740993", "12345678901234567890123", "12345678901234567890124"} <= set(ids)


@pytest.mark.parametrize("limit", ["-1GB", "50%", "99999TB", "lots", ""])
def test_a_memory_limit_is_an_amount_of_memory(limit, tmp_path):
    (tmp_path / "t.csv").write_text("page,item\na,1\n")
    with pytest.raises(ConfigError, match="memory_limit must be an amount of memory"):
        import_table(tmp_path / "t.csv", tmp_path / "log", memory_limit=limit)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("above", ["\n", "\n\n", "\r\n", "\r\n\r\n"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_empty_lines_above_the_header_are_passed_over(above, name, tmp_path):
    text = f"{above}page,item\n1,a\n1,b\n2,a\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    log = check_equal(tmp_path / name, tmp_path)
    assert len(log) == 2
