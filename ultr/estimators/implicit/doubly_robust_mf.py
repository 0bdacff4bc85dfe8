"""DoublyRobustMF: imputed errors for all pairs, corrected by the weighted errors of what was observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ultr.data.checks import within
from ultr.data.source import LogSource, gather
from ultr.errors import ConfigError
from ultr.models.factor_fitting import check_factors, check_training, factor_training, fit_factors, logit_of
from ultr.models.factors import FittedFactors
from ultr.models.rating_fitting import CrossFitted, fit_listed, folds_of, value_loss
from ultr.propensity.evaluate import AnyPropensity, propensities
from ultr.propensity.popularity import Popularity
from ultr.training.cell_losses import doubly_robust
from ultr.training.feedback import listed_pairs
from ultr.training.pair_batches import PairBatch
from ultr.training.settings import Training

_HINT = "List also what was shown and not clicked, or use RelMF, which learns from clicks alone."


@dataclass(frozen=True, kw_only=True)
class DoublyRobustMF:
    """Matrix factorisation by e^ + O (e - e^) / theta over all pairs of users and items.

    e is the error of a prediction, known where O = 1, and e^ what a first model imputes for it: the error against its own prediction. The
    mean is the mean error of all pairs if theta = P(O = 1) is right, or if the imputation is; where both are nearly right its variance is
    that of what the imputation leaves over. Nothing normalises the weights: where theta is small and the imputation poor, clip.

    Rows are what was observed: ratings, or clicks (0 and 1) on what was shown, as of `MissingNotAtRandom.log(rows="exposed")`. A log of
    clicks alone does not tell what was shown; RelMF learns from those.

    Args:
        propensity: P(observed): a model, a function of a batch (`.item`, `.page("user")`), or a column's name; called on the listed pairs.
        clip: Largest weight 1 / propensity, at least 1; None does not clip.
        imputation: None fits factors to the observed pairs of the other folds; a number imputes that value for every pair, and 0 for clicks
            makes the loss the inverse-propensity one.
        folds: Parts of the observed pairs; a pair is imputed by a model that has not learned from it. At least 2.
        factors: Length of the factors, of both models, at least 1.
        unlabelled: Pairs drawn for each listed one, at least 1; `batch_pages` then counts listed pairs. None takes all pairs, of
            `batch_pages` users; the first models always count listed pairs.
        training: Settings of the loop, of both models; weight decay multiplies half the mean squared length of the factors.
        label: Row column: ratings and other numbers are fitted by squared error, clicks and other values of 0 and 1 by cross-entropy, to
            probabilities. None takes "rating" where the log has it, else "click".

    Source:
        Wang, Zhang, Sun and Qi (2019), "Doubly robust joint learning for recommendation on data missing not at random", ICML, equation 5;
        reconstructed from papers that restate it.

    Differs:
        The imputation is fitted first, on other folds, and then held: not learned jointly, where each model chases the other's errors.
    """

    propensity: AnyPropensity = field(default_factory=lambda: Popularity(of="impressions"))
    clip: float | None = None
    imputation: float | None = None
    folds: int = 5
    factors: int = 16
    unlabelled: int | None = None
    training: Training = field(default_factory=factor_training)
    label: str | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and not within(self.clip, "[1, inf)"):
            raise ConfigError(f"DoublyRobustMF: clip is the largest weight, at least 1, not {self.clip!r}; a floor M is clip = 1 / M.")
        if self.imputation is not None and not within(self.imputation, "(-inf, inf)"):
            raise ConfigError(f"DoublyRobustMF: imputation must be a number or None, not {self.imputation!r}.")
        if isinstance(self.folds, bool) or not isinstance(self.folds, int) or self.folds < 2:
            raise ConfigError(f"DoublyRobustMF: folds must be a whole number of at least 2, not {self.folds!r}.")
        check_factors("DoublyRobustMF", self.factors, self.unlabelled)
        check_training("DoublyRobustMF", self.training)

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedFactors:
        """Fit the imputation, then factors. A log on disk is loaded.

        Raises:
            LogError: the page column `user`, the label or the propensity's column is missing, a value is not finite, or all values are
                the same.
            PropensityError: a propensity is outside (0, 1].
        """
        log = gather(source)
        label = self.label or ("rating" if "rating" in log.columns else "click")
        log, feedback = listed_pairs(log, label, "DoublyRobustMF", hint=_HINT)
        value = feedback.label
        probability = bool(np.isin(value, (0, 1)).all())
        theta = propensities(log, self.propensity, self.training.usable_device(), seed=seed)[feedback.row].astype(np.float64)
        weight = np.minimum(1 / theta, np.inf if self.clip is None else self.clip)
        fold = folds_of(feedback, self.folds, seed)

        def fit_imputation(chosen: np.ndarray, stream: str) -> FittedFactors:
            return fit_listed(
                log,
                feedback,
                weight / weight.mean(),
                by="DoublyRobustMF",
                factors=self.factors,
                training=self.training,
                seed=seed,
                probability=probability,
                chosen=chosen,
                stream=stream,
            )

        imputed = self._imputation(lambda: CrossFitted.fit(fold, fit_imputation))

        def loss(logits: Tensor, batch: PairBatch) -> Tensor:
            weight, value, place = batch.target.unbind(-1)
            with torch.no_grad():
                guess = imputed(batch, place.long() - 1)
            error, guessed = (value_loss(logits, against, probability) for against in (value, guess))
            return doubly_robust(guessed, error, weight)

        mean = float(np.average(value, weights=weight))
        target = np.stack([weight, value, fold + 1], axis=1)
        level = logit_of(mean) if probability else mean
        return fit_factors(
            log,
            feedback,
            target,
            loss,
            by="DoublyRobustMF",
            factors=self.factors,
            unlabelled=self.unlabelled,
            training=self.training,
            seed=seed,
            level=level,
            mass=float(feedback.n_pairs),
            probability=probability,
        )

    def _imputation(self, fit: Callable[[], CrossFitted]) -> Callable[[PairBatch, Tensor], Tensor]:
        """Return what imputes a value for each pair of a batch, given the number of its fold, -1 for none."""
        constant = self.imputation
        if constant is not None:
            return lambda batch, fold: torch.full(fold.shape, float(constant), device=fold.device)
        models = fit()
        return lambda batch, fold: models.predict(batch.user, batch.item, fold)
