"""`ultr describe`: what is in a log, and what can be learnt from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ultr.commands.sources import open_log
from ultr.commands.summary import Summary, summarise
from ultr.commands.text import aligned, by_rank
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather, mapped, need_source, projected
from ultr.diagnostics import identifiability
from ultr.errors import LogError
from ultr.random import hash_ids

_PAGES_OF_QUERIES = {  # column -> who cannot do without it
    "click": "every estimator but Oracle",
    "position": "DLA, and what says whether swaps identify propensities",
    "propensity": "IPS, unless it is given a propensity",
}
_IMPRESSIONS = {"click": "every conversion estimator", "conversion": "every conversion estimator"}
_JOURNEYS = {"time": "rules that look at time, such as TimeDecay"}
_USERS = {"propensity": "RelMF and the like, unless they are given a propensity"}
_PAIRS = 2_000_000  # (query, item) pairs whose positions are kept
_TRUTH = ("relevance", "grade")


def describe(log: Path) -> str:
    """Describe a log folder, or what the [data] of a config names."""
    return describe_log(open_log(log), str(log))


def describe_log(source: LogSource, name: str) -> str:
    """Describe a log in aligned text; it is read piece by piece, twice. Of impressions the labels are held in memory."""
    log = summarise(need_source(source))
    parts = [aligned([["log", name], *_sizes(log), *_clicks(log), *_columns(log)])]
    if "click" in log.columns and log.rows:
        rates = np.divide(log.clicked_at, log.shown_at, out=np.full(len(log.shown_at), np.nan), where=log.shown_at > 0)
        parts.append(f"Click rate\n{by_rank({'clicks/shown': rates})}")
    if "position" in log.columns and log.rows and kind_of(log) == "pages":
        parts.append(_swaps(projected(source, ("item", "position", "query")), float(log.pairs)))
    return "\n\n".join([*parts, *_missing(log, source)])


def _swaps(source: LogSource, pairs: float) -> str:
    """Say what swaps identify: in the whole log, or, where it has too many pairs to keep, on the pages of a sample of its queries."""
    if pairs <= _PAIRS:
        return identifiability(source).explain()
    share = _PAIRS / pairs
    limit = np.uint64(share * 2.0**64)
    sample = mapped(source, lambda log: log.select(hash_ids(log.page_columns["query"]) < limit))
    return f"On the pages of {share:.0%} of the queries, drawn by a hash: {identifiability(sample).explain()}"


def kind_of(log: Summary | ClickLog) -> str:
    """Tell what the pages of a log are, by its columns: journeys, impressions of ads, users, or pages of results."""
    if "converted" in log.page_columns:
        return "journeys"
    if "conversion" in log.columns:
        return "impressions"
    return "users" if "user" in log.page_columns and "query" not in log.page_columns else "pages"


def _sizes(log: Summary) -> Iterator[list[str]]:
    yield ["pages", f"{log.pages:,}" + (f", shown {log.shown:,} times (compressed)" if log.shown != log.pages else "")]
    yield ["rows", f"{log.rows:,}"]
    if "query" in log.page_columns:
        yield ["queries", log.queries.spell() + _pages_each(log)]
        yield from _orders(log)
    if "session" in log.page_columns:
        yield ["sessions", f"{log.sessions:,}"]
    if log.seen is None:
        yield ["items", f"{log.items.spell()} shown"]
    else:
        features = f"with {log.n_features:,} features" if log.n_features else "without features"
        yield ["items", f"{np.count_nonzero(log.seen):,} shown of {len(log.seen):,}, {features}"]
    if log.pages:
        yield ["page length", f"{log.shortest:,} to {log.longest:,} rows, mean {log.rows / log.pages:.1f}"]


def _pages_each(log: Summary) -> str:
    return "" if log.queries.too_many else f", {log.pages / max(1, len(log.queries.groups())):.1f} pages each"


def _orders(log: Summary) -> Iterator[list[str]]:
    orders = np.unique(log.orders.groups(), return_counts=True)[1]
    if log.orders.too_many:
        yield ["orders", f"{log.orders.spell()} of queries and items together"]
    elif len(orders):
        yield ["orders", f"{np.median(orders):.0f} a query (median), {orders.min():,} to {orders.max():,}"]


def _clicks(log: Summary) -> Iterator[list[str]]:
    if "click" not in log.columns or not log.rows:
        return
    text = f"{log.clicks:,}, {log.clicks / log.rows_shown:.2%} of the rows shown"
    if not log.compressed:
        text += f"; {log.without_click / log.pages:.2%} of the pages have none"
    yield ["clicks", text]


def _columns(log: Summary) -> Iterator[list[str]]:
    yield ["columns", ", ".join(log.columns)]
    yield ["page columns", ", ".join(log.page_columns) or "none"]


def _missing(log: Summary, source: LogSource) -> Iterator[str]:
    """Say who cannot use the log, column by column; of methods for what the log's pages are."""
    kind = kind_of(log)
    needs = {"pages": _PAGES_OF_QUERIES, "impressions": _IMPRESSIONS, "journeys": _JOURNEYS, "users": _USERS}[kind]
    lines = [[column, f"needed by {who}"] for column, who in needs.items() if column not in log.columns]
    if kind == "pages":
        lines += _missing_for_rankers(log)
    if lines:
        yield f"Missing\n{aligned(lines)}"
        return
    if kind == "impressions" and (why := _refused(source)):
        yield f"No conversion estimator can be fitted: {why}"
        return
    yield {
        "pages": "Nothing is missing: every ranking estimator can be fitted.",
        "impressions": "Nothing is missing: every conversion estimator can be fitted; fields= says which columns it reads.",
        "journeys": "Nothing is missing: every attribution rule can be applied.",
        "users": "Nothing is missing: every estimator of implicit feedback can be fitted.",
    }[kind]


def _refused(source: LogSource) -> str:
    """Return what every conversion estimator would refuse the labels for, or nothing."""
    from ultr.training.conversion_batches import LABELS, read_conversions  # brings PyTorch

    try:
        read_conversions(gather(projected(source, LABELS)), "a conversion estimator")
    except LogError as error:
        return str(error)
    return ""


def _missing_for_rankers(log: Summary) -> Iterator[list[str]]:
    if not any(column in log.columns for column in _TRUTH):
        yield [" or ".join(_TRUTH), "needed by Oracle and by metrics of a new order"]
    if not log.n_features:
        yield ["item features", "needed by every ranker"]
    if "query" not in log.page_columns:
        yield ["query", "without it items alone are compared, and each page counts as a query of its own"]
