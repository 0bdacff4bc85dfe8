"""Does a click model keep its contract?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.errors import ContractError
from ultr.random import generator
from ultr.testing.contract import calling, demand, untouched_generators

_EXACT = 1e-6  # a law may compute in float32
_DRAWS = 20_000
_NATS = 30.0  # a true law fails a check of drawn frequencies with probability below 2 exp(-30) = 2e-13


def check_click_model(model: ClickModel, rows: int = 4) -> None:
    """Check a click model, ours or a user's subclass of ClickModel, on all click patterns of small pages.

    1. `conditional` returns probabilities in [0, 1] of the pages' shape [B, L], and the same ones with mask=None where all cells are rows.
    2. A click never changes the probability of its own row or of rows above it.
    3. Nothing depends on the padding or on the other pages; what stands in the padding matters to no row.
    4. The probabilities of all click patterns of a page sum to 1.
    5. `log_likelihood` is the sum of the logs of the conditional probabilities: -inf for what cannot happen, never NaN.
    6. `marginal` is the mean over all click patterns.
    7. `sample` draws 0 or 1, nothing in the padding, the same for the same rng, patterns as often as the likelihood says.
    8. `sample_counts` draws 0..count, in the mean count times `marginal`, and nothing for a page that is shown 0 times.
    9. Where the law says what is examined: `examination_given` is in [0, 1] and at least `conditional`, `marginal_examination` is its mean
       over all click patterns.
    10. One page [L] is taken by every method but `conditional` and comes back as [L]; arguments are not written into; no global
        random generator is touched.

    Attraction and satisfaction are always given, with values of 0 and 1 among them. Frequencies are compared by Bernstein's inequality:
    a true law fails with probability below 1e-10.

    Args:
        model: The law.
        rows: Rows of the longest page, from 2 to 8: fewer for a law with parameters for fewer positions.

    Raises:
        ContractError: the first rule that is broken.
    """
    demand(isinstance(model, ClickModel), f"A click model is an object whose class derives from ClickModel, not {model!r}.")
    demand(2 <= rows <= 8, f"rows must be from 2 to 8, not {rows}.")
    tried = _Tried(model, rows)
    with untouched_generators(tried.name):
        _check_conditional(tried)
        _check_likelihood(tried)
        _check_marginals(tried)
        _check_samples(tried)
        _check_counts(tried)
        if model.knows_examination:
            _check_examination(tried)
        _check_single_page(tried)


class _Tried:
    """A law and the pages that it is tried on: every click pattern of a few pages, of which some are short.

    Args:
        model: The law.
        rows: L.
    """

    def __init__(self, model: ClickModel, rows: int) -> None:
        rng = generator(0, "check_click_model")
        self.model, self.name, self.rows = model, type(model).__name__, rows
        self.mask = np.arange(rows) < np.array([rows, rows, rows, rows - 1, 1])[:, None]
        self.attraction, self.satisfaction = rng.random((2, *self.mask.shape))
        self.attraction[2, :2], self.satisfaction[2, :2] = [1.0, 0.0], [0.0, 1.0]
        patterns = np.arange(2**rows)[:, None] >> np.arange(rows) & 1
        self.page = np.repeat(np.arange(len(self.mask)), len(patterns))
        self.clicks = np.tile(patterns, (len(self.mask), 1))
        self.possible = (self.clicks[self.page == 0] <= self.mask[:, None]).all(-1).reshape(-1)  # no click in the padding

    def stacked(self, method: str) -> np.ndarray:
        """Call a method on every pattern of every page."""
        page = self.page
        arguments = (self.attraction[page], self.clicks.copy(), self.satisfaction[page], self.mask[page])
        before = [array.copy() for array in arguments]
        with calling(f"{self.name}.{method}", "Give rows= if the law covers fewer positions."):
            values = np.asarray(getattr(self.model, method)(*arguments), dtype=np.float64)
        shape = (len(page),) if method == "log_likelihood" else self.clicks.shape
        demand(values.shape == shape, f"{self.name}.{method} must return shape {shape}, not {values.shape}.")
        unwritten = all(np.array_equal(*pair) for pair in zip(before, arguments, strict=True))
        demand(unwritten, f"{self.name}.{method} writes into its arguments: copy the array first.")
        return values

    @cached_property
    def conditional(self) -> np.ndarray:
        """P(click | clicks above) of every pattern of every page, 0 in the padding."""
        return np.where(self.mask[self.page], self.stacked("conditional"), 0.0)

    @cached_property
    def chance(self) -> np.ndarray:
        """P(pattern) of every pattern of every page by the product of its conditional probabilities."""
        each = np.where(self.clicks == 1, self.conditional, 1 - self.conditional)
        return np.where(self.mask[self.page], each, 1.0).prod(axis=1) * self.possible

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over the patterns of each page, shape [pages, L]."""
        return np.stack([(self.chance[:, None] * values)[self.page == i].sum(axis=0) for i in range(len(self.mask))])

    def place(self, cells: np.ndarray) -> str:
        """Describe the first cell that is True among those of all patterns."""
        at, row = np.argwhere(cells)[0]
        return f"row {row} after the clicks {self.clicks[at].tolist()}, attraction {self.attraction[self.page[at]].round(3).tolist()}"


