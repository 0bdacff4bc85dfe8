"""The click model: a law of clicks on a page, of which one method is the whole and the rest follows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ultr.click_models.expectation import mean_over_clicks
from ultr.click_models.pages import Pages, read_pages
from ultr.data.padded import offsets_of
from ultr.errors import ContractError, LogError
from ultr.random import need_generator

if TYPE_CHECKING:
    from ultr.click_models.learning import Learner
    from ultr.data.log import ClickLog

_ROUNDING = 1e-9  # how far a law's probability may stray from [0, 1] before it is an error
_CELLS = 1 << 20  # cells drawn at a time where equal pages are drawn one by one


class ClickModel(ABC):
    """How a user who sees a page clicks on it.

    A law of one's own writes `conditional` alone; likelihood and samples follow exactly, marginals by enumeration. What the law knows about
    examination is said in `examination_given`; without it there is no true propensity.

    Arrays have shape [B, L], B pages of up to L rows in displayed order; one page may be given as [L] and comes back as [L]. `mask` is True
    where a row is shown. Where it is False nothing given matters, and probabilities and clicks are 0. `attraction` = P(click | examined)
    and `satisfaction` = P(satisfied | clicked), which only some laws read, are in [0, 1]; a law that does says `reads_satisfaction = True`.
    """

    reads_satisfaction: ClassVar[bool] = False
    rates_by: ClassVar[tuple[str, ...]] = ("query", "item")  # what rows share an attraction when the law is fitted
    independent_rows: ClassVar[bool] = False  # a click changes nothing about the other rows: a log of summed clicks says all

    @abstractmethod
    def conditional(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(click on row k | clicks on the rows before k).

        Args:
            attraction: P(click | examined), in [0, 1], shape [B, L].
            clicks: 0 or 1, shape [B, L]. The value for row k reads the columns before k only.
            satisfaction: P(satisfied | clicked), in [0, 1], shape [B, L].
            mask: True where a row is shown, shape [B, L]. The other methods always give one.

        Returns:
            Probabilities, shape [B, L].
        """

    def examination_given(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """P(row k was examined | clicks on the rows before k), shape [B, L]: the propensity of a law in which clicks guide the eye.

        Raises:
            ContractError: the law does not say what is examined.
        """
        raise ContractError(
            f"{type(self).__name__} does not say what was examined, so it has no propensity:"
            " write examination_given(attraction, clicks, satisfaction=None, mask=None) -> P(examined | clicks before), [B, L]."
        )

    @property
    def knows_examination(self) -> bool:
        """Whether the law says what is examined, not only what is clicked."""
        here = type(self)
        return (
            here.examination_given is not ClickModel.examination_given or here.marginal_examination is not ClickModel.marginal_examination
        )

    def marginal(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(click on row k), whatever was clicked before.

        Args:
            attraction: P(click | examined), in [0, 1], shape [B, L].
            satisfaction: P(satisfied | clicked), in [0, 1], shape [B, L].
            mask: True where a row is shown, shape [B, L].
            rng: Needed only by a law without a closed form on pages of more than 12 rows: then 4,096 pages are drawn for each page, and
                the standard error is at most 0.008.

        Returns:
            Probabilities, shape [B, L]: exact, by enumerating the click patterns, up to 12 rows.

        Raises:
            ContractError: a page has more than 12 rows, and neither a closed form nor `rng` is there.
        """
        pages = self._read(attraction, None, satisfaction, mask)
        return pages.give(mean_over_clicks(self, self._conditional, pages, rng))

    def marginal_examination(
        self,
        attraction: ArrayLike,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """P(row k is examined), whatever was clicked before: the true propensity of a row shown there, shape [B, L].

        Arguments and exactness are those of `marginal`.

        Raises:
            ContractError: the law does not say what is examined, or see `marginal`.
        """
        pages = self._read(attraction, None, satisfaction, mask)
        return pages.give(mean_over_clicks(self, self._examination_given, pages, rng))

    def log_likelihood(
        self, attraction: ArrayLike, clicks: ArrayLike, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """Log-probability of the clicks of each page.

        Args:
            attraction: P(click | examined), in [0, 1], shape [B, L].
            clicks: 0 or 1, shape [B, L].
            satisfaction: P(satisfied | clicked), in [0, 1], shape [B, L].
            mask: True where a row is shown, shape [B, L].

        Returns:
            Nats a page, shape [B]; one number for a single page [L]. Padding adds nothing. Clicks that the law rules out give -inf.
        """
        pages = self._read(attraction, clicks, satisfaction, mask)
        p, clicked = self._conditional(pages), pages.clicks.astype(bool)
        terms = np.zeros(p.shape)
        with np.errstate(divide="ignore"):
            np.log(p, out=terms, where=clicked)
            np.log1p(-p, out=terms, where=~clicked)
        return pages.give(terms.sum(axis=1))

    def click_probability(self, log: ClickLog, *, given_clicks: bool = True) -> np.ndarray:
        """Return P(click) of each row of a log that knows the truth, as simulated ones do, shape [N].

        Args:
            log: Columns `relevance` = P(click | examined) and, where the law reads it, `satisfaction`. Positions rise within a page.
            given_clicks: Given the clicks above on the page, which the log needs then; else whatever was clicked.

        Raises:
            LogError: a column is missing, positions do not rise, or a page stands for several and the law needs each of them.
        """
        from ultr.click_models import on_logs

        by = type(self).__name__
        satisfaction = log.column("satisfaction", by) if self.reads_satisfaction else None
        return on_logs.click_probability(self, log, log.column("relevance", by), satisfaction, given_clicks)

    def sample(
        self, attraction: ArrayLike, rng: np.random.Generator, satisfaction: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> np.ndarray:
        """Draw the clicks of each page, row after row.

        Args:
            attraction: P(click | examined), in [0, 1], shape [B, L].
            rng: Source of the draws.
            satisfaction: P(satisfied | clicked), in [0, 1], shape [B, L].
            mask: True where a row is shown, shape [B, L].

        Returns:
            0 or 1, int8, shape [B, L].
        """
        rng = need_generator(rng)
        pages = self._read(attraction, None, satisfaction, mask)
        clicks = np.zeros(pages.attraction.shape, dtype=np.int8)
        uniform = rng.random(clicks.shape)
        so_far = replace(pages, clicks=clicks)
        for k in range(pages.width):
            clicks[:, k] = uniform[:, k] < self._conditional(so_far)[:, k]
        return pages.give(clicks)

    def sample_counts(
        self,
        attraction: ArrayLike,
        counts: ArrayLike,
        rng: np.random.Generator,
        satisfaction: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> np.ndarray:
        """Draw how often each row is clicked when its page is shown several times.

        Laws that can do so draw the sums directly, exact in distribution; the others draw every single page.

        Args:
            attraction: P(click | examined), in [0, 1], shape [B, L].
            counts: How often each page is shown, whole numbers from 0, shape [B]; one number for a single page [L].
            rng: Source of the draws.
            satisfaction: P(satisfied | clicked), in [0, 1], shape [B, L].
            mask: True where a row is shown, shape [B, L].

        Returns:
            Clicks from 0 to the page's count, int64, shape [B, L].

        Raises:
            LogError: `counts` has another shape, or is negative or no whole number.
        """
        rng = need_generator(rng)
        pages, shown = self._read(attraction, None, satisfaction, mask), np.atleast_1d(counts)
        if shown.shape != (len(pages.attraction),) or shown.dtype.kind not in "iu" or (shown < 0).any():
            raise LogError(
                f"counts must be one whole number from 0 for each of {len(pages.attraction)} pages,"
                f" not {shown.dtype} of shape {shown.shape}, smallest {shown.min(initial=0)}."
            )
        return pages.give(self._sums(pages, shown, rng))

    def _sums(self, pages: Pages, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw every single page, some at a time, and add them up; a law that can draw the sums replaces this."""
        n, width = pages.attraction.shape
        sums, ends = np.zeros((n, width), dtype=np.int64), offsets_of(counts)
        step = max(1, _CELLS // max(1, width))
        for start in range(0, int(ends[-1]), step):
            page = np.searchsorted(ends, np.arange(start, min(start + step, int(ends[-1]))), side="right") - 1
            satisfaction = None if pages.satisfaction is None else pages.satisfaction[page]
            clicks = self.sample(pages.attraction[page], rng, satisfaction, pages.shown[page])
            distinct, first = np.unique(page, return_index=True)
            sums[distinct] += np.add.reduceat(clicks, first, axis=0, dtype=np.int64)
        return sums

    @classmethod
    def _learner(cls) -> Learner:
        """Return what learns this law from a log."""
        raise ContractError(
            f"{cls.__name__} cannot be fitted: ultr learns its own click models only. Give its attraction yourself, or fit one of those."
        )

    def _read(self, attraction: ArrayLike, clicks: ArrayLike | None, satisfaction: ArrayLike | None, mask: ArrayLike | None) -> Pages:
        """Check the arguments; see `read_pages`."""
        if self.reads_satisfaction and satisfaction is None:
            raise LogError(f"{type(self).__name__} needs satisfaction=, P(satisfied | clicked) of every row, in [0, 1].")
        return read_pages(attraction, clicks, satisfaction, mask)

    def _conditional(self, pages: Pages) -> np.ndarray:
        return self._checked("conditional", self.conditional(pages.attraction, pages.clicks, pages.satisfaction, pages.shown), pages)

    def _examination_given(self, pages: Pages) -> np.ndarray:
        values = self.examination_given(pages.attraction, pages.clicks, pages.satisfaction, pages.shown)
        return self._checked("examination_given", values, pages)

    def _checked(self, method: str, values: ArrayLike, pages: Pages) -> np.ndarray:
        """Hold a law, ours or a user's, to its contract: probabilities of the right shape; 0 in the padding."""
        p = np.asarray(values, dtype=np.float64)
        if p.shape != pages.attraction.shape:
            raise ContractError(
                f"{type(self).__name__}.{method} returned shape {p.shape}, but the pages have shape {pages.attraction.shape}."
            )
        p = np.where(pages.shown, p, 0.0)
        bad = ~((p >= -_ROUNDING) & (p <= 1 + _ROUNDING))
        if bad.any():
            page, row = np.argwhere(bad)[0]
            raise ContractError(
                f"{type(self).__name__}.{method} must return probabilities in [0, 1]: page {page}, row {row} has {p[page, row]};"
                f" {np.count_nonzero(bad)} of {p.size} cells are wrong."
            )
        return np.clip(p, 0.0, 1.0)
