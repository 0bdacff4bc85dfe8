"""The files of a long table, read batch by batch: what their columns are, and their lines as Arrow record batches."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ultr.data.checks import find_file, need_path
from ultr.data.table import check_last_line, read_text, separator_of
from ultr.data.table_ids import IDS
from ultr.errors import FileError, LogError

_SAMPLE = 10_000  # lines whose types are taken for those of the whole file, until a line says otherwise
_BATCH = 1 << 16  # lines a batch of a Parquet file
_BLOCK = 1 << 22  # bytes a batch of a text file
_WIDER = {"int64": "uint64", "uint64": "float64"}  # what a column of text becomes where a line does not fit; else strings
MISSING = (  # what pandas takes for a missing value
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN"),
    *("None", "n/a", "nan", "null"),
)


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Args:
        name: Our name.
        source: The file's name.
        dtype: What it holds where nothing is missing: numbers, booleans, times, or objects, which are strings.
        missing: Whether values are missing somewhere.
    """

    name: str
    source: str
    dtype: np.dtype
    missing: bool = False

    def values(self, array: pa.ChunkedArray) -> np.ndarray:
        """Return values as `ClickLog.from_frame` would: whole numbers become float64 where some are missing, as in pandas."""
        if self.dtype.kind in "mM":
            return array.fill_null(np.iinfo(np.int64).min).to_numpy().view(self.dtype)
        values = array.to_numpy()
        if self.dtype.kind == "O":
            return values.astype(object)
        return values.astype(np.float64 if self.missing else self.dtype, copy=False)