def _check_conditional(tried: _Tried) -> None:
    p, shown = tried.conditional, tried.mask[tried.page]
    bad = ~((p >= 0) & (p <= 1))
    if bad.any():
        raise ContractError(f"{tried.name}.conditional must be in [0, 1]: {tried.place(bad)} has {p[bad][0]}.")
    for k in range(tried.rows):
        same_above = p[:, k].reshape(len(tried.mask), -1, 2**k)  # patterns count in binary: the clicks above row k are the low k digits
        odd = np.abs(same_above - same_above[:, :1]) > _EXACT
        demand(not odd.any(), f"{tried.name}.conditional: the probability of row {k} depends on clicks at row {k} or below.")
    _check_company(tried)
    full = shown.all(axis=1)
    with calling(f"{tried.name}.conditional without a mask"):
        plain = tried.model.conditional(tried.attraction[tried.page][full], tried.clicks[full], tried.satisfaction[tried.page][full])
    demand(np.allclose(plain, p[full], atol=_EXACT), f"{tried.name}.conditional gives other values with mask=None than with a full mask.")


def _check_company(tried: _Tried) -> None:
    """Cut each page out and try it alone; then put junk into the padding."""
    for page, mask in enumerate(tried.mask):
        mine, n = tried.page == page, int(mask.sum())
        a, s = tried.attraction[[page] * int(mine.sum()), :n], tried.satisfaction[[page] * int(mine.sum()), :n]
        with calling(f"{tried.name}.conditional on a page of {n} rows"):
            alone = np.asarray(tried.model.conditional(a, tried.clicks[mine][:, :n], s, np.ones(a.shape, dtype=bool)))
        demand(
            np.allclose(alone, tried.conditional[mine][:, :n], atol=_EXACT),
            f"{tried.name}.conditional: a page of {n} rows has other probabilities alone than among pages of {tried.rows} rows.",
        )
    junk = np.where(tried.mask, tried.attraction, 0.99), np.where(tried.mask, tried.satisfaction, 0.99)
    with calling(f"{tried.name}.marginal"):
        clean = tried.model.marginal(tried.attraction, tried.satisfaction, tried.mask)
        dirty = tried.model.marginal(*junk, tried.mask)
    demand(np.array_equal(clean, dirty), f"{tried.name}.marginal depends on what stands in the padding.")


def _check_likelihood(tried: _Tried) -> None:
    for page in range(len(tried.mask)):
        total = tried.chance[tried.page == page].sum()
        demand(abs(total - 1) < _EXACT, f"{tried.name}: the probabilities of all click patterns of a page sum to {total}, not to 1.")
    found = tried.stacked("log_likelihood")[tried.possible]
    with np.errstate(divide="ignore"):
        expected = np.log(tried.chance[tried.possible])
    same = np.isclose(found, expected, rtol=_EXACT, atol=_EXACT)
    demand(
        bool(same.all()),
        f"{tried.name}.log_likelihood is not the sum of the logs of the conditional probabilities: for the clicks"
        f" {tried.clicks[tried.possible][~same][:1].tolist()} it gives {found[~same][:1]}, the sum is {expected[~same][:1]}.",
    )


def _check_marginals(tried: _Tried) -> None:
    with calling(f"{tried.name}.marginal"):
        found = np.asarray(tried.model.marginal(tried.attraction, tried.satisfaction, tried.mask))
    _demand_mean(tried, "marginal", found, tried.mean(tried.conditional))


def _check_examination(tried: _Tried) -> None:
    given = np.where(tried.mask[tried.page], tried.stacked("examination_given"), 0.0)
    bad = ~((given >= 0) & (given <= 1 + _EXACT) & (given >= tried.conditional - _EXACT))
    if bad.any():
        raise ContractError(
            f"{tried.name}.examination_given must be in [0, 1] and at least `conditional`, since no row is clicked unseen:"
            f" {tried.place(bad)} has {given[bad][0]}, `conditional` {tried.conditional[bad][0]}."
        )
    with calling(f"{tried.name}.marginal_examination"):
        found = np.asarray(tried.model.marginal_examination(tried.attraction, tried.satisfaction, tried.mask))
    _demand_mean(tried, "marginal_examination", found, tried.mean(given))


