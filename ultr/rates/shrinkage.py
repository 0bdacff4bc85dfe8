"""Shrink rates towards a target, as far as the data themselves say."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ultr.errors import ConfigError, LogError
from ultr.imports import nearest
from ultr.rates.counts import cell_of, check_counts, check_finite
from ultr.rates.risk import check_broadcast, unbiased_risk, variance
from ultr.rates.tuning import constant_weight, size_strength

LEVEL = 0.95
Weight = Literal["size", "constant"]


@dataclass(frozen=True, eq=False)
class ShrunkRates:
    """Rates of cells, shrunk; `rate = weight * successes / trials + (1 - weight) * target`.

    Args:
        rate: The shrunk rates, in [0, 1], in the shape of the counts.
        weight: Share of each cell's own rate, in [0, 1], same shape; 0 where a cell has no trials.
        target: What each cell was shrunk towards, in [0, 1], same shape.
        cell_risk: Estimated squared error of each cell, same shape; NaN for cells with fewer than 2 trials. Single ones may be negative:
            only averages mean something.
        risk: Its mean over the cells with 2 trials or more: the estimated mean squared error. The weight was chosen to make it small, so
            it is a little too small on average (under 1% in 3,000 cells, 22% in 300 of very unequal size: experiments/shrinkage.py), and
            it scatters: by 30 to 60% either way in those 3,000 cells.
        interval: 95% interval (low, high) for the expected mean squared error of those cells, by the normal approximation on `cell_risk`
            with cells taken as independent; NaN for a single cell. It is too short, and misses upwards: `cell_risk` is skewed where clicks
            are rare and cells small, and tuning is not allowed for (it covered 91% and 84% in the worlds above). The error that one draw
            happens to have scatters around the expected one, more than it says.
        strength: How many trials the target counts for, in [0, inf], where `weight = trials / (trials + strength)`; None where the
            weight is constant.
    """

    rate: np.ndarray
    weight: np.ndarray
    target: np.ndarray
    cell_risk: np.ndarray
    risk: float
    interval: tuple[float, float]
    strength: float | None


def shrink(
    successes: ArrayLike, trials: ArrayLike, *, target: ArrayLike | None = None, weight: Weight = "size", cross_fit: bool = True
) -> ShrunkRates:
    """Shrink the rates of many cells towards a target, by the weight that minimises their unbiased risk.

    A cell is whatever clicks are divided by impressions for: an item, a position, a (query, item). Where most cells have few impressions
    their raw rates are mostly noise, and a common rate, or a model's prediction, is the better guess for them.

    Not for every log: with `weight="size"` small cells move most, which hurts where the target is wrong just for them. If the number of
    trials goes with the rate (good items are shown more) and the target is the pooled rate, give a target that knows about size, or
    compare the `risk` with that of `weight="constant"`.

    Args:
        successes: Clicks of each cell, whole numbers in 0..trials, any shape. Weighted clicks are refused: they are not binomial.
        trials: Impressions of each cell, whole numbers, 0 allowed; broadcasts with `successes`.
        target: What to shrink towards, in [0, 1], one number or one a cell: the predictions of a model. A prediction must not have seen its
            own cell's clicks: cross-fit it, or the risk is understated and the shrinkage is too weak. None: the pooled rate.
        weight: "size": trials / (trials + strength), large cells keep more of their own rate. "constant": one share for all cells.
        cross_fit: Take the pooled rate of the other cells as the target (leave one out). False: that of all cells, whose part in its own
            target the risk then accounts for. To sort cells by their rate say False: where hardly any of a cell's own rate is kept, the
            rate of the others is the lower, the higher its own is.

    Returns:
        The shrunk rates. A cell with one trial has no say in the weight, which then applies to it too; one without trials has its target.

    Raises:
        LogError: a count is not whole or out of range, shapes do not broadcast, the target is not in [0, 1], no cell has 2 trials, or the
            only cell with trials has no others to be shrunk towards.
        ConfigError: `weight` is no known name, or `cross_fit=False` stands beside a target.

    Source:
        Reconstructed by derivation; linear shrinkage of many binomials towards a prediction as in Chen and Lei (2025), arXiv:2512.25042,
        weights by size as in Xie, Kou and Brown (2012), SURE estimates for a heteroscedastic hierarchical model, JASA.
        doi:10.1080/01621459.2012.728154

    Differs:
        The risk is exact for the binomial, where the sources have a normal or an approximate one.

    Examples:
        The click rate of each item of a log, and of each position:

        >>> import numpy as np, ultr
        >>> offsets = np.array([0, 2, 4, 6, 8])
        >>> columns = {"item": [0, 1, 1, 0, 2, 0, 0, 3], "position": [0, 1] * 4, "click": [1, 0, 0, 1, 0, 0, 1, 0]}
        >>> log = ultr.ClickLog(offsets, {name: np.array(values) for name, values in columns.items()})
        >>> def rates(column):
        ...     cell, shown = log.columns[column], np.repeat(log.counts, log.lengths)  # counts: of a compressed log's pages
        ...     return shrink(np.bincount(cell, log.columns["click"]), np.bincount(cell, shown))
        >>> rates("item").rate.shape, rates("position").rate.shape
        ((4,), (2,))
    """
    successes, trials = check_counts(successes, trials)
    if weight not in ("size", "constant"):
        raise ConfigError(f"weight must be 'size' or 'constant', not {weight!r}.{nearest(str(weight), ('size', 'constant'))}")
    target, own = _target(successes, trials, target, cross_fit)
    rate = np.divide(successes, trials, out=np.zeros(trials.shape), where=trials > 0)
    told = trials >= 2
    if not told.any():
        raise LogError("No cell has 2 trials or more: these counts cannot say how far to shrink. Give coarser cells.")
    noise, spread = variance(rate[told], trials[told]) * (1 - own[told]), (rate[told] - target[told]) ** 2
    strength = size_strength(trials[told], noise, spread) if weight == "size" else None
    if strength is None:
        weights = np.where(trials > 0, constant_weight(noise, spread), 0.0)
    else:
        weights = np.divide(trials, trials + strength, out=np.zeros(trials.shape), where=trials > 0)
    cell_risk = np.full(trials.shape, np.nan)
    cell_risk[told] = unbiased_risk(successes[told], trials[told], weights[told], target[told], own_weight=own[told])
    risk, interval = _mean(cell_risk[told])
    return ShrunkRates(weights * rate + (1 - weights) * target, weights, target, cell_risk, risk, interval, strength)


def _target(successes: np.ndarray, trials: np.ndarray, target: ArrayLike | None, cross_fit: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the target of each cell and the share of its own rate in it."""
    if target is not None:
        if not cross_fit:
            raise ConfigError("cross_fit=False is about the pooled rate and has no effect on a given target: leave it out.")
        given = check_finite("target", target, 0.0, 1.0)
        check_broadcast(successes=successes, target=given)
        if np.broadcast_shapes(given.shape, trials.shape) != trials.shape:
            raise LogError(f"target must have one number a cell, shape {trials.shape}, or one for all, not {given.shape}.")
        return np.broadcast_to(given, trials.shape).copy(), np.zeros(trials.shape)
    if not cross_fit:
        total = max(trials.sum(), 1.0)
        return np.full(trials.shape, successes.sum() / total), trials / total
    others = trials.sum() - trials
    alone = np.flatnonzero(others == 0)
    if len(alone):
        raise LogError(f"{cell_of(trials.shape)(int(alone[0]))} has all {trials.sum():g} trials, no other cell any: give a target.")
    return (successes.sum() - successes) / others, np.zeros(trials.shape)


def _mean(values: np.ndarray) -> tuple[float, tuple[float, float]]:
    mean = float(values.mean())
    if len(values) < 2:
        return mean, (np.nan, np.nan)
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * float(values.std(ddof=1)) / len(values) ** 0.5
    return mean, (mean - half, mean + half)