@dataclass
class Feed:
    """Batches on their way out of a file. The columns are named c0, c1, ...; times are whole numbers.

    Args:
        file: The file.
        schema: Of the batches.
        batches: The batches.
        error: What went wrong with the file, if anything; whoever pulls the batches may pass on its words only.
    """

    file: Path
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    error: FileError | None = field(default=None, init=False)

    def reader(self) -> pa.RecordBatchReader:
        """Return the batches as an Arrow stream, to be read once."""
        return pa.RecordBatchReader.from_batches(self.schema, self._remembering())

    def _remembering(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.batches
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            self.error = _refusal(self.file, str(error).strip().split("\n")[0])
            raise self.error from error


def _refusal(file: Path, reason: str) -> FileError:
    """Say what is wrong with a file, and in which line if that is known."""
    if fields := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", reason):
        line, n_fields, found = map(int, fields.groups())
        try:
            check_last_line(file, str(separator_of(file)), n_fields, line)
        except FileError as truncated:
            return truncated
        return FileError(
            f"{file}, line {line}: it has {found} fields, the header has {n_fields}. The file may be truncated, or this line damaged."
            " Check it, or fetch the file again."
        )
    return FileError(f"{file} cannot be read: {reason}. It may be truncated, or no table: check it, or fetch it again.")


def table_files(path: str | Path) -> list[Path]:
    """Return the file, or all that match a pattern, in the order of their names.

    Raises:
        FileError: nothing is there, or text and Parquet are mixed.
    """
    if need_path(path).exists() or not glob.has_magic(str(path)):
        files = [find_file(path)]
    else:
        files = [find_file(name) for name in sorted(glob.glob(str(path)))]
        if not files:
            raise FileError(f"No file matches the pattern {path}. Check it.")
    separators = [separator_of(file) for file in files]
    for file, separator in zip(files, separators, strict=True):
        if separator != separators[0]:
            raise FileError(f"{file} is of another kind than {files[0]}. Import them one by one.")
    return files


def file_columns(file: Path, ids: Sequence[str] = ()) -> dict[str, np.dtype]:
    """Return the names and types of a file's columns; those of a text file are guessed from its first lines.

    Args:
        file: The file.
        ids: Columns that hold ids.

    Raises:
        FileError: the file cannot be read.
    """
    if separator_of(file) is not None:
        frame = read_text(file, ids, _SAMPLE)
        return {str(name): _guessed(frame[name]) for name in frame.columns}
    try:
        schema = pq.read_schema(file)
        frame = schema.empty_table().to_pandas()  # says which columns are an index, as reading the whole file would
    except (OSError, pa.ArrowException) as error:
        raise FileError(f"{file} cannot be read as Parquet: {str(error).strip()} It may be truncated: write or fetch it again.") from error
    frame = frame if frame.index.names == [None] else frame.reset_index()
    names = [str(name) for name in frame.columns if str(name) in schema.names]
    return {name: _dtype_of(schema.field(name).type) for name in names}


def check_alike(file: Path, first: Path, columns: Mapping[str, np.dtype]) -> None:
    """Refuse a file whose columns are not those of the first file.

    Raises:
        FileError: a name is missing or new, or, in Parquet, a type differs.
    """
    text = separator_of(file) is not None
    have = file_columns(file)
    odd = [name for name in {**columns, **have} if name not in have or name not in columns]
    if not text:
        odd += [name for name in columns if name in have and have[name] != columns[name]]
    if odd:
        here, there = (", ".join(_spelled(name, known, text) for name in odd) for known in (have, columns))
        raise FileError(f"{file} has other columns than {first}: {here}; there {there}. Import it on its own, or make the files alike.")


def feed(file: Path, columns: Sequence[Column]) -> Feed:
    """Open a file to read these columns, batch by batch.

    Raises:
        FileError: the file cannot be opened.
    """
    schema = pa.schema([(f"c{i}", _arrow_type(file, column)) for i, column in enumerate(columns)])
    sources = list(dict.fromkeys(column.source for column in columns))
    batches = _parquet(file, sources) if separator_of(file) is None else _text(file, sources)
    places = [sources.index(column.source) for column in columns]
    return Feed(file, schema, (_arranged(batch, places, schema) for batch in batches))


def widened(columns: Sequence[Column], i: int) -> list[Column]:
    """Return the columns of a text file after a line that column i did not fit."""
    source = columns[i].source
    wider = _WIDER.get(str(columns[i].dtype), "object")
    if wider == "float64" and any(column.name in IDS for column in columns if column.source == source):
        wider = "object"  # float64 has the same number for different ids
    return [replace(column, dtype=np.dtype(wider)) if column.source == source else column for column in columns]


def _arranged(batch: pa.RecordBatch, places: Sequence[int], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [batch.column(place).cast(field.type) for place, field in zip(places, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _text(file: Path, sources: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read columns of a text file as strings."""
    have = list(file_columns(file))
    names = [f"x{i}" for i in range(len(have))]  # the file's own may differ in case only, or be the same
    wanted = [names[have.index(source)] for source in sources]
    with pa_csv.open_csv(
        file,
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=_BLOCK, column_names=names, skip_rows=_blank_lines(file), skip_rows_after_names=1
        ),
        parse_options=pa_csv.ParseOptions(delimiter=separator_of(file), newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=list(MISSING),
            strings_can_be_null=True,
            include_columns=wanted,
        ),
    ) as reader:
        yield from reader


def _blank_lines(file: Path) -> int:
    """Return how many empty lines stand above the header; pandas passes over them."""
    with pa.input_stream(str(file), compression="detect") as stream:
        start = stream.read(_BATCH)
    return len(re.match(rb"[\r\n]*", start)[0].replace(b"\r\n", b"\n"))  # type: ignore[index]  # it matches nothing too


def _parquet(file: Path, sources: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        for batch in parquet.iter_batches(_BATCH, columns=list(sources), use_threads=False):
            yield pa.RecordBatch.from_arrays([batch.column(source) for source in sources], names=list(sources))


def _arrow_type(file: Path, column: Column) -> pa.DataType:
    if separator_of(file) is not None or column.dtype.kind == "O":
        return pa.string()
    return pa.int64() if column.dtype.kind in "mM" else pa.from_numpy_dtype(column.dtype)


def _guessed(values: pd.Series) -> np.dtype:
    """Return what pandas made of the first lines of a column."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf":
        return values.dtype
    booleans = pd.api.types.infer_dtype(values, skipna=True) == "boolean"
    return np.dtype(bool if booleans else object)


def _dtype_of(kind: pa.DataType) -> np.dtype:
    """Return the dtype of a Parquet column's values; void where a log has no place for them."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_timestamp(kind):
        return np.dtype(f"datetime64[{kind.unit}]")
    if pa.types.is_duration(kind):
        return np.dtype(f"timedelta64[{kind.unit}]")
    if pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind) or pa.types.is_boolean(kind):
        return np.dtype(kind.to_pandas_dtype())
    strings = str(kind) in ("string", "large_string", "string_view", "null")
    return np.dtype(object if strings else "V1")


def check_types(columns: Sequence[Column]) -> None:
    """Refuse columns that a log cannot hold.

    Raises:
        LogError: a column of a Parquet file is neither numbers nor booleans, strings or times.
    """
    for column in columns:
        if column.dtype.kind == "V":
            raise LogError(
                f"column {column.source!r} holds neither numbers nor booleans, strings or times, so a log on disk has no place for it."
                " Convert it, or leave it out of the file."
            )


def _spelled(name: str, known: Mapping[str, np.dtype], text: bool) -> str:
    return f"no {name!r}" if name not in known else f"{name!r}" if text else f"{name!r} of type {known[name]}"


def size_of(files: Sequence[Path]) -> int:
    """Return the bytes of some files."""
    return sum(os.path.getsize(file) for file in files)
