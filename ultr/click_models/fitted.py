"""A fitted click model: what it learnt, and what it says about logs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ultr.click_models import on_logs
from ultr.click_models.base import ClickModel
from ultr.click_models.rates import Rates
from ultr.data.log import ClickLog
from ultr.data.source import need_log
from ultr.errors import UltrWarning

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class FittedClickModel:
    """A law and the rates that `ultr.click_models.fit` found for it. U rates, usually one for each (query, item) that was shown.

    Args:
        model: The law with its parameters. What is only known up to a factor, the examination of the position-based and the user
            browsing model, is scaled so that the largest is 1, unless learning started from an object.
        rates: What each rate belongs to.
        attractions: P(click | examined), shape [U].
        satisfactions: P(satisfied | clicked), shape [U]; None where the law knows none.
        prior: Clicks and skips seen beforehand by each attraction; satisfactions have seen as much, half of it clicks.
        log_likelihoods: Of the training log, nats, at the start and after each step, shape [T + 1].
        objectives: The same plus the logarithm of the prior: what learning raises, shape [T + 1].
        converged: Whether the last step gained less than `tol`.
        n_rows: Rows learnt from.
        propensity: P(examined) by position, relative to the first that was shown, shape [L], NaN where no row was shown; None where
            examination depends on more than the position.
    """

    model: ClickModel
    rates: Rates
    attractions: np.ndarray
    satisfactions: np.ndarray | None
    prior: tuple[float, float]
    log_likelihoods: np.ndarray
    objectives: np.ndarray
    converged: bool
    n_rows: float
    propensity: np.ndarray | None = None

    def __repr__(self) -> str:
        state = "converged" if self.converged else "not converged"
        return f"FittedClickModel({type(self.model).__name__}, {len(self.attractions)} rates, {self.n_iterations} steps, {state})"

    @property
    def n_iterations(self) -> int:
        """Steps taken."""
        return len(self.objectives) - 1

    @property
    def history(self) -> pd.DataFrame:
        """Learning curve: columns step, split ("train") and loss, the negative objective in nats a row."""
        import pandas as pd

        return pd.DataFrame({"step": np.arange(len(self.objectives)), "split": "train", "loss": -self.objectives / self.n_rows})

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line a rate, by query and item: attraction, and satisfaction where the law knows one."""
        import pandas as pd

        columns = {"attraction": self.attractions}
        if self.satisfactions is not None:
            columns["satisfaction"] = self.satisfactions
        return pd.DataFrame(columns, index=self.rates.index())

    def attraction(self, log: ClickLog) -> np.ndarray:
        """Return P(click | examined) of each row, shape [N]; the prior mean where its (query, item) was never shown.

        Raises:
            LogError: the page column with the query is missing.
        """
        return self._of_rows(self.attractions, self.prior[0] / sum(self.prior), log)

    def satisfaction(self, log: ClickLog) -> np.ndarray | None:
        """Return P(satisfied | clicked) of each row, shape [N], like `attraction`; None where the law knows none."""
        return None if self.satisfactions is None else self._of_rows(self.satisfactions, 0.5, log)

    def click_probability(self, log: ClickLog, *, given_clicks: bool = True) -> np.ndarray:
        """Return P(click) of each row, shape [N].

        Args:
            log: Positions rise within a page where they are logged.
            given_clicks: Given the clicks above on the page, which the log needs then; else whatever was clicked.

        Raises:
            LogError: see the arguments; or a page stands for several, and which clicks came together is lost.
        """
        return on_logs.click_probability(self.model, log, *self._rates(log), given_clicks)

    def examination(self, log: ClickLog, *, given_clicks: bool = True) -> np.ndarray:
        """Return P(examined) of each row, shape [N]: the propensity of a chain law given the clicks above. See `click_probability`."""
        return on_logs.examination(self.model, log, *self._rates(log), given_clicks)

    def log_likelihood(self, log: ClickLog) -> np.ndarray:
        """Return the log-probability of the clicks of each page, nats, shape [P]; -inf for clicks that the law rules out."""
        return on_logs.log_likelihood(self.model, log, *self._rates(log))

    def score_log(self, log: ClickLog) -> np.ndarray:
        """Return the attraction of every row, shape [N]: what the model ranks by."""
        return self.attraction(log)

    def rank(self, log: ClickLog) -> ClickLog:
        """Return the log reranked by attraction; see `ClickLog.rerank`."""
        return log.rerank(self.score_log(log))

    def apply(self, log: ClickLog) -> ClickLog:
        """Return the log reranked by attraction: what `evaluate` and `Comparison` call."""
        return self.rank(log)

    def save(self, path: str | Path) -> None:
        """Write the model as a folder of model.json and model.safetensors; read it with `ultr.load`. Replaces a model that is there.

        Raises:
            FileError: the path is taken by something that is no model.
            ConfigError: ids of queries or items are neither strings nor numbers.
        """
        from ultr.click_models.files import save_click_model

        save_click_model(self, path)

    def _rates(self, log: ClickLog) -> tuple[np.ndarray, np.ndarray | None]:
        return self.attraction(log), self.satisfaction(log)

    def _of_rows(self, values: np.ndarray, mean: float, log: ClickLog) -> np.ndarray:
        number = self.rates.find(need_log(log), "FittedClickModel")
        if len(number) and (number < 0).all():
            warnings.warn(
                f"FittedClickModel: none of these {len(number)} rows shows a (query, item) that was in the log of the fit:"
                f" all get the prior's mean, {mean:.3g}.",
                UltrWarning,
                stacklevel=4,
            )
        return np.append(values, mean)[number]  # number -1 is the last
