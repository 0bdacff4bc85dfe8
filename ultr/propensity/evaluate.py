"""What a propensity model may be, and the one place where it is called and checked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ultr.click_models.fitted import FittedClickModel
from ultr.click_models.position_based import PositionBased
from ultr.data.checks import require
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, need_log
from ultr.errors import PropensityError
from ultr.propensity.by_position import ByPosition
from ultr.propensity.column import Column
from ultr.training.batch import Batch

PropensityModel = Callable[[Batch], Tensor]

_BLOCK = 1 << 13  # pages at once


@runtime_checkable
class PropensityEstimator(Protocol):
    """Frozen settings that estimate a propensity model from a log. They are no function of a batch: what is callable is a model."""

    def fit(self, source: LogSource, *, seed: int = 0) -> PropensityModel:
        """Return a model, or anything else that `as_propensity` takes."""


AnyPropensity = PropensityModel | PropensityEstimator | str | np.ndarray | Sequence[float]


def as_propensity(model: AnyPropensity) -> PropensityModel:
    """Return the propensity model behind a function or module (itself), a column's name, an array, or a position-based click model.

    Raises:
        PropensityError: it is none of these, an estimator that was not fitted, or the array is outside (0, 1].
    """
    if isinstance(model, FittedClickModel) and model.propensity is not None:
        return ByPosition.relative(model.propensity)
    if isinstance(model, PositionBased):
        return ByPosition(model.examination)
    if isinstance(model, type):
        raise PropensityError(
            f"A propensity is an object, not a class: write {model.__name__}(...); in TOML a table with type and settings."
        )
    if callable(model):
        return model
    if isinstance(model, str):
        return Column(model)
    if isinstance(model, PropensityEstimator):
        raise PropensityError(f"{type(model).__name__} estimates a propensity from a log: give the result of its fit(log) here.")
    try:
        if np.ndim(model) == 0:
            raise TypeError("a single value")
        return ByPosition(np.asarray(model, dtype=np.float64))
    except (TypeError, ValueError) as error:
        if isinstance(error, PropensityError):
            raise
        raise PropensityError(
            "A propensity is a function of a batch, an array by position, a column's name, a PositionBased click model, or an"
            f" estimator such as Harvested(), not {type(model).__name__}."
        ) from error


def estimated(source: LogSource, model: AnyPropensity, *, seed: int = 0) -> AnyPropensity:
    """Return the model; an estimator of propensities is first fitted to the log."""
    if isinstance(model, PropensityEstimator) and not callable(model):
        fitted = model.fit(source, seed=seed)
        return fitted.model if isinstance(fitted, FittedClickModel) and isinstance(fitted.model, PositionBased) else fitted
    return model


def propensities(log: ClickLog, model: AnyPropensity, device: str = "cpu", *, seed: int = 0) -> np.ndarray:
    """Evaluate a propensity model on every row of a log.

    Args:
        log: The log, P pages of N rows.
        model: Anything that `as_propensity` takes; called on batches of whole pages, without gradients. A module is copied and
            evaluated, not trained. An estimator, such as Harvested, is first fitted to the log.
        device: Where the batches live.
        seed: Of the estimator's fit.

    Returns:
        P(observed), float32, shape [N].

    Raises:
        PropensityError: it returns another shape than [B, L], or a value outside (0, 1]; the message says where.
    """
    function = as_propensity(estimated(need_log(log), model, seed=seed))
    if isinstance(function, Column):
        hint = "Give propensity= an array by position, a function of a batch, or an estimator of propensities such as Harvested()."
        require(log.columns, function.name, by="The propensity", hint=hint)
    users_alone = "user" in log.page_columns and "query" not in log.page_columns
    if isinstance(function, ByPosition) and "position" not in log.columns and users_alone:  # a page is a user: its rows have no order
        raise PropensityError(
            "The propensity goes by position, but the log has no positions. By item it is a function, lambda batch: values[batch.item],"
            " with a torch tensor `values`; by user and item see batch.page('user')."
        )
    if isinstance(function, ByPosition) and len(function.theta) == log.n_rows > 1 and (log.lengths == 1).all():
        raise PropensityError(
            f"An array is a propensity by position, but every page has one row, and the array {log.n_rows} values, one a row. Give them as"
            " a column: log.with_columns(propensity=values) and propensity='propensity'."
        )
    if isinstance(function, torch.nn.Module):
        function = copy.deepcopy(function).to(device).eval()
    out = np.empty(log.n_rows, dtype=np.float32)
    with torch.no_grad():
        for start in range(0, len(log), _BLOCK):
            batch = Batch(log, np.arange(start, min(len(log), start + _BLOCK)), device)
            values = function(batch)
            if not isinstance(values, Tensor) or values.shape != batch.mask.shape:
                got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
                raise PropensityError(
                    f"A propensity model returns one value a row, a tensor of shape {tuple(batch.mask.shape)}, not {got}."
                )
            out[log.offsets[start] : log.offsets[start + len(batch)]] = values[batch.mask].float().cpu().numpy()
    _check(out, log)
    return out


def columns_read(model: AnyPropensity) -> tuple[str, ...] | None:
    """Return the row columns that a propensity model reads; None where it may be any."""
    function = as_propensity(model)
    if isinstance(function, ByPosition):
        return ("position",)
    return (function.name,) if isinstance(function, Column) else None


def attach(log: ClickLog, model: AnyPropensity, *, seed: int = 0) -> ClickLog:
    """Return the log with the model's values in the row column `propensity`, where NumPy-side metrics and diagnostics read them."""
    return need_log(log).with_columns(propensity=propensities(log, model, seed=seed))


