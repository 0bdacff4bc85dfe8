"""P(listed) of users and items by logistic regression."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ultr.data.checks import within
from ultr.data.source import LogSource, gather
from ultr.errors import ConfigError
from ultr.models.factor_fitting import check_factors, check_training, factor_training, fit_factors
from ultr.models.factors import FittedFactors
from ultr.training.batch import Batch
from ultr.training.cell_losses import cross_entropy, mixed
from ultr.training.feedback import read_feedback
from ultr.training.settings import Training


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """P(a pair is listed) = sigmoid(level of the user + level of the item, + user factor . item factor), fitted to all pairs.

    It models what the log lists: exposure where rows are what was rated or shown, and exposure times relevance where rows are clicks alone,
    which then is no propensity.

    Args:
        factors: Length of the factors; 0 leaves the two levels, users who rate much and items that are rated much.
        floor: Smallest propensity, in (0, 1].
        unlabelled: Pairs drawn for each listed one, at least 1; `batch_pages` then counts listed pairs. None takes all pairs, of
            `batch_pages` users.
        training: Settings of the loop; weight decay multiplies half the mean squared length of the factors, levels are free.

    Source:
        Schnabel, Swaminathan, Singh, Chandak and Joachims (2016), ICML, arXiv:1602.05352, section 5.2, without features of users and items;
        with factors as in the semi-synthetic worlds of Saito et al. (2020), WSDM, doi:10.1145/3336191.3371783.
    """

    factors: int = 0
    floor: float = 1e-3
    unlabelled: int | None = None
    training: Training = field(default_factory=factor_training)

    def __post_init__(self) -> None:
        check_factors("Logistic", self.factors, self.unlabelled, least=0)
        check_training("Logistic", self.training)
        if not within(self.floor, "(0, 1]"):
            raise ConfigError(f"Logistic: floor must be in (0, 1], not {self.floor!r}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedExposure:
        """Fit what is listed.

        Raises:
            LogError: the page column `user` is missing, or nothing is listed.
        """
        log = gather(source)
        log, feedback = read_feedback(log.with_columns(listed=np.ones(log.n_rows)), "listed", "Logistic")
        fitted = fit_factors(
            log,
            feedback,
            np.ones(len(feedback)),
            lambda logits, batch: mixed(*cross_entropy(logits), batch.label),
            by="Logistic",
            factors=self.factors,
            unlabelled=self.unlabelled,
            training=self.training,
            seed=seed,
        )
        return FittedExposure(fitted, self.floor)


@dataclass(frozen=True, eq=False)
class FittedExposure:
    """P(listed) of the users and items of a batch: a propensity model.

    Args:
        factors: What predicts it.
        floor: Smallest propensity.
    """

    factors: FittedFactors
    floor: float

    def __call__(self, batch: Batch) -> Tensor:
        """Return P(listed), float32, shape [B, L]; users that were not fitted get the item's level."""
        return self.factors.score(batch).clamp(min=self.floor)
