"""Does a metric keep its contract?"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np

from ultr.data.log import ClickLog
from ultr.data.source import Chunked
from ultr.random import generator
from ultr.testing.contract import calling, demand, demand_equal, untouched_generators, untouched_log
from ultr.testing.tiny import tiny_log

Metric = Callable[[ClickLog], np.ndarray]

_LABELS = ("click", "grade", "relevance")
_EXACT = 1e-9


def check_metric(metric: Metric, log: ClickLog | None = None) -> None:
    """Check a metric: any function of a log, ours or a user's.

    1. It returns numbers: one a page, a session, or one for the whole log, as its attribute `per` says ("page" where it has none).
    2. Values are finite or NaN; where a page with rows can be NaN, the docstring says so with the word NaN.
    3. It writes nothing into the log, gives the same values again, and touches no global random generator.
    4. A log with its columns permuted lazily by `ClickLog.rerank` gives the values of a plain log in that order.
    5. Pages (or sessions) have the same values in chunks of any size: no value depends on the other pages.
    6. Pages (or sessions) in another order have the same values in that order.
    7. Where it has an attribute `label`, the other label columns (click, grade, relevance) do not matter.

    Args:
        metric: The metric.
        log: What to judge, where the metric reads columns that a reranked `tiny_log()` lacks. Pages of a session must be adjacent.

    Raises:
        ContractError: the first rule that is broken.
    """
    demand(callable(metric) and not isinstance(metric, type), f"A metric is a function or an object to be called, not {metric!r}.")
    per = getattr(metric, "per", "page")
    demand(per in ("page", "session", "log"), f"metric.per must be 'page', 'session' or 'log', not {per!r}.")
    if log is None:
        ranked = tiny_log()
        scores = generator(0, "check_metric").normal(size=ranked.n_rows).round(1)  # with ties
        log = ranked.rerank(scores)
    check_log = untouched_log(log, "The metric")
    with untouched_generators("The metric"):
        values = _values(metric, per, log)
        again = _values(metric, per, log)
    check_log()
    demand_equal(values, again, "The metric gives other values when it is called again", _place(per), rounding=0)
    _check_defined(metric, per, log, values)
    plain = ClickLog(log.offsets, dict(log.columns), log.page_columns, log.items)
    demand_equal(values, _values(metric, per, plain), "The metric differs on a lazily reranked log and a plain copy of it", _place(per))
    if per != "log":
        for size in (1, 7):
            parts = np.concatenate([_values(metric, per, chunk) for chunk in Chunked(plain, size).chunks()])
            demand_equal(values, parts, f"The metric differs in chunks of {size} pages (whole, chunks)", _place(per), _EXACT)
    _check_order(metric, per, plain, values)
    _check_other_labels(metric, per, plain, values)


def _place(per: str) -> Callable[[int], str]:
    return lambda i: f"{per} {i}"


def _values(metric: Metric, per: str, log: ClickLog) -> np.ndarray:
    with calling("The metric", "Give log= with the columns that it needs."):
        values = np.asarray(metric(log))
    demand(values.dtype.kind in "biuf", f"A metric returns numbers, not {values.dtype}.")
    n = {"page": len(log), "session": len(log.sessions), "log": 1}[per]
    fits = values.shape == (n,) or (per == "log" and values.shape == ())
    demand(fits, f"A metric with per={per!r} returns one value a {per}, shape ({n},), not {values.shape}.")
    return np.atleast_1d(values).astype(np.float64)


def _check_defined(metric: Metric, per: str, log: ClickLog, values: np.ndarray) -> None:
    infinite = np.isinf(values)
    demand(not infinite.any(), f"A metric is finite, or NaN where it is undefined: {per} {int(np.argmax(infinite))} is infinite.")
    undefined = np.isnan(values) if per != "page" else np.isnan(values) & (log.lengths > 0)
    texts = [inspect.getdoc(part) or "" for part in (metric, type(metric), getattr(metric, "__call__", None))]  # noqa: B004
    demand(
        not undefined.any() or any("NaN" in text for text in texts),
        f"The metric is NaN on {int(undefined.sum())} {per}s (first: {int(np.argmax(undefined))}), but its docstring does not say when.",
    )


def _check_order(metric: Metric, per: str, log: ClickLog, values: np.ndarray) -> None:
    """Turn the order of the sessions round (of the pages, where they are judged one by one), and keep the pages of each together."""
    pages = np.arange(len(log))
    if per != "page" and "session" in log.page_columns:
        _, first, session = np.unique(log.page_columns["session"], return_index=True, return_inverse=True)
        turned = log.take(np.lexsort((pages, -first[session])))
    else:
        turned = log.take(pages[::-1])
    expected = values if per == "log" else values[::-1]
    demand_equal(expected, _values(metric, per, turned), f"The value of a {per} depends on the order of the others", _place(per), _EXACT)


def _check_other_labels(metric: Metric, per: str, log: ClickLog, values: np.ndarray) -> None:
    label = getattr(metric, "label", None)
    if not isinstance(label, str):
        return
    others = [name for name in _LABELS if name in log.columns and name != label]
    changed = log.with_columns(**{name: np.zeros_like(log.columns[name]) for name in others})
    demand_equal(
        values, _values(metric, per, changed), f"The metric has label={label!r}, but depends on other label columns too", _place(per)
    )