def by_position(log: ClickLog, values: np.ndarray) -> np.ndarray:
    """Average positive values over the rows at each position, relative to the first position shown.

    Args:
        log: The log; pages count as often as they were shown.
        values: One value a row, shape [N].

    Returns:
        Relative values, shape [L]; NaN at positions where no row was shown. Where the log has no positions, places in the page count.
    """
    return _relative(*_position_sums(log, values))


def mean_by_position(source: LogSource, column: str) -> np.ndarray:
    """Average a positive row column as `by_position` does, piece by piece."""
    sums = np.zeros((2, 0))
    for log in source.chunks():
        sums = _add(sums, np.stack(_position_sums(log, log.columns[column])))
    return _relative(*sums)


def _position_sums(log: ClickLog, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the values and the number of shows at each position, each [L]."""
    position = log.columns["position"] if "position" in log.columns else log.slots()
    count = np.repeat(log.counts, log.lengths)
    return np.bincount(position, values * count), np.bincount(position, count)


def _add(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Add arrays [2, L] of different widths."""
    width = max(left.shape[1], right.shape[1])
    return np.pad(left, ((0, 0), (0, width - left.shape[1]))) + np.pad(right, ((0, 0), (0, width - right.shape[1])))


def _relative(summed: np.ndarray, shown: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        mean = summed / shown
    return mean / mean[np.argmax(shown > 0)]


def _check(values: np.ndarray, log: ClickLog) -> None:
    bad = ~((values > 0) & (values <= 1))
    if not bad.any():
        return
    row = int(np.argmax(bad))
    page = int(np.searchsorted(log.offsets, row, side="right")) - 1
    place = row - int(log.offsets[page])
    position = int(log.columns["position"][row]) if "position" in log.columns else place
    if "position" not in log.columns:
        who = f"user {log.page_columns['user'][page]}, " if "user" in log.page_columns else ""
        item = log.columns["item"][row]
        name = item if log.items is None or log.items.ids is None else log.items.ids[item]
        raise PropensityError(
            f"propensity must be in (0, 1]: {who}item {name} (page {page}, row {place}) has {values[row]};"
            f" {int(bad.sum())} of {len(values)} rows are out of range. Give it a floor, e.g. propensity.clamp(min=1e-3), or divide by the"
            " largest."
        )
    if values[row] == 0:
        advice = (
            "A zero means that the position was never examined: drop it from the log or give it a floor, e.g. propensity.clamp(min=1e-3)."
        )
    else:
        advice = "A propensity is the probability of being observed; if yours is relative to the first position, use ByPosition.relative."
    raise PropensityError(
        f"propensity must be in (0, 1]: page {page}, row {place} (position {position}) has {values[row]};"
        f" {int(bad.sum())} of {len(values)} rows are out of range.\n{advice}"
    )
