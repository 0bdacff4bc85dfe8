"""Laws in which a click changes nothing about the other rows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ultr.click_models.base import ClickModel
from ultr.click_models.pages import Pages
from ultr.random import need_generator

_CELLS = 1 << 16  # cells drawn at a time: numbers and probabilities stay in the cache


class IndependentRows(ClickModel):
    """P(click on row k) = slope[k] * attraction[k] + intercept[k], whatever is clicked elsewhere."""

    independent_rows: ClassVar[bool] = True

    def _examination(self, pages: Pages) -> np.ndarray:
        """P(position k is examined), shape [L]; 1 where a law does not say otherwise."""
        return np.ones(pages.attraction.shape[1])

    def _slope(self, pages: Pages) -> np.ndarray:
        """Shape [L]; that of a law in which an examined row is clicked if it attracts."""
        return self._examination(pages)

    def _intercept(self, pages: Pages) -> np.ndarray | None:
        """Shape [L]; None for 0."""
        return None

    def _rate(self, pages: Pages) -> np.ndarray:
        """P(click on row k), shape [B, L]."""
        p, intercept = self._slope(pages) * pages.attraction, self._intercept(pages)
        return p if intercept is None else pages.blank(np.minimum(p + intercept, 1.0))  # a rounding error above 1 is none

    def conditional(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(click on row k), shape [B, L]: the clicks before k change nothing."""
        pages = self._read(attraction, clicks, satisfaction, mask)
        return pages.give(self._rate(pages))

    def marginal(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(click on row k), shape [B, L], exact at any length."""
        pages = self._read(attraction, None, satisfaction, mask)
        return pages.give(self._rate(pages))

    def examination_given(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(row k was examined), shape [B, L], whatever was clicked."""
        pages = self._read(attraction, clicks, satisfaction, mask)
        return pages.give(np.broadcast_to(self._examination(pages), pages.attraction.shape))

    def marginal_examination(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(row k is examined), shape [B, L]; a read-only view where every cell is a row."""
        pages = self._read(attraction, None, satisfaction, mask)
        return pages.give(np.broadcast_to(self._examination(pages), pages.attraction.shape))

    def sample(
        self, attraction: ArrayLike, rng: np.random.Generator, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """Draw the clicks of each page, int8, shape [B, L]; probabilities are met to 2**-24, the grain of a float32 random number."""
        rng = need_generator(rng)
        pages = self._read(attraction, None, satisfaction, mask)  # attraction is 0 in the padding
        n, width = pages.attraction.shape
        step = max(1, min(n, _CELLS // max(1, width)))
        slope = np.tile(self._slope(pages).astype(np.float32), (step, 1))  # laid out in full, so that the product is one long loop
        intercept = self._intercept(pages)
        shift = None if intercept is None else np.tile(intercept.astype(np.float32), (step, 1))
        uniform, p, clicks = np.empty_like(slope), np.empty_like(slope), np.empty((n, width), dtype=bool)
        for start in range(0, n, step):
            block = pages.attraction[start : start + step]
            size = len(block)
            rng.random(dtype=np.float32, out=uniform[:size])
            np.multiply(block, slope[:size], out=p[:size], casting="same_kind")
            if shift is not None:
                p[:size] += shift[:size]
            np.less(uniform[:size], p[:size], out=clicks[start : start + size])
        out = clicks.view(np.int8)
        return pages.give(out) if shift is not None else out[0] if pages.single else out

    def _sums(self, pages: Pages, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw one binomial a cell: rows are clicked independently, so the sums over equal pages are too."""
        return rng.binomial(counts[:, None], self._rate(pages))
