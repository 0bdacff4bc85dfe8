"""A score of predicted probabilities as a metric of a log, with its protocol: which rows, which label, which prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from ultr.data.checks import as_numbers, rows_are
from ultr.data.fields import column_of
from ultr.data.log import ClickLog
from ultr.errors import ConfigError
from ultr.imports import nearest
from ultr.metrics.classification import calibration_sums, gaps, levels, levels_by_group, log_loss_sums, mean_auc, mean_gap, ratio
from ultr.metrics.levels import Levels

Score = Literal["auc", "group_auc", "log_loss", "calibration_ratio", "expected_calibration_error"]
Rows = Literal["all", "clicked", "unclicked"]


@dataclass(frozen=True)
class Predicted:
    """How well a predicted column fits a label, over the whole log.

    The protocol moves the number as much as the model does: an AUC of conversions on clicked rows cannot see what happens to the others,
    and one of click-and-conversion on all rows mixes in how well clicks are predicted. `protocol` says in words what was done, and a
    report shows it.

    Args:
        score: "auc", "group_auc", "log_loss", "calibration_ratio" or "expected_calibration_error"; see the functions of these names.
        label: Row column of 0 and 1, or of true probabilities where a simulator knows them: an AUC then takes each row as a positive with
            that weight and as a negative with the rest.
        predicted: Row column that `apply` has added; None is `predicted_` and the label.
        rows: "all", those "clicked" (column click is 1), or "unclicked".
        groups: Row or page column of the groups, for "group_auc"; rows without a value (None, NaN) are one group.

    Raises:
        ConfigError: a setting has an impossible value.

    Source:
        Protocols as in Ma et al. (2018), SIGIR, doi:10.1145/3209978.3210104: conversions on clicked rows, their product with clicks on all.
    """

    score: Score
    label: str = "conversion"
    predicted: str | None = None
    rows: Rows = "all"
    groups: str = "user"

    per: ClassVar[str] = "log"

    def __post_init__(self) -> None:
        for name, known in (("score", get_args(Score)), ("rows", get_args(Rows))):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"Predicted: {name} must be one of {', '.join(known)}, not {value!r}.{nearest(str(value), known)}")
        for name in ("label", "predicted", "groups"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"Predicted: {name} is the name of one column, not {value!r}.")

    @property
    def higher_is_better(self) -> bool:
        """True for AUCs."""
        return self.score in ("auc", "group_auc")

    @property
    def prediction(self) -> str:
        """The column that is judged."""
        return self.predicted or f"predicted_{self.label}"

    @property
    def protocol(self) -> str:
        """What is computed from which rows, in words."""
        by = f" within {self.groups}" if self.score == "group_auc" else ""
        return f"{self.score}{by} of {self.prediction} against {self.label} on {self.rows} rows"

    def __call__(self, log: ClickLog) -> np.ndarray:
        """Judge the predictions.

        Returns:
            One value, float64, shape [1]; NaN where it is undefined, as for an AUC of one class.

        Raises:
            LogError: a column is missing or holds what it must not.
        """
        return self.value(self.state(log))

    def state(self, log: ClickLog) -> np.ndarray | Levels:
        """Return what is kept of a piece of a log: sums, or for AUCs positives and negatives at every distinct score (of a group).

        Raises:
            LogError: as above.
        """
        chosen = self._chosen(log)
        label = as_numbers(self.label, log.column(self.label, "Predicted"), rows_are(log.offsets)).astype(np.float64)[chosen]
        values = log.column(self.prediction, "Predicted")[chosen]
        if self.score == "group_auc":
            return levels_by_group(label, values, column_of(log, self.groups, "Predicted")[chosen])
        if self.score == "auc":
            return levels(label, values)
        return {"log_loss": log_loss_sums, "calibration_ratio": calibration_sums}.get(self.score, gaps)(label, values)

    def value(self, state: np.ndarray | Levels) -> np.ndarray:
        """Return the score of all pieces whose states were added up, float64, shape [1]."""
        if isinstance(state, Levels):
            return np.array([mean_auc(state) if self.score == "group_auc" else state.auc()])
        if self.score == "expected_calibration_error":
            return np.array([mean_gap(state)])
        return np.array([ratio(*state)])

    def _chosen(self, log: ClickLog) -> np.ndarray:
        if self.rows == "all":
            return np.arange(log.n_rows)
        clicked = log.column("click", "Predicted") > 0
        return np.flatnonzero(clicked if self.rows == "clicked" else ~clicked)