def _demand_mean(tried: _Tried, method: str, found: np.ndarray, expected: np.ndarray) -> None:
    demand(found.shape == expected.shape, f"{tried.name}.{method} must return shape {expected.shape}, not {found.shape}.")
    bad = ~np.isclose(found, expected, atol=_EXACT)
    if bad.any():
        page, row = np.argwhere(bad)[0]
        raise ContractError(
            f"{tried.name}.{method} is not the mean over all click patterns: row {row} of a page with attraction"
            f" {tried.attraction[page].round(3).tolist()} has {found[page, row]}, the mean is {expected[page, row]}."
        )


def _check_samples(tried: _Tried) -> None:
    for page, mask in enumerate(tried.mask):
        a, s, m = (np.repeat(array[[page]], _DRAWS, axis=0) for array in (tried.attraction, tried.satisfaction, tried.mask))
        with calling(f"{tried.name}.sample"):
            clicks, again = (np.asarray(tried.model.sample(a, generator(page, "sample"), s, m)) for _ in range(2))
        demand(clicks.shape == a.shape, f"{tried.name}.sample must return shape {a.shape}, not {clicks.shape}.")
        demand(bool(np.isin(clicks, (0, 1)).all()), f"{tried.name}.sample must draw 0 or 1, not {np.setdiff1d(clicks, (0, 1))[:1]}.")
        demand(not clicks[:, ~mask].any(), f"{tried.name}.sample draws clicks in the padding.")
        demand(np.array_equal(clicks, again), f"{tried.name}.sample draws other clicks from an equal rng.")
        drawn = np.bincount(clicks.astype(np.int64) @ 2 ** np.arange(tried.rows), minlength=2**tried.rows)
        expected = tried.chance[tried.page == page]
        _demand_frequencies(drawn, expected, _DRAWS, lambda i: f"{tried.name}.sample: the clicks {tried.clicks[i].tolist()}")


def _check_counts(tried: _Tried) -> None:
    counts = np.array([0, *[_DRAWS] * (len(tried.mask) - 1)])
    with calling(f"{tried.name}.sample_counts"):
        sums = np.asarray(tried.model.sample_counts(tried.attraction, counts, generator(0, "counts"), tried.satisfaction, tried.mask))
    demand(sums.shape == tried.mask.shape, f"{tried.name}.sample_counts must return shape {tried.mask.shape}, not {sums.shape}.")
    bad = (sums < 0) | (sums > counts[:, None]) | (sums != np.floor(sums)) | (~tried.mask & (sums != 0))
    demand(not bad.any(), f"{tried.name}.sample_counts must draw whole numbers from 0 to the page's count, and 0 in the padding.")
    expected = tried.mean(tried.conditional)[1:]
    name = f"{tried.name}.sample_counts: clicks on row"
    _demand_frequencies(sums[1:].reshape(-1), expected.reshape(-1), _DRAWS, lambda cell: f"{name} {cell % tried.rows}")


def _demand_frequencies(drawn: np.ndarray, probability: np.ndarray, n: int, name: Callable[[int], str]) -> None:
    """Compare how often things were drawn with their probabilities, by Bernstein's inequality."""
    p = probability.clip(0, 1)
    slack = np.sqrt(2 * n * p * (1 - p) * _NATS) + 2 / 3 * _NATS
    slack[p < _EXACT**2] = 0.5  # what cannot happen does not happen
    bad = np.abs(drawn - n * p) > slack
    if bad.any():
        at = int(np.argmax(bad))
        raise ContractError(f"{name(at)} were drawn {drawn[at]} times in {n:,}, but have probability {p[at]:.6g}.")


def _check_single_page(tried: _Tried) -> None:
    a, s, c = tried.attraction[0], tried.satisfaction[0], tried.clicks[1]
    with calling(f"{tried.name} with a single page of shape [L]"):
        shapes = {
            "marginal": np.shape(tried.model.marginal(a, s)),
            "sample": np.shape(tried.model.sample(a, generator(0, "single"), s)),
            "log_likelihood": np.shape(tried.model.log_likelihood(a, c, s)),
        }
    for method, shape in shapes.items():
        expected = () if method == "log_likelihood" else (tried.rows,)
        demand(shape == expected, f"{tried.name}.{method} of a single page [L] must have shape {expected}, not {shape}.")
