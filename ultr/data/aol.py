"""The AOL query log of 2006: one line a query without a click, or a click; results that were not clicked are not in it."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ultr.data.checks import find_file, within
from ultr.data.items import Items
from ultr.data.lines import text_lines, whole_number
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, FileError

_HEADER = ["AnonID", "Query", "QueryTime", "ItemRank", "ClickURL"]
_LINE = "'AnonID Query QueryTime' or 'AnonID Query QueryTime ItemRank ClickURL', with tabs between the fields"


@dataclass
class _Pages:
    """What has been read; `rows` are the ranks and documents of the page at hand."""

    user: array[int] = field(default_factory=lambda: array("q"))
    query: list[str] = field(default_factory=list)
    time: list[str] = field(default_factory=list)
    line: array[int] = field(default_factory=lambda: array("q"))
    length: array[int] = field(default_factory=lambda: array("q"))
    rank: array[int] = field(default_factory=lambda: array("q"))
    item: array[int] = field(default_factory=lambda: array("q"))
    ids: dict[str, int] = field(default_factory=dict)
    rows: dict[int, str] = field(default_factory=dict)


def load_aol(path: str | Path, *, session_gap: float = 30.0) -> ClickLog:
    """Read the AOL query log: fields separated by tabs, with or without the header `AnonID Query QueryTime ItemRank ClickURL`.

    Consecutive lines of one user, query and time are one page; a rank that comes again with another address begins a new one, and a click
    that comes again counts once. The log lists what was clicked, and nothing of what was shown beside it: `click` is 1 on every row, so
    that it teaches no propensity and no ranker; it is for sessions, queries and what users clicked.

    Args:
        path: A plain file or a `.gz`; where `path` is missing but `path.gz` is there, that one is read.
        session_gap: Minutes without a query after which a new session begins, above 0.

    Returns:
        The pages in the order of the file, empty where nothing was clicked; rows of a page by rank. Columns item, position (rank - 1, as
        logged) and click; page columns user, session (numbers from 0), query (its text) and time. `log.items` has the addresses.

    Raises:
        FileError: the file is missing, empty, truncated or no such file; a field is malformed; a user comes back after another one, or
            the time of a user falls.
        ConfigError: `session_gap` is no number above 0.

    Source:
        Pass, Chowdhury and Torgeson (2006), A picture of search, InfoScale. doi:10.1145/1146847.1146848. Thirty minutes are the usual gap.
    """
    if not within(session_gap, "(0, inf)"):
        raise ConfigError(f"load_aol: session_gap must be a number of minutes above 0, not {session_gap!r}.")
    file = find_file(path)
    pages = _Pages()
    for number, text in text_lines(file):
        fields = text.split("\t")
        if number > 1 or fields != _HEADER:
            _add(pages, fields, file, number)
    if not pages.query:
        raise FileError(f"{file} has no query: its lines are {_LINE}.")
    _end_page(pages)
    return _log(pages, file, session_gap)


def _add(pages: _Pages, fields: list[str], file: Path, line: int) -> None:
    """Add a line: a new page, or another click on the last one."""
    if len(fields) not in (3, 5) or (len(fields) == 5 and (fields[3] == "") != (fields[4] == "")):
        raise FileError(f"{file}, line {line}: {len(fields)} fields; a line is {_LINE}.")
    user = whole_number(fields[0], "AnonID", file, line)
    rank, address = (whole_number(fields[3], "ItemRank", file, line, least=1), fields[4]) if len(fields) == 5 and fields[4] else (None, "")
    same = bool(pages.query) and (pages.user[-1], pages.query[-1], pages.time[-1]) == (user, fields[1], fields[2])
    if not same or (rank is not None and pages.rows.get(rank, address) != address):
        _end_page(pages)
        pages.user.append(user)
        pages.query.append(fields[1])
        pages.time.append(fields[2])
        pages.line.append(line)
    if rank is not None:
        pages.rows[rank] = address


def _end_page(pages: _Pages) -> None:
    """Write the rows of the page at hand, by rank."""
    if len(pages.length) < len(pages.query):
        for rank, address in sorted(pages.rows.items()):
            pages.rank.append(rank)
            pages.item.append(pages.ids.setdefault(address, len(pages.ids)))
        pages.length.append(len(pages.rows))
    pages.rows.clear()


def _log(pages: _Pages, file: Path, session_gap: float) -> ClickLog:
    user, time = np.array(pages.user, dtype=np.int64), _times(pages, file)
    new_user = np.append(True, user[1:] != user[:-1])
    starts = np.flatnonzero(new_user)
    back = np.setdiff1d(np.arange(len(starts)), np.unique(user[starts], return_index=True)[1])
    if len(back):
        page = starts[back[0]]
        raise FileError(f"{file}, line {pages.line[page]}: user {user[page]} comes back after another one. Sort the lines by AnonID.")
    gap = np.diff(time, prepend=time[:1]).astype(np.float64)
    falls = (gap < 0) & ~new_user
    if falls.any():
        page = int(np.argmax(falls))
        raise FileError(f"{file}, line {pages.line[page]}: the time falls to {pages.time[page]}. Sort the lines of a user by QueryTime.")
    session = np.cumsum(new_user | (gap > 60 * session_gap)) - 1
    rank = np.array(pages.rank, dtype=np.int64)
    click = np.ones(len(rank), dtype=np.int8)
    columns: dict[str, np.ndarray] = {"item": np.array(pages.item, dtype=np.int32), "position": (rank - 1).astype(np.int32), "click": click}
    page_columns = {"user": user, "session": session, "query": np.array(pages.query, dtype=object), "time": time}
    return ClickLog(offsets_of(np.array(pages.length)), columns, page_columns, Items(ids=np.array(list(pages.ids), dtype=object)))


def _times(pages: _Pages, file: Path) -> np.ndarray:
    """Return the times of the pages, in seconds."""
    bad = np.array([not _is_time(text) for text in pages.time])
    if bad.any():
        page = int(np.argmax(bad))
        raise FileError(
            f"{file}, line {pages.line[page]}: the QueryTime must be like '2006-03-01 07:17:12', not {pages.time[page][:40]!r};"
            f" {bad.sum()} of {len(bad)} are wrong."
        )
    return np.array(pages.time, dtype="datetime64[s]")


def _is_time(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text):
        return False
    try:
        return not np.isnat(np.datetime64(text, "s"))
    except ValueError:
        return False
