"""Search sessions in the format of the TianGong-ST demo: one line a result page, with its session, query, documents and clicks."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ultr.data.checks import MAX_GRADE, find_file
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of, slots
from ultr.errors import FileError

_TOO_LARGE = 1 << 62
_LISTS = ("documents", "verticals", "clicks", "grades")  # in the order of the fields, after session and query


@dataclass(frozen=True)
class _Line:
    """One result page; the lists are equally long."""

    session: int
    query: int
    lists: tuple[Sequence[int], ...]


def load_tiangong(path: str | Path) -> ClickLog:
    """Read search sessions, one result page a line: `session, query, [documents], [verticals], [clicks]`, with tabs between the fields.

    A sixth field, `[grades]`, holds judgements where the file has them. Consecutive lines with one session number are one session.

    Args:
        path: A plain file or a `.gz`; where `path` is missing but `path.gz` is there, that one is read.

    Returns:
        The pages in the order of the file. Columns item, position, click, vertical (kind of result) and, where there are judgements,
        grade: a grade below 0, by which the set marks what could not be judged, is 0. Page columns session and query. Items are the
        document numbers of the file, which all files of a set share, so that `log.items` is None. A document can stand on a page twice.

    Raises:
        FileError: the file is missing, empty, truncated or no such file; a field is malformed; the lists of a line differ in length; a
            click is not 0 or 1; only some lines have grades; a session comes back after another one.

    Source:
        Chen, Mao, Liu, Zhang and Ma (2019), TianGong-ST: a new dataset with large-scale refined real-world web search sessions, CIKM. The
        line format is that of published click models for the set.
    """
    file = find_file(path)
    lines = list(_parsed(file))
    if not lines:
        raise FileError(f"{file} is empty: it needs one line a result page.")
    offsets = offsets_of(np.array([len(line.lists[0]) for line in lines]))
    item, vertical, click, *grade = (_column(lines, i) for i in range(len(lines[0].lists)))
    columns = {"item": item, "position": slots(offsets).astype(np.int32), "click": click.astype(np.int8), "vertical": vertical}
    if grade:
        columns["grade"] = np.maximum(grade[0], 0).astype(np.int32)
    pages = {name: np.array([getattr(line, name) for line in lines], dtype=np.int64) for name in ("session", "query")}
    return ClickLog(offsets, columns, pages)


def _column(lines: list[_Line], i: int) -> np.ndarray:
    return np.array([value for line in lines for value in line.lists[i]], dtype=np.int64)


def _parsed(file: Path) -> Iterator[_Line]:
    """Yield the lines, checked one by one and against those before."""
    before, n_fields, sessions = None, 0, set()
    for number, text in _lines(file):
        line = _parse(f"{file}, line {number}", text)
        n_fields = n_fields or len(line.lists)
        if len(line.lists) != n_fields:
            raise FileError(
                f"{file}, line {number}: {2 + len(line.lists)} fields where the first line has {2 + n_fields}. Give grades to all or none."
            )
        if line.session != before and line.session in sessions:
            raise FileError(f"{file}, line {number}: session {line.session} comes back after another one. Sort the lines by session.")
        before = line.session
        sessions.add(line.session)
        yield line


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers from 1."""
    number = 0
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else open(file, encoding="utf-8") as stream:
            for number, text in enumerate(stream, 1):
                if text.strip():
                    yield number, text.rstrip("\r\n")
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise FileError(f"{file} cannot be read after line {number}: {error}. Check it, or fetch it again.") from error


def _parse(where: str, text: str) -> _Line:
    fields = text.split("\t")
    if len(fields) not in (5, 6):
        raise FileError(f"{where}: {len(fields)} fields, but a line has session, query, documents, verticals, clicks and maybe grades.")
    session, query = (_whole(where, name, field) for name, field in zip(("session", "query"), fields[:2], strict=True))
    lists = tuple(_list(where, name, field) for name, field in zip(_LISTS, fields[2:], strict=False))
    lengths = [len(values) for values in lists]
    if len(set(lengths)) > 1:
        found = ", ".join(f"{n} {name}" for n, name in zip(lengths, _LISTS, strict=False))
        raise FileError(f"{where}: the lists differ in length: {found}.")
    _check(where, "documents", lists[0], lambda value: value >= 0, "0 or more")
    _check(where, "clicks", lists[2], lambda value: value in (0, 1), "0 or 1")
    if len(lists) > 3:
        _check(where, "grades", lists[3], lambda value: value <= MAX_GRADE, f"at most {MAX_GRADE}")
    return _Line(session, query, lists)


def _whole(where: str, name: str, field: str) -> int:
    try:
        value = int(field)
    except ValueError:
        value = _TOO_LARGE
    if abs(value) >= _TOO_LARGE:
        raise FileError(f"{where}: the {name} must be a whole number, not {field!r}.")
    return value


def _list(where: str, name: str, field: str) -> list[int]:
    try:
        values = json.loads(field)
    except ValueError:
        values = None
    if not isinstance(values, list) or not all(type(value) is int and abs(value) < _TOO_LARGE for value in values):
        raise FileError(
            f"{where}: {name} must be a list of whole numbers such as [3, 1, 2], not {field[:40]!r}. The file may be truncated."
        )
    return values


def _check(where: str, name: str, values: Sequence[int], allowed: Callable[[int], bool], rule: str) -> None:
    for rank, value in enumerate(values, 1):
        if not allowed(value):
            raise FileError(f"{where}: {name} must be {rule}; the one at rank {rank} is {value}.")
