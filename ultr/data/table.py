"""Tables on disk, CSV or Parquet, one line an impression."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ultr.data.checks import find_file
from ultr.data.frame import log_from_frame
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.table_ids import id_columns, read_ids
from ultr.errors import ConfigError, FileError, LogError
from ultr.imports import nearest

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")
_TAIL = 1 << 16  # bytes at the end of a file in which its last line begins


def read_table(
    path: str | Path,
    columns: Mapping[str, str] | None = None,
    features: Sequence[str] = (),
    items: Items | None = None,
    page_columns: Sequence[str] = (),
    first_position: int = 0,
) -> ClickLog:
    """Make a log from a CSV or Parquet file with one line per shown row.

    Ids (page, item, query, session, user) of a text file are whole numbers where each is spelled as its number is; else they are text, so
    that 01, 1 and 1.0 are three. Columns that `columns` does not name keep the file's name; one whose name is taken (the file has a
    column `click`, but click is mapped to another) is left out.

    Args:
        path: `.csv` or `.tsv`, plain or `.gz`, with a header; or `.parquet`.
        columns: Our names and the file's, e.g. `{"page": "request_id", "item": "doc", "click": "clicked"}`. `page` and `item` must be
            there, by this mapping or by the file's own names.
        features: Columns of the file that become `log.items`, one item row per distinct (query, item).
        items: Items that the column `item` refers to, by id where they have ids, else by row number.
        page_columns: Columns of the file that are constant within a page, besides those that `ClickLog.from_frame` knows.
        first_position: What the file calls the first position: 0 or 1.

    Raises:
        FileError: the file is missing, empty, truncated, malformed, or of another kind.
        LogError: what `ClickLog.from_frame` refuses, with the file and, in text files, the line (the header is line 1).
        ConfigError: `columns`, `items` or `first_position` is of another kind.
    """
    file, mapping = find_file(path), column_mapping(columns)
    text = separator_of(file) is not None
    frame = read_text(file, id_columns(mapping)) if text else _read_parquet(file)
    try:
        names = column_names("features", features), column_names("page_columns", page_columns)
        frame, features, page_columns = _renamed(frame, mapping, *names)
        return log_from_frame(frame, "page", page_columns, features, items, first_position, first_line=2 if text else 0)
    except LogError as error:
        raise LogError(f"{file}: {error}") from error


def separator_of(file: Path) -> str | None:
    """Return what separates the fields of a text file; None for Parquet."""
    name = file.name.lower().removesuffix(".gz")
    for suffix, separator in _SEPARATORS.items():
        if name.endswith(suffix):
            return separator
    if not file.name.lower().endswith(_PARQUET):
        raise FileError(f"{file}: the name must end in .csv, .tsv (plain or .gz) or .parquet, which say how to read the file.")
    return None


def read_text(file: Path, ids: Sequence[str] = (), n_lines: int | None = None) -> pd.DataFrame:
    """Read a text file, or no more than its first lines.

    Args:
        file: The file.
        ids: Columns that hold ids, as far as the file has them.
        n_lines: How many lines; all when None.

    Raises:
        FileError: the file is empty, truncated, malformed or separated by something else, as far as it was read.
    """
    separator = separator_of(file)
    try:
        header = pd.read_csv(file, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
        frame = pd.read_csv(file, sep=separator, low_memory=False, nrows=n_lines)  # whole columns at a time, so that ids never mix types
    except pd.errors.EmptyDataError:
        raise FileError(f"{file} is empty: it needs a header and one line per shown row.") from None
    except UnicodeDecodeError as error:
        raise FileError(f"{file} cannot be read: {error}. It is no table, or not in UTF-8: save it in UTF-8.") from error
    except (pd.errors.ParserError, OSError, EOFError, zlib.error) as error:
        raise FileError(f"{file} cannot be read: {str(error).strip()}. It may be truncated, or no table: check it.") from error
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise FileError(f"{file}: the header has {', '.join(doubled)} more than once. Rename or drop the extra columns.")
    if len(header) == 1 and (other := next((mark for mark in ";\t|," if mark in header[0]), None)):
        raise FileError(f"{file}: the header is one field, {header[0]!r}. Save the file with {separator!r} between fields, not {other!r}.")
    if not isinstance(frame.index, pd.RangeIndex):
        raise FileError(f"{file}: the lines have more fields than the header, which has {len(header)}. Name every column.")
    if n_lines is None:
        check_last_line(file, str(separator), len(header), len(frame) + 1)
    return read_ids(file, str(separator), frame, ids, n_lines)


def check_last_line(file: Path, separator: str, n_fields: int, line: int) -> None:
    """Refuse a last line with too few fields and no line end; a `.gz` says itself where it is cut."""
    if file.suffix == ".gz":
        return
    with open(file, "rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - _TAIL))
        last = stream.read().rpartition(b"\n")[2]
    fields = last.count(separator.encode()) + 1
    if last and b'"' not in last and fields < n_fields:
        raise FileError(
            f"{file}, line {line}: the last line has no line end and {fields} of {n_fields} fields: the file is truncated. Fetch it again."
        )


def _read_parquet(file: Path) -> pd.DataFrame:
    import pyarrow as pa

    try:
        frame = pd.read_parquet(file)
    except (OSError, pa.ArrowException) as error:
        raise FileError(f"{file} cannot be read as Parquet: {str(error).strip()} It may be truncated: write or fetch it again.") from error
    return frame if frame.index.names == [None] else frame.reset_index()


def column_names(argument: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return a list of names; refuse one string, which is a sequence too."""
    if isinstance(names, str):
        raise LogError(f"{argument} must be a list of column names, not one string: write {argument}=[{names!r}].")
    if not isinstance(names, Iterable):
        raise LogError(f"{argument} must be a list of column names, not {names!r}.")
    return tuple(names)


