"""ComparisonResult: what a comparison found, as tables, plots and a report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ultr import errors
from ultr.evaluation.cell import Cell
from ultr.evaluation.digest import settings_of
from ultr.evaluation.outcome import as_text
from ultr.evaluation.panel import Panel, n_pages, paired_of, panels_of, table_of, values_of
from ultr.evaluation.wording import listing, plural, runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ultr.evaluation.comparison import Comparison

_FEW, _MANY = 5, 20  # seeds, intervals


@dataclass(frozen=True)
class Note:
    """A warning raised in some cells; messages that differ in numbers only count as one, the first is quoted."""

    category: str
    message: str
    cells: tuple[tuple[str, int], ...]

    @property
    def kind(self) -> type[Warning]:
        """The category as a class; UltrWarning for one that ultr does not define."""
        kind = getattr(errors, self.category, None)
        return kind if isinstance(kind, type) and issubclass(kind, Warning) else errors.UltrWarning

    def where(self) -> str:
        """Name the cells: "dla (seeds 0–4)"."""
        names = dict.fromkeys(name for name, _ in self.cells)
        seeds = {name: [seed for other, seed in self.cells if other == name] for name in names}
        return listing([f"{name} (seed{'s' if len(s) > 1 else ''} {runs(s)})" for name, s in seeds.items()])


@dataclass(frozen=True, eq=False)
class ComparisonResult:
    """What a comparison found.

    Args:
        estimators: Name -> settings, in words.
        metrics: Name -> settings, in words.
        tests: Name -> number of pages.
        seeds: The seeds, in the order given.
        baseline: The estimator that the others are compared with.
        clicks_vary: True if every seed had its own training log; else the intervals cover the estimators' own chance on one log only.
        panels: Scores, one panel a test set and metric.
        cells: Everything else that was kept of each fit.
        truth: True propensity by position, relative to the first, shape [L]; None where unknown.
        truth_source: Where the truth comes from, in words.
    """

    estimators: Mapping[str, str]
    metrics: Mapping[str, str]
    tests: Mapping[str, int]
    seeds: tuple[int, ...]
    baseline: str
    clicks_vary: bool
    panels: tuple[Panel, ...]
    cells: tuple[Cell, ...]
    truth: np.ndarray | None
    truth_source: str = ""

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line a test set, metric and estimator.

        Columns: test, metric, estimator, mean (over queries, then over seeds), sd (over seeds), low, high (95% t interval over seeds),
        undefined (queries or pages where the metric is NaN in some seed; left out) and n (all of them).
        """
        return table_of(self.panels, list(self.estimators))

    @cached_property
    def paired(self) -> pd.DataFrame:
        """One line a test set, metric and estimator other than the baseline: estimator minus baseline, paired by seed and query.

        Columns: test, metric, estimator, difference, low, high (95% t interval over seeds: these queries, other seeds), two_way_low,
        two_way_high (95% over seeds and queries: other seeds and other queries of the same kind), wins (seeds in which the estimator
        was better), n (queries, pages or sessions compared) and dropped (left out because a value is NaN on either side).
        """
        return paired_of(self.panels, list(self.estimators), self.baseline)

    @cached_property
    def values(self) -> pd.DataFrame:
        """Every score: columns test, metric, estimator, seed, unit (what `id` names: query, page, session or log), id, value."""
        return values_of(self.panels, list(self.estimators), self.seeds)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Propensities relative to the first position: columns estimator, seed, position (0-based), propensity."""
        import pandas as pd

        rows = [(c.estimator, c.seed, k, float(p)) for c in self.cells if c.propensity is not None for k, p in enumerate(c.propensity)]
        return pd.DataFrame(rows, columns=["estimator", "seed", "position", "propensity"])

    @cached_property
    def histories(self) -> pd.DataFrame:
        """Learning curves: columns estimator, seed, step, split ("train" or "validation"), loss."""
        import pandas as pd

        frames = [c.history.assign(estimator=c.estimator, seed=c.seed) for c in self.cells if c.history is not None]
        columns = ["estimator", "seed", "step", "split", "loss"]
        return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)

    @cached_property
    def fits(self) -> pd.DataFrame:
        """One line a fit: columns estimator, seed, seconds, best_step, pages and rows of its training log (first chunk on disk)."""
        import pandas as pd

        rows = [(c.estimator, c.seed, c.seconds, c.best_step, c.train["pages"], c.train["rows"]) for c in self.cells]
        return pd.DataFrame(rows, columns=["estimator", "seed", "seconds", "best_step", "pages", "rows"])

    @cached_property
    def warnings(self) -> tuple[Note, ...]:
        """Warnings raised while fitting and judging, each kind once with the cells it came from."""
        found: dict[tuple[str, str], list[tuple[str, str, int]]] = {}
        for cell in self.cells:
            for category, message in cell.warnings:
                found.setdefault((category, re.sub(r"\d[\d.,]*", "#", message)), []).append((message, cell.estimator, cell.seed))
        return tuple(
            Note(category, raised[0][0], tuple(dict.fromkeys((name, seed) for _, name, seed in raised)))
            for (category, _), raised in found.items()
        )

    def what_varies(self) -> str:
        """Say in one sentence what the seeds varied, and so what the intervals mean."""
        if len(self.seeds) == 1:
            return "There is one seed only, so there are no intervals: nothing here says how much of a difference is chance."
        if self.clicks_vary:
            return (
                "Every seed drew its own training log, so the intervals cover both: other clicks of the same kind, and the estimators' own"
                " chance (starting weights, order of the batches)."
            )
        return (
            "All seeds were fitted on the same training log, so the intervals cover the estimators' own chance only (starting weights,"
            " order of the batches); another log could move all results together."
        )

    def how_to_read(self) -> str:
        """Say what the seeds varied, and what to keep in mind where seeds are few or intervals many."""
        compared, n = (len(self.estimators) - 1) * len(self.panels), len(self.seeds)
        few = f" With {n} seeds an interval is wide, and no clear difference does not mean that there is none." if 1 < n < _FEW else ""
        many = f" Of {compared} intervals a few miss by chance: their number is not allowed for." if n > 1 and compared > _MANY else ""
        return self.what_varies() + few + many

    def plot(self) -> Figure:
        """Draw the paired differences, the propensity curves and the learning curves into one figure."""
        from ultr.evaluation.plot import overview

        return overview(self)

    def to_html(self, path: str | Path) -> None:
        """Write the report: one self-contained page, whole or not at all.

        Raises:
            FileError: the file cannot be written.
        """
        from ultr.evaluation.report import report
        from ultr.evaluation.store import write_atomically

        page = report(self).encode()
        write_atomically(Path(path), lambda file: file.write(page))

    def to_parquet(self, path: str | Path) -> None:
        """Write `values`, every score of every fit, as one Parquet file, whole or not at all.

        Raises:
            FileError: the file cannot be written.
        """
        from ultr.evaluation.store import write_atomically

        data = self.values.to_parquet(index=False)
        write_atomically(Path(path), lambda file: file.write(data))

    def __repr__(self) -> str:
        head = f"{len(self.estimators)} estimators x {plural(len(self.seeds), 'seed')}, compared with {self.baseline!r}"
        notes = [f"{note.category} in {note.where()}: {note.message}" for note in self.warnings]
        return "\n\n".join([head, as_text(self), self.how_to_read(), *notes])

    def _repr_html_(self) -> str:
        from ultr.evaluation.report import fragment

        return fragment(self)


def result_of(comparison: Comparison, cells: Sequence[Cell]) -> ComparisonResult:
    """Put the finished cells of a comparison together."""
    tests, metrics = comparison.tests, comparison.named_metrics
    panels = panels_of(cells, list(comparison.estimators), comparison.seeds, tests, metrics)
    truth, source = _truth(comparison, cells)
    return ComparisonResult(
        estimators={name: settings_of(estimator) for name, estimator in comparison.estimators.items()},
        metrics={name: settings_of(metric) for name, metric in metrics.items()},
        tests={name: n_pages(source) for name, source in tests.items()},
        seeds=tuple(comparison.seeds),
        baseline=cast(str, comparison.baseline),
        clicks_vary=comparison.clicks_vary,
        panels=tuple(panels),
        cells=tuple(cells),
        truth=truth,
        truth_source=source,
    )


def _truth(comparison: Comparison, cells: Sequence[Cell]) -> tuple[np.ndarray | None, str]:
    """Return the truth given, else the mean over the seeds of what the training logs record, [L], and which it is."""
    if comparison.truth is not None:
        return np.asarray(comparison.truth), "as given"
    recorded = [cell.truth for cell in cells if cell.truth is not None]
    if not recorded:
        return None, ""
    width = min(len(truth) for truth in recorded)
    return np.mean([truth[:width] for truth in recorded], axis=0), "mean of the training logs' column propensity by rank"
