"""Context-driven term adoption rate: how many of the words that a query newly introduces stood in what was retrieved before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ultr.data.checks import refuse, require
from ultr.errors import ConfigError, LogError
from ultr.imports import nearest

if TYPE_CHECKING:
    import pandas as pd

Evidence = str | Iterable[str] | None
Terms = Callable[[str], Iterable[str]]
Scope = Literal["accumulated", "last"]
New = Literal["previous", "all"]

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Return the words of a text: runs of letters, digits and underscores, case folded; no stop words, no stemming."""
    return _WORD.findall(text.casefold())


def ctar(
    queries: Sequence[str], evidence: Sequence[Evidence], *, scope: Scope = "accumulated", new: New = "previous", terms: Terms = words
) -> np.ndarray:
    """Context-driven term adoption rate of every step of one session: the share of newly introduced terms that the evidence holds.

    A high rate says that the searcher, often a language model, takes its next words from what it has read; it does not say that it would
    not have used them anyway. "last" is never above "accumulated", and a rate of 1 means that every new term stood in the evidence.

    Args:
        queries: The queries of the session in order, T of them.
        evidence: What each query retrieved: a text, several texts, or None for nothing, T of them. The last one is never read.
        scope: "accumulated" takes the evidence of all earlier steps, "last" that of the step before.
        new: A term is new if it is not in the "previous" query, or not in "all" earlier queries.
        terms: Splits a text into terms.

    Returns:
        Rates in [0, 1], shape [T]; NaN for the first step and where a query introduces no new term. For the rate of many sessions add up
        `adopted` and `new_terms` of `ctar_table`, or take the mean of the steps: the two differ.

    Raises:
        LogError: queries and evidence differ in number, or one of them is no text.
        ConfigError: `scope` or `new` is no known name.

    Source:
        arXiv:2601.17617 (2026), a study of the logs of agentic search; reconstructed from its published summary, not from its code.

    Differs:
        Which terms count as new ("previous" or "all"), how texts are split, and whether steps or terms are averaged are not known from the
        summary: they are settings here, and the defaults are ours.
    """
    if isinstance(queries, str) or isinstance(evidence, str):
        raise ConfigError("ctar: queries and evidence are lists, a text (or several) for each step, not one text.")
    _check_settings(scope, new)
    counts = _counts(queries, evidence, scope, new, terms, "the session")
    fresh, adopted = (np.array([pair[i] for pair in counts], dtype=np.float64) for i in (0, 1))
    return np.divide(adopted, fresh, out=np.full(len(counts), np.nan), where=fresh > 0)


def _evidence(value: Any) -> Evidence:
    """Return texts as a list, whatever array a table holds them in, and None where nothing is there."""
    import pandas as pd

    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)) else value


def ctar_table(
    frame: pd.DataFrame,
    *,
    session: str = "session",
    query: str = "query",
    evidence: str = "evidence",
    scope: Scope = "accumulated",
    new: New = "previous",
    terms: Terms = words,
) -> pd.DataFrame:
    """Context-driven term adoption rate of every step of many sessions (see `ctar`).

    Args:
        frame: One line a query; the lines of a session in the order of its steps, not necessarily adjacent.
        session: Column of session ids.
        query: Column of query texts.
        evidence: Column of what each query retrieved: a text, a list of texts, or None or NaN for nothing.
        scope: "accumulated" or "last".
        new: "previous" or "all".
        terms: Splits a text into terms.

    Returns:
        One line a line of `frame`, with its index: `session`, `step` (0-based), `new_terms`, `adopted` (of these, in the evidence) and
        `ctar`, NaN for the first step of a session and where there is no new term. At the first step both counts are 0.
        `table.adopted.sum() / table.new_terms.sum()` is the share over all terms, `table.ctar.mean()` the mean over steps.

    Raises:
        LogError: a column is missing, a session is NaN, or a query or evidence is no text.
        ConfigError: `scope` or `new` is no known name.
    """
    import pandas as pd

    _check_settings(scope, new)
    for name in (session, query, evidence):
        require({str(column): 0 for column in frame.columns}, name, by="ctar_table")
    unknown = frame[session].isna().to_numpy()
    refuse(unknown, f"ctar_table: column {session!r} must not be missing", "Fill it or drop these lines.", lambda i: f"line {i}")
    codes = frame.groupby(session, sort=False).ngroup().to_numpy()
    texts, found = frame[query].tolist(), [_evidence(value) for value in frame[evidence].tolist()]
    counts = np.zeros((len(frame), 2), dtype=np.int64)
    for rows in pd.Series(np.arange(len(frame))).groupby(codes).indices.values():
        where = f"session {frame[session].iloc[rows[0]]}"
        counts[rows] = _counts([texts[row] for row in rows], [found[row] for row in rows], scope, new, terms, where)
    fresh, adopted = counts.T
    return pd.DataFrame(
        {
            "session": frame[session],
            "step": frame.groupby(session, sort=False).cumcount(),
            "new_terms": fresh,
            "adopted": adopted,
            "ctar": np.divide(adopted, fresh, out=np.full(len(frame), np.nan), where=fresh > 0),
        },
        index=frame.index,
    )


def _counts(
    queries: Sequence[str], evidence: Sequence[Evidence], scope: Scope, new: New, terms: Terms, where: str
) -> list[tuple[int, int]]:
    """Return the number of new terms of each step and of those that the evidence holds; 0 and 0 for the first."""
    if len(queries) != len(evidence):
        raise LogError(f"ctar: {where} has {len(queries)} queries and {len(evidence)} pieces of evidence: give one a query, None for none.")
    before: set[str] = set()
    read: set[str] = set()
    out = []
    for step, (query, retrieved) in enumerate(zip(queries, evidence, strict=True)):
        if not isinstance(query, str):
            raise LogError(f"ctar: the query at step {step} of {where} must be a text, not {query!r}.")
        asked = set(terms(query))
        fresh = asked - before if step else set()
        out.append((len(fresh), len(fresh & read)))
        before = before | asked if new == "all" else asked
        found = _evidence_terms(retrieved, terms, f"step {step} of {where}") if step < len(queries) - 1 else set()
        read = read | found if scope == "accumulated" else found
    return out


def _evidence_terms(retrieved: Evidence, terms: Terms, where: str) -> set[str]:
    texts = [] if retrieved is None else [retrieved] if isinstance(retrieved, str) else retrieved
    if not isinstance(texts, Iterable):
        raise LogError(f"ctar: the evidence at {where} must be a text, a list of texts or None, not {retrieved!r}.")
    found: set[str] = set()
    for text in texts:
        if not isinstance(text, str):
            raise LogError(f"ctar: the evidence at {where} must be texts, but holds {text!r}.")
        found.update(terms(text))
    return found


def _check_settings(scope: str, new: str) -> None:
    for setting, value, known in (("scope", scope, get_args(Scope)), ("new", new, get_args(New))):
        if value not in known:
            raise ConfigError(f"ctar: {setting} must be one of {', '.join(known)}, not {value!r}.{nearest(str(value), known)}")
