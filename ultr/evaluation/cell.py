"""One cell of a comparison: an estimator fitted with a seed and judged on every test set."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ultr.data.source import LogSource, projected
from ultr.errors import ConfigError, ContractError
from ultr.evaluation.digest import digest
from ultr.evaluation.judging import Fitted, Metric, judge

if TYPE_CHECKING:
    import pandas as pd

HISTORY = ("step", "split", "loss")


class Estimator(Protocol):
    """What a comparison needs of an estimator."""

    def fit(self, source: LogSource, *, seed: int) -> Fitted:
        """Return the fitted object; the estimator stays as it is."""


@dataclass(frozen=True, eq=False)
class Cell:
    """What is kept of one fit.

    Args:
        estimator: Its name in the comparison.
        seed: Its seed.
        values: (test set, metric) -> one value a page, a session, or one for the whole log.
        propensity: By 0-based position, relative to the first, shape [L]; None where the fitted object has none.
        truth: The training log's own column `propensity` in the same form; None where it has none.
        history: Learning curves with the columns step, split, loss; None where there are none.
        best_step: The step whose weights were kept, where known.
        seconds: Wall-clock seconds of the fit.
        warnings: (category, message) of every distinct warning raised while fitting and judging.
        train: Digest of the training log: pages, rows, hash.
    """

    estimator: str
    seed: int
    values: Mapping[tuple[str, str], np.ndarray]
    propensity: np.ndarray | None
    truth: np.ndarray | None
    history: pd.DataFrame | None
    best_step: int | None
    seconds: float
    warnings: tuple[tuple[str, str], ...]
    train: Mapping[str, object]


@dataclass(frozen=True, eq=False)
class Plan:
    """What all cells of a run share.

    Args:
        train: The training log, or a function seed -> log.
        tests: Name -> log to judge on.
        estimators: Name -> estimator.
        metrics: Name -> metric.
        run: Tells this run's training logs from those of other runs in the same process.
    """

    train: LogSource | Callable[[int], LogSource]
    tests: Mapping[str, LogSource]
    estimators: Mapping[str, Estimator]
    metrics: Mapping[str, Metric]
    run: str

    def training_log(self, seed: int) -> LogSource:
        """Return the training log of a seed; the last one built is kept, so that the estimators of one seed share it."""
        if isinstance(self.train, LogSource):
            return self.train
        return _build(_Recipe(self.run, seed, self.train))


@dataclass(frozen=True)
class _Recipe:
    """Key of the cache below: equal within a run and seed, whatever copy of the function a process holds."""

    run: str
    seed: int
    function: Callable[[int], LogSource] = field(compare=False)


@lru_cache(maxsize=1)
def _build(recipe: _Recipe) -> LogSource:
    log = recipe.function(recipe.seed)
    if not isinstance(log, LogSource):
        raise ConfigError(f"train must return a log for each seed; for seed {recipe.seed} it returned {type(log).__name__}.")
    return log


def forget_training_log() -> None:
    """Let go of the last training log of this process."""
    _build.cache_clear()


def run_cell(plan: Plan, which: tuple[str, int]) -> Cell:
    """Fit one estimator with one seed and judge it on every test set; warnings are kept, not shown."""
    name, seed = which
    with warnings.catch_warnings(record=True) as caught:
        for category in (UserWarning, RuntimeWarning):
            warnings.simplefilter("always", category)
        log = plan.training_log(seed)
        start = time.perf_counter()
        fitted = plan.estimators[name].fit(log, seed=seed)
        seconds = time.perf_counter() - start
        values = {
            (test, metric): scores for test, source in plan.tests.items() for metric, scores in judge(fitted, source, plan.metrics).items()
        }
    return Cell(
        estimator=name,
        seed=seed,
        values=values,
        propensity=_curve(fitted, name),
        truth=recorded_propensity(log),
        history=_history(fitted, name),
        best_step=None if getattr(fitted, "best_step", None) is None else int(fitted.best_step),  # type: ignore[attr-defined]
        seconds=seconds,
        warnings=tuple(dict.fromkeys((w.category.__name__, str(w.message)) for w in caught)),
        train=digest(log),
    )


def recorded_propensity(source: LogSource) -> np.ndarray | None:
    """Average the log's own column `propensity` by position, relative to position 0, shape [L].

    Returns:
        NaN at positions without rows; None where the log lacks `propensity` or `position`, or shows nothing at position 0.
    """
    total, weight = np.zeros(0), np.zeros(0)
    for chunk in projected(source, ("propensity", "position", "count")).chunks():
        if not {"propensity", "position"} <= chunk.columns.keys():
            return None
        position, count = chunk.columns["position"], np.repeat(chunk.counts, chunk.lengths)
        width = max(len(total), int(position.max(initial=-1)) + 1)
        total, weight = (
            np.pad(old, (0, width - len(old))) + np.bincount(position, new, minlength=width)
            for old, new in ((total, chunk.columns["propensity"] * count), (weight, count))
        )
    if not len(weight) or weight[0] == 0:
        return None
    mean = np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)
    return mean / mean[0]


def _curve(fitted: Fitted, name: str) -> np.ndarray | None:
    curve = getattr(fitted, "propensity", None)
    if curve is None:
        return None
    curve = np.asarray(curve, dtype=np.float64)
    if curve.ndim != 1:
        raise ContractError(
            f"`propensity` of the fitted {name!r} must be one value a position, shape [L], or None, not shape {curve.shape}."
        )
    return curve


def _history(fitted: Fitted, name: str) -> pd.DataFrame | None:
    history = getattr(fitted, "history", None)
    if history is None or len(history) == 0:
        return None
    missing = [column for column in HISTORY if column not in history]
    if missing:
        raise ContractError(f"`history` of the fitted {name!r} must have the columns {', '.join(HISTORY)}; it lacks {', '.join(missing)}.")
    return history.loc[:, list(HISTORY)]
