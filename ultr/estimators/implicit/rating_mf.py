"""RatingMF: matrix factorisation of explicit ratings, plain or weighted by inverse propensities."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ultr.data.checks import within
from ultr.data.source import LogSource
from ultr.errors import ConfigError
from ultr.models.factor_fitting import check_factors, check_training, factor_training
from ultr.models.factors import FittedFactors
from ultr.models.rating_fitting import fit_listed
from ultr.propensity.evaluate import AnyPropensity, propensities
from ultr.training.feedback import listed_pairs
from ultr.training.settings import Training


@dataclass(frozen=True, kw_only=True)
class RatingMF:
    """Matrix factorisation by the squared error of the listed ratings, each weighted by 1 / P(rated).

    With the true propensities the weighted mean over what was rated is the mean over all pairs, whatever users chose to rate. Without a
    propensity it is the naive mean. Scores are predicted ratings.

    Args:
        propensity: P(rated): a model, a function of a batch (`.item`, `.page("user")`), or a column's name; called on the rated pairs. None
            weights all alike.
        clip: Largest weight 1 / propensity, at least 1; None does not clip.
        normalise: "self" divides the weighted loss by the summed weights (SNIPS), None by the number of all pairs of users and items (IPS).
            The two differ by a factor, so they learn alike but for the weight decay.
        factors: Length of the factors, at least 1.
        training: Settings of the loop; `batch_pages` counts ratings, `validation` is a share of them, weight decay multiplies half the mean
            squared length of the factors.
        label: Row column of finite numbers; rows are what was rated (`load_ratings(..., rows="all")`).

    Source:
        Schnabel, Swaminathan, Singh, Chandak and Joachims (2016), "Recommendations as treatments", ICML, arXiv:1602.05352, equations 10 and
        17; self-normalised as in their section 3.2.

    Differs:
        Gradient descent by Adam; the penalty is a mean over the factors used, not a sum over all.
    """

    propensity: AnyPropensity | None = None
    clip: float | None = None
    normalise: str | None = "self"
    factors: int = 16
    training: Training = field(default_factory=factor_training)
    label: str = "rating"

    def __post_init__(self) -> None:
        if self.clip is not None and not within(self.clip, "[1, inf)"):
            raise ConfigError(f"RatingMF: clip is the largest weight, at least 1, not {self.clip!r}; a floor M on theta is clip = 1 / M.")
        if self.normalise not in (None, "self"):
            raise ConfigError(f"RatingMF: normalise must be 'self' or None, not {self.normalise!r}.")
        check_factors("RatingMF", self.factors, None)
        check_training("RatingMF", self.training)

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Fit factors. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the page column `user`, the label or the propensity's column is missing, a value is not finite, nothing is
                listed, or all values are the same.
            PropensityError: a propensity is outside (0, 1].
        """
        named = () if self.propensity is None else (self.propensity,)
        reads = named if all(isinstance(name, str) for name in named) else None  # a model may read any column
        log, feedback = listed_pairs(source, self.label, "RatingMF", reads=reads)  # type: ignore[arg-type]
        weight = np.ones(len(feedback))
        if self.propensity is not None:
            theta = propensities(log, self.propensity, self.training.usable_device(), seed=seed)[feedback.row].astype(np.float64)
            weight = np.minimum(1 / theta, np.inf if self.clip is None else self.clip)
        mean = weight.mean() if self.normalise == "self" else feedback.n_cells / len(feedback)
        return fit_listed(log, feedback, weight / mean, by="RatingMF", factors=self.factors, training=self.training, seed=seed)
