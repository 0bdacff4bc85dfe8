"""UnbiasedLambdaMART: boosted trees that learn to rank from biased clicks, on LightGBM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from ultr.data.checks import refuse, rows_are, within
from ultr.data.items import features_of
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather, projected
from ultr.errors import ConfigError, LogError
from ultr.models.lightgbm_parameters import Parameter, checked_parameters, settings_among
from ultr.propensity.evaluate import AnyPropensity, by_position, propensities
from ultr.training.labelled import PAGES
from ultr.training.labels import labels_of
from ultr.training.split import validation_pages
from ultr.training.weights import inverse_propensity

if TYPE_CHECKING:
    from ultr.models.boosting import Boosted, Boosting
    from ultr.models.tree_ranker import TreeRanker

Debias = Literal["ips", "position", "pairwise", "none"]
Delta = Literal["one", "dcg"]

_BY = "UnbiasedLambdaMART"
_READ_BY = {  # settings that not every way of debiasing reads
    "propensity": ("ips",),
    "clip": ("ips",),
    "delta": ("ips", "pairwise", "none"),
    "regulariser": ("pairwise",),
}


@dataclass(frozen=True, kw_only=True)
class UnbiasedLambdaMART:
    """Boosted trees on tabular features, debiased.

    - "ips": each clicked document against every other document of its page, clicked or not, weighted by the inverse propensity of the
      click. E[weight of i over j] = gamma_i, so a pair comes to rest where it would if every row were examined, whatever order was shown.
      Linear in the clicks: pages are summed into one table of pairs a query, so that boosting costs the same for any number of pages, and
      compressed logs serve.
    - "position": LightGBM's own lambdarank with a bias a position added to the score. It needs no propensity, and one row a row shown.
    - "pairwise": clicked against unclicked documents, weighted by 1 / (t+ t-); both ratios are learned. It needs no propensity.
    - "none": "ips" with weights 1: what clicks alone say. With label="grade", LightGBM's own lambdarank on the graded documents.

    Trees see each distinct (query, item) once, so `min_data_in_leaf` counts documents; with "position" it counts rows shown.

    Args:
        debias: "ips", "position", "pairwise" or "none".
        propensity: For "ips": function of a batch, array by position, a column's name, or an estimator such as Harvested; the column
            `propensity` when None.
        label: Row column to learn from: clicks; for "ips" and "none" any non-negative weights; for "none" also "grade".
        parameters: LightGBM's parameters under LightGBM's names (num_leaves, learning_rate, min_data_in_leaf, ...). num_iterations,
            early_stopping_round and num_threads set rounds, patience and threads.
        clip: For "ips": largest weight, above 0; trades variance for bias. None does not clip.
        delta: "one" weighs all pairs of a page alike; "dcg" multiplies a pair by the change of DCG discounts that swapping it makes, at the
            ranks that the current scores give among all documents logged for the query. The noise of clicks makes "one" the better choice.
            "position" and grades always use LightGBM's own change of nDCG.
        normalise: Divide each pair by .01 + |difference of scores|, LightGBM's `lambdarank_norm`: pairs that are still close decide.
        regulariser: For "pairwise": p, at least 0; the ratios are raised to 1 / (1 + p). At 0 they run away and over-correct.
        rounds: Trees at most, at least 1.
        validation: Share of the queries held out, in [0, 1); the trees up to the best held-out loss are kept. 0 keeps all rounds. The loss
            is the same weighted pairwise logistic loss; for "position" and "pairwise" that of clicked against unclicked documents with
            the bias, or log t+, of their positions added to the scores; for grades 1 - nDCG@10.
        patience: Rounds without a better held-out loss before boosting stops; None never stops.
        threads: Threads of LightGBM, at least 1; results are the same for equal numbers.

    Source:
        Weights: Joachims, Swaminathan and Schnabel (2017), WSDM. doi:10.1145/3018661.3018699; trees: Burges (2010), MSR-TR-2010-82;
        "pairwise": Hu, Wang, Peng and Li (2019), WWW. doi:10.1145/3308558.3313447; reconstructed from descriptions.

    Differs:
        "ips" weights the clicked side of a pair only. Weights on both sides restore the logged order exactly, and leaving out pairs of
        two clicks biases towards it (tests/test_lambdarank.py enumerates both). "pairwise" uses ranks within the query, not the
        page, where delta="dcg", and weighs all pairs alike by default. The curve of "position" is read from LightGBM's debug messages,
        to six digits, since LightGBM has no getter.
    """

    debias: Debias = "ips"
    propensity: AnyPropensity | None = None
    label: str = "click"
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    clip: float | None = None
    delta: Delta = "one"
    normalise: bool = True
    regulariser: float = 0.5
    rounds: int = 300
    validation: float = 0.2
    patience: int | None = 30
    threads: int = 1

    def __post_init__(self) -> None:
        self._take_settings()
        for name, choices in (("debias", get_args(Debias)), ("delta", get_args(Delta)), ("normalise", (True, False))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{_BY}: {name} must be one of {', '.join(map(repr, choices))}, not {getattr(self, name)!r}.")
        for name in ("rounds", "patience", "threads"):
            value = getattr(self, name)
            if (value is not None or name != "patience") and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{_BY}: {name} must be a whole number of at least 1, not {value!r}.")
        if self.clip is not None and not within(self.clip, "(0, inf)"):
            raise ConfigError(f"{_BY}: clip is the largest weight, above 0, not {self.clip!r}.")
        if not within(self.regulariser, "[0, inf)"):
            raise ConfigError(f"{_BY}: regulariser must be at least 0, not {self.regulariser!r}.")
        if not within(self.validation, "[0, 1)"):
            raise ConfigError(f"{_BY}: validation is a share of the queries in [0, 1), not {self.validation!r}.")
        if self._graded and self.debias != "none":
            raise ConfigError(f'{_BY}: grades have no position bias: label="grade" goes with debias="none", not {self.debias!r}.')
        self._refuse_unread()
        self._checked()

    def _take_settings(self) -> None:
        """Read settings that stand among the parameters under LightGBM's names."""
        rest, settings = settings_among(self.parameters, _BY)
        defaults = {f.name: f.default for f in fields(self)}
        for name, value in settings.items():
            if getattr(self, name) not in (defaults[name], value):
                raise ConfigError(f"{_BY}: parameters say {name} = {value!r}, and the setting {getattr(self, name)!r}: drop one.")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "parameters", rest)

    def _refuse_unread(self) -> None:
        """Refuse a setting that is not at its default and that this way of debiasing does not read."""
        defaults = {f.name: f.default for f in fields(self)}
        for name, readers in _READ_BY.items():
            read = self.debias in readers and not self._graded
            value = getattr(self, name)
            if not read and (value is not None if defaults[name] is None else value != defaults[name]):
                what = 'label="grade"' if self._graded else f"debias={self.debias!r}"
                raise ConfigError(f"{_BY}: {name} has no effect with {what}; it is for {' and '.join(map(repr, readers))}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> TreeRanker:
        """Fit trees. A log on disk is loaded: the columns that are read.

        Args:
            source: The log. "position" and "pairwise" need positions and pages as they were shown, not compressed ones.
            seed: Which queries are held out, and LightGBM's own random choices.

        Raises:
            LogError: labels, positions or item features are missing, no page tells two rows apart, or the log is compressed.
            PropensityError: a propensity is outside (0, 1].
            ConfigError: LightGBM refuses a parameter's value.

        Warns:
            UltrWarning: LightGBM found no split.
        """
        from ultr.models.boosting import Boosting
        from ultr.models.lambdamart import TARGET
        from ultr.models.tree_ranker import TreeRanker

        model = self.debias == "ips" and self.propensity is not None and not isinstance(self.propensity, str)  # may read any column
        named = self.propensity if isinstance(self.propensity, str) else "propensity"
        log = gather(projected(source, None if model else (*PAGES, self.label, named)))
        features_of(log.items, _BY)
        target, given = self._target(log, seed)
        log = log.with_columns(**{TARGET: target})
        held_out = validation_pages(log, self.validation, seed)
        boosting = Boosting(parameters=self._checked(), rounds=self.rounds, patience=self.patience, threads=self.threads, seed=seed)
        boosted = self._boosted(log.select(~held_out) if held_out.any() else log, log.select(held_out), boosting)
        propensity = boosted.propensity if given is None else given
        names = log.items.names if log.items is not None else None
        return TreeRanker(boosted.text, self.threads, boosted.curve, propensity, names, f"{_BY}, {self.debias}")

    @property
    def _graded(self) -> bool:
        return self.label == "grade"

    def _checked(self) -> dict[str, Parameter]:
        position = self.debias == "position"
        return checked_parameters(self.parameters, by=_BY, lambdarank=position or self._graded, position=position)

    def _target(self, log: ClickLog, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what to learn from, summed over the pages that a row stands for [N], and the propensity curve if it is given."""
        labels = labels_of(log, self.label, _BY)
        if self.debias in ("position", "pairwise"):
            log.column("position", f"{_BY}(debias={self.debias!r})")
            if log.compressed:
                raise LogError(
                    f"{_BY}(debias={self.debias!r}) compares clicked with unclicked rows of a page, which a compressed log has merged."
                    ' Give the log as it was before compress(), or use debias="ips".'
                )
            advice = "Binarise it."
            refuse((labels != 0) & (labels != 1), f"{self.label} must be 0 or 1", advice, rows_are(log.offsets), labels)
        sums = labels * np.repeat(log.counts, log.lengths)
        if self.label == "click":
            sums = np.rint(sums)  # whole numbers again, so that sums over pages are exact
        if self.debias != "ips":
            return sums, None
        propensity = propensities(log, "propensity" if self.propensity is None else self.propensity, seed=seed)
        weighted = torch.from_numpy((labels > 0).astype(np.float32))
        weights = inverse_propensity(weighted, torch.from_numpy(propensity), clip=self.clip).numpy()
        return sums * weights, by_position(log, propensity)

    def _boosted(self, train: ClickLog, held_out: ClickLog, boosting: Boosting) -> Boosted:
        from ultr.models import lambdamart

        if self._graded:
            return lambdamart.fit_grades(train, held_out, boosting, normalise=self.normalise)
        if self.debias == "position":
            return lambdamart.fit_position(train, held_out, boosting, normalise=self.normalise)
        if self.debias == "pairwise":
            return lambdamart.fit_debiased(
                train, held_out, boosting, normalise=self.normalise, delta=self.delta, regulariser=self.regulariser
            )
        return lambdamart.fit_weighted(train, held_out, boosting, normalise=self.normalise, delta=self.delta)
