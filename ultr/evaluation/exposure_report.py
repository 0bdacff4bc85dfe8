"""Why is inverse-propensity weighting no better? What the weights do to a log, and whether the propensity is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ultr.data.source import LogSource, gather
from ultr.diagnostics import Overlap

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ultr.propensity.evaluate import AnyPropensity

_FEW = 0.3  # share of the clicks below which the weights are called uneven
_ALARM = 0.01


@dataclass(frozen=True, eq=False)
class PropensityReport:
    """What inverse-propensity weights do to a log, and how the propensity compares with a randomised slice.

    Args:
        overlap: Of the log, clipped as asked.
        largest: Largest weight of a click before clipping.
        calibration: As `propensity_calibration` returns it; None without a slice.
    """

    overlap: Overlap
    largest: float
    calibration: pd.DataFrame | None = None

    def __repr__(self) -> str:
        return self.explain()

    @property
    def level(self) -> tuple[float, float, float]:
        """Exposure implied by the slice over the propensity, all bins together, with a 95% interval; NaN without a slice."""
        logs, variance = self._log_ratios()
        if not len(logs):
            return np.nan, np.nan, np.nan
        mean, spread = np.average(logs, weights=1 / variance), 1.96 / np.sqrt((1 / variance).sum())
        return float(np.exp(mean)), float(np.exp(mean - spread)), float(np.exp(mean + spread))

    @property
    def uneven(self) -> float:
        """p-value of the hypothesis that the ratio is the same in every bin (chi-squared); NaN without a slice or with one bin."""
        from scipy.stats import chi2

        logs, variance = self._log_ratios()
        if len(logs) < 2:
            return np.nan
        return float(chi2.sf(((logs - np.average(logs, weights=1 / variance)) ** 2 / variance).sum(), len(logs) - 1))

    def explain(self) -> str:
        """Say in words what there is to see, and what to do about it."""
        found = self.overlap
        share = found.effective_sample_size / found.clicks if found.clicks else 0.0
        lines = [
            f"Weights: {found.clicks:,} clicks are worth {found.effective_sample_size:,.0f} of equal weight ({share:.0%}); the largest"
            f" weight is {self.largest:.3g}; {found.share_clipped:.1%} of the rows are clipped."
        ]
        if share < _FEW:
            lines.append("Few clicks carry most of the weight: the estimate is noisy. Clip lower, self-normalise, or gather more clicks.")
        if self.calibration is None:
            lines.append("Without a randomised slice nothing here tells whether the propensity is right.")
            return "\n".join(lines)
        level, low, high = self.level
        lines.append(f"Level: the slice implies {level:.2f} times the propensity [{low:.2f}, {high:.2f}].")
        if not low <= 1 <= high:
            wrong = "too high, weights too small" if level < 1 else "too low, weights too large"
            lines.append(f"The propensity is {wrong}: predicted probabilities are off by this factor, self-normalised estimates are not.")
        uneven, ratio = self.uneven, self.calibration["ratio"].to_numpy()
        if np.isfinite(uneven):
            lines.append(
                f"Shape: the ratio goes from {ratio[0]:.2f} in the lowest bin to {ratio[-1]:.2f} in the highest (p = {uneven:.2g})."
            )
            if uneven < _ALARM:
                lines.append("The ratio changes from bin to bin: weights by this propensity leave part of the bias, whatever their scale.")
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Draw the exposure that the slice implies over the propensity; on the diagonal the propensity is right.

        Raises:
            ValueError: there is no slice to compare with.
        """
        from matplotlib.figure import Figure

        from ultr.errors import ConfigError

        if self.calibration is None:
            raise ConfigError("There is nothing to draw: give propensity_report a randomised slice.")
        table, figure = self.calibration, Figure(figsize=(4.5, 3.4), layout="constrained")
        axis = figure.subplots()
        spread = [table["observed"] - table["observed_low"], table["observed_high"] - table["observed"]]
        axis.errorbar(table["propensity"], table["observed"], yerr=spread, marker="o", capsize=3)
        top = 1.05 * max(float(table["propensity"].max()), float(table["observed"].replace(np.inf, np.nan).max()))
        axis.plot([0, top], [0, top], "k:", linewidth=0.8)
        axis.set(xlabel="propensity", ylabel="exposure implied by the slice")
        return figure

    def _log_ratios(self) -> tuple[np.ndarray, np.ndarray]:
        """Log of the ratio and its variance, of every bin with clicks in the log; none without a slice."""
        if self.calibration is None:
            return np.zeros(0), np.zeros(0)
        table = self.calibration[self.calibration["clicks"] > 0]
        variance = 1 / table["clicks"] + 1 / table["randomised_clicks"]
        return np.log(table["ratio"].to_numpy()), variance.to_numpy()


def propensity_report(
    log: LogSource,
    propensity: AnyPropensity,
    randomised: LogSource | None = None,
    *,
    clip: float | None = None,
    bins: int = 5,
    seed: int = 0,
) -> PropensityReport:
    """Look at a propensity before believing what was learned with it.

    Args:
        log: The biased log, with the column click.
        propensity: A model, a column's name, or an estimator, which is fitted to `log`.
        randomised: Pairs drawn at random, clicked or not, as `propensity_calibration` needs them; None looks at the weights alone.
        clip: Largest weight, at least 1; None does not clip.
        bins: Bins of the calibration.
        seed: Of the estimator's fit.

    Raises:
        LogError: a column is missing, or the slice has too few clicks.
        PropensityError: a propensity is outside (0, 1], or the clip is below 1.
    """
    from ultr.evaluation.exposure_calibration import propensity_calibration
    from ultr.evaluation.weight_overlap import overlap
    from ultr.propensity.evaluate import attach, estimated

    log = gather(log)
    model = estimated(log, propensity, seed=seed)
    column = attach(log, model)
    theta = column.columns["propensity"][log.column("click", by="propensity_report") > 0]
    largest = float(1 / theta.min()) if len(theta) else np.nan
    table = None if randomised is None else propensity_calibration(log, model, randomised, bins=bins)
    return PropensityReport(overlap(column, "propensity", clip=clip), largest, table)
