"""The arrays that every click model takes: checked once, of one shape, and clean in the padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ultr.data.checks import check_clicks, check_probabilities
from ultr.errors import LogError, PropensityError


@dataclass(frozen=True, eq=False)
class Pages:
    """B pages of up to L rows, as `read_pages` makes them.

    Args:
        attraction: P(click | examined) in [0, 1], 0 where no row is shown, shape [B, L].
        clicks: 0 or 1, 0 where no row is shown, int8, shape [B, L]; all 0 where none were given.
        satisfaction: P(satisfied | clicked) in [0, 1], 0 where no row is shown, shape [B, L]; None where none was given.
        mask: True where a row is shown, shape [B, L]; None where every cell is a row.
        single: The caller gave one page [L] and gets [L] back.
    """

    attraction: np.ndarray
    clicks: np.ndarray
    satisfaction: np.ndarray | None
    mask: np.ndarray | None
    single: bool

    @property
    def shown(self) -> np.ndarray:
        """True where a row is shown, shape [B, L], also where every cell is a row."""
        return np.ones(self.attraction.shape, dtype=bool) if self.mask is None else self.mask

    @property
    def width(self) -> int:
        """Rows of the longest page: behind them there is only padding."""
        width = self.attraction.shape[1] if len(self.attraction) else 0
        while self.mask is not None and width and not self.mask[:, width - 1].any():
            width -= 1
        return width

    def blank(self, values: np.ndarray) -> np.ndarray:
        """Return values [B, L] with 0 in the padding."""
        return values if self.mask is None else np.where(self.mask, values, values.dtype.type(0))

    def give(self, values: np.ndarray) -> np.ndarray:
        """Return values [B, L], or per page [B], in the shape that the caller's arrays had, 0 in the padding."""
        values = self.blank(values) if values.ndim == 2 else values
        return values[0] if self.single else values


def read_pages(
    attraction: ArrayLike, clicks: ArrayLike | None = None, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
) -> Pages:
    """Check the arguments of a click model; whatever stands in the padding is never looked at.

    Args:
        attraction: P(click | examined), numbers in [0, 1], shape [B, L], or [L] for a single page. float32 stays float32.
        clicks: 0 or 1, same shape.
        satisfaction: P(satisfied | clicked), numbers in [0, 1], same shape.
        mask: True where a row is shown, same shape; every cell when None.

    Raises:
        LogError: shapes differ, a probability lies outside [0, 1], a click is not 0 or 1, or the mask is not boolean.
    """
    given = {"attraction": attraction, "clicks": clicks, "satisfaction": satisfaction, "mask": mask}
    arrays = {name: np.asarray(values) for name, values in given.items() if values is not None}
    shape = arrays["attraction"].shape
    if len(shape) not in (1, 2):
        raise LogError(f"attraction must have shape [pages, rows], or [rows] for a single page, not {shape}.")
    for name, values in arrays.items():
        if values.shape != shape:
            raise LogError(f"{name} has shape {values.shape}, attraction has {shape}: give one number for each row of each page.")
    arrays = {name: np.atleast_2d(values) for name, values in arrays.items()}
    shown = arrays.get("mask")
    if shown is not None and shown.dtype != bool:
        raise LogError(f"mask must be boolean, True where a row is shown, not {shown.dtype}.")
    if shown is None or shown.all():
        shown = None
    return Pages(
        attraction=_probabilities("attraction", arrays["attraction"], shown),
        clicks=_clicks(arrays["clicks"], shown) if "clicks" in arrays else no_clicks(arrays["attraction"].shape),
        satisfaction=_probabilities("satisfaction", arrays["satisfaction"], shown) if "satisfaction" in arrays else None,
        mask=shown,
        single=len(shape) == 1,
    )


def no_clicks(shape: tuple[int, ...]) -> np.ndarray:
    """Return 0 for every cell; it takes no memory and cannot be written to."""
    return np.broadcast_to(np.int8(0), shape)


def by_position(name: str, values: np.ndarray, pages: Pages) -> np.ndarray:
    """Return the parameters of the positions 0..L - 1, shape [L]; 0 behind the longest page.

    Args:
        name: What the law calls the parameter.
        values: One number a position, shape [K].
        pages: The pages to be covered.

    Raises:
        PropensityError: a page is longer than K.
    """
    if pages.width > len(values):
        raise PropensityError(
            f"{name} has {len(values)} positions, but the longest page has {pages.width} rows:"
            f" give {name} one value for each of {pages.width} positions, or cut the pages at {len(values)}."
        )
    columns = pages.attraction.shape[1]
    return values[:columns] if len(values) >= columns else np.pad(values, (0, columns - len(values)))


def _probabilities(name: str, values: np.ndarray, shown: np.ndarray | None) -> np.ndarray:
    if values.dtype != np.float32:
        values = values.astype(np.float64, copy=False)
    if shown is not None:
        values = np.where(shown, values, values.dtype.type(0))
    if not _surely_probabilities(values):
        check_probabilities(name, values.reshape(-1), _cells_are(values.shape[1]), zero=True)
    return values


def _surely_probabilities(values: np.ndarray) -> bool:
    """Tell in one fast pass that all numbers are in [0, 1]: read as unsigned integers, -0.0, negative numbers and NaN lie above 1."""
    unsigned = np.uint32 if values.dtype == np.float32 else np.uint64
    return bool(values.view(unsigned).max(initial=0) <= values.dtype.type(1).view(unsigned))


def _clicks(values: np.ndarray, shown: np.ndarray | None) -> np.ndarray:
    values = values.view(np.int8) if values.dtype == bool else values
    if shown is not None:
        values = np.where(shown, values, values.dtype.type(0))
    check_clicks(values.reshape(-1), 1, _cells_are(values.shape[1]))
    return values.astype(np.int8, copy=False)


def _cells_are(columns: int) -> Callable[[int], str]:
    """Describe a cell of [B, L] as page and row."""
    return lambda cell: f"page {cell // columns}, row {cell % columns}"
