"""ExpoMF: exposure is inferred pair by pair, as what explains why a likely item was not clicked."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields

import numpy as np

from ultr.data.checks import within
from ultr.data.source import LogSource
from ultr.errors import ConfigError, UltrWarning
from ultr.models.exposure_factors import ExposureFactors
from ultr.models.factor_fitting import check_factors, check_training
from ultr.models.factors import FittedFactors
from ultr.training.feedback import read_feedback
from ultr.training.minimise import Curve
from ultr.training.settings import Training


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
        training: In the place of two settings: its `steps` are the most sweeps, its `weight_decay` the precision of the prior. It has no
            gradient steps to read the others for, and warns of those that are not at their defaults.
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
    training: Training | None = None

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
        if self.training is not None:
            self._take_settings(self.training)

    def _take_settings(self, training: Training) -> None:
        check_training("ExpoMF", training)
        of_class, taken = type(self), {"max_iter": training.steps, "weight_decay": training.weight_decays[0]}
        if not taken["weight_decay"] > 0:
            raise ConfigError("ExpoMF: weight_decay is the precision of a prior, above 0: set it in training.")
        for name, value in taken.items():
            if getattr(self, name) not in (getattr(of_class, name), value):
                raise ConfigError(f"ExpoMF: training says {name} = {value!r}, and the setting {getattr(self, name)!r}: drop one.")
            object.__setattr__(self, name, value)
        unread = [f.name for f in fields(training) if f.name not in ("steps", "weight_decay") and getattr(training, f.name) != f.default]
        if unread:
            warnings.warn(f"ExpoMF has no gradient steps: it does not read {', '.join(unread)} of training.", UltrWarning, stacklevel=4)

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
