"""Scores of predicted probabilities: how well they rank, and how well they are calibrated."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ultr.data.checks import as_numbers, check_probabilities, refuse
from ultr.errors import ConfigError, LogError
from ultr.imports import nearest
from ultr.metrics.levels import Levels, aucs, weight_of_groups

_MOST_BINS = 1 << 24  # more of them would fill the memory


def auc(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Return the probability that a positive row scores higher than a negative one, ties counted half.

    Args:
        labels: 0 or 1, shape [N].
        scores: Numbers without NaN, shape [N]; only their order matters.
        weight: Finite numbers of 0 or more, dimensionless, shape [N]; ones when None. Rows of weight 0 do not count.

    Returns:
        A number in [0, 1]; NaN where only one class has rows.

    Raises:
        LogError: shapes disagree, a label is not 0 or 1, a score is no number, or a weight is negative or not finite.

    Source:
        Hanley and McNeil (1982), The meaning and use of the area under a ROC curve, Radiology. doi:10.1148/radiology.143.1.7063747
    """
    labels, scores, weights = _labelled(labels, scores, weight)
    return Levels.of(scores, weights * labels, weights * (1.0 - labels)).auc()


def group_auc(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, weight: Literal["rows", "positives", "equal"] = "rows") -> float:
    """Return the weighted mean of the AUC within each group (user, query, ...), known as GAUC.

    Groups with one class only have no AUC and count neither in the mean nor in its weights. Rows whose group is missing (None, NaN) form
    one group of their own.

    Args:
        labels: 0 or 1, shape [N].
        scores: Numbers without NaN, shape [N]; only their order within a group matters.
        groups: The group of each row, ids that sort, such as numbers, text or both, shape [N].
        weight: A group's weight: its number of "rows" (impressions), its "positives" (clicks), or "equal" weights.

    Returns:
        A number in [0, 1]; NaN where no group has both classes.

    Raises:
        LogError: shapes disagree, a label is not 0 or 1, a score is no number, or groups do not sort.
        ConfigError: `weight` is no known name.

    Source:
        Zhu et al. (2017), Optimized cost per click in Taobao display advertising, KDD. doi:10.1145/3097983.3098134
    """
    return mean_auc(levels_by_group(labels, scores, groups), weight)


def levels(labels: ArrayLike, scores: ArrayLike) -> Levels:
    """Return what an AUC has to know of rows, each a positive with the weight of its label, in [0, 1], and a negative with the rest."""
    labels, scores = _columns({"labels": labels, "scores": scores})
    check_probabilities("labels", labels, _row, zero=True)
    _refuse_nan(scores)
    return Levels.of(scores, labels, 1.0 - labels)


def levels_by_group(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike) -> Levels:
    """Return what `group_auc` has to know of some rows; takes and raises the same."""
    labels, scores, _ = _labelled(labels, scores, None)
    ids = _array("groups", groups)
    if ids.shape != labels.shape:
        raise LogError(f"groups must have one id a row, shape {labels.shape}, not {ids.shape}.")
    if ids.dtype.kind == "U" and not hasattr(groups, "dtype"):
        ids = np.array(groups, dtype=object)  # in a list with text, NumPy would take a number or NaN for text
    return Levels.of(scores, labels, 1.0 - labels, ids)


def mean_auc(levels: Levels, weight: str = "rows") -> float:
    """Return the weighted mean of the AUC within each group; see `group_auc`."""
    table = levels.table()
    positives, negatives = weight_of_groups(table, table.positive), weight_of_groups(table, table.negative)
    known_weights = {"rows": positives + negatives, "positives": positives, "equal": np.ones(len(positives))}
    weights = _choice("group_auc", "weight", weight, known_weights)
    values = aucs(table)
    known = ~np.isnan(values)
    return float(np.average(values[known], weights=weights[known])) if known.any() else np.nan


def log_loss(labels: ArrayLike, p: ArrayLike) -> float:
    """Return the mean negative log-likelihood of the labels, in nats.

    Nothing is clipped: a probability of exactly 0 for a row with label 1, or of 1 for a row with label 0, costs infinity.

    Args:
        labels: Numbers in [0, 1], shape [N]; a fraction is the true probability, which gives the cross-entropy.
        p: Predicted probabilities in [0, 1], shape [N].

    Returns:
        A number of 0 or more; NaN where there is no row.

    Raises:
        LogError: shapes disagree, or a label or probability is outside [0, 1].
    """
    return ratio(*log_loss_sums(labels, p))


