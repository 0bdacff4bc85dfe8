"""What a metric would be if other scores ordered the pages of a log, from the log's clicks alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from ultr.data.checks import as_numbers, check_clicks, check_probabilities, rows_are
from ultr.data.log import ClickLog
from ultr.diagnostics import Overlap, overlap_of
from ultr.errors import ConfigError, LogError, PropensityError
from ultr.evaluation.evaluate import name_of
from ultr.evaluation.significance import LEVEL, Interval, paired_interval
from ultr.metrics.average_relevant_position import AverageRelevantPosition
from ultr.metrics.dcg import DCG
from ultr.metrics.precision import Precision
from ultr.metrics.rbp import RBP

if TYPE_CHECKING:
    from ultr.propensity.evaluate import AnyPropensity

Method = Literal["ips", "snips", "doubly_robust"]
LinearMetric = DCG | Precision | RBP | AverageRelevantPosition

_BY = "off_policy_value"
_ROW = "ultr.row"  # tells where a row stood before the reranking


class Scores(Protocol):
    """A fitted ranker."""

    def score_log(self, log: ClickLog) -> np.ndarray:
        """Return the score of every row, shape [N]."""


@dataclass(frozen=True)
class OffPolicyValue:
    """An estimated value of a metric under other scores.

    Args:
        value: The estimate, in the unit of the metric.
        interval: It and the interval that covers its expectation, the propensities taken as given.
        method: "ips", "snips" or "doubly_robust".
        metric: The metric's name.
        per: What the value is a mean over: "page", or "unit of relevance" for what is self-normalised.
        relevance_per_page: Estimated sum of P(click | examined) over a page, mean over pages. IPS is SNIPS times this.
        overlap: How far the weights stretch the log.
        n_pages: Pages shown, those without rows left out.
        n_clusters: Groups of pages that the interval takes as independent.
        clustered_by: "query", or "page" where the log has no page column `query`; a compressed page then is one cluster.
        level: Coverage of the interval.
        relative: Whether the propensities were known up to a factor only, so that a value per page is too: the true one divided by
            P(examined) where they are 1.
        difference: Value less that of the baseline, with its paired interval; None without a baseline.
    """

    value: float
    interval: Interval
    method: Method
    metric: str
    per: str
    relevance_per_page: float
    overlap: Overlap
    n_pages: int
    n_clusters: int
    clustered_by: str
    level: float
    relative: bool = False
    difference: Interval | None = None

    def __repr__(self) -> str:
        bounds = f"[{self.interval.low:.4g}, {self.interval.high:.4g}]"
        return f"OffPolicyValue({self.metric} {self.value:.4g} {bounds} per {self.per}, {self.method}, {self.n_pages:,} pages)"

    def explain(self) -> str:
        """Say in plain sentences what was estimated, how sure it is, and what the weights do to it."""
        clusters = {"page": "pages", "query": "queries"}[self.clustered_by]
        text = (
            f"{self.metric} of these scores is {self.value:.4g} per {self.per} ({self.method}), from {self.overlap.clicks:,} clicks on"
            f" {self.n_pages:,} pages. "
        )
        if np.isfinite(self.interval.low):
            bounds = f"{self.interval.low:.4g} to {self.interval.high:.4g}"
            text += f"The {self.level:.0%} interval is {bounds}, over {self.n_clusters:,} {clusters}, the propensities taken as right."
        else:
            text += f"There is no interval: clicks on fewer than two {clusters} say nothing about others."
        if self.difference is not None:
            text += (
                f" It differs from the baseline by {self.difference.mean:+.4g} [{self.difference.low:+.4g}, {self.difference.high:+.4g}]."
            )
        if self.relative and self.per == "page":
            text += (
                " The propensities are relative: all values per page are off by one unknown factor, the propensity where they are 1."
                " Compare rankers by it, or use method='snips', which needs no level."
            )
        text += (
            f" The clicks are worth {self.overlap.effective_sample_size:,.0f} equally weighted ones;"
            f" the smallest propensity is {self.overlap.smallest:.3g}."
        )
        if self.overlap.rows_clipped:
            bias = "the value is wrong as far as the predicted relevance is wrong there"
            if self.method != "doubly_robust":
                bias = "relevance there is underestimated"
            return f"{text} The weights of {self.overlap.share_clipped:.1%} of the rows are clipped: {bias}."
        return text + (" No weight is clipped, so that this is IPS." if self.method == "doubly_robust" else "")


def off_policy_value(
    log: ClickLog,
    scores: np.ndarray | Sequence[float] | Scores,
    metric: LinearMetric,
    method: Method = "ips",
    *,
    clip: float | None = None,
    relevance: str | np.ndarray | Sequence[float] | None = None,
    propensity: AnyPropensity = "propensity",
    label: str = "click",
    level: float = LEVEL,
    baseline: np.ndarray | Sequence[float] | Scores | Literal["logged"] | None = None,
) -> OffPolicyValue:
    r"""Estimate what a metric would be if scores reordered the rows of a log's pages, from its clicks.

    Examined and relevant make a click: E[c] = p gamma, with p = P(examined) and gamma = P(click | examined). The metric is judged by
    binary relevance, 1 with probability gamma: its label, threshold and gain do not count (2^1 - 1 = 1). A linear metric is a sum over
    rows of relevance times a weight w of the new rank, so estimates of gamma may stand in for it. With omega = min(1 / p, clip):

        ips            mean over pages of  sum_rows w omega c
        snips          sum w omega c / sum omega c,  both sums over the whole log
        doubly_robust  mean over pages of  sum_rows w (g + (c - p g) omega),  g the predicted gamma

    ips is unbiased without a clip; with one, a row counts gamma min(1, p clip). snips estimates another quantity: the value per unit of
    relevance, sum w gamma / sum gamma, the mean weight that a relevant row gets. Without a clip it does not change if all propensities are
    multiplied by one factor, and is consistent. Times `relevance_per_page` it is ips; so where the expectation of that number is known,
    snips times it is in the metric's own unit, and equals ips if the log's weights happen to sum to what is expected. doubly_robust is
    ips where nothing is clipped, or where g = 0. If g is right it is unbiased whatever the clip, as long as p is right: nothing here saves
    a wrong p.

    AverageRelevantPosition is estimated by a ratio under each method: the mean rank of a relevant row over the whole log, sum gamma rank /
    sum gamma. ips and snips are then the same.

    Args:
        log: Pages with the column that `label` names. Pages without rows are left out. Rows that the log does not show cannot be valued.
            On a compressed log the value and, with queries, the interval are those of the full log.
        scores: Higher is better, shape [N]; or a fitted ranker, whose `score_log` is called. Ties are ordered as by `ClickLog.rerank`.
            They must not have been learned from these clicks: what follows their noise looks better than it is.
        metric: DCG, Precision, RBP or AverageRelevantPosition.
        method: One of the three above.
        clip: Largest weight, at least 1; None clips nothing.
        relevance: Predicted P(click | examined) for "doubly_robust", and only there: a row column or numbers in [0, 1], shape [N]. It
            must not come from these clicks.
        propensity: A column, or any propensity model.
        label: Column of clicks, 0 or 1; 0..count on a page with a count.
        level: Coverage of the interval, in (0, 1).
        baseline: Scores or a ranker to compare with on the same clicks, or "logged" for the order that was shown: `difference` then has a
            paired interval, which the two intervals by themselves cannot give.

    Returns:
        The value with its interval. Pages of a query show the same items, so queries are the independent units where the log has them, and
        the interval is about other queries of the kind too. It is Student's t on linearised sums (delta method), which needs some dozens
        of clusters with clicks; the bounds are NaN where fewer than two have any. Intervals of two rankers on one log share its queries:
        that they overlap says little.

    Raises:
        ConfigError: the metric is not linear in the labels, the method is unknown, `relevance` is missing or useless, or `level` is off.
        LogError: a column is missing, clicks, scores or relevance are out of range, no page has a row, or nothing can be normalised by.
        PropensityError: a propensity is outside (0, 1], or the clip is below 1.

    Source:
        ips: Joachims, Swaminathan and Schnabel (2017), WSDM. doi:10.1145/3018661.3018699. snips: Swaminathan and Joachims (2015), The
        self-normalized estimator for counterfactual learning, NeurIPS. doubly_robust: Oosterhuis (2023), Doubly robust estimation for
        correcting position bias in click feedback for unbiased learning to rank, ACM TOIS. doi:10.1145/3569453. Reconstructed from
        their definitions; cluster-robust variance of a ratio: Cochran (1977), Sampling Techniques, section 6.3.

    Differs:
        In Swaminathan and Joachims weights of all samples have the mean 1; here rows without a click carry no weight, since it is not
        known whether they were examined, so the weights' sum estimates the relevance. Oosterhuis averages the propensity of a document
        over the logging policy and allows for trust bias; here it is that of the row, without.
    """
    _check_settings(metric, method, relevance)
    if not isinstance(log, ClickLog):
        raise LogError(f"{_BY} needs a ClickLog, since scores are one number a row of it, not {type(log).__name__}.")
    if not log.n_rows:
        raise LogError(f"{_BY} needs a page with rows: this log has {len(log)} pages and no row.")
    estimate, overlap, relative = _estimate(log, label, propensity, clip, relevance)
    pages = np.where(log.lengths > 0, log.counts, 0)
    weights = _weights_under(log, scores, metric)
    gained = _of_pages(log, estimate * weights)
    mass = _of_pages(log, estimate)
    ratio = method == "snips" or isinstance(metric, AverageRelevantPosition)
    cluster, clustered_by = _clusters(log)
    clicked = np.unique(cluster[log.page_of_row()[log.columns[label] > 0]])
    interval = _ratio_interval(gained, mass if ratio else pages, cluster, level)
    if len(clicked) < 2:
        interval = replace(interval, low=np.nan, high=np.nan)
    difference = None
    if baseline is not None:
        other = _weights_under(log, -log.slots() if isinstance(baseline, str) and baseline == "logged" else baseline, metric)
        change = _of_pages(log, estimate * (weights - other))
        difference = _ratio_interval(change, mass if ratio else pages, cluster, level)
    return OffPolicyValue(
        value=interval.mean,
        interval=interval,
        method=method,
        metric=name_of(metric),
        per="unit of relevance" if ratio else "page",
        relevance_per_page=float(mass.sum() / pages.sum()),
        overlap=overlap,
        n_pages=int(pages.sum()),
        n_clusters=int(cluster.max()) + 1,
        clustered_by=clustered_by,
        level=level,
        relative=relative,
        difference=difference,
    )


def _estimate(
    log: ClickLog,
    label: str,
    model: AnyPropensity,
    clip: float | None,
    relevance: str | np.ndarray | Sequence[float] | None,
) -> tuple[np.ndarray, Overlap, bool]:
    """Return the estimated relevance of each row times its page's count [N], what the weights do, and whether they are relative."""
    count = np.repeat(log.counts, log.lengths)
    clicks = check_clicks(log.column(label, by=_BY), count, rows_are(log.offsets)).astype(np.float64)
    propensity, relative = row_propensities(log, model)
    overlap = overlap_of(propensity, clicks, clip, count)
    weight = 1.0 / propensity if clip is None else np.minimum(1.0 / propensity, clip)
    if relevance is None:
        return clicks * weight, overlap, relative
    predicted = _relevance(log, relevance)
    return count * predicted + (clicks - count * propensity * predicted) * weight, overlap, relative