def column_mapping(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Return our names and the file's; refuse what is no mapping of names to names."""
    if columns is not None and not isinstance(columns, Mapping):
        raise ConfigError(f"columns must be a mapping of our names to the file's, such as {{'page': 'request_id'}}, not {columns!r}.")
    mapping = dict(columns or {})
    if wrong := [name for pair in mapping.items() for name in pair if not isinstance(name, str)]:
        raise ConfigError(f"columns must map names to names, such as {{'page': 'request_id'}}: {wrong[0]!r} is none.")
    return mapping


def _renamed(
    frame: pd.DataFrame, mapping: Mapping[str, str], features: tuple[str, ...], page_columns: tuple[str, ...]
) -> tuple[pd.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """Give the columns our names, in the frame and in the lists of features and page columns."""
    have = [str(name) for name in frame.columns]
    names, features, page_columns = renaming(have, mapping, features, page_columns)
    return frame.set_axis(have, axis=1)[list(names.values())].set_axis(list(names), axis=1), features, page_columns


def renaming(
    have: Sequence[str], mapping: Mapping[str, str], features: tuple[str, ...], page_columns: tuple[str, ...]
) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """Return the file's name of each of our columns, in their order, and our names of the features and page columns.

    Raises:
        LogError: a name is not in the file, or stands for two columns.
    """
    for argument, names in (("columns", tuple(mapping.values())), ("features", features), ("page_columns", page_columns)):
        for name in names:
            if name not in have:
                raise LogError(f"{argument} names {name!r}, which the file lacks.{nearest(name, have)} It has: {', '.join(have)}.")
            if argument != "columns" and mapping.get(name, name) != name and name not in mapping.values():
                raise LogError(
                    f"{argument} names {name!r}, but columns takes that name for {mapping[name]!r}. Map {name!r} to another name too."
                )
    for required in ("page", "item"):
        if required not in mapping and required not in have:
            raise LogError(f"Which column is the {required}? Say columns={{{required!r}: ...}}. The file has: {', '.join(have)}.")
    kept = [name for name in have if name not in mapping and name not in mapping.values()]
    ours_of = {theirs: [ours for ours in mapping if mapping[ours] == theirs] for theirs in mapping.values()}
    features, page_columns = (
        tuple(ours for theirs in names for ours in ours_of.get(theirs, [theirs])) for names in (features, page_columns)
    )
    return {**mapping, **{name: name for name in kept}}, features, page_columns
