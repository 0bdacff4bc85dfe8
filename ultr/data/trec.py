"""TREC's files: judgements (qrels) and ranked results (runs), in and out."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ultr.data.checks import MAX_GRADE, check_grades, find_file, need_path, refuse, rows_are, within
from ultr.data.items import Items
from ultr.data.lines import text_lines, whole_number
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of, slots
from ultr.errors import ConfigError, FileError, LogError

_NO_DOCUMENT = ""  # what fills ranks that a run leaves empty


def load_qrels(path: str | Path) -> ClickLog:
    """Read judgements, a line each: `query iteration document grade`, separated by blanks.

    Args:
        path: A plain file or a `.gz`; where `path` is missing but `path.gz` is there, that one is read.

    Returns:
        A page for every query, in order of first appearance, with its judged documents in the order of the lines, which means nothing.
        Columns item and grade: a grade below 0 (spam, not judged) is 0, as for trec_eval. Page column query, a text. `log.items` has the
        documents.

    Raises:
        FileError: the file is missing, empty, truncated or no such file; a line is malformed, or judges a document again.
    """
    file = find_file(path)
    grades: list[int] = []

    def grade(fields: list[str], line: int) -> None:
        value = whole_number(fields[3], "grade", file, line, least=-(1 << 31))
        if value > MAX_GRADE:
            raise FileError(
                f"{file}, line {line}: the grade is {value}, but must be at most {MAX_GRADE}. Map grades to 0, 1, 2, ... first."
            )
        grades.append(max(0, value))

    query, document = _read(file, 4, "query iteration document grade", grade)
    frame = pd.DataFrame({"query": query, "item": document, "grade": np.array(grades, dtype=np.int32)})
    return _log(frame, ("grade",))


def load_run(path: str | Path, qrels: ClickLog | None = None, *, depth: int | None = None) -> ClickLog:
    """Read ranked results, a line each: `query Q0 document rank score tag`, separated by blanks.

    The order is that of trec_eval: by falling score, ties by falling document id; the file's ranks are not read.

    Args:
        path: A plain file or a `.gz`; where `path` is missing but `path.gz` is there, that one is read.
        qrels: Judgements, as from `load_qrels`; the pages then are its queries, and all that metrics need to agree with trec_eval is on
            them: queries without results are judged as empty, results of other queries are left out.
        depth: With `qrels`, how many ranks metrics may look at: their k must be given and at most this, since relevant documents that the
            run has missed stand below and would count. Shorter pages are filled up to it, and
            below it stand the relevant documents that the run missed, so that the ideal order and recall know of them. The
            longest page of the run when None.

    Returns:
        A page for every query, in the run's order or that of the qrels. Columns item, position (0-based rank) and score; page column query,
        a text. With `qrels` also grade (0 where not judged), judged and retrieved (0 or 1; 0 for what fills a page, whose item is "", and
        for what was missed). `log.items` has the documents.

    Raises:
        FileError: the file is missing, empty, truncated or no such file; a line is malformed or retrieves a document again, or no query of
            the run is judged.
        ConfigError: `depth` is no whole number of at least 1.
        LogError: `qrels` lacks a column.

    Source:
        The order of ties and what an unjudged document counts: trec_eval 9.
    """
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 1):
        raise ConfigError(f"load_run: depth must be a whole number of at least 1, not {depth!r}.")
    if qrels is not None and not isinstance(qrels, ClickLog):
        raise ConfigError(f"load_run: qrels must be judgements, load_qrels(path), not {type(qrels).__name__}.")
    file = find_file(path)
    scores: list[float] = []

    def score(fields: list[str], line: int) -> None:
        try:
            scores.append(float(np.float32(fields[4])))  # as trec_eval reads it, so that the same scores tie
        except ValueError:
            scores.append(np.nan)
        if not within(scores[-1], "(-inf, inf)"):
            raise FileError(f"{file}, line {line}: the score must be a finite number, not {fields[4][:40]!r}.")

    query, document = _read(file, 6, "query Q0 document rank score tag", score)
    frame = pd.DataFrame({"query": query, "item": document, "score": np.array(scores)})
    place = pd.factorize(frame["query"], sort=False)[0]
    by_id = pd.factorize(frame["item"], sort=True)[0]
    frame = frame.iloc[np.lexsort((-by_id, -frame["score"].to_numpy(), place))].reset_index(drop=True)
    if qrels is None:
        log = _log(frame, ("score",))
        return log.with_columns(position=slots(log.offsets).astype(np.int32))
    return _judged(frame, qrels, depth, file)


def write_qrels(log: ClickLog, path: str | Path) -> None:
    """Write judgements, `query 0 document grade`, a line for every query and document; an existing file is replaced.

    Args:
        log: Column grade, page column query; a document that stands on several pages of a query is written once.
        path: A name that ends in `.gz` is compressed.

    Raises:
        LogError: a column is missing, a document has two grades for a query, or an id is empty or has blanks.
    """
    grade = check_grades(log.column("grade", "write_qrels"), rows_are(log.offsets))
    query, document = _ids(log, "write_qrels", np.ones(log.n_rows, dtype=bool))
    frame = pd.DataFrame({"query": query, "document": document, "grade": grade}).drop_duplicates()
    twice = frame.duplicated(["query", "document"]).to_numpy()
    if twice.any():
        line = frame[twice].iloc[0]
        raise LogError(f"write_qrels: document {line.document} has two grades for query {line.query}; {twice.sum()} have. Judge it once.")
    _write(path, (f"{q} 0 {d} {g}\n" for q, d, g in zip(frame["query"], frame["document"], frame["grade"], strict=True)))


def write_run(log: ClickLog, path: str | Path, *, tag: str = "ultr") -> None:
    """Write the order of a log as it stands, `query Q0 document rank score tag`; an existing file is replaced.

    Args:
        log: Page column query, one page a query. With a column score, which must fall along the page, that is written; else the number of
            rows from this one on. Rows with 0 in the column `retrieved` (see `load_run`) are left out.
        path: A name that ends in `.gz` is compressed.
        tag: Name of the run, without blanks.

    Raises:
        LogError: a query has several pages, a document stands on a page twice, a score is not finite or rises, or an id is empty or has
            blanks.
        ConfigError: `tag` is empty or has blanks.

    Note:
        Readers sort by score, and equal scores by document: rows with equal scores may come back in another order.
    """
    if len(tag.split()) != 1 or tag != tag.strip():
        raise ConfigError(f"write_run: tag must be one word, not {tag!r}.")
    kept = log.columns["retrieved"] != 0 if "retrieved" in log.columns else np.ones(log.n_rows, dtype=bool)
    query, document = _ids(log, "write_run", kept)
    page = log.page_of_row()[kept]
    where = rows_are(log.offsets)
    rows = np.flatnonzero(kept)
    several = pd.Series(log.page_column("query", "write_run")).duplicated().to_numpy()
    refuse(several, "write_run: a query must have one page", "Select one page each.", lambda i: f"page {i}", log.page_columns["query"])
    twice = pd.DataFrame({"page": page, "document": document}).duplicated().to_numpy()
    refuse(twice, "write_run: documents of a page must differ", "Keep the first.", lambda i: where(int(rows[i])), document)
    rank = pd.Series(page).groupby(page).cumcount().to_numpy() + 1
    if "score" in log.columns:
        score = log.columns["score"][kept].astype(np.float64)
        bad = ~np.isfinite(score)
        bad[1:] |= (page[1:] == page[:-1]) & (score[1:] > score[:-1])
        do = "Readers order by it: rerank the log by these scores, or drop the column."
        refuse(bad, "write_run: score must be finite and fall along a page", do, lambda i: where(int(rows[i])), score)
    else:
        score = np.bincount(page, minlength=len(log))[page] - rank + 1.0
    lines = zip(query, document, rank.tolist(), score.tolist(), strict=True)
    _write(path, (f"{q} Q0 {d} {r} {s!r} {tag}\n" for q, d, r, s in lines))


def _judged(frame: pd.DataFrame, qrels: ClickLog, depth: int | None, file: Path) -> ClickLog:
    """Return the pages of the judged queries, filled up to `depth` and with the missed relevant documents below."""
    grade = check_grades(qrels.column("grade", "load_run"), rows_are(qrels.offsets))
    query, document = _ids(qrels, "load_run", np.ones(qrels.n_rows, dtype=bool))
    judged = pd.DataFrame({"query": query, "item": document, "grade": grade})
    refuse(
        judged.duplicated(["query", "item"]).to_numpy(), "qrels must judge a document once a query", "Keep one.", rows_are(qrels.offsets)
    )
    queries = pd.Index([str(query) for query in qrels.page_columns["query"]]).unique()
    run = frame[frame["query"].isin(queries)].merge(judged, how="left", on=["query", "item"])
    if run.empty:
        raise FileError(f"{file}: none of its queries is judged, such as {frame['query'].iloc[0]!r}; judged is, e.g., {queries[0]!r}.")
    run["judged"], run["retrieved"] = run["grade"].notna().astype(np.int8), np.int8(1)
    run["grade"] = run["grade"].fillna(0).astype(np.int32)
    lengths = run["query"].value_counts().reindex(queries, fill_value=0).to_numpy()
    empty = np.maximum(0, (int(lengths.max()) if depth is None else depth) - lengths)
    filling = pd.DataFrame({"query": np.repeat(queries.to_numpy(), empty)})
    filling["item"], filling["score"] = _NO_DOCUMENT, float(np.finfo(np.float64).min)
    filling["grade"], filling["judged"], filling["retrieved"] = np.int32(0), np.int8(0), np.int8(0)
    found = pd.MultiIndex.from_frame(run[["query", "item"]])
    missed = judged[(judged["grade"] > 0) & ~pd.MultiIndex.from_frame(judged[["query", "item"]]).isin(found)]
    missed = missed.assign(score=-np.inf, judged=np.int8(1), retrieved=np.int8(0))
    pages = pd.concat([part for part in (run, filling, missed) if len(part)], ignore_index=True)
    order = np.argsort(queries.get_indexer(pd.Index(pages["query"])), kind="stable")
    log = _log(pages.iloc[order], ("score", "grade", "judged", "retrieved"), queries)
    return log.with_columns(position=slots(log.offsets).astype(np.int32))


def _log(frame: pd.DataFrame, columns: Iterable[str], queries: pd.Index | None = None) -> ClickLog:
    """Return a page a query; lines of a query need not be adjacent, and stay in their order."""
    page, found = pd.factorize(frame["query"], sort=False)
    if queries is not None:
        page, found = queries.get_indexer(pd.Index(frame["query"])), queries
    order = np.argsort(page, kind="stable")
    item, ids = pd.factorize(frame["item"].iloc[order], sort=False)
    out = {"item": item.astype(np.int32)} | {name: frame[name].to_numpy()[order] for name in columns}
    offsets = offsets_of(np.bincount(page, minlength=len(found)))
    return ClickLog(offsets, out, {"query": np.asarray(found, dtype=object)}, Items(ids=np.asarray(ids, dtype=object)))


def _read(file: Path, n_fields: int, pattern: str, take: Callable[[list[str], int], None]) -> tuple[list[str], list[str]]:
    """Return query and document of every line, and give the fields of each to `take`; refuse a document that comes again."""
    seen: dict[tuple[str, str], int] = {}
    for number, text in text_lines(file):
        fields = text.split()
        if len(fields) != n_fields:
            raise FileError(f"{file}, line {number}: {len(fields)} fields, but a line is '{pattern}', with blanks between them.")
        key = fields[0], fields[2]
        if (before := seen.setdefault(key, number)) != number:
            raise FileError(f"{file}, line {number}: document {key[1]} of query {key[0]} stands in line {before} already. Keep one.")
        take(fields, number)
    if not seen:
        raise FileError(f"{file} is empty: its lines are '{pattern}'.")
    return [query for query, _ in seen], [document for _, document in seen]


def _ids(log: ClickLog, by: str, kept: np.ndarray) -> tuple[list[str], list[str]]:
    """Return query and document of the rows kept, as one word each."""
    where, rows = rows_are(log.offsets), np.flatnonzero(kept)
    item = log.columns["item"][kept]
    document = item if log.items is None or log.items.ids is None else log.items.ids[item]
    query = np.repeat(log.page_column("query", by), log.lengths)[kept]
    out = []
    for name, ids in (("query", query), ("item", document)):
        words = [str(value) for value in ids.tolist()]
        bad = np.array([len(word.split()) != 1 or word != word.strip() for word in words], dtype=bool)
        refuse(bad, f"{by}: {name} must be one word", "Use ids without blanks.", lambda i: where(int(rows[i])), words)
        out.append(words)
    return out[0], out[1]


def _write(path: str | Path, lines: Iterable[str]) -> None:
    path = need_path(path)
    try:
        with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else open(path, "w", encoding="utf-8") as stream:
            stream.writelines(lines)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error}.") from error
