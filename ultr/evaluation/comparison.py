"""Comparison: estimators x seeds x metrics, paired by seed and by query."""

from __future__ import annotations

import inspect
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ultr.data.ranking import RankingData
from ultr.data.source import LogSource
from ultr.engine.base import Engine, need_engine
from ultr.engine.serial import Serial
from ultr.errors import ConfigError
from ultr.evaluation.cell import Cell, Estimator, Plan, forget_training_log, run_cell
from ultr.evaluation.digest import digest, settings_of
from ultr.evaluation.evaluate import Metric, as_source, named_metrics
from ultr.evaluation.store import Store
from ultr.imports import nearest

if TYPE_CHECKING:
    from ultr.evaluation.result import ComparisonResult

Test = LogSource | RankingData


@dataclass(frozen=True, eq=False)
class Comparison:
    """Fit every estimator with every seed, judge each on the same queries, and compare paired by seed and by query.

    Args:
        train: The training log, the same for all seeds; or a function seed -> log, then the clicks vary with the seed and the intervals
            cover them too.
        test: What to judge on: a log, a graded set (as `data.as_log()`), or name -> either for several side by side.
        estimators: Name -> object with `fit(log, seed=)`.
        metrics: Name -> metric(log); or metrics, which are then named like "NDCG@10".
        seeds: Distinct non-negative integers below 2^63. Two are needed for an interval, ten make a good one.
        baseline: The estimator that the others are compared with; the first when None.
        truth: True propensity by position, relative to the first, shape [L], drawn beside the estimates; where None, the mean of the
            training log's own column `propensity` takes its place, if it has one.

    Raises:
        ConfigError: a part is missing, empty, doubled, or not what it should be; the message names it.
    """

    train: LogSource | Callable[[int], LogSource]
    test: Test | Mapping[str, Test]
    estimators: Mapping[str, Estimator]
    metrics: Mapping[str, Metric] | Sequence[Metric]
    seeds: Sequence[int] = range(5)
    baseline: str | None = None
    truth: np.ndarray | Sequence[float] | None = None

    def __post_init__(self) -> None:
        _check_train(self.train)
        tests = self.test if isinstance(self.test, Mapping) else {"test": self.test}
        if not tests:
            raise ConfigError("test is empty: give a log, a graded set, or name -> either.")
        checked = {
            "test": {str(name): as_source(test, f"test {name!r}") for name, test in tests.items()},
            "estimators": _checked_estimators(self.estimators),
            "metrics": named_metrics(self.metrics),
            "seeds": _checked_seeds(self.seeds),
            "baseline": _checked_baseline(self.baseline, self.estimators),
            "truth": _checked_truth(self.truth),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def run(self, engine: Engine | None = None, progress: bool = True, directory: str | Path | None = None) -> ComparisonResult:
        """Run all cells that are not finished yet.

        Args:
            engine: Where the cells run; in this process, one after the other, when None. Logs on disk are sent to other processes as
                the paths of their files.
            progress: Show a progress bar on standard error.
            directory: Folder for finished cells: a run that was killed goes on from there, and seeds can be added later. Estimators and
                metrics are known by their repr, logs by a hash: give a new directory after changing the code of either.

        Warns:
            UltrWarning: what fits and metrics warned of, each kind once with the cells it came from, after the last cell.

        Raises:
            ConfigError: the folder holds another comparison; the message says what differs.
            Exception: what the first failing cell raised, with the cell named. Finished cells are kept.
        """
        engine = need_engine(engine) or Serial()
        plan = Plan(self.train, self.tests, self.estimators, self.named_metrics, uuid.uuid4().hex)
        wanted = [(name, seed) for seed in self.seeds for name in self.estimators]  # seed by seed: its training log is built once
        try:
            store = None if directory is None else Store(directory, self._fingerprint())
            cells = {} if store is None else store.load(wanted)
            _refuse_other_log(cells, plan, directory)
            for cell in self._finish(
                plan, [which for which in wanted if which not in cells], len(wanted), need_engine(engine) or Serial(), progress
            ):
                if store is not None:
                    store.save(cell)
                cells[cell.estimator, cell.seed] = cell
        finally:
            forget_training_log()
        from ultr.evaluation.result import result_of

        result = result_of(self, [cells[which] for which in wanted])
        for note in result.warnings:
            warnings.warn(f"{note.message} (In {note.where()}.)", note.kind, stacklevel=2)
        return result

    @property
    def tests(self) -> Mapping[str, LogSource]:
        """Name -> log to judge on; "test" where one was given."""
        return cast(Mapping[str, LogSource], self.test)

    @property
    def named_metrics(self) -> Mapping[str, Metric]:
        """Name -> metric."""
        return cast(Mapping[str, Metric], self.metrics)

    @property
    def clicks_vary(self) -> bool:
        """True if each seed has its own training log."""
        return not isinstance(self.train, LogSource)

    def _finish(self, plan: Plan, left: list[tuple[str, int]], total: int, engine: Engine, progress: bool) -> Iterator[Cell]:
        """Yield the missing cells as they finish."""
        names = [f"cell {name!r}, seed {seed}" for name, seed in left]
        with _bar(total, total - len(left), progress) as tick:
            for i, cell in engine.map(partial(run_cell, plan), left, names):
                yield cell
                tick(f"{left[i][0]}, seed {left[i][1]}")

    def _fingerprint(self) -> dict[str, dict[str, object]]:
        """Describe what the cells depend on, apart from the seeds."""
        train = {"kind": "a log for each seed"} if not isinstance(self.train, LogSource) else {"kind": "one log", **digest(self.train)}
        return {
            "train": dict(train),
            "test": {name: digest(source) for name, source in self.tests.items()},
            "estimators": {name: settings_of(estimator) for name, estimator in self.estimators.items()},
            "metrics": {name: settings_of(metric) for name, metric in self.named_metrics.items()},
        }


@contextmanager
def _bar(total: int, done: int, progress: bool) -> Iterator[Callable[[str], None]]:
    """Open a progress bar; what it yields is called with the name of each finished cell."""
    from tqdm import tqdm

    with tqdm(total=total, initial=done, desc="comparing", unit="fit", disable=not progress, dynamic_ncols=True) as bar:

        def tick(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        yield tick


def _refuse_other_log(cells: Mapping[tuple[str, int], Cell], plan: Plan, directory: str | Path | None) -> None:
    """Refuse to go on from cells that were fitted on another training log than this comparison's."""
    cell = next(iter(cells.values()), None)
    if cell is None:
        return
    now = digest(plan.training_log(cell.seed))
    if now != cell.train:
        raise ConfigError(
            f"{directory} holds another comparison: the training log of seed {cell.seed} had {cell.train['rows']:,} rows and the hash "
            f"{str(cell.train['hash'])[:8]}, now it has {now['rows']:,} and {str(now['hash'])[:8]}. "
            "Give another directory, or delete this one."
        )


def _checked_estimators(estimators: Mapping[str, Estimator]) -> dict[str, Estimator]:
    if not isinstance(estimators, Mapping) or not estimators:
        raise ConfigError("estimators must be name -> estimator with at least one, e.g. {'naive': Naive(), 'dla': DLA()}.")
    for name, estimator in estimators.items():
        if isinstance(estimator, type) or not callable(getattr(estimator, "fit", None)):
            hint = f" Give an instance, {estimator.__name__}()." if isinstance(estimator, type) else ""
            raise ConfigError(f"estimator {name!r} is {estimator!r}, which has no fit(log, seed=).{hint}")
    return {str(name): estimator for name, estimator in estimators.items()}


def _check_train(train: object) -> None:
    if isinstance(train, LogSource):
        return
    if not callable(train):
        raise ConfigError(f"train must be a log with clicks, or a function seed -> log, not {type(train).__name__}.")
    try:
        inspect.signature(train).bind(0)
    except ValueError:  # some functions written in C do not tell what they take
        return
    except TypeError as error:
        raise ConfigError(f"train must be a log, or a function seed -> log of one argument; this function has {error}.") from error


def _checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    try:
        listed = list(seeds)
    except (TypeError, OverflowError) as error:  # range(2**70) is longer than any list
        raise ConfigError(f"seeds must be a sequence of integers, e.g. range(5), not {seeds!r}.") from error
    bad = [seed for seed in listed if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0]
    if not listed or bad:
        what = f"{bad[0]!r} is none" if bad else "there is none"
        raise ConfigError(f"seeds must be non-negative integers, e.g. range(5): {what}.")
    if max(listed) >= 1 << 63:
        raise ConfigError(f"seeds must be below 2^63, the largest number that the tables of results hold: {max(listed)} is not.")
    doubled = sorted({int(seed) for seed in listed if listed.count(seed) > 1})
    if doubled:
        raise ConfigError(f"seeds must be distinct: {', '.join(map(str, doubled))} occurs more than once, which would count one fit twice.")
    return tuple(int(seed) for seed in listed)


def _checked_baseline(baseline: str | None, estimators: Mapping[str, Estimator]) -> str:
    if baseline is None:
        return str(next(iter(estimators)))
    if baseline not in estimators:
        raise ConfigError(
            f"baseline {baseline!r} is none of the estimators.{nearest(str(baseline), map(str, estimators))} "
            f"There are: {', '.join(map(str, estimators))}."
        )
    return baseline


def _checked_truth(truth: np.ndarray | Sequence[float] | None) -> np.ndarray | None:
    if truth is None:
        return None
    values = np.asarray(truth, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not (values > 0).all():
        raise ConfigError(f"truth must be the positive propensity of each position, shape [L], not {truth!r}.")
    return values / values[0]
