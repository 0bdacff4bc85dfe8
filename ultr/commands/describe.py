"""`ultr describe`: what is in a log, and what can be learnt from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ultr.commands.sources import open_log
from ultr.commands.text import aligned, by_rank
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather
from ultr.diagnostics import identifiability
from ultr.random import hash_ids, mix

NEEDS = {  # column -> who cannot do without it
    "click": "every estimator but Oracle",
    "position": "DLA, and what says whether swaps identify propensities",
    "propensity": "IPS, unless it is given a propensity",
}
TRUTH = ("relevance", "grade")


def describe(log: Path) -> str:
    """Describe a log folder, or what the [data] of a config names."""
    return describe_log(open_log(log), str(log))


def describe_log(source: LogSource, name: str) -> str:
    """Describe a log in aligned text."""
    log = gather(source)
    parts = [aligned([["log", name], *_sizes(log), *_clicks(log), *_columns(log)])]
    if "click" in log.columns and log.n_rows:
        parts.append(f"Click rate\n{by_rank({'clicks/shown': _rate_by_position(log)})}")
    if "position" in log.columns and log.n_rows:
        parts.append(identifiability(log).explain())
    return "\n\n".join([*parts, *_missing(log)])


def _sizes(log: ClickLog) -> Iterator[list[str]]:
    shown = int(log.counts.sum())
    yield ["pages", f"{len(log):,}" + (f", shown {shown:,} times (compressed)" if shown != len(log) else "")]
    yield ["rows", f"{log.n_rows:,}"]
    if "query" in log.page_columns:
        orders = _orders_by_query(log)
        yield ["queries", f"{len(orders):,}, {len(log) / max(1, len(orders)):.1f} pages each"]
        if len(orders):
            yield ["orders", f"{np.median(orders):.0f} a query (median), {orders.min():,} to {orders.max():,}"]
    if "session" in log.page_columns:
        yield ["sessions", f"{len(log.sessions):,}"]
    items = f"{len(np.unique(log.columns['item'])):,} shown"
    if log.items is not None:
        features = f"with {log.items.n_features:,} features" if log.items.n_features else "without features"
        items += f" of {len(log.items):,}, {features}"
    yield ["items", items]
    if len(log):
        lengths = log.lengths
        yield ["page length", f"{lengths.min():,} to {lengths.max():,} rows, mean {lengths.mean():.1f}"]


def _clicks(log: ClickLog) -> Iterator[list[str]]:
    if "click" not in log.columns or not log.n_rows:
        return
    clicks, shown = int(log.columns["click"].sum()), int((log.counts * log.lengths).sum())
    text = f"{clicks:,}, {clicks / shown:.2%} of the rows shown"
    if not log.compressed:
        empty = np.bincount(log.page_of_row(), log.columns["click"], minlength=len(log)) == 0
        text += f"; {empty.mean():.2%} of the pages have none"
    yield ["clicks", text]


def _columns(log: ClickLog) -> Iterator[list[str]]:
    yield ["columns", ", ".join(log.columns)]
    yield ["page columns", ", ".join(log.page_columns) or "none"]


def _missing(log: ClickLog) -> Iterator[str]:
    """Say who cannot use the log, column by column."""
    lines = [[column, f"needed by {who}"] for column, who in NEEDS.items() if column not in log.columns]
    if not any(column in log.columns for column in TRUTH):
        lines.append([" or ".join(TRUTH), "needed by Oracle and by metrics of a new order"])
    if log.items is None or not log.items.n_features:
        lines.append(["item features", "needed by every ranker"])
    if "query" not in log.page_columns:
        lines.append(["query", "without it items alone are compared, and each page counts as a query of its own"])
    yield f"Missing\n{aligned(lines)}" if lines else "Nothing is missing: every ranking estimator can be fitted."


def _rate_by_position(log: ClickLog) -> np.ndarray:
    """Clicks a time shown at each position (place in the page where there are no positions), shape [L]; NaN where nothing was shown."""
    position = log.columns.get("position", log.slots())
    shown = np.bincount(position, np.repeat(log.counts, log.lengths))
    clicks = np.bincount(position, log.columns["click"])
    return np.divide(clicks, shown, out=np.full(len(shown), np.nan), where=shown > 0)


def _orders_by_query(log: ClickLog) -> np.ndarray:
    """Count the distinct displayed orders of each query, shape [queries]; orders are told apart by a 64-bit hash."""
    item = mix(hash_ids(log.columns["item"]) ^ mix(log.slots()))
    order = np.zeros(len(log), dtype=np.uint64)
    filled = log.lengths > 0
    order[filled] = np.add.reduceat(item, log.offsets[:-1][filled])  # modulo 2**64
    pairs = np.unique(np.stack([hash_ids(log.page_columns["query"]), order], axis=1), axis=0)
    return np.unique(pairs[:, 0], return_counts=True)[1]
