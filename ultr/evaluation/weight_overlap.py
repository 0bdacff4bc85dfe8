"""Diagnostics for a log and any propensity model; the NumPy part lives in `ultr.diagnostics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ultr.data.source import LogSource
from ultr.diagnostics import Identifiability, Overlap, effective_sample_size, identifiability, overlap_of
from ultr.errors import LogError

if TYPE_CHECKING:
    from ultr.propensity.evaluate import AnyPropensity

__all__ = ["Identifiability", "Overlap", "effective_sample_size", "identifiability", "overlap"]


def overlap(log: LogSource, propensity: AnyPropensity, clip: float | None = None) -> Overlap:
    """How far inverse-propensity weights would stretch a log, chunk by chunk.

    Args:
        log: Pages with the column `click`.
        propensity: A model `batch -> tensor`, an array by position, a column's name, or an estimator such as Harvested.
        clip: Largest weight, at least 1; None clips nothing.

    Returns:
        `.smallest` propensity, `.share_clipped` of the shown rows, `.effective_sample_size` of the clicks, and what they are made of.

    Raises:
        LogError: the log has no page, or lacks a column.
        PropensityError: a propensity is outside (0, 1], or the clip is below 1.
    """
    from ultr.propensity.evaluate import attach, estimated

    model, total = estimated(log, propensity), None
    for chunk in log.chunks():
        click = chunk.column("click", by="overlap")
        values = attach(chunk, model).columns["propensity"]
        piece = overlap_of(values, click, clip, np.repeat(chunk.counts, chunk.lengths))
        total = piece if total is None else total + piece
    if total is None:
        raise LogError("The log has no page: there are no weights to look at. Check the path or the filter that made it.")
    return total