def _check_settings(metric: LinearMetric, method: str, relevance: object) -> None:
    rank_weights(metric, np.ones(0), np.ones(0))
    if method not in get_args(Method):
        raise ConfigError(f"method must be one of {', '.join(get_args(Method))}, not {method!r}.")
    if method == "doubly_robust" and relevance is None:
        raise ConfigError("doubly_robust needs relevance=, a column or array of predicted P(click | examined); without one use 'ips'.")
    if method != "doubly_robust" and relevance is not None:
        raise ConfigError(f"{method} does not read relevance: leave it out, or use method='doubly_robust'.")


def rank_weights(metric: LinearMetric, rank: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return what a relevant row at each rank adds to a linear metric, or raise ConfigError for another metric.

    Args:
        metric: The metric.
        rank: Ranks, counted from 1, shape [N].
        length: Rows of the page of each, shape [N].
    """
    if type(metric) not in get_args(LinearMetric):  # a subclass may compute anything
        use = f"an instance, {metric.__name__}()" if isinstance(metric, type) else "DCG, Precision, RBP or AverageRelevantPosition"
        raise ConfigError(
            f"{_BY} cannot judge {name_of(metric)}: it must be a sum over rows of relevance times a weight of the rank. Of a metric that is"
            f" not linear in the labels, unbiased labels give a biased value. Use {use}."
        )
    if isinstance(metric, AverageRelevantPosition):
        return rank
    if isinstance(metric, DCG):
        weight = 1.0 / np.log2(rank + 1.0)
    elif isinstance(metric, Precision):
        weight = 1.0 / (length if metric.k is None else np.full(len(rank), metric.k))
    else:
        weight = (1.0 - metric.p) * metric.p ** (rank - 1.0)
    return weight if metric.k is None else np.where(rank <= metric.k, weight, 0.0)


def _weights_under(log: ClickLog, scores: np.ndarray | Sequence[float] | Scores, metric: LinearMetric) -> np.ndarray:
    """Return the metric's weight of each row's rank under the scores, in the order of the log, shape [N]."""
    values = scores.score_log(log) if hasattr(scores, "score_log") else np.asarray(scores)
    if values.shape != (log.n_rows,):
        raise LogError(f"scores must have one number a row, shape ({log.n_rows},), not {values.shape}; or give a fitted ranker.")
    values = as_numbers("scores", values, rows_are(log.offsets))
    ranked = log.with_columns(**{_ROW: np.arange(log.n_rows)}).rerank(values)
    slot = ranked.slots()
    weight = rank_weights(metric, slot + 1.0, np.repeat(log.lengths, log.lengths))
    if metric.ties == "expected":  # the mean over all orders of rows with equal score
        score = ranked.columns["score"]
        tie = np.cumsum((slot == 0) | (score != np.roll(score, 1))) - 1
        weight = (np.bincount(tie, weight) / np.bincount(tie))[tie]
    out = np.empty(log.n_rows)
    out[ranked.columns[_ROW]] = weight
    return out


def row_propensities(log: ClickLog, model: AnyPropensity, by: str = _BY) -> tuple[np.ndarray, bool]:
    """Return P(observed) of each row [N] and whether it is relative; a column is read as it is, without torch."""
    if not isinstance(model, str):
        from ultr.propensity.evaluate import estimated, propensities

        model = estimated(log, model)
        return propensities(log, model).astype(np.float64), bool(getattr(model, "relative", False) is True)
    values = log.column(model, by=by)
    try:
        return check_probabilities(model, values, rows_are(log.offsets), zero=False).astype(np.float64), False
    except LogError as error:
        raise PropensityError(str(error)) from error


def _relevance(log: ClickLog, relevance: str | np.ndarray | Sequence[float]) -> np.ndarray:
    name = relevance if isinstance(relevance, str) else "relevance"
    values = log.column(name, by=_BY) if isinstance(relevance, str) else np.asarray(relevance)
    if values.shape != (log.n_rows,):
        raise LogError(f"relevance must have one number a row, shape ({log.n_rows},), not {values.shape}.")
    return check_probabilities(name, values, rows_are(log.offsets), zero=True).astype(np.float64)


def _clusters(log: ClickLog) -> tuple[np.ndarray, str]:
    """Number the independent units of the pages that have rows, -1 for the others, shape [P], and say what they are."""
    from pandas import factorize

    cluster = np.full(len(log), -1)
    shown = np.flatnonzero(log.lengths)
    if "query" not in log.page_columns:
        cluster[shown] = np.arange(len(shown))
        return cluster, "page"
    cluster[shown] = factorize(log.page_columns["query"][shown], use_na_sentinel=False)[0]
    return cluster, "query"


def _of_pages(log: ClickLog, values: np.ndarray) -> np.ndarray:
    return np.bincount(log.page_of_row(), values, minlength=len(log))


def _ratio_interval(numerator: np.ndarray, denominator: np.ndarray, cluster: np.ndarray, level: float) -> Interval:
    """Interval for the ratio of two sums over pages, each of shape [P]: Student's t on the clusters' linearised values."""
    shown = cluster >= 0
    top, bottom = np.bincount(cluster[shown], numerator[shown]), np.bincount(cluster[shown], denominator[shown])
    total = bottom.sum()
    if not total > 0:
        raise LogError(
            f"{_BY}: the weighted relevance of the log sums to {total:.3g}, so there is nothing to normalise by: it has too few clicks."
        )
    value = top.sum() / total
    return paired_interval(value + (top - value * bottom) * (len(top) / total), level)
