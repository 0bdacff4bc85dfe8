"""Text files line by line, plain or compressed, with the number of each line for messages."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from ultr.errors import FileError

_TOO_LARGE = 1 << 62


def text_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, without their ends, with their numbers from 1.

    Args:
        file: In UTF-8, with or without a byte order mark, plain or `.gz`.

    Raises:
        FileError: the file cannot be read, is not in UTF-8, or is cut.
    """
    number = 0
    try:
        with gzip.open(file, "rt", encoding="utf-8-sig") if file.suffix == ".gz" else open(file, encoding="utf-8-sig") as stream:
            for number, text in enumerate(stream, 1):
                if not text.isspace():
                    yield number, text.rstrip("\r\n")
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise FileError(f"{file} cannot be read after line {number}: {error}. Check it, or fetch it again.") from error


def whole_number(field: str, name: str, file: Path, line: int, least: int = 0) -> int:
    """Return a field as a whole number of at least `least`.

    Raises:
        FileError: it is none.
    """
    value = int(field) if re.fullmatch(r"[+-]?\d{1,19}", field.strip()) else _TOO_LARGE
    if not least <= value < _TOO_LARGE:
        raise FileError(f"{file}, line {line}: the {name} must be a whole number of {least} or more, not {field[:40]!r}.")
    return value
