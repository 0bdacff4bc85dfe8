"""The folder of a log on disk: what its schema.json says, checked against what lies there."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ultr.data.arrow import Layout
from ultr.data.files import SCHEMA, check_file, file_print
from ultr.data.stored_items import ITEMS, StoredItems, write_items
from ultr.errors import FileError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["FORMAT", "SCHEMA", "VERSION", "Folder", "RowGroup", "file_print", "is_log", "read_folder", "schema_text", "write_items"]

FORMAT, VERSION = "ultr click log", 2
_CHECK = "checksum"


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
class Folder:
    """What schema.json says about the log in a folder."""

    path: Path
    columns: Layout
    page_columns: Layout
    groups: tuple[RowGroup, ...]
    items: StoredItems | None


def schema_text(said: dict[str, Any]) -> str:
    """Return the text of schema.json, with a checksum of what it says."""
    said = {name: value for name, value in said.items() if name != _CHECK}
    return json.dumps({**said, _CHECK: _checksum(said)}, indent=1)


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
        said = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
        if said["format"] != FORMAT:
            raise ValueError(f"format is {said['format']!r}, not {FORMAT!r}")
        if said["version"] > VERSION:
            raise FileError(f"{path} has format version {said['version']}; this ultr reads versions up to {VERSION}. Install a newer ultr.")
        if said["version"] > 1 and said.pop(_CHECK) != _checksum(said):
            raise ValueError("what it says is not what was written (its checksum differs)")
        columns, page_columns = ({n: np.dtype(dtype) for n, dtype in said[kind].items()} for kind in ("columns", "page_columns"))
        groups = tuple(RowGroup(path / name, *numbers) for name, *numbers in said["row_groups"])
        items = None if said["items"] is None else _stored_items(path / ITEMS, said["items"])
        for name, written in said["files"].items():
            check_file(path / name, written)
    except FileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise FileError(f"{file} is broken: {type(error).__name__}: {error}. Write the log again.") from error
    return Folder(path, columns, page_columns, groups, items)


def _checksum(said: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(said, sort_keys=True).encode())


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary; JSON would let the last of two equal names win."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands in it twice")
    return found


def _stored_items(path: Path, entry: dict[str, Any]) -> StoredItems:
    names = None if entry["names"] is None else tuple(entry["names"])
    return StoredItems(path, int(entry["length"]), entry["n_features"], entry["ids"], names, entry["digest"], entry.get("checksum"))
