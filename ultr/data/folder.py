"""The folder of a log on disk: what its schema.json says, checked against what lies there, and the items beside the pages."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ultr.data.arrow import Layout, arrow_type, to_arrow, to_numpy
from ultr.data.items import Items
from ultr.errors import FileError
from ultr.random import hash_ids

if TYPE_CHECKING:
    from typing import Any

FORMAT, VERSION = "ultr click log", 1
SCHEMA, ITEMS = "schema.json", "items.parquet"
_ITEM_BLOCK = 1 << 16  # items a row group


@dataclass(frozen=True)
class RowGroup:
    """A piece of a log on disk that is read on its own; whole sessions.

    Args:
        path: The Parquet file.
        index: Number of the row group in the file.
        pages: Pages in it.
        rows: Rows in it.
        first_session: Session of its first page, spelled out; None where the log has none.
        last_session: Session of its last page.
    """

    path: Path
    index: int
    pages: int
    rows: int
    first_session: str | None = None
    last_session: str | None = None


@dataclass(frozen=True)
class StoredItems:
    """Items on disk, loaded on first use and once for all logs that share this object.

    Args:
        path: The Parquet file.
        length: Number of items.
        n_features: Features of each; None where items are known by id only.
        ids: Dtype of the ids; None where the row number is the id.
        names: Names of the features.
        digest: Hash of the content, equal for equal items.
    """

    path: Path
    length: int
    n_features: int | None
    ids: str | None
    names: tuple[str, ...] | None
    digest: str

    @cached_property
    def items(self) -> Items:
        """The items, with float32 features.

        Raises:
            FileError: the file cannot be read.
        """
        ids = [] if self.ids is None else [np.empty(0, dtype=np.dtype(self.ids))]
        features = None if self.n_features is None else np.empty((self.length, self.n_features), dtype=np.float32)
        start = 0
        with reading(self.path) as file:
            for batch in file.iter_batches(batch_size=_ITEM_BLOCK):
                if self.ids is not None:
                    ids.append(to_numpy(batch.column("id"), np.dtype(self.ids)))
                if features is not None and self.n_features:
                    features[start : start + len(batch)] = batch.column("features").flatten().to_numpy().reshape(len(batch), -1)
                start += len(batch)
        if start != self.length:
            raise FileError(f"{self.path} holds {start} items, {SCHEMA} says {self.length}. Write the log again.")
        return Items(features, None if self.ids is None else np.concatenate(ids), self.names)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "items"}  # a worker loads them from the file


@dataclass(frozen=True)
class Folder:
    """What schema.json says about the log in a folder."""

    path: Path
    columns: Layout
    page_columns: Layout
    groups: tuple[RowGroup, ...]
    items: StoredItems | None


@contextmanager
def reading(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file, and turn whatever is wrong with it into a FileError that names it."""
    try:
        with pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
            yield file
    except FileError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError) as error:
        reason = str(error).strip().split("\n")[0]
        raise FileError(f"{path} cannot be read: {reason}. It is damaged or was changed; write the log again.") from error


def write_items(items: Items, folder: Path) -> dict[str, object]:
    """Write items.parquet (row number, id, features as one list of fixed length) and return its entry for schema.json."""
    fields = [pa.field("item", pa.int64(), nullable=False)]
    if items.ids is not None:
        fields.append(pa.field("id", arrow_type("ids of the items", items.ids.dtype)))
    if items.n_features:
        fields.append(pa.field("features", pa.list_(pa.field("element", pa.float32(), nullable=False), items.n_features), nullable=False))
    schema = pa.schema(fields)
    with pq.ParquetWriter(folder / ITEMS, schema, write_page_checksum=True) as writer:
        for start in range(0, len(items), _ITEM_BLOCK):
            block = slice(start, start + _ITEM_BLOCK)
            arrays = [pa.array(np.arange(len(items), dtype=np.int64)[block])]
            if items.ids is not None:
                arrays.append(to_arrow("ids of the items", items.ids[block]))
            if items.features is not None and items.n_features:
                arrays.append(
                    pa.FixedSizeListArray.from_arrays(pa.array(items.features[block].reshape(-1)), type=schema.field("features").type)
                )
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return {
        "length": len(items),
        "n_features": None if items.features is None else items.n_features,
        "ids": None if items.ids is None else str(items.ids.dtype),
        "names": items.names,
        "digest": digest_of(items),
    }


def digest_of(items: Items) -> str:
    """Return a hash that is equal for items of equal features, ids and names."""
    shape = None if items.features is None else items.features.shape
    digest = hashlib.sha256(repr((len(items), shape, items.names, None if items.ids is None else str(items.ids.dtype))).encode())
    if items.features is not None:
        digest.update(items.features.reshape(-1).data)
    if items.ids is not None:
        digest.update(hash_ids(items.ids).data)
    return digest.hexdigest()


def is_log(path: Path) -> bool:
    """Tell whether a folder holds a log, of whatever version."""
    try:
        return bool(json.loads((path / SCHEMA).read_text(encoding="utf-8"))["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_folder(path: Path) -> Folder:
    """Read schema.json and compare it with the files.

    Raises:
        FileError: the folder is missing or is no log, its version is newer than this one, schema.json is broken, a file is missing or
            is not the one that was written.
    """
    if not path.exists():
        raise FileError(f"There is no log at {path}: no such folder.")
    file = path / SCHEMA
    if not file.is_file():
        raise FileError(f"{path} is not a log: it has no {SCHEMA}. A log is a folder that log.write_parquet(path) wrote.")
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if said["format"] != FORMAT:
            raise ValueError(f"format is {said['format']!r}, not {FORMAT!r}")
        if said["version"] > VERSION:
            raise FileError(f"{path} has format version {said['version']}; this ultr reads versions up to {VERSION}. Install a newer ultr.")
        columns, page_columns = ({n: np.dtype(dtype) for n, dtype in said[kind].items()} for kind in ("columns", "page_columns"))
        groups = tuple(RowGroup(path / name, *numbers) for name, *numbers in said["row_groups"])
        items = None if said["items"] is None else _stored_items(path / ITEMS, said["items"])
        for name, written in said["files"].items():
            _check_file(path / name, written)
    except FileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{file} is broken: {type(error).__name__}: {error}. Write the log again.") from error
    return Folder(path, columns, page_columns, groups, items)


def file_print(path: Path) -> dict[str, int]:
    """Return what tells a finished Parquet file from another: its size and a checksum of its footer.

    The footer says where each page of the file lies; the pages have checksums of their own, which are verified when they are read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, size - 8 - length))
        return {"bytes": size, "footer": zlib.crc32(file.read())}


def _check_file(path: Path, written: dict[str, int]) -> None:
    if not path.is_file():
        raise FileError(f"{path} is missing. Restore it, or write the log again.")
    size = path.stat().st_size
    if size != written["bytes"]:
        raise FileError(f"{path} has {size} bytes, {SCHEMA} says {written['bytes']}: it is truncated or was changed. Write the log again.")
    if file_print(path) != written:
        raise FileError(f"{path} is not the file that was written (its footer differs). Write the log again.")


def _stored_items(path: Path, entry: dict[str, Any]) -> StoredItems:
    names = None if entry["names"] is None else tuple(entry["names"])
    return StoredItems(path, int(entry["length"]), entry["n_features"], entry["ids"], names, entry["digest"])
