"""Boost trees with LightGBM: datasets from item rows, the loop over rounds with early stopping, and the ranker that comes out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import lightgbm
import numpy as np

from ultr.data.items import Items, features_of
from ultr.errors import ConfigError, UltrWarning
from ultr.models.lightgbm_parameters import Parameter
from ultr.random import generator
from ultr.training.minimise import Curve

_WATCH = 10  # rounds between two looks at the training loss
_GATHERED = 1 << 26  # features that are copied for LightGBM; more are handed out in pieces


_NO_SPLIT = (
    "LightGBM found no split, so all scores are equal: {} rows are too few for min_data_in_leaf (20 where it is not given), or no feature"
    " tells them apart."
)


Gradients = tuple[np.ndarray, np.ndarray]


class Objective(Protocol):
    """A loss of the scores of all rows of the training set."""

    def gradients(self, scores: np.ndarray) -> Gradients:
        """Return gradient and second derivative of each row, each [D]; called once a round."""

    def loss(self, scores: np.ndarray) -> float:
        """Return the loss, for the learning curve."""


@dataclass(frozen=True, kw_only=True)
class Boosting:
    """How trees are boosted, apart from what they learn.

    Args:
        parameters: LightGBM's parameters under their main names.
        rounds: Trees at most.
        patience: Rounds without a better validation loss before boosting stops; None never stops.
        threads: Threads that train and score.
        seed: Seed of LightGBM's own random choices (bagging, feature fractions).
    """

    parameters: Mapping[str, Parameter]
    rounds: int
    patience: int | None
    threads: int
    seed: int

    def settings(self, **own: Parameter) -> dict[str, Parameter]:
        """Return all that LightGBM is told."""
        drawn = int(generator(self.seed, "lightgbm").integers(1 << 31))
        layout = {} if {"force_col_wise", "force_row_wise"} & self.parameters.keys() else {"force_col_wise": True}
        fixed: dict[str, Parameter] = {"metric": "None", "verbosity": -1, "deterministic": True, "seed": drawn, "num_threads": self.threads}
        fixed |= {"feature_pre_filter": False}  # with it LightGBM fails where no feature can be split
        return {**fixed, **layout, **self.parameters, **own}


@dataclass(frozen=True, eq=False)
class Boosted:
    """What boosting returns.

    Args:
        text: The model in LightGBM's text format, with the trees that were kept.
        curve: Learning curves; a step is a tree.
        propensity: What had been learned when the last of these trees was grown.
    """

    text: str
    curve: Curve
    propensity: np.ndarray | None


class _Rows(lightgbm.Sequence):
    """Item features row by row as LightGBM asks for them: a log may show an item a thousand times.

    Args:
        features: Features of all items, shape [I, F].
        item: Item of each row, shape [D].
    """

    batch_size = 1 << 13

    def __init__(self, features: np.ndarray, item: np.ndarray) -> None:
        self._features, self._item = features, item

    def __len__(self) -> int:
        return len(self._item)

    def __getitem__(self, rows: int | slice | list[int]) -> np.ndarray:
        return self._features[self._item[rows]].astype(np.float64)


def dataset(
    items: Items | None,
    item: np.ndarray,
    lengths: np.ndarray,
    settings: Mapping[str, Parameter],
    *,
    label: np.ndarray | None = None,
    position: np.ndarray | None = None,
    reference: lightgbm.Dataset | None = None,
) -> lightgbm.Dataset:
    """Make a LightGBM dataset, one row for each entry of `item`.

    Args:
        items: Where the features are.
        item: Item of each row, shape [D].
        lengths: Rows of each query, or page; empty ones are left out, shape [Q].
        settings: What LightGBM is told; some of it decides how features are binned.
        label: Labels for LightGBM's own objectives, shape [D].
        position: 0-based positions for its position bias, shape [D].
        reference: The training set, for a set to validate on.
    """
    features = features_of(items, "LightGBM")
    names = _safe_names(items.names if items is not None else None)
    return lightgbm.Dataset(
        features[item] if features.shape[1] * len(item) <= _GATHERED else _Rows(features, item),
        label=np.zeros(len(item), dtype=np.float32) if label is None else label,
        group=lengths[lengths > 0],
        position=position,
        reference=reference,
        feature_name=names or "auto",
        params=dict(settings),
    )


def boost(
    train: lightgbm.Dataset,
    boosting: Boosting,
    settings: Mapping[str, Parameter],
    *,
    objective: Objective | None = None,
    validation: tuple[lightgbm.Dataset, Callable[[np.ndarray], float]] | None = None,
    propensity: Callable[[], np.ndarray | None] = lambda: None,
) -> Boosted:
    """Boost trees round by round, and keep those up to the best validation loss, or all where nothing is held out.

    Args:
        train: The training set.
        boosting: Rounds, patience.
        settings: What LightGBM is told.
        objective: What to minimise; the objective that `settings` name when None.
        validation: Rows to validate on, and their loss as a function of their scores.
        propensity: Returns the propensities that have been learned so far; asked when trees are kept.

    Raises:
        ConfigError: LightGBM refuses a parameter.

    Warns:
        UltrWarning: no tree has a split.
    """
    run = _Run(boosting.patience, validation[1] if validation is not None else None, propensity)
    with _lightgbm_in_quiet():
        booster = lightgbm.Booster(dict(settings), train)
        if validation is not None:
            booster.add_valid(validation[0], "validation")
        for _ in range(boosting.rounds):
            empty = booster.update(fobj=None if objective is None else run.watching(objective, booster))
            if run.is_over(booster, empty):
                break
    if not run.has_splits:
        warnings.warn(_NO_SPLIT.format(train.num_data()), UltrWarning, stacklevel=4)
    return Boosted(booster.model_to_string(num_iteration=run.kept), Curve(run.watched, run.held_out, run.kept), run.propensity)


class _Run:
    """What is noted round by round.

    Args:
        patience: Rounds without a better loss before it is over; None never is.
        loss: Loss of the scores of the validation set; None where nothing is held out, then the last round is the best.
        learned: Returns the propensities as they are.
    """

    def __init__(self, patience: int | None, loss: Callable[[np.ndarray], float] | None, learned: Callable[[], np.ndarray | None]) -> None:
        self.watched: list[tuple[int, float]] = []
        self.held_out: list[tuple[int, float]] = []
        self.kept, self.has_splits = 0, False
        self.propensity: np.ndarray | None = None
        self._patience, self._loss, self._learned = patience, loss, learned
        self._best, self._since = np.inf, 0

    def watching(self, objective: Objective, booster: lightgbm.Booster) -> Callable[[np.ndarray, lightgbm.Dataset], Gradients]:
        """Return the objective as LightGBM calls it; every few rounds its loss is noted."""

        def gradients(scores: np.ndarray, _: lightgbm.Dataset) -> Gradients:
            if booster.current_iteration() % _WATCH == 0:
                self.watched.append((booster.current_iteration(), objective.loss(scores)))
            return objective.gradients(scores)

        return gradients

    def is_over(self, booster: lightgbm.Booster, empty: bool) -> bool:
        """Note a round, and say whether it was the last one."""
        self.has_splits |= not empty
        loss = -np.inf
        if self._loss is not None:
            held_out = self._loss
            [(_, _, loss, *_)] = booster.eval_valid(lambda scores, _: ("loss", held_out(scores), False))
            self.held_out.append((booster.current_iteration(), float(loss)))
        self._since += 1
        if loss < self._best or self._loss is None:
            self._best, self._since = loss, 0
            self.kept, self.propensity = booster.current_iteration(), self._learned()
        return self._patience is not None and self._since >= self._patience


@contextmanager
def _lightgbm_in_quiet() -> Iterator[None]:
    """Turn what LightGBM refuses into ConfigError, and leave its log level as it is in a new process: it keeps the last one it was told."""
    try:
        yield
    except lightgbm.basic.LightGBMError as error:
        raise ConfigError(f"LightGBM refuses this: {error}") from error
    finally:
        silent = {"verbosity": -1, "objective": "none", "num_threads": 1, "min_data_in_bin": 1, "feature_pre_filter": False}
        two_rows = lightgbm.Dataset(np.arange(2.0)[:, None], np.zeros(2), params=silent)
        lightgbm.Booster(silent, two_rows).reset_parameter({"verbosity": 1})


def _safe_names(names: Sequence[str] | None) -> list[str] | None:
    """Return names that LightGBM accepts; None where there are none or two would become equal."""
    safe = [re.sub(r"\W+", "_", name) for name in names or ()]
    return safe if safe and len(set(safe)) == len(safe) else None