def log_loss_sums(labels: ArrayLike, p: ArrayLike) -> np.ndarray:
    """Return the summed negative log-likelihood of the labels and the number of rows, shape [2]: what `log_loss` divides."""
    labels, p = _predicted(labels, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.where(labels > 0, -labels * np.log(p), 0.0) + np.where(labels < 1, -(1.0 - labels) * np.log1p(-p), 0.0)
    return np.array([cost.sum(), len(p)])


def calibration_ratio(labels: ArrayLike, p: ArrayLike) -> float:
    """Return the sum of the predicted probabilities over the sum of the labels: 1 is calibrated on the whole, above 1 predicts too much.

    Also known as PCOC, predicted clicks over clicks.

    Args:
        labels: Numbers in [0, 1], shape [N].
        p: Predicted probabilities in [0, 1], shape [N].

    Returns:
        A number of 0 or more; NaN where all labels are 0.

    Raises:
        LogError: shapes disagree, or a label or probability is outside [0, 1].
    """
    return ratio(*calibration_sums(labels, p))


def calibration_sums(labels: ArrayLike, p: ArrayLike) -> np.ndarray:
    """Return the summed probabilities and the summed labels, shape [2]: what `calibration_ratio` divides."""
    labels, p = _predicted(labels, p)
    return np.array([p.sum(), labels.sum()])


def ratio(total: float, mass: float) -> float:
    """Return total / mass; NaN where the mass is 0."""
    return float(total / mass) if mass > 0 else np.nan


def expected_calibration_error(labels: ArrayLike, p: ArrayLike, bins: int = 10, binning: Literal["width", "mass"] = "width") -> float:
    """Return the mean over rows of |mean label - mean probability| in the row's bin of probabilities.

    Args:
        labels: Numbers in [0, 1], shape [N].
        p: Predicted probabilities in [0, 1], shape [N].
        bins: Number of bins, 1 to 2^24.
        binning: "width" cuts [0, 1] into bins of equal width, "mass" at the quantiles of `p`, so that bins hold about equally many rows.
            A bin holds its lower edge, the last one also its upper; equal probabilities always share a bin.

    Returns:
        A number in [0, 1]; NaN where there is no row.

    Raises:
        LogError: shapes disagree, or a label or probability is outside [0, 1].
        ConfigError: `bins` or `binning` has an impossible value.

    Source:
        Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using Bayesian binning, AAAI.
        doi:10.1609/aaai.v29i1.9602
    """
    labels, p = _predicted(labels, p)
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or not 1 <= bins <= _MOST_BINS:
        raise ConfigError(f"expected_calibration_error: bins must be a whole number of 1 to {_MOST_BINS:,}, not {bins!r}.")
    shares = np.arange(1, bins) / bins
    edges = _choice(
        "expected_calibration_error", "binning", binning, {"width": shares, "mass": np.quantile(p, shares) if len(p) else shares}
    )
    return mean_gap(_gaps(labels, p, edges))


def gaps(labels: ArrayLike, p: ArrayLike, bins: int = 10) -> np.ndarray:
    """Return the summed label - p of each bin of equal width and the number of rows, shape [bins + 1]: the sums behind the error above."""
    return _gaps(*_predicted(labels, p), np.arange(1, bins) / bins)


def _gaps(labels: np.ndarray, p: np.ndarray, edges: np.ndarray) -> np.ndarray:
    gap = np.bincount(np.searchsorted(edges, p, side="right"), labels - p, minlength=len(edges) + 1)
    return np.append(gap, len(p))


def mean_gap(gap: np.ndarray) -> float:
    """Return the expected calibration error that `gaps` add up to; NaN where there is no row."""
    return float(np.abs(gap[:-1]).sum() / gap[-1]) if gap[-1] else np.nan


def _labelled(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, scores = _columns({"labels": labels, "scores": scores})
    weights = np.ones(len(labels)) if weight is None else _columns({"labels": labels, "weight": weight})[1]
    refuse((labels != 0) & (labels != 1), "labels must be 0 or 1", "Binarise them first.", _row, labels)
    _refuse_nan(scores)
    refuse(~((weights >= 0) & (weights < np.inf)), "weight must be a finite number of 0 or more", "Drop or fix these rows.", _row, weights)
    return labels, scores, weights


def _refuse_nan(scores: np.ndarray) -> None:
    refuse(np.isnan(scores), "scores must not be NaN", "Look for missing features or a diverged model.", _row, scores)


def _predicted(labels: ArrayLike, p: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    labels, p = _columns({"labels": labels, "p": p})
    check_probabilities("labels", labels, _row, zero=True)
    check_probabilities("p", p, _row, zero=True)
    return labels, p


def _columns(columns: dict[str, ArrayLike]) -> list[np.ndarray]:
    """Return columns of numbers of equal length as float64."""
    arrays = {name: _array(name, values) for name, values in columns.items()}
    if len({values.shape for values in arrays.values()} | {(values.size,) for values in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in arrays.items())
        raise LogError(f"These need one number a row, in one dimension and equally many: {shapes}.")
    return [as_numbers(name, values, _row).astype(np.float64) for name, values in arrays.items()]


def _array(name: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise LogError(f"{name} must be one number a row, in one dimension, not lists of different lengths.") from error


def _row(row: int) -> str:
    return f"row {row}"


def _choice(by: str, setting: str, value: str, known: dict[str, np.ndarray]) -> np.ndarray:
    if not isinstance(value, str) or value not in known:
        raise ConfigError(f"{by}: {setting} must be one of {', '.join(known)}, not {value!r}.{nearest(str(value), known)}")
    return known[value]
