"""The affine view of clicks by position, P(click) = alpha * relevance + beta: a propensity is the case beta = 0."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.fitted import FittedClickModel
from ultr.click_models.fitting import ClickModelFit, fitted_law
from ultr.click_models.position_based import PositionBased
from ultr.click_models.trust_bias import TrustBias
from ultr.data.checks import refuse, rows_are
from ultr.data.log import ClickLog
from ultr.errors import PropensityError
from ultr.propensity.evaluate import AnyPropensity, propensities

AffineModel = TrustBias | PositionBased | FittedClickModel | ClickModelFit | type[ClickModel] | AnyPropensity


class Affine(NamedTuple):
    """P(click) = alpha * relevance + beta for each row, each float64, shape [N].

    Args:
        alpha: Slope, in (0, 1].
        beta: Intercept, in [0, 1); alpha + beta is at most 1.
        examination: P(examined), in (0, 1].
    """

    alpha: np.ndarray
    beta: np.ndarray
    examination: np.ndarray


def affine_of(log: ClickLog, model: AffineModel, device: str = "cpu", *, seed: int = 0) -> Affine:
    """Evaluate slope and intercept of the click probability on every row of a log.

    Args:
        log: The log, with positions where the model is a click model.
        model: TrustBias or PositionBased, as an object, as a fitted click model, or as a class or settings of a fit, which are then
            fitted to the log; or anything that is a propensity or estimates one, which has no intercept.
        device: Where the batches live that a propensity is called on.
        seed: Of the fit of a propensity estimator.

    Raises:
        LogError: the click model covers fewer positions, or has a slope of 0 or below at a position that is shown.
        PropensityError: the click model is of another kind; or see `propensities`.

    Source:
        Vardasbi, Oosterhuis and de Rijke (2020), CIKM, section 4. doi:10.1145/3340531.3412031
    """
    if isinstance(model, ClickModel):
        return _by_row(log, model)
    if isinstance(model, FittedClickModel) or (isinstance(model, type) and issubclass(model, (TrustBias, PositionBased))):
        return _by_row(log, fitted_law(model, log).model)
    if isinstance(model, ClickModelFit) and not callable(model):
        fitted: object = model.fit(log, seed=seed)  # settings of a click model, or an estimator of propensities
        return affine_of(log, fitted, device)  # type: ignore[arg-type]
    alpha = propensities(log, model, device, seed=seed).astype(np.float64)  # type: ignore[arg-type]  # other classes are refused there
    return Affine(alpha, np.zeros(len(alpha)), alpha)


def _by_row(log: ClickLog, model: ClickModel) -> Affine:
    if not isinstance(model, (TrustBias, PositionBased)):
        raise PropensityError(
            f"{type(model).__name__} has no slope and intercept by position; TrustBias and PositionBased have. Chain laws go to CascadeIPS."
        )
    position = log.column("position", type(model).__name__)
    known = len(model.examination)
    what = f"position must be below {known}, the number of positions that {type(model).__name__} knows"
    refuse(position >= known, what, "Give it more, or cut the pages.", rows_are(log.offsets), position)
    slope, intercept = (model.alpha, model.beta) if isinstance(model, TrustBias) else (model.examination, np.zeros(known))
    alpha, beta = slope[position], intercept[position]
    refuse(
        ~(alpha > 0),
        "the slope of the click probability must be above 0; examination * (trust_positive - trust_negative)",
        "Where a position is not examined, or irrelevant rows are clicked as much as relevant ones, clicks say nothing: drop it.",
        rows_are(log.offsets),
        alpha,
    )
    return Affine(alpha, beta, model.examination[position])
