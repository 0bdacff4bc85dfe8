"""Calibration by field: are predicted conversions right for every campaign, device, hour, ..., or on the whole only?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv

from ultr.data.cells import needed
from ultr.data.checks import as_numbers, check_probabilities, refuse, rows_are, within
from ultr.data.fields import column_of
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

_BY = "calibration_by_field"


def calibration_by_field(
    log: LogSource,
    field: str,
    labels: str = "conversion",
    predicted: str = "predicted_conversion",
    *,
    among: str | None = None,
    min_rows: int = 100,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare mean prediction and mean label within each value of a field.

    Which rows the comparison is fair on is up to the prediction: P(conversion | click) is seen on clicked rows only, and labels of rows
    without a click are 0 whatever would have converted. Give `among="click"` for it (what clicked rows convert, not what all would), and
    compare `predicted_click_and_conversion` on all rows.

    Args:
        log: What an estimator's `apply` returns; a source that is longer than memory is read chunk by chunk.
        field: Row or page column whose values are compared; NaN and None are a value of their own.
        labels: Row column of 0 or 1.
        predicted: Row column of probabilities, in [0, 1].
        among: Row column of 0 or 1; rows with 0 are left out. All rows count when None.
        min_rows: Values with fewer rows are added up in one last line, whose value is None; at least 1.
        level: Coverage of the intervals, in (0, 1).

    Returns:
        One line a value of the field, by falling `rows`: the field's own name (the value), `values` (how many of them: 1 but in the line of
        the rare ones), `rows`, `mean_prediction`, `mean_label`, `ratio` (mean prediction over mean label: 1 is calibrated, above 1 predicts
        too much, NaN without a positive label), and its `low` and `high`: the labels are taken for independent, the predictions for given;
        1 lies in the interval of a calibrated value with at least the probability `level`. `high` is infinite without a positive label.
        Empty where no row counts.

    Raises:
        LogError: a column is missing, or a label or prediction is out of range.
        ConfigError: a name is no text, `min_rows` or `level` has an impossible value, or `field` is called like another column of the
            result.

    Source:
        The ratio by field: Pan et al. (2020), Field-aware calibration, WWW. doi:10.1145/3366423.3380154. The interval: Clopper and Pearson
        (1934), doi:10.1093/biomet/26.4.404; for labels of different probabilities it is wider than needed: Hoeffding (1956).
        doi:10.1214/aoms/1177728178
    """
    import pandas as pd

    _check_settings({"field": field, "labels": labels, "predicted": predicted, "among": among or labels}, min_rows, level)
    values, sums = _sums(log, field, labels, predicted, among)
    rows = sums[0].astype(np.int64)
    few = rows < min_rows
    group = np.where(few, len(values), np.arange(len(values)))  # the rare values together, last
    n, predictions, positives = (np.bincount(group, weight, minlength=len(values) + 1) for weight in sums)
    order = np.append(np.argsort(-rows, kind="stable"), len(values))
    order = order[n[order] > 0]
    n, predictions, positives = n[order], predictions[order], positives[order]
    low, high = _bounds(positives, n, level)
    names = pd.Series([*values, None], dtype=object).iloc[order].reset_index(drop=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return pd.DataFrame(
            {
                field: names if few.any() else names.infer_objects(),
                "values": np.where(order < len(values), 1, few.sum()),
                "rows": n.astype(np.int64),
                "mean_prediction": predictions / n,
                "mean_label": positives / n,
                "ratio": np.where(positives > 0, predictions / positives, np.nan),
                "low": predictions / n / high,
                "high": np.where(low > 0, predictions / n / low, np.inf),
            }
        )


def _sums(log: LogSource, field: str, labels: str, predicted: str, among: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a field as they first appear, shape [V], and their rows, summed predictions and summed labels, shape [3, V]."""
    import pandas as pd

    values, sums = pd.Series(dtype=object), np.zeros((3, 0))
    for chunk in needed(log, [labels, predicted, field, *([] if among is None else [among])]).chunks():
        label, p, kept = _columns(chunk, labels, predicted, among)
        found = pd.Series(column_of(chunk, field, _BY)[kept])
        codes, distinct = pd.factorize(pd.concat([values, found]) if len(values) else found, use_na_sentinel=False)
        weights = np.concatenate([sums, np.stack([np.ones(len(kept)), p[kept], label[kept]])], axis=1)
        values, sums = pd.Series(distinct), np.stack([np.bincount(codes, weight, minlength=len(distinct)) for weight in weights])
    return values.to_numpy(), sums


def _columns(log: ClickLog, labels: str, predicted: str, among: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, predictions and the numbers of the rows that count."""
    where = rows_are(log.offsets)
    p = check_probabilities(predicted, log.column(predicted, _BY), where, zero=True).astype(np.float64)
    binary = {}
    for name in (labels, among) if among is not None else (labels,):
        column = as_numbers(name, log.column(name, _BY), where)
        refuse((column != 0) & (column != 1), f"{name} must be 0 or 1", "Binarise it, or drop the rows where it is unknown.", where, column)
        binary[name] = column.astype(np.float64)
    kept = np.arange(log.n_rows) if among is None else np.flatnonzero(binary[among])
    return binary[labels], p, kept


def _bounds(positives: np.ndarray, n: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Clopper and Pearson's bounds of the mean label."""
    tail = (1 - level) / 2
    low = np.where(positives > 0, betaincinv(np.maximum(positives, 1), n - positives + 1, tail), 0.0)
    high = np.where(positives < n, betaincinv(positives + 1, np.maximum(n - positives, 1), 1 - tail), 1.0)
    return low, high


def _check_settings(names: dict[str, str], min_rows: int, level: float) -> None:
    for setting, name in names.items():
        if not isinstance(name, str):
            raise ConfigError(f"{_BY}: {setting} is the name of one column, not {name!r}.")
    if isinstance(min_rows, bool) or not isinstance(min_rows, (int, np.integer)) or min_rows < 1:
        raise ConfigError(f"{_BY}: min_rows must be a whole number of at least 1, not {min_rows!r}.")
    if not within(level, "(0, 1)"):
        raise ConfigError(f"{_BY}: level must be in (0, 1), not {level!r}.")
    if names["field"] in ("values", "rows", "mean_prediction", "mean_label", "ratio", "low", "high"):
        raise ConfigError(f"{_BY}: the result has a column {names['field']!r} of its own: rename the field's column.")
