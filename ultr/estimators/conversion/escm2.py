"""ESCM2: the entire-space model with a counterfactual risk of the conversion beside the product's loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ultr.data.checks import within
from ultr.data.source import LogSource
from ultr.errors import ConfigError
from ultr.models.conversion_fitting import fit_conversion, load_impressions
from ultr.models.conversion_settings import WeightedConversions
from ultr.models.fitted_conversion import FittedConversion
from ultr.propensity.evaluate import AnyPropensity, propensities
from ultr.training.conversion_batches import Impressions, read_conversions
from ultr.training.conversion_losses import cross_entropy, doubly_robust_conversion, entire_space, imputation, on_clicks


@dataclass(frozen=True, kw_only=True)
class ESCM2(WeightedConversions):
    """Log-loss of the click + `risk_weight` times the weighted or doubly robust loss of the conversion + `joint_weight` times ESMM's.

    The product's loss brings the many impressions without a click to the conversion tower, and with them ESMM's bias where the tower cannot
    express the truth; the risk pulls the other way. With risk_weight = 0 and joint_weight = 1 this is ESMM, with 1 and 0 MultiIPW or
    MultiDR.

    Args:
        kind: "ips" or "dr".
        risk_weight: Of the inverse-propensity or doubly robust loss, at least 0.
        joint_weight: Of the loss of click-and-conversion, at least 0.
        propensity: P(click) of a row, as for `MultiIPW`; None is the click tower.
        fields: See `WeightedConversions`, as for the other settings.

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Wang et al. (2022), "ESCM2: entire space counterfactual multi-task model for post-click conversion rate estimation", SIGIR.
        doi:10.1145/3477495.3531972; reconstructed from papers and code that restate it.

    Differs:
        Both weights are 1: with the paper's .1 for the risk, a linear tower keeps a sixth of ESMM's bias, where weights 1 leave less than a
        hundredth (experiments/conversion_selection.py).
        The imputation tower imputes a label, as in `MultiDR`.
    """

    kind: Literal["ips", "dr"] = "ips"
    risk_weight: float = 1.0
    joint_weight: float = 1.0
    propensity: AnyPropensity | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("ips", "dr"):
            raise ConfigError(f"ESCM2: kind must be 'ips' or 'dr', not {self.kind!r}.")
        for name in ("risk_weight", "joint_weight"):
            if not within(getattr(self, name), "[0, inf)"):
                raise ConfigError(f"ESCM2: {name} must be at least 0, not {getattr(self, name)!r}.")
        if self.risk_weight == self.joint_weight == 0:
            raise ConfigError("ESCM2: risk_weight and joint_weight are both 0, so nothing trains the conversion tower.")

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedConversion:
        """Fit the towers. A log on disk is loaded: the columns that are read.

        Raises:
            LogError: labels or fields are missing or wrong, a conversion has no click, or there is none.
            PropensityError: a given propensity is outside (0, 1].
        """
        log = load_impressions(source, self.fields, self.propensity)
        click, _ = read_conversions(log, "ESCM2")
        given = None if self.propensity is None else propensities(log, self.propensity, self.training.usable_device(), seed=seed)
        weights = self.weights(click, given)

        def objective(logits: Tensor, batch: Impressions) -> tuple[Tensor, Tensor]:
            click_logit, conversion, weight = logits[:, 0], logits[:, 1], weights(logits[:, 0], batch)
            extra: Tensor | float = 0.0
            if self.kind == "ips":
                risk = on_clicks(conversion, batch.click, batch.conversion, weight)
            else:
                arguments = (conversion, logits[:, 2], batch.click, batch.conversion, weight)
                risk, extra = doubly_robust_conversion(*arguments), imputation(*arguments)
            joint = entire_space(click_logit, conversion, batch.conversion)
            watched = cross_entropy(click_logit, batch.click) + self.risk_weight * risk + self.joint_weight * joint
            return watched + self.risk_weight * extra, watched

        return fit_conversion(
            log,
            objective,
            by=f"ESCM2-{self.kind.upper()}",
            fields=self.fields,
            towers=self.towers,
            training=self.training,
            seed=seed,
            propensity=given,
            weighted=self.risk_weight > 0,
            shared=self.shared,
            others=int(self.kind == "dr"),
        )
