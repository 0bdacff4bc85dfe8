"""DCMT: conversions of clicked impressions, and non-conversions of the others, tied to add up to 1."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ultr.data.checks import within
from ultr.data.source import LogSource
from ultr.errors import ConfigError
from ultr.models.conversion_fitting import fit_conversion, load_impressions
from ultr.models.conversion_settings import WeightedConversions
from ultr.models.fitted_conversion import FittedConversion
from ultr.propensity.evaluate import AnyPropensity, propensities
from ultr.training.conversion_batches import Impressions, read_conversions
from ultr.training.conversion_losses import counterfactual, cross_entropy, on_clicks


@dataclass(frozen=True, kw_only=True)
class DCMT(WeightedConversions):
    """MultiIPW, plus a counterfactual tower c* that learns 1 on impressions without a click, plus `consistency` times |1 - (c + c*)|.

    What was not clicked is taken for a counterfactual non-conversion, and the last term carries that over: it pulls the predicted
    conversion down, the more the larger `consistency` is, and is a bias where clicks and conversions are independent given the fields.
    With 0 the conversion tower is MultiIPW's where towers share no embeddings, up to where weights start.

    Args:
        consistency: Weight of |1 - (c + c*)|, at least 0.
        propensity: P(click) of a row, as for `MultiIPW`; None is the click tower. Below 1 where there is no click.
        fields: See `WeightedConversions`, as for the other settings.

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Zhu et al. (2023), "DCMT: a direct entire-space causal multi-task framework for post-click conversion estimation", ICDE.
        arXiv:2302.06141; reconstructed from a paper that restates it (NISE, 2024, equation 6).

    Differs:
        The counterfactual tower shares the embeddings but no layers; there is no loss of click-and-conversion, for that see ESCM2.
    """

    consistency: float = 0.01
    propensity: AnyPropensity | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not within(self.consistency, "[0, inf)"):
            raise ConfigError(f"DCMT: consistency must be at least 0, not {self.consistency!r}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedConversion:
        """Fit the towers. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: labels or fields are missing or wrong, a conversion has no click, or there is none.
            PropensityError: a given propensity is outside (0, 1].
        """
        log = load_impressions(source, self.fields, self.propensity)
        click, _ = read_conversions(log, "DCMT")
        given = None if self.propensity is None else propensities(log, self.propensity, self.training.usable_device(), seed=seed)
        weights, unclicked_weights = self.weights(click, given), self.unclicked_weights(log, click, given)

        def objective(logits: Tensor, batch: Impressions) -> Tensor:
            click_logit, conversion, other = logits.unbind(1)
            factual = on_clicks(conversion, batch.click, batch.conversion, weights(click_logit, batch))
            unclicked, apart = counterfactual(conversion, other, batch.click, unclicked_weights(click_logit, batch))
            return cross_entropy(click_logit, batch.click) + factual + unclicked + self.consistency * apart

        return fit_conversion(
            log,
            objective,
            by="DCMT",
            fields=self.fields,
            towers=self.towers,
            training=self.training,
            seed=seed,
            propensity=given,
            weighted=True,
            shared=self.shared,
            others=1,
        )
