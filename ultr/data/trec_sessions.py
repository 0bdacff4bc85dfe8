"""TREC Session Track: sessions of queries, results and clicks in XML."""

from __future__ import annotations

import gzip
import xml.sax
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

import numpy as np
import pandas as pd

from ultr.data.checks import find_file
from ultr.data.items import Items
from ultr.data.lines import whole_number
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import FileError, LogError

_DOCUMENT = ("clueweb09id", "clueweb12id", "docno", "url")  # the first that a result has names it


@dataclass
class _Element:
    """An element of the file and the line it begins in."""

    name: str
    line: int
    attributes: dict[str, str]
    text: str = ""
    children: list[_Element] = field(default_factory=list)

    def all(self, name: str) -> Iterator[_Element]:
        return (child for child in self.children if child.name == name)

    def first(self, *names: str) -> _Element | None:
        return next((child for name in names for child in self.all(name)), None)


class _Tree(ContentHandler):
    """Builds elements; only the subtrees of sessions are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: list[_Element] = []
        self._open: list[_Element] = []
        self._where: Locator | None = None

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802  # SAX's name, as are those below
        self._where = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802
        element = _Element(name.lower(), (self._where.getLineNumber() or 0) if self._where else 0, dict(attrs.items()))
        if self._open:
            self._open[-1].children.append(element)
        if self._open or element.name == "session":
            self._open.append(element)

    def characters(self, content: str) -> None:
        if self._open:
            self._open[-1].text += content

    def endElement(self, name: str) -> None:  # noqa: N802
        if self._open:
            element = self._open.pop()
            element.text = element.text.strip()
            if not self._open:
                self.sessions.append(element)


@dataclass
class _Pages:
    """What has been read, a value a page; and the rows of all pages as (document, rank, clicked, seconds)."""

    session: list[str] = field(default_factory=list)
    user: list[str] = field(default_factory=list)
    topic: list[str] = field(default_factory=list)
    query: list[str] = field(default_factory=list)
    length: list[int] = field(default_factory=list)
    rows: list[tuple[str, int, int, float]] = field(default_factory=list)


def load_trec_sessions(path: str | Path, qrels: ClickLog | None = None) -> ClickLog:
    """Read the sessions of a TREC Session Track (2011 to 2014).

    A `session` holds `interaction`s, and these a `query`, `results` of `result rank=...` with a `clueweb09id`, `clueweb12id`, `docno` or
    `url` that names the document, and `clicked` with `click`s of a `rank`. The `currentquery`, which has no results, is not read.

    Args:
        path: A plain file or a `.gz`; where `path` is missing but `path.gz` is there, that one is read.
        qrels: Judgements by topic, as from `load_qrels` (its queries are topic numbers); sessions of one topic share them.

    Returns:
        A page for every interaction, in the order of the file, empty where it has no results; rows by rank. Columns item, position
        (rank - 1, which on a second page of results does not begin at 0), click (1 however often), dwell (seconds spent on the document,
        all its clicks together; NaN where it was not clicked, or a click has no times or ends before it begins) and, with `qrels`, grade
        (0 where not judged, or below 0).
        Page columns session, user, topic ("" where the file does not say) and query (its text). `log.items` has the documents.

    Raises:
        FileError: the file is missing, truncated, no XML or has no session; a result has no document; a rank or time is malformed, or comes
            twice; a click has a rank that the results lack; a session has no number, or that of another one.
        LogError: `qrels` lacks a column.

    Source:
        Carterette, Kanoulas, Hall and Clough (2014), Overview of the TREC 2014 Session Track; reconstructed from descriptions of the
        format.
    """
    file = find_file(path)
    pages = _Pages()
    seen: dict[str, int] = {}
    for session in _sessions(file):
        number = session.attributes.get("num", "")
        if not number or number in seen:
            what = f"that of line {seen[number]} too" if number else "missing"
            raise FileError(f"{file}, line {session.line}: the number of the session, num={number!r}, is {what}.")
        seen[number] = session.line
        topic = session.first("topic")
        for interaction in session.all("interaction"):
            query = interaction.first("query")
            pages.session.append(number)
            pages.user.append(session.attributes.get("userid", ""))
            pages.topic.append(topic.attributes.get("num", "") if topic is not None else "")
            pages.query.append(query.text if query is not None else "")
            rows = _rows(interaction, file)
            pages.length.append(len(rows))
            pages.rows.extend(rows)
    if not pages.session:
        raise FileError(f"{file} has no session with an interaction: it is no file of the Session Track.")
    return _log(pages, qrels)


def _sessions(file: Path) -> list[_Element]:
    tree = _Tree()
    try:
        with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as stream:
            xml.sax.parse(stream, tree)
    except xml.sax.SAXParseException as error:
        raise FileError(
            f"{file}, line {error.getLineNumber()}: it is no XML here: {error.getMessage()}. It may be truncated: fetch it again."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{file} cannot be read: {error}. Check it, or fetch it again.") from error
    return tree.sessions


def _rows(interaction: _Element, file: Path) -> list[tuple[str, int, int, float]]:
    """Return the results of an interaction by rank."""
    results = [result for part in interaction.all("results") for result in part.all("result")]
    documents: dict[int, str] = {}
    for result in results:
        rank = whole_number(result.attributes.get("rank", ""), "rank of a result", file, result.line, least=1)
        name = result.first(*_DOCUMENT)
        if name is None or not name.text:
            raise FileError(f"{file}, line {result.line}: the result at rank {rank} has none of {', '.join(_DOCUMENT)}.")
        if rank in documents:
            raise FileError(f"{file}, line {result.line}: rank {rank} comes twice among the results of an interaction.")
        documents[rank] = name.text
    dwell: dict[int, float] = {}
    for click in (click for part in interaction.all("clicked") for click in part.all("click")):
        place = click.first("rank")
        rank = whole_number(place.text if place is not None else "", "rank of a click", file, click.line, least=1)
        if rank not in documents:
            raise FileError(f"{file}, line {click.line}: a click at rank {rank}, where the interaction has no result.")
        seconds = _seconds(click, "endtime", file) - _seconds(click, "starttime", file)
        dwell[rank] = dwell.get(rank, 0.0) + (seconds if seconds >= 0 else np.nan)
    return [(documents[rank], rank, int(rank in dwell), dwell.get(rank, np.nan)) for rank in sorted(documents)]


def _seconds(click: _Element, name: str, file: Path) -> float:
    """Return a time of a click in seconds, NaN where it has none: `75.2`, or `0:01:15.2`, which may lack the hours."""
    text = click.attributes.get(name, "").strip()
    if not text:
        return np.nan
    try:
        return sum(float(part) * 60**place for place, part in enumerate(reversed(text.split(":"))))
    except ValueError:
        raise FileError(
            f"{file}, line {click.line}: the {name} of a click must be like '12:01:15.2' or '75.2', not {text[:40]!r}."
        ) from None


def _log(pages: _Pages, qrels: ClickLog | None) -> ClickLog:
    document = np.array([row[0] for row in pages.rows], dtype=object)
    rank, click = (np.array([row[i] for row in pages.rows], dtype=np.int64) for i in (1, 2))
    dwell = np.array([row[3] for row in pages.rows], dtype=np.float64)
    item, ids = pd.factorize(document, sort=False)
    offsets = offsets_of(np.array(pages.length, dtype=np.int64))
    columns: dict[str, np.ndarray] = {
        "item": item.astype(np.int32),
        "position": (rank - 1).astype(np.int32),
        "click": click.astype(np.int8),
        "dwell": dwell,
    }
    page_columns = {name: np.array(getattr(pages, name), dtype=object) for name in ("session", "user", "topic", "query")}
    if qrels is not None:
        topic = np.repeat(page_columns["topic"], np.diff(offsets))
        columns["grade"] = _grades(qrels, topic, document)
    return ClickLog(offsets, columns, page_columns, Items(ids=np.asarray(ids, dtype=object)))


def _grades(qrels: ClickLog, topic: np.ndarray, document: np.ndarray) -> np.ndarray:
    """Return the grade of each row, 0 where its document was not judged for its topic."""
    grade = qrels.column("grade", "load_trec_sessions")
    ids = qrels.columns["item"] if qrels.items is None or qrels.items.ids is None else qrels.items.ids[qrels.columns["item"]]
    query = np.repeat(qrels.page_column("query", "load_trec_sessions"), qrels.lengths)
    known = {(str(q), str(d)): int(g) for q, d, g in zip(query, ids, grade, strict=True)}
    found = np.array([known.get(pair, -1) for pair in zip(topic, document, strict=True)], dtype=np.int32)
    if len(found) and (found < 0).all():
        raise LogError(f"None of the results is judged: the file has topics such as {topic[0]!r}, qrels such as {str(query[0])!r}.")
    return np.maximum(found, 0)
