"""A log that was truncated, changed or mixed up is refused with an error that names the file; it is never read as if it were whole."""

import json
import shutil

import numpy as np
import pytest

from ultr.data import stored_items
from ultr.data.files import file_print
from ultr.data.folder import schema_text
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.parquet import ParquetLog, write_log
from ultr.errors import FileError

PAGES, ROWS = 6, 2
PAGE_FILES = ("pages-00000.parquet",)
FILES = (*PAGE_FILES, "items.parquet", "features.npy", "schema.json")


def make_log(seed=0, **columns):
    rng = np.random.default_rng(seed)
    n = PAGES * ROWS
    rows = {"item": rng.integers(0, 4, n, dtype=np.int32), "click": rng.integers(0, 2, n, dtype=np.int8), **columns}
    return ClickLog(
        np.arange(PAGES + 1) * ROWS,
        rows,
        {"query": np.array([f"q{i % 3}" for i in range(PAGES)], dtype=object)},
        Items(np.arange(12, dtype=np.float32).reshape(4, 3) + 1, ids=np.array(list("wxyz"), dtype=object)),
    )


@pytest.fixture
def log(tmp_path):
    """A log in two row groups; the folder it was written into is tmp_path / "log"."""
    log = make_log()
    write_log(log, tmp_path / "log", pages_per_group=3)
    return log


def read_all(path):
    """Read everything that a log holds, as bytes."""
    opened = ParquetLog.open(path)
    log = opened.load()
    columns = [log.offsets, *log.columns.values(), *log.page_columns.values(), opened.items.features, opened.items.ids]
    return [column.tolist() for column in columns], opened.column_names, [str(values.dtype) for values in columns]


# A file is cut off


@pytest.mark.parametrize("share", [0, 0.05, 0.3, 0.5, 0.9, 1])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused_when_the_log_is_opened(tmp_path, log, name, share):
    file = tmp_path / "log" / name
    whole = file.read_bytes()
    file.write_bytes(whole[: min(len(whole) - 1, round(share * len(whole)))])
    with pytest.raises(FileError, match=rf"{name} (has \d+ bytes, schema\.json says {len(whole)}|is broken)"):
        ParquetLog.open(tmp_path / "log")


@pytest.mark.parametrize("cut", [8, 200])
@pytest.mark.parametrize("name", FILES[:-1])
def test_bytes_missing_at_the_front_or_too_many_are_refused(tmp_path, log, name, cut):
    file = tmp_path / "log" / name
    whole = file.read_bytes()
    half = len(whole) // 2
    for broken in (whole[cut:], b"\0" * cut + whole[cut:], whole + whole[-cut:], whole[:half] + whole[half + cut :]):
        file.write_bytes(broken)
        with pytest.raises(FileError, match=name):
            read_all(tmp_path / "log")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path, log, name):
    (tmp_path / "log" / name).unlink()
    with pytest.raises(FileError, match=rf"{name} is missing|it has no {name}"):
        ParquetLog.open(tmp_path / "log")


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_file_that_is_truncated_after_opening_is_an_error_and_not_the_end_of_the_process(tmp_path, log, name):
    opened = ParquetLog.open(tmp_path / "log")
    file = tmp_path / "log" / name
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(FileError, match=name):
        opened.load()


def test_a_file_that_is_truncated_half_way_through_a_pass(tmp_path):
    """What was read before the cut is right, and the pass never ends as if the log ended there."""
    log = make_log()
    write_log(log, tmp_path / "log", pages_per_group=1)
    chunks = ParquetLog.open(tmp_path / "log").chunks()
    seen = [next(chunks)]
    (tmp_path / "log" / PAGE_FILES[0]).write_bytes(b"PAR1")
    with pytest.raises(FileError, match=r"pages-00000\.parquet cannot be read"):
        seen.extend(chunks)
    for page, chunk in enumerate(seen):
        assert np.array_equal(chunk.columns["item"], log.columns["item"][page * ROWS : (page + 1) * ROWS])


# A byte is flipped


