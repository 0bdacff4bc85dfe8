"""The user browsing model (UBM): examination depends on the position and on where the last click above was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ultr.click_models.base import ClickModel
from ultr.click_models.cell_learner import ExaminationLearner
from ultr.click_models.learning import Learner, Rows
from ultr.click_models.pages import Pages
from ultr.errors import PropensityError
from ultr.random import need_generator

_CELLS = 1 << 16  # cells worked on at a time: they stay in the cache


@dataclass(frozen=True, eq=False)
class UserBrowsing(ClickModel):
    """P(click on row k | clicks above) = examination[k, r] * attraction[k], r the rank of the last click above.

    Args:
        examination: P(position k is examined | last click above at rank r), in [0, 1], shape [K, K]: row k is the 0-based position, column
            r the 1-based rank of the last click above, 0 where there is none. Columns beyond the row are never read or checked. Pages
            may be shorter than K, not longer.

    Raises:
        PropensityError: `examination` is not square, or an entry that is read is not in [0, 1].

    Source:
        Dupret and Piwowarski (2008), SIGIR, doi:10.1145/1390334.1390392.

    Differs:
        The paper's table is by position and distance to the last click; this one by position and rank of the last click, which is the
        same table written down otherwise.
    """

    examination: np.ndarray

    def __post_init__(self) -> None:
        theta = np.array(self.examination, dtype=np.float64)
        if theta.ndim != 2 or theta.shape[0] != theta.shape[1] or len(theta) == 0:
            raise PropensityError(f"examination must have shape [positions, positions], a column for each last click, not {theta.shape}.")
        bad = np.tril(~((theta >= 0) & (theta <= 1)))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise PropensityError(
                f"examination must be in [0, 1]: position {row}, last click at rank {column} has {theta[row, column]};"
                f" {np.count_nonzero(bad)} of {len(theta) * (len(theta) + 1) // 2} entries are wrong."
            )
        theta.setflags(write=False)
        object.__setattr__(self, "examination", theta)

    def conditional(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(click on row k | clicks above), shape [B, L]."""
        pages = self._read(attraction, clicks, satisfaction, mask)
        return pages.give(self._seen(pages) * pages.attraction)

    def examination_given(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(row k was examined | clicks above), shape [B, L]."""
        pages = self._read(attraction, clicks, satisfaction, mask)
        return pages.give(self._seen(pages))

    def marginal(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(click on row k), shape [B, L], exact at any length, in time that grows with its square."""
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
        out, theta = np.zeros(pages.attraction.shape, dtype=bool), self.examination.astype(np.float32)
        for some, a in _blocks(pages):
            uniform = rng.random(a.shape, dtype=np.float32)
            last, clicked = np.zeros(a.shape[1], dtype=np.intp), np.zeros(a.shape, dtype=bool)
            for k in range(pages.width):
                np.less(uniform[k], theta[k].take(last, mode="clip") * a[k], out=clicked[k])  # nothing to clip, and faster
                if k + 1 < pages.width:
                    np.putmask(last, clicked[k], k + 1)
            out[some] = clicked.T
        return pages.give(out.view(np.int8))

    def _sums(self, pages: Pages, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Advance the number of users by the rank of their last click with binomials: exact in distribution, whatever the counts."""
        sums = np.zeros(pages.attraction.shape, dtype=np.int64)
        users = np.zeros((pages.width + 1, len(counts)), dtype=np.int64)
        users[0] = counts
        for k in range(pages.width):
            clicked = rng.binomial(users[: k + 1], self.examination[k, : k + 1, None] * pages.attraction[:, k])
            users[: k + 1] -= clicked
            sums[:, k] = users[k + 1] = clicked.sum(axis=0)
        return sums

    @classmethod
    def _learner(cls) -> Learner:
        return _BrowsingLearner()

    def _read(self, attraction: ArrayLike, clicks: ArrayLike | None, satisfaction: ArrayLike | None, mask: ArrayLike | None) -> Pages:
        pages = super()._read(attraction, clicks, satisfaction, mask)
        if pages.width > len(self.examination):
            raise PropensityError(
                f"examination has {len(self.examination)} positions, but the longest page has {pages.width} rows:"
                f" give it a row and a column for each of {pages.width} positions, or cut the pages at {len(self.examination)}."
            )
        return pages

    def _seen(self, pages: Pages) -> np.ndarray:
        """P(row k was examined | clicks above), shape [B, L]."""
        width, out = pages.width, np.zeros(pages.attraction.shape)
        last = last_click_above(pages.clicks[:, :width])
        out[:, :width] = self.examination[np.arange(width), last]
        return out

    def _reached(self, pages: Pages) -> np.ndarray:
        """P(row k is examined), shape [B, L], from the probabilities of all ranks of the last click."""
        out = np.zeros(pages.attraction.shape)
        for some, a in _blocks(pages):
            reached, last = np.zeros(a.shape), np.zeros((pages.width + 1, a.shape[1]))
            last[0] = 1
            for k in range(pages.width):
                theta = self.examination[k, : k + 1]
                np.einsum("r,rb->b", theta, last[: k + 1], out=reached[k])
                last[: k + 1] *= 1 - theta[:, None] * a[k]
                last[k + 1] = reached[k] * a[k]
            out[some] = reached.T
        return out


class _BrowsingLearner(ExaminationLearner):
    """The context is the position and the rank of the last click above, numbered along the rows of the triangle."""

    def contexts(self, rows: Rows) -> np.ndarray:
        position = rows.position.astype(np.intp)
        return position * (position + 1) // 2 + _last_rank_above(rows)

    def complete(self, n_contexts: int) -> int:
        positions = int(np.ceil((np.sqrt(8 * n_contexts + 1) - 1) / 2))
        return positions * (positions + 1) // 2

    def law(self, examination: np.ndarray) -> ClickModel:
        size = int(np.sqrt(2 * len(examination)))
        table = np.zeros((size, size))
        table[np.tril_indices(size)] = examination
        return UserBrowsing(table)

    def examination(self, law: ClickModel) -> np.ndarray:
        table: np.ndarray = law.examination  # type: ignore[attr-defined]
        return table[np.tril_indices(len(table))]

    def filled(self, examination: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Take a context without rows for the same position without a click, or for the context before it."""
        above = np.maximum.accumulate(np.where(known, np.arange(len(known)), int(np.argmax(known))))
        return examination[above]


def _last_rank_above(rows: Rows) -> np.ndarray:
    """Return the 1-based rank of the last click above each row, 0 where there is none, shape [N]."""
    last = np.zeros(len(rows.click), dtype=np.intp)  # flat number of the last click above, from 1, on whatever page
    below = rows.clicked[rows.clicked + 1 < len(last)] + 1
    last[below] = below
    np.maximum.accumulate(last, out=last)
    on_page = last > rows.of_pages(rows.offsets[:-1])
    return np.where(on_page, rows.position.take(np.maximum(last - 1, 0)) + 1, 0)


def last_click_above(clicks: np.ndarray) -> np.ndarray:
    """Return the 1-based rank of the last click above each row, 0 where there is none, shape [B, L]."""
    last = np.zeros(clicks.shape, dtype=np.intp)
    ranks = np.arange(1, clicks.shape[1])
    np.maximum.accumulate(np.where(clicks[:, :-1] != 0, ranks, 0), axis=1, out=last[:, 1:])
    return last


def _blocks(pages: Pages) -> Iterator[tuple[slice, np.ndarray]]:
    """Iterate over some pages at a time: which, and their attraction, a row after the other, shape [L, B]."""
    n, width = pages.attraction.shape
    step = max(1, _CELLS // max(1, width))
    for start in range(0, n if width else 0, step):
        some = slice(start, start + step)
        yield some, np.ascontiguousarray(pages.attraction[some].T)
