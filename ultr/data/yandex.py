"""Search sessions in the format of Yandex's relevance prediction challenge: one line a result page or a click."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ultr.data.checks import find_file
from ultr.data.lines import text_lines, whole_number
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of, slots
from ultr.errors import ConfigError, FileError

StrayClicks = Literal["error", "drop"]


@dataclass
class _Pages:
    """What has been read: the pages, the rows, and where in the rows the session at hand has its documents."""

    session: array[int] = field(default_factory=lambda: array("q"))
    time: array[int] = field(default_factory=lambda: array("q"))
    query: array[int] = field(default_factory=lambda: array("q"))
    region: array[int] = field(default_factory=lambda: array("q"))
    line: array[int] = field(default_factory=lambda: array("q"))
    length: array[int] = field(default_factory=lambda: array("q"))
    item: array[int] = field(default_factory=lambda: array("q"))
    clicked: array[int] = field(default_factory=lambda: array("q"))  # flat rows
    shown: dict[str, int] = field(default_factory=dict)  # the last row that shows a document


def load_yandex(path: str | Path, *, stray_clicks: StrayClicks = "error") -> ClickLog:
    """Read search sessions, a line a page or a click, fields separated by tabs.

    `session time Q query region url1 url2 ...` is a result page, `session time C url` a click, which belongs to the session's last page
    above it that shows this document. A line's session stands in one piece.

    Args:
        path: A plain file or a `.gz`; where `path` is missing but `path.gz` is there, that one is read. It is read line by line; the log in
            memory takes 13 bytes a shown row and 40 a page, and about twice that while it is read.
        stray_clicks: A click on a document that no page of its session shows above it is an "error", or dropped ("drop").

    Returns:
        The pages in the order of the file. Columns item (the number of the document in the file), position and click (1 however often);
        page columns session, query, region and time (units since the session began, as in the file). `log.items` is None: items are the
        same in all files of the set.

    Raises:
        FileError: the file is missing, empty, truncated or no such file; a field is malformed, a click is stray, or a session comes back
            after another one.
        ConfigError: `stray_clicks` is neither.

    Source:
        Relevance Prediction Challenge, Workshop on Web Search Click Data (WSCD), WSDM 2012; reconstructed from descriptions of the format.
    """
    if stray_clicks not in get_args(StrayClicks):
        raise ConfigError(f"load_yandex: stray_clicks must be one of {', '.join(get_args(StrayClicks))}, not {stray_clicks!r}.")
    file = find_file(path)
    pages, current = _Pages(), ""
    for number, text in text_lines(file):
        fields = text.split("\t")
        if fields[0] != current:
            current = fields[0]
            pages.shown.clear()
        kind = fields[2] if len(fields) > 2 else ""
        if kind == "Q" and len(fields) > 4:
            _add_page(pages, fields, file, number)
        elif kind == "C" and len(fields) == 4:
            _add_click(pages, fields, file, number, stray_clicks)
        else:
            raise FileError(
                f"{file}, line {number}: {text[:40]!r} is neither a page, 'session time Q query region url1 ...', nor a click,"
                " 'session time C url', with tabs between the fields."
            )
    if not pages.session:
        raise FileError(f"{file} has no result page.")
    return _log(pages, file)


def _add_page(pages: _Pages, fields: list[str], file: Path, line: int) -> None:
    names = ("session", "time", "query", "region")
    for name, text in zip(names, (fields[0], fields[1], fields[3], fields[4]), strict=True):
        getattr(pages, name).append(whole_number(text, name, file, line))
    first = len(pages.item)
    for rank, text in enumerate(fields[5:], 1):
        pages.item.append(whole_number(text, f"document at rank {rank}", file, line))
    for row in reversed(range(first, len(pages.item))):  # a document that stands twice is clicked where it stands first
        pages.shown[fields[5 + row - first]] = row
    pages.line.append(line)
    pages.length.append(len(fields) - 5)


def _add_click(pages: _Pages, fields: list[str], file: Path, line: int, stray: StrayClicks) -> None:
    document = whole_number(fields[3], "document", file, line)
    row = pages.shown.get(fields[3])
    if row is not None:
        pages.clicked.append(row)
    elif stray == "error":
        raise FileError(
            f"{file}, line {line}: a click on document {document}, which no page of session {fields[0]} shows above it."
            " If the set has such clicks, give stray_clicks='drop'."
        )


def _log(pages: _Pages, file: Path) -> ClickLog:
    columns = {name: np.array(getattr(pages, name), dtype=np.int64) for name in ("session", "query", "region", "time")}
    session = columns["session"]
    starts = np.flatnonzero(np.append(True, session[1:] != session[:-1]))
    back = np.setdiff1d(np.arange(len(starts)), np.unique(session[starts], return_index=True)[1])
    if len(back):
        page = starts[back[0]]
        raise FileError(
            f"{file}, line {pages.line[page]}: session {session[page]} comes back after another one. Sort the lines by session."
        )
    offsets = offsets_of(np.array(pages.length, dtype=np.int64))
    item = np.array(pages.item, dtype=np.int64)
    click = np.zeros(len(item), dtype=np.int8)
    click[np.array(pages.clicked, dtype=np.int64)] = 1
    return ClickLog(offsets, {"item": item, "position": slots(offsets).astype(np.int32), "click": click}, columns)
