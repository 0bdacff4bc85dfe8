"""Means over what may be clicked above a row: exact by enumeration where the pages are short, by sampling where they are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ultr.click_models.pages import Pages, no_clicks
from ultr.errors import ContractError

if TYPE_CHECKING:
    from ultr.click_models.base import ClickModel

ENUMERATED_ROWS = 12  # 2,048 patterns of the clicks above the last row
SAMPLED_PAGES = 4096
_STEP = 1 << 14  # pages a step

CellValues = Callable[[Pages], np.ndarray]  # [B, L], from pages with clicks


def mean_over_clicks(model: ClickModel, values: CellValues, pages: Pages, rng: np.random.Generator | None) -> np.ndarray:
    """Return the mean of `values`, which depend on the clicks above a row, under the law of the clicks.

    Args:
        model: The law.
        values: The model's conditional click or examination probabilities.
        pages: The pages, without clicks.
        rng: Source of the draws for pages of more than ENUMERATED_ROWS rows.

    Returns:
        Means, shape [B, L], 0 in the padding.

    Raises:
        ContractError: a page has more rows, and `rng` is None.
    """
    out, width = np.zeros(pages.attraction.shape), pages.width
    if width == 0 or len(out) == 0:
        return out
    exact = width <= ENUMERATED_ROWS
    if not exact and rng is None:
        raise ContractError(
            f"{type(model).__name__} has no closed form, and pages of {width} rows have too many click patterns to enumerate"
            f" (up to {ENUMERATED_ROWS} rows are): write marginal and marginal_examination for this law, or give rng= to estimate them from"
            f" {SAMPLED_PAGES:,} samples a page."
        )
    step = max(1, _STEP // (2 ** (width - 1) if exact else SAMPLED_PAGES))
    for start in range(0, len(out), step):
        part = _take(pages, np.arange(start, min(start + step, len(out))), width)
        means = _enumerated(model, values, part) if exact or rng is None else _sampled(model, values, part, rng)
        out[start : start + step, :width] = means
    return out


def _enumerated(model: ClickModel, values: CellValues, pages: Pages) -> np.ndarray:
    n, width = pages.attraction.shape
    patterns = np.arange(2 ** (width - 1))[:, None] >> np.arange(width) & 1  # no row lies below the last one: its click does not matter
    stacked = replace(_take(pages, np.repeat(np.arange(n), len(patterns)), width), clicks=np.tile(patterns, (n, 1)).astype(np.int8))
    p = model._conditional(stacked)
    chance = np.where(stacked.clicks == 1, p, 1 - p)[:, :-1].prod(axis=1)
    return np.einsum("ij,ijk->ik", chance.reshape(n, -1), values(stacked).reshape(n, -1, width))


def _sampled(model: ClickModel, values: CellValues, pages: Pages, rng: np.random.Generator) -> np.ndarray:
    """Average the values over drawn pages: their spread is smaller than that of the clicks themselves."""
    n, width = pages.attraction.shape
    stacked = _take(pages, np.repeat(np.arange(n), SAMPLED_PAGES), width)
    clicks = model.sample(stacked.attraction, rng, stacked.satisfaction, stacked.shown)
    return values(replace(stacked, clicks=clicks)).reshape(n, SAMPLED_PAGES, width).mean(axis=1)


def _take(pages: Pages, which: np.ndarray, width: int) -> Pages:
    satisfaction = None if pages.satisfaction is None else pages.satisfaction[which, :width]
    mask = None if pages.mask is None else pages.mask[which, :width]
    attraction = pages.attraction[which, :width]
    return Pages(attraction, no_clicks(attraction.shape), satisfaction, mask, single=False)
