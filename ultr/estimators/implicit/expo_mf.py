"""ExpoMF: exposure is inferred pair by pair, as what explains why a likely item was not clicked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import within
from ultr.data.source import LogSource
from ultr.errors import ConfigError
from ultr.models.exposure_factors import ExposureFactors
from ultr.models.factor_fitting import check_factors
from ultr.models.factors import FittedFactors
from ultr.training.feedback import read_feedback
from ultr.training.minimise import Curve


@dataclass(frozen=True, kw_only=True)
class ExpoMF:
    """Exposure matrix factorisation: O ~ Bernoulli(mu of the item), Y | O = 1 ~ Normal(user factor . item factor), Y = 0 where O = 0.

    Expectation-maximisation: an unclicked pair weighs E[O | Y = 0], the less the more the model expects a click. Scores are the mean of
    the normal, no probabilities. Even with the true exposure as weight the loss has the mean theta (gamma d1 + (1 - gamma) d0): pairs
    count as far as they are exposed.

    Args:
        factors: Length of the factors, at least 1.
        precision: Of the normal, above 0.
        weight_decay: Precision of the normal prior of the factors, above 0.
        prior: The two parameters of the Beta prior of mu, each at least 1; (1, 1) is flat.
        max_iter: Most sweeps, at least 1.
        tol: Stops where the log posterior gains less than this share of its size in a sweep; 0 runs all sweeps.
        label: Row column; a pair counts as clicked where it is above 0 on one of the user's pages.

    Source:
        Liang, Charlin, McInerney and Blei (2016), "Modeling user exposure in recommendation", WWW, arXiv:1510.07025, per-item exposure.

    Differs:
        Stops by the log posterior, not by a ranking metric on held-out clicks.
    """

    factors: int = 16
    precision: float = 1.0
    weight_decay: float = 0.01
    prior: tuple[float, float] = (1.0, 1.0)
    max_iter: int = 50
    tol: float = 1e-5
    label: str = "click"

    def __post_init__(self) -> None:
        check_factors("ExpoMF", self.factors, None)
        for name in ("precision", "weight_decay"):
            if not within(getattr(self, name), "(0, inf)"):
                raise ConfigError(f"ExpoMF: {name} must be above 0, not {getattr(self, name)!r}.")
        if not isinstance(self.prior, (tuple, list)) or len(self.prior) != 2 or not all(within(value, "[1, inf)") for value in self.prior):
            raise ConfigError(f"ExpoMF: prior must be two numbers of at least 1, not {self.prior!r}.")
        if isinstance(self.max_iter, bool) or not isinstance(self.max_iter, int) or self.max_iter < 1:
            raise ConfigError(f"ExpoMF: max_iter must be a whole number of at least 1, not {self.max_iter!r}.")
        if not within(self.tol, "[0, inf)"):
            raise ConfigError(f"ExpoMF: tol must be at least 0, not {self.tol!r}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Fit factors and exposure. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: the page column `user` or the label is missing, or every label is 0.
        """
        log, feedback = read_feedback(source, self.label, "ExpoMF", reads=())
        model = ExposureFactors.start(feedback, self.factors, self.precision, self.weight_decay, self.prior, seed)
        posterior = [model.log_posterior()]
        for _ in range(self.max_iter):
            model.sweep()
            posterior.append(model.log_posterior())
            if self.tol and posterior[-1] - posterior[-2] < self.tol * abs(posterior[-1]):
                break
        curve = Curve(train=[(step, -value / feedback.n_pairs) for step, value in enumerate(posterior)], best_step=len(posterior) - 1)
        user, item = (np.pad(values, ((0, 0), (0, 1))).astype(np.float32) for values in (model.user, model.item))
        ids = None if log.items is None else log.items.ids
        return FittedFactors(feedback.users, ids, user, item, 0.0, curve, "ExpoMF", probability=False)
