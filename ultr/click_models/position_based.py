"""The position-based model: a row is clicked if its position is examined and the row attracts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ultr.click_models.base import ClickModel
from ultr.click_models.pages import Pages, by_position, read_pages
from ultr.errors import PropensityError

_CELLS = 1 << 16  # cells drawn at a time: numbers and probabilities stay in the cache


@dataclass(frozen=True, eq=False)
class PositionBased(ClickModel):
    """P(click on row k) = examination[k] * attraction[k], independent of the other rows.

    Args:
        examination: P(position k is examined), in [0, 1], shape [K]. Pages may be shorter, not longer.

    Raises:
        PropensityError: `examination` is not one row of numbers in [0, 1].

    Source:
        Richardson, Dominowska and Ragno (2007), WWW, doi:10.1145/1242572.1242643; compared with other laws by Craswell et al. (2008),
        WSDM, doi:10.1145/1341531.1341545.
    """

    examination: np.ndarray

    def __post_init__(self) -> None:
        theta = np.array(self.examination, dtype=np.float64)
        if theta.ndim != 1 or len(theta) == 0:
            raise PropensityError(f"examination must be one number a position, shape [positions], not shape {theta.shape}.")
        bad = ~((theta >= 0) & (theta <= 1))
        if bad.any():
            at = int(np.argmax(bad))
            raise PropensityError(
                f"examination must be in [0, 1]: position {at} has {theta[at]}; {np.count_nonzero(bad)} of {len(theta)} are wrong."
            )
        theta.setflags(write=False)
        object.__setattr__(self, "examination", theta)

    def conditional(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(click on row k), shape [B, L]: the clicks before k change nothing."""
        pages = read_pages(attraction, clicks, satisfaction, mask)
        return pages.give(self._theta(pages) * pages.attraction)

    def marginal(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(click on row k), shape [B, L], exact at any length."""
        pages = read_pages(attraction, None, satisfaction, mask)
        return pages.give(self._theta(pages) * pages.attraction)

    def examination_given(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(row k was examined), shape [B, L], whatever was clicked."""
        pages = read_pages(attraction, clicks, satisfaction, mask)
        return pages.give(np.broadcast_to(self._theta(pages), pages.attraction.shape))

    def marginal_examination(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(row k is examined), shape [B, L]; a read-only view where every cell is a row."""
        pages = read_pages(attraction, None, satisfaction, mask)
        return pages.give(np.broadcast_to(self._theta(pages), pages.attraction.shape))

    def sample(
        self, attraction: ArrayLike, rng: np.random.Generator, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """Draw the clicks of each page, int8, shape [B, L]; probabilities are met to 2**-24, the grain of a float32 random number."""
        pages = read_pages(attraction, None, satisfaction, mask)  # attraction is 0 in the padding: no click there
        n, width = pages.attraction.shape
        step = max(1, min(n, _CELLS // max(1, width)))
        theta = np.tile(self._theta(pages).astype(np.float32), (step, 1))  # laid out in full, so that the product is one long loop
        uniform, p, clicks = np.empty_like(theta), np.empty_like(theta), np.empty((n, width), dtype=bool)
        for start in range(0, n, step):
            block = pages.attraction[start : start + step]
            size = len(block)
            rng.random(dtype=np.float32, out=uniform[:size])
            np.multiply(block, theta[:size], out=p[:size], casting="same_kind")
            np.less(uniform[:size], p[:size], out=clicks[start : start + size])
        out = clicks.view(np.int8)
        return out[0] if pages.single else out

    def _sums(self, pages: Pages, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw one binomial a cell: rows are clicked independently, so the sums over equal pages are too."""
        return rng.binomial(counts[:, None], self._theta(pages) * pages.attraction)

    def _theta(self, pages: Pages) -> np.ndarray:
        return by_position("examination", self.examination, pages)
