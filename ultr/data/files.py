"""The files of a log on disk: opened with one kind of error, and told apart from files that were truncated, changed or swapped."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ultr.errors import FileError

SCHEMA = "schema.json"
_ENDS = 1 << 16  # bytes at either end of a file without a footer
_BLOCK = 1 << 22  # bytes read at a time


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn whatever is wrong with a file into a FileError that names it."""
    try:
        yield
    except FileError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, EOFError) as error:
        reason = str(error).strip().split("\n")[0]
        raise FileError(f"{path} cannot be read: {reason}. It is damaged or was changed; write the log again.") from error


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file; a page that is read is compared with its checksum.

    The file is not mapped into memory: a file truncated while it is read is then an error and not the end of the process, and what was read
    does not count as memory in use. It costs nothing.
    """
    return pq.ParquetFile(path, memory_map=False, page_checksum_verification=True)


def file_print(path: Path) -> dict[str, int]:
    """Return what tells a finished file from another: its size and a checksum of the part that describes it.

    Of a Parquet file that is the footer, which says where each page lies; the pages have checksums of their own, verified when they are
    read. Of any other file it is 64 KiB at either end.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if path.suffix != ".parquet":
            head = file.read(_ENDS)
            file.seek(max(len(head), size - _ENDS))
            return {"bytes": size, "ends": zlib.crc32(file.read(), zlib.crc32(head))}
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, size - 8 - length))
        return {"bytes": size, "footer": zlib.crc32(file.read())}


def check_file(path: Path, written: dict[str, int]) -> None:
    """Compare a file with the print that was taken when it was written.

    Raises:
        FileError: it is missing, has another size, or is another file.
    """
    if not path.is_file():
        raise FileError(f"{path} is missing. Restore it, or write the log again.")
    size = path.stat().st_size
    if size != written["bytes"]:
        raise FileError(f"{path} has {size} bytes, {SCHEMA} says {written['bytes']}: it is truncated or was changed. Write the log again.")
    if file_print(path) != written:
        part = "footer differs" if path.suffix == ".parquet" else "first or last bytes differ"
        raise FileError(f"{path} is not the file that was written (its {part}). Write the log again.")


def checksum(path: Path, start: int = 0) -> int:
    """Return the CRC-32 of a file from byte `start` on, read in blocks."""
    found = 0
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(_BLOCK):
            found = zlib.crc32(block, found)
    return found
