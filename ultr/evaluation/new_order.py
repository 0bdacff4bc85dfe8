"""What a session metric would be if other scores ordered the pages: from judgements, a click model, or the session's weighted clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.fitted import FittedClickModel
from ultr.data.checks import check_clicks, rows_are
from ultr.data.log import ClickLog
from ultr.data.order import blocks
from ultr.data.source import need_log
from ultr.diagnostics import Overlap, overlap_of
from ultr.errors import ConfigError, LogError
from ultr.evaluation.evaluate import name_of
from ultr.evaluation.off_policy import Scores, row_propensities
from ultr.evaluation.significance import LEVEL, Interval, paired_interval
from ultr.metrics.session_dcg import SessionDCG
from ultr.metrics.session_rbp import SessionRBP
from ultr.metrics.sessions import SessionMetric, check_choice
from ultr.random import generator

if TYPE_CHECKING:
    from ultr.propensity.evaluate import AnyPropensity

Method = Literal["judgements", "click_model", "ips"]
LinearSessionMetric = SessionDCG | SessionRBP

_BY = "session_value"
_LABEL = "ultr.weighted click"


@dataclass(frozen=True)
class SessionValue:
    """A session metric of an order that was not shown.

    Args:
        value: Mean over the sessions in which the metric is defined, in its unit; NaN where there is none.
        interval: It and the interval that covers its expectation, Student's t, sessions taken as independent.
        method: "judgements", "click_model" or "ips".
        metric: The metric's name.
        undefined: Sessions without a value, left out.
        sessions: Value of each session, in the order of `log.sessions`, shape [S].
        overlap: How far the weights stretch the log, with `.effective_sample_size`; None but for "ips".
    """

    value: float
    interval: Interval
    method: str
    metric: str
    undefined: int
    sessions: np.ndarray = field(repr=False)
    overlap: Overlap | None = None

    def __repr__(self) -> str:
        bounds, n = f"[{self.interval.low:.4g}, {self.interval.high:.4g}]", len(self.sessions) - self.undefined
        worth = "" if self.overlap is None else f", {self.overlap.clicks:,} clicks worth {self.overlap.effective_sample_size:,.0f}"
        return f"SessionValue({self.metric} {self.value:.4g} {bounds}, {self.method}, {n:,} sessions{worth})"


def session_value(
    log: ClickLog,
    scores: np.ndarray | Sequence[float] | Scores,
    metric: SessionMetric,
    method: Method = "judgements",
    *,
    click_model: FittedClickModel | ClickModel | None = None,
    draws: int = 20,
    propensity: AnyPropensity = "propensity",
    clip: float | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> SessionValue:
    r"""Estimate what a session metric would be if scores reordered the rows of every page of its sessions.

    Old clicks tell of the old order, so a metric of clicks refuses a new one. There are three ways around:

        judgements   the metric on the new order, by grades (any metric whose label is not "click")
        click_model  the metric on clicks that a click model draws on the new order (any metric of clicks, such as NUM), mean over draws
        ips          the metric with labels click / P(examined) where the row was shown: unbiased for a sum of labels times weights of rank
                     and query, SessionDCG (form "jarvelin") and SessionRBP, and only for such a one

    NUM divides by the best session that the clicks suggest. The recency forms weight a query by how many follow, and users who stop
    because they clicked make the last page look better than it is. Neither is unbiased with weighted clicks; both are refused.

    None of them says what users would have asked: the queries of a session, how many there are, and what was clicked earlier in it, are
    taken as logged. To let them react, simulate sessions with the ranker as a policy.

    Args:
        log: Pages with the page column `session` (without it each page is one) and what the method needs.
        scores: Higher is better, shape [N]; or a fitted ranker, whose `score_log` is called. Not learned from these clicks.
        metric: A session metric.
        method: One of the three.
        click_model: For "click_model", and only there: a fitted model, or a law, which reads the columns `relevance` and, where it needs
            it, `satisfaction` of a simulated log.
        draws: How often the click model draws the clicks of every page, at least 1.
        propensity: For "ips": a column, or any propensity model.
        clip: For "ips": the largest weight, at least 1; None clips nothing.
        level: Coverage of the interval, in (0, 1). It takes the click model, or the propensities, as right.
        seed: Of the draws.

    Returns:
        The value with its interval. Where a metric has no value on some draws, as nsDCG without clicks, a session's value is the mean over
        the others.

    Raises:
        ConfigError: the metric does not go with the method, or a setting is out of range.
        LogError: a column is missing or wrong; scores have the wrong shape or are NaN.
        PropensityError: a propensity is outside (0, 1], or the clip below 1.
    """
    log = need_log(log)
    _check(metric, method, click_model, draws)
    values = scores.score_log(log) if hasattr(scores, "score_log") else np.asarray(scores)
    overlap = None
    if method == "judgements":
        judged = metric(log.rerank(values))
    elif method == "click_model" and click_model is not None:
        judged = _redrawn(log.rerank(values), metric, click_model, int(draws), seed)
    else:
        labels, overlap = _weighted(log, propensity, clip)
        judged = replace(metric, label=_LABEL)(log.with_columns(**{_LABEL: labels}).rerank(values))  # type: ignore[type-var]
    defined = judged[~np.isnan(judged)]
    interval = paired_interval(defined, level) if len(defined) else Interval(np.nan, np.nan, np.nan, 0)
    return SessionValue(interval.mean, interval, method, name_of(metric), len(judged) - len(defined), judged, overlap)


def _check(metric: object, method: str, click_model: object, draws: object) -> None:
    check_choice(_BY, "method", method, get_args(Method))
    name = name_of(metric)
    if not isinstance(metric, SessionMetric):
        raise ConfigError(f"{_BY} judges by session metrics, such as NUM() or SessionDCG(), not by {name}.")
    if method == "judgements" and metric.label == "click":
        raise ConfigError(
            f"{_BY}: {name} is a metric of clicks, and old clicks cannot judge a new order. Judge by grades, label='grade';"
            " or take method='click_model', or method='ips' for a metric that is linear in the clicks."
        )
    if method != "judgements" and metric.label != "click":
        raise ConfigError(f"{_BY}: method={method!r} is for metrics of clicks; {name} reads judgements, for method='judgements'.")
    if method == "ips" and (type(metric) not in get_args(LinearSessionMetric) or getattr(metric, "form", "jarvelin") != "jarvelin"):
        raise ConfigError(
            f"{_BY}: weighted clicks give a biased {name}, which is not a sum of labels times weights of rank and query."
            " Use SessionDCG (form 'jarvelin') or SessionRBP; or method='click_model'."
        )
    if method == "click_model" and click_model is None:
        raise ConfigError(f"{_BY}: method='click_model' needs click_model=, a law or one fitted by ultr.click_models.fit(...).")
    if method != "click_model" and click_model is not None:
        raise ConfigError(f"{_BY}: click_model= goes with method='click_model', not {method!r}.")
    if click_model is not None and not isinstance(click_model, FittedClickModel | ClickModel):
        raise ConfigError(f"{_BY}: click_model must be a fitted click model, or a law, not {type(click_model).__name__}.")
    if isinstance(draws, bool) or not isinstance(draws, (int, np.integer)) or draws < 1:
        raise ConfigError(f"{_BY}: draws must be a whole number of at least 1, not {draws!r}.")


def _redrawn(log: ClickLog, metric: SessionMetric, model: FittedClickModel | ClickModel, draws: int, seed: int) -> np.ndarray:
    """Return the mean of the metric over draws of all clicks on the order as it stands, shape [S]; NaN where it never has a value."""
    if log.compressed:
        raise LogError(f"{_BY} draws clicks page by page: this log has pages that stand for several. Give the log before compress().")
    law = model if isinstance(model, ClickModel) else model.model
    if isinstance(model, ClickModel):
        attraction = log.column("relevance", _BY)
        name = "satisfied" if "satisfied" in log.columns else "satisfaction"  # as simulated sessions call it, and simulated clicks
        satisfaction = log.column(name, _BY) if law.reads_satisfaction else None
    else:
        attraction, satisfaction = model.attraction(log), model.satisfaction(log)
    shown = log.with_columns(position=log.slots())
    rng, total, defined = generator(seed, _BY), np.zeros(len(log.sessions)), np.zeros(len(log.sessions))
    for _ in range(draws):
        click = np.zeros(log.n_rows, dtype=np.int8)
        for block in blocks(log.offsets):
            satisfied = None if satisfaction is None else block.of(satisfaction)
            block.put(click, law.sample(block.of(attraction), rng, satisfied))
        values = metric(shown.with_columns(click=click))
        total += np.nan_to_num(values)
        defined += ~np.isnan(values)
    return np.divide(total, defined, out=np.full(len(total), np.nan), where=defined > 0)


def _weighted(log: ClickLog, propensity: AnyPropensity, clip: float | None) -> tuple[np.ndarray, Overlap]:
    """Return click / P(examined) of each row as logged, shape [N], and how far these weights stretch the log."""
    if log.compressed:
        raise LogError(
            f"{_BY} weights the clicks of each session: this log has pages that stand for several. Give the log before compress()."
        )
    click = check_clicks(log.column("click", _BY), 1, rows_are(log.offsets))
    seen = row_propensities(log, propensity, by=_BY)[0]
    overlap = overlap_of(seen, click, clip)
    return click * (1 / seen if clip is None else np.minimum(1 / seen, clip)), overlap
