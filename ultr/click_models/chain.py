"""Chain laws: the eye goes down the page row by row, and whether it goes on depends on the row alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ultr.click_models.base import ClickModel
from ultr.click_models.chain_learner import ChainCounts, ChainLearner
from ultr.click_models.learning import Expected, Learner, Prior, State, log_sum
from ultr.click_models.pages import Pages
from ultr.random import need_generator

_CELLS = 1 << 16  # cells worked on at a time: they stay in the cache


class ChainLaw(ClickModel):
    """The first row is examined, an examined row is clicked with its attraction, a row below is examined if the user goes on.

    A law says how likely that is after a skip and after a click; all else follows, exact at any length. With a_k the attraction,
    g the chance to go on after a skip and h_k after a click, e_k = P(row k examined | clicks above) runs from e_1 = 1 as
    e = h_k after a click and e = g e_k (1 - a_k) / (1 - e_k a_k) after a skip.
    """

    skips_go_on: ClassVar[bool] = True  # after a skip the user always goes on
    has_tails: ClassVar[bool] = True  # somebody who clicked may go on

    @abstractmethod
    def _after_click(self, attraction: np.ndarray, satisfaction: np.ndarray | None, position: np.ndarray) -> np.ndarray | float:
        """P(the user goes on | row clicked): arrays of one shape, or shapes that broadcast; `position` counts from 0."""

    def _after_skip(self) -> float:
        """P(the user goes on | row examined and skipped)."""
        return 1.0

    @classmethod
    @abstractmethod
    def _counted(cls, law: ClickModel | None, counts: ChainCounts, prior: Prior) -> State:
        """Where learning starts, from what is known for certain; with the parameters of `law` where there is one."""

    @abstractmethod
    def _maximised(self, counts: ChainCounts, state: State) -> Expected:
        """Make the expected counts most likely; the log-likelihood is left to the learner."""

    def _log_went_on(self, known: ChainCounts, state: State) -> float:
        """Log-probability of what is known about going on after clicks."""
        goes_on = self._after_click(state.attraction, state.satisfaction, np.zeros(len(state.attraction), dtype=np.intp))
        return log_sum(known.went_on, np.broadcast_to(goes_on, known.went_on.shape))

    @classmethod
    def _learner(cls) -> Learner:
        return ChainLearner(cls)

    def conditional(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(click on row k | clicks above), shape [B, L]."""
        pages = self._read(attraction, clicks, satisfaction, mask)
        return pages.give(self._seen(pages) * pages.attraction)

    def examination_given(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(row k was examined | clicks above), shape [B, L]; 0 behind clicks that the law rules out."""
        pages = self._read(attraction, clicks, satisfaction, mask)
        return pages.give(self._seen(pages))

    def marginal(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(click on row k), shape [B, L], exact at any length."""
        pages = self._read(attraction, None, satisfaction, mask)
        return pages.give(self._reached(pages) * pages.attraction)

    def marginal_examination(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(row k is examined), shape [B, L], exact at any length."""
        pages = self._read(attraction, None, satisfaction, mask)
        return pages.give(self._reached(pages))

    def sample(
        self, attraction: ArrayLike, rng: np.random.Generator, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """Draw the clicks of each page, int8, shape [B, L]; probabilities are met to 2**-24, the grain of a float32 random number."""
        rng = need_generator(rng)
        pages = self._read(attraction, None, satisfaction, mask)
        out, skip = np.zeros(pages.attraction.shape, dtype=bool), np.float32(self._after_skip())
        for part in self._blocks(pages, np.float32):
            width, n = part.attraction.shape
            uniform = rng.random((width, n), dtype=np.float32)
            clicked = uniform < part.attraction
            going = uniform < part.attraction * part.after_click  # one number says whether a row is clicked, and then whether that was all
            going |= ~clicked if skip == 1 else part.skips_on(uniform, clicked, skip)
            for k in range(1, width):
                going[k] &= going[k - 1]
                clicked[k] &= going[k - 1]
            out[part.pages] = clicked.T
        return pages.give(out.view(np.int8))

    def _sums(self, pages: Pages, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Advance the number of users who still read by binomials: exact in distribution, whatever the counts."""
        sums, skip = np.zeros(pages.attraction.shape, dtype=np.int64), self._after_skip()
        after_click = np.broadcast_to(self._after_click(*_cells(pages)), pages.attraction.shape)
        reading = counts
        for k in range(pages.width):
            clicked = rng.binomial(reading, pages.attraction[:, k])
            skipped = reading - clicked
            if skip < 1:
                stay = skip if pages.mask is None else np.where(pages.mask[:, k], skip, 1.0)
                skipped = rng.binomial(skipped, stay)
            sums[:, k], reading = clicked, skipped + rng.binomial(clicked, after_click[:, k])
        return sums

    def _seen(self, pages: Pages) -> np.ndarray:
        """P(row k was examined | clicks above), shape [B, L]."""
        out, skip = np.empty(pages.attraction.shape), self._after_skip()
        for part in self._blocks(pages, np.float64):
            seen = np.ones_like(part.attraction)
            for k in range(1, len(seen)):
                a, e = part.attraction[k - 1], seen[k - 1]
                skipped = 1 - e * a
                after_skip = np.divide(e * (1 - a), skipped, out=np.zeros_like(a), where=skipped > 0)
                after_skip *= skip if part.shown is None else np.where(part.shown[k - 1], skip, 1.0)
                seen[k] = np.where(part.clicks[k - 1] == 1, part.after_click[k - 1], after_skip)
            out[part.pages] = seen.T
        return out

    def _reached(self, pages: Pages) -> np.ndarray:
        """P(row k is examined), shape [B, L]."""
        out, skip = np.empty(pages.attraction.shape), self._after_skip()
        for part in self._blocks(pages, np.float64):
            reached = np.ones_like(part.attraction)
            for k in range(1, len(reached)):
                a = part.attraction[k - 1]
                stay = skip if part.shown is None else np.where(part.shown[k - 1], skip, 1.0)
                reached[k] = reached[k - 1] * (a * part.after_click[k - 1] + (1 - a) * stay)
            out[part.pages] = reached.T
        return out

    def _blocks(self, pages: Pages, dtype: type[np.floating]) -> Iterator[_Block]:
        n, width = pages.attraction.shape
        step = max(1, _CELLS // max(1, width))
        position = np.arange(width)[:, None]
        for start in range(0, n if width else 0, step):
            some = slice(start, start + step)
            a = pages.attraction[some].T.astype(dtype, order="C")
            s = None if pages.satisfaction is None or not self.reads_satisfaction else pages.satisfaction[some].T.astype(dtype, order="C")
            after_click = np.broadcast_to(np.asarray(self._after_click(a, s, position), dtype=dtype), a.shape)
            shown = None if pages.mask is None else np.ascontiguousarray(pages.mask[some].T)
            yield _Block(some, a, pages.clicks[some].T, after_click, shown)


@dataclass(frozen=True, eq=False)
class _Block:
    """Some pages, a row after the other.

    Args:
        pages: Which pages.
        attraction: P(click | examined), shape [L, B].
        clicks: 0 or 1, shape [L, B].
        after_click: P(going on | clicked), shape [L, B].
        shown: True where a row is shown, shape [L, B]; None where every cell is a row. What is not shown is passed over.
    """

    pages: slice
    attraction: np.ndarray
    clicks: np.ndarray
    after_click: np.ndarray
    shown: np.ndarray | None

    def skips_on(self, uniform: np.ndarray, clicked: np.ndarray, skip: np.floating) -> np.ndarray:
        """Return which of the rows are skipped and left behind, shape [L, B]: the part of the numbers above the attraction that goes on."""
        limit = self.attraction + (1 - self.attraction) * skip
        stays = uniform < (limit if self.shown is None else np.where(self.shown, limit, 1))
        return stays & ~clicked


def _cells(pages: Pages) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    return pages.attraction, pages.satisfaction, np.arange(pages.attraction.shape[1])
