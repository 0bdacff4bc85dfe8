"""The files of Baidu-ULTR, opened piece by piece: Parquet by row group, Feather by record batch, one line a page or one line a row."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from ultr.data.arrow import one_array
from ultr.data.checks import need_path
from ultr.data.files import naming
from ultr.data.prefetch import prefetch
from ultr.errors import FileError


@dataclass(frozen=True)
class BaiduFile:
    """One file.

    Args:
        path: A .parquet file, or anything else for Feather (an Arrow file).
    """

    path: Path

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of its columns.

        Raises:
            FileError: it cannot be read.
        """
        with naming(self.path):
            if self.path.suffix == ".parquet":
                return pq.read_schema(self.path)
            with pa.OSFile(str(self.path)) as source:
                return pa.ipc.open_file(source).schema

    @property
    def lists(self) -> bool:
        """True if a line is a page, and what is known of its rows stands in lists."""
        return any(is_list(self.schema.field(name).type) for name in ("click", "clicks", "label") if name in self.schema.names)

    def pages(self, columns: Sequence[str], page: str | None) -> Iterator[pa.Table]:
        """Iterate over pieces of whole pages.

        Args:
            columns: Columns to read.
            page: In a file of one line a row the column that changes from page to page; it is read too.
        """
        if page is None:
            yield from self._pieces(columns)
            return
        rest: pa.Table | None = None
        for piece in self._pieces([*columns, *([] if page in columns else [page])]):
            table = piece if rest is None else pa.concat_tables([rest, piece])
            starts = page_starts(table, page)
            cut = int(starts[-1]) if len(starts) else 0  # the last page may go on in the next piece
            if cut:
                yield table.slice(0, cut)
            rest = table.slice(cut)
        if rest is not None and len(rest):
            yield rest

    def _pieces(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read the pieces one ahead."""
        with naming(self.path):
            if self.path.suffix == ".parquet":
                with pq.ParquetFile(self.path) as file:
                    yield from prefetch(partial(_row_group, file, list(columns)), range(file.num_row_groups))
                return
            with pa.OSFile(str(self.path)) as source:
                places = sorted(self.schema.get_field_index(name) for name in columns)
                reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=places, use_threads=False))
                yield from prefetch(partial(_record_batch, reader), range(reader.num_record_batches))


def _row_group(file: pq.ParquetFile, columns: list[str], number: int) -> pa.Table:
    return file.read_row_group(number, columns=columns, use_threads=False)


def _record_batch(reader: pa.ipc.RecordBatchFileReader, number: int) -> pa.Table:
    return pa.Table.from_batches([reader.get_batch(number)])


@contextmanager
def about(file: BaiduFile) -> Iterator[None]:
    """Turn what is wrong with the content of a file into a FileError that names it."""
    try:
        yield
    except FileError:
        raise
    except (ValueError, pa.ArrowException) as error:
        raise FileError(f"{file.path}: {error}") from error


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a column holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def page_starts(table: pa.Table, page: str) -> np.ndarray:
    """Return the lines on which a page begins."""
    values = one_array(table.column(page)).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.append(True, values[1:] != values[:-1])) if len(values) else np.empty(0, np.int64)


def find_files(path: str | Path) -> tuple[BaiduFile, ...]:
    """Return the files behind a file, a folder or a pattern, in the order of their names.

    Raises:
        FileError: there are none.
    """
    path = need_path(path)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in (".parquet", ".feather", ".arrow"))
    else:
        found = [path] if path.is_file() else sorted(map(Path, glob.glob(str(path))))
    if not found:
        raise FileError(f"There is no file of Baidu-ULTR at {path}: give a .parquet or .feather file, a folder of them, or a pattern.")
    return tuple(BaiduFile(file.absolute()) for file in found)