@pytest.mark.parametrize("flip", [0xFF, 0x01])
@pytest.mark.parametrize("name", FILES)
def test_no_flipped_byte_changes_an_answer(tmp_path, name, flip):
    """A third of all bytes: either an error names the file, or the byte did not matter (magic numbers, statistics, padding)."""
    write_log(make_log(), tmp_path / "log")
    before = read_all(tmp_path / "log")
    file = tmp_path / "log" / name
    whole = file.read_bytes()
    errors, places = [], range(flip % 3, len(whole), 3)
    for at in places:
        broken = bytearray(whole)
        broken[at] ^= flip
        file.write_bytes(broken)
        try:
            assert read_all(tmp_path / "log") == before, at
        except FileError as error:
            errors.append(str(error))
    assert len(errors) > len(places) // 2
    assert all(name in error or "has format version" in error for error in errors)
    if name in ("features.npy", "schema.json"):
        assert len(errors) == len(places)


def test_features_too_large_to_read_through_are_checked_at_both_ends(tmp_path, log, monkeypatch):
    monkeypatch.setattr(stored_items, "_READ_THROUGH", 0)
    read_all(tmp_path / "log")
    file = tmp_path / "log" / "features.npy"
    whole = file.read_bytes()
    for at in (0, len(whole) - 1):
        broken = bytearray(whole)
        broken[at] ^= 1
        file.write_bytes(broken)
        with pytest.raises(FileError, match=r"features\.npy is not the file that was written \(its first or last bytes differ\)"):
            ParquetLog.open(tmp_path / "log")


# Files and folders are mixed up


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_file_of_another_log_is_refused(tmp_path, log, name):
    other = make_log(seed=1)
    items = Items(2 * other.items.features, ids=np.array(list("abcd"), dtype=object))
    write_log(ClickLog(other.offsets, other.columns, other.page_columns, items), tmp_path / "other", pages_per_group=3)
    shutil.copy(tmp_path / "other" / name, tmp_path / "log" / name)
    with pytest.raises(FileError, match=rf"{name} (has \d+ bytes|is not the file that was written)"):
        ParquetLog.open(tmp_path / "log")


def test_a_file_of_pages_whose_columns_are_not_those_of_the_schema(tmp_path, log):
    """Even where its print was forged the columns are missed, or seen to be of another length."""
    write_log(ClickLog(log.offsets, {"item": log.columns["item"]}, log.page_columns, log.items), tmp_path / "other", pages_per_group=3)
    shutil.copy(tmp_path / "other" / "pages-00000.parquet", tmp_path / "log" / "pages-00000.parquet")
    said = json.loads((tmp_path / "log" / "schema.json").read_text())
    said["files"]["pages-00000.parquet"] = file_print(tmp_path / "log" / "pages-00000.parquet")
    (tmp_path / "log" / "schema.json").write_text(schema_text(said))
    with pytest.raises(FileError, match=r"pages-00000\.parquet cannot be read: .*click"):
        ParquetLog.open(tmp_path / "log").load()


def test_a_column_that_stands_in_the_schema_twice(tmp_path, log):
    file = tmp_path / "log" / "schema.json"
    file.write_text(file.read_text().replace('"click": "int8"', '"click": "int8", "click": "int16"'))
    with pytest.raises(FileError, match=r"schema\.json is broken: ValueError: 'click' stands in it twice"):
        ParquetLog.open(tmp_path / "log")


def test_a_schema_that_was_edited_by_hand(tmp_path, log):
    file = tmp_path / "log" / "schema.json"
    file.write_text(file.read_text().replace('"click": "int8"', '"click": "int16"'))
    with pytest.raises(FileError, match=r"schema\.json is broken: ValueError: what it says is not what was written"):
        ParquetLog.open(tmp_path / "log")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda log: log.with_columns(click=log.columns["click"].astype(np.int64)), r"different columns: click is int8 and int64"),
        (lambda log: log.with_columns(dwell=np.ones(log.n_rows)), r"different columns: dwell is missing and float64"),
        (lambda log: ClickLog(log.offsets, {"item": log.columns["item"]}, log.page_columns, log.items), r"click is int8 and missing"),
        (lambda log: ClickLog(log.offsets, log.columns, {}, log.items), r"different page columns: query is object and missing"),
        (lambda log: ClickLog(log.offsets, log.columns, log.page_columns), r"are about different items"),
    ],
    ids=["dtype", "more", "less", "page column", "items"],
)
def test_a_changed_schema_in_the_middle_of_a_pattern_names_both_folders(tmp_path, change, message):
    for day in (1, 2, 3, 4, 5):
        log = make_log(seed=day)
        (change(log) if day == 3 else log).write_parquet(tmp_path / f"day-{day}")
    with pytest.raises(FileError, match=rf"day-1 and .*day-3 .*{message}"):
        ParquetLog.open(tmp_path / "day-*")
