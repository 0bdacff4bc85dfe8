"""Inverse-propensity weights: the one place where a propensity becomes a weight."""

from __future__ import annotations

from typing import overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ultr.errors import ConfigError, PropensityError


@overload
def inverse_propensity(
    clicks: Tensor, propensity: Tensor, *, clip: float | None = None, normalise: str | float | None = None
) -> Tensor: ...
@overload
def inverse_propensity(
    clicks: ArrayLike, propensity: ArrayLike, *, clip: float | None = None, normalise: str | float | None = None
) -> np.ndarray: ...
def inverse_propensity(
    clicks: Tensor | ArrayLike, propensity: Tensor | ArrayLike, *, clip: float | None = None, normalise: str | float | None = None
) -> Tensor | np.ndarray:
    """Weight clicks by their inverse propensity, so that their expectation is the relevance.

    Args:
        clicks: Clicks or other non-negative labels, dimensionless, 0 in the padding, shape [B, L].
        propensity: P(observed) in (0, 1], shape [B, L]; detached here. Read where there is a click, and for "first" in the first column.
        clip: Largest weight, above 0, applied to 1 / propensity before normalising; a floor M on the propensity is clip = 1 / M.
        normalise: None; "first" (times the propensity of the page's first row); "self" (divided by the mean weight of the clicks
            given); or that mean weight itself, where it was computed once over a whole log (`mean_weight`).

    Returns:
        Clicks times weight, shape [B, L]; exactly 0 where there is no click. A tensor of tensors, else a NumPy array, float64.

    Raises:
        PropensityError: shapes differ. ConfigError: `clip` or `normalise` is none of the above.

    Examples:
        >>> clicks, propensity = torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.5, 0.25]])
        >>> inverse_propensity(clicks, propensity)
        tensor([[1., 0., 4.]])
        >>> inverse_propensity(clicks, propensity, clip=3)
        tensor([[1., 0., 3.]])
        >>> inverse_propensity(clicks, propensity, normalise="self")  # the mean weight of the two clicks is 2.5
        tensor([[0.4000, 0.0000, 1.6000]])

    Source:
        Joachims, Swaminathan and Schnabel (2017), WSDM, equation 5; clipping: section 5.3 of the same; self-normalisation: Swaminathan
        and Joachims (2015), NeurIPS. doi:10.1145/3018661.3018699
    """
    if not (isinstance(clicks, Tensor) and isinstance(propensity, Tensor)):
        arrays = [torch.as_tensor(np.asarray(values, dtype=np.float64)) for values in (clicks, propensity)]
        return inverse_propensity(*arrays, clip=clip, normalise=normalise).numpy()
    weight = clipped_weight(clicks, propensity, clip)
    if normalise == "first":
        weight = weight * propensity.detach()[..., :1]
    elif normalise == "self":
        weight = weight / mean_weight(clicks, propensity, clip)
    elif isinstance(normalise, (int, float)) and not isinstance(normalise, bool) and normalise > 0:
        weight = weight / normalise
    elif normalise is not None:
        raise ConfigError(f"normalise must be None, 'first', 'self' or a mean weight above 0, not {normalise!r}.")
    return torch.where(clicks > 0, clicks * weight, torch.zeros_like(weight))


def clipped_weight(clicks: Tensor, propensity: Tensor, clip: float | None = None) -> Tensor:
    """Return min(1 / propensity, clip) where there is a click, and 1 elsewhere, shape [B, L]."""
    if clicks.shape != propensity.shape:
        raise PropensityError(f"propensity must have the shape of the clicks, {tuple(clicks.shape)}, not {tuple(propensity.shape)}.")
    if clip is not None and not clip > 0:
        raise ConfigError(f"clip is the largest weight, above 0, not {clip!r}.")
    weight = 1 / torch.where(clicks > 0, propensity.detach(), torch.ones_like(propensity))
    return weight if clip is None else weight.clamp(max=clip)


def mean_weight(clicks: Tensor, propensity: Tensor, clip: float | None = None) -> float:
    """Return the mean weight of a click, dimensionless; 1 where there is no click."""
    weighted, clicked = weight_sums(clicks, propensity, clip)
    return weighted / clicked if clicked > 0 else 1.0


def weight_sums(clicks: Tensor, propensity: Tensor, clip: float | None = None) -> tuple[float, float]:
    """Return the summed weights of all clicks, and how many clicks there are."""
    clicks = clicks.detach()
    weight = clipped_weight(clicks, propensity, clip)
    return float((clicks * weight).sum(dtype=torch.float64)), float(clicks.sum(dtype=torch.float64))
