"""`ultr compare` and `ultr demo`: estimators x seeds x metrics from a config, with report, tables and finished cells on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ultr.commands.describe import kind_of
from ultr.commands.simulate import seed_of, simulated
from ultr.commands.sources import Data, as_log, first_chunk, open_data, open_test
from ultr.commands.text import by_rank
from ultr.config import Config, Run, read_config
from ultr.data.folder import is_log
from ultr.data.ranking import RankingData
from ultr.data.source import LogSource
from ultr.engine.base import Engine
from ultr.engine.cluster import Dask
from ultr.engine.processes import Processes
from ultr.engine.serial import Serial
from ultr.errors import ConfigError, FileError
from ultr.evaluation.comparison import Comparison
from ultr.evaluation.evaluate import Metric
from ultr.evaluation.outcome import as_text
from ultr.evaluation.store import write_atomically
from ultr.imports import nearest
from ultr.metrics.ndcg import NDCG

if TYPE_CHECKING:
    from ultr.evaluation.result import ComparisonResult

_JUDGED = {  # what the pages of a log are -> what estimators of it are judged on
    "pages": "give [test] a graded set, or a log with grades",
    "impressions": "give [test] a log of its own, such as a table of other impressions",
    "journeys": "give [test] a log of its own, such as a table of other journeys",
    "users": "give [test] a log of its own, such as ratings that were held out",
}

DEMO = Path(str(files("ultr") / "demo.toml"))


def compare(
    config: Config, place: Path | None, out: Path | None, seeds: int | None, workers: int | None, scheduler: str | None = None
) -> str:
    """Run the comparison of a config, or go on where it was killed, and write what it found.

    Args:
        config: Needs [data] and [estimators.NAME], and a test set: [test], or, where [data] is a graded set, `test` or `judge_logged` in
            [run]. Estimators of conversions, journeys or ratings are judged on a log of its own in [test], by [metrics.NAME].
        place: What --data gave.
        out: Where results go; [run] out, else ultr-NAME after the config, when None.
        seeds: In place of [run] seeds: how many.
        workers: In place of [run] workers and scheduler.
        scheduler: In place of [run] scheduler and workers.

    Returns:
        The tables in words, and where the report is.
    """
    run = config.run()
    run = replace(run, seeds=run.seeds if seeds is None else seeds)
    if workers is not None or scheduler is not None:
        run = replace(run, workers=workers, scheduler=scheduler)
    if run.workers is not None and run.scheduler is not None:
        raise ConfigError("workers has no effect with scheduler: a cluster has the workers that it has. Give one of them.")
    out = _results_folder(out or Path(run.out or f"ultr-{config.path.stem}"))
    return run_and_write(comparison_of(config, run, place), run, out, resume=True)


def demo(out: Path) -> str:
    """Run the comparison that comes with the package, from the start."""
    config = read_config(DEMO)
    run = config.run()
    text = run_and_write(comparison_of(config, run, None), run, _results_folder(out), resume=False)
    return f"{text}\nIt was made from {config.path}. To go on from there: copy that file, change it, and run `ultr compare COPY`."


def comparison_of(config: Config, run: Run, place: Path | None) -> Comparison:
    """Put a comparison together.

    Raises:
        UltrError: a section is missing, settings contradict one another, or data cannot be read.
    """
    config.table("estimators", "A comparison")
    estimators, metrics = config.named("estimators"), cast(dict[str, Metric], config.named("metrics") or {"ndcg@10": NDCG(10)})
    train, tests = _train_and_tests(config, run, open_data(config, place, "A comparison"), place)
    for name, test in tests.items():
        _check_labels(name, as_log(test), metrics)
    return Comparison(
        train=_training_log(config, run, train),
        test=tests,
        estimators=estimators,  # type: ignore[arg-type]  # checked there
        metrics=metrics,
        seeds=run.seed_list,
        baseline=run.baseline,
    )


def run_and_write(comparison: Comparison, run: Run, out: Path, resume: bool) -> str:
    """Run a comparison, write its report and tables to a folder, and return the tables in words."""
    with _engine(run) as engine:
        result = comparison.run(engine, directory=out if resume else None)
    tables = {"table": result.table, "paired": result.paired, "curves": result.curves, "histories": result.histories}
    for name, frame in tables.items():
        data = frame.to_parquet(index=False)
        write_atomically(out / f"{name}.parquet", lambda file, data=data: file.write(data))  # type: ignore[misc]
    result.to_parquet(out / "values.parquet")
    result.to_html(out / "report.html")
    return "\n\n".join([as_text(result), *_propensities(result), result.how_to_read(), f"Report: {out / 'report.html'}"])


def _results_folder(out: Path) -> Path:
    """Refuse to write results into a log or over a file."""
    if is_log(out) or out.is_file():
        raise FileError(f"{out} is a {'file' if out.is_file() else 'click log'}: choose another folder for the results with --out.")
    return out


@contextmanager
def _engine(run: Run) -> Iterator[Engine]:
    """Cells get one thread each, in worker processes or here, so that their results are the same."""
    if run.scheduler is not None:
        with Dask(run.scheduler) as engine:
            yield engine
        return
    if run.workers != 1:
        yield Processes(run.workers)
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield Serial()
    finally:
        torch.set_num_threads(threads)


def _train_and_tests(config: Config, run: Run, data: Data, place: Path | None) -> tuple[Data, dict[str, Data]]:
    """Return what to train on, before clicks are simulated, and the test sets by name."""
    tests: dict[str, Data] = {}
    if "test" in config and run.test is not None:
        raise ConfigError("[test] and [run] test both say what to test on: give one of them.")
    if (run.test is not None or run.judge_logged) and not isinstance(data, RankingData):
        kind = "click log" if _kind(data) == "pages" else f"log of {_kind(data)}"
        raise ConfigError(f"[run] test and judge_logged need a graded set, but [data] is a {kind}: {_JUDGED[_kind(data)]}.")
    if "test" in config:
        data, tests["test"] = _equally_wide(data, open_test(config, place))
    elif isinstance(data, RankingData) and run.test is not None:
        data, tests["test"] = data.split(run.test)
    if run.judge_logged:
        tests["logged"] = data
    if not tests:
        graded = "add a section [test] with a reader, or test = 0.5 to [run], a share of [data]"
        raise ConfigError(f"There is nothing to test on: {graded if isinstance(data, RankingData) else _JUDGED[_kind(data)]}.")
    return data, tests


def _kind(data: Data) -> str:
    return kind_of(first_chunk(as_log(data)))


def _equally_wide(train: Data, test: Data) -> tuple[Data, Data]:
    """Add zero columns to the narrower of two graded sets: in a sparse file the last features may never occur."""
    if not (isinstance(train, RankingData) and isinstance(test, RankingData)):
        return train, test
    width = max(train.n_features, test.n_features)
    return train.widen(width), test.widen(width)


def _training_log(config: Config, run: Run, data: Data) -> LogSource | Callable[[int], LogSource]:
    """Return the log to train on, or a function seed -> log where clicks vary."""
    if "simulate" not in config:
        if isinstance(data, RankingData):
            raise ConfigError("[data] is a graded set without clicks: say in [simulate] how to draw them, or read a click log.")
        if "clicks" in config.sections.get("run", {}):
            raise ConfigError("[run] clicks has no effect: there is no [simulate], so the clicks are those of [data].")
        return data
    draw = simulated(config, data)
    if run.clicks == "fixed":
        return draw(seed_of(config))
    return replace(draw, first=seed_of(config))  # each seed of [run] draws its own clicks, from there on


def _check_labels(test: str, source: LogSource, metrics: Mapping[str, Metric]) -> None:
    """Refuse metrics that cannot judge a new order of this test set."""
    columns, kind = first_chunk(source).columns, _kind(source)
    why = f"Clicks belong to the order that was shown and cannot judge a new one: {_JUDGED['pages']}."
    if kind in ("impressions", "journeys"):
        why = "Predictions are judged by ultr.metrics:Predicted, against one of these columns."
    for name, metric in metrics.items():
        label = getattr(metric, "label", None)
        # without positions nothing was shown in an order: a random slice, held-out ratings; and predictions of impressions reorder nothing
        if label == "click" and kind != "impressions" and not ("click" in columns and "position" not in columns):
            raise ConfigError(f"[metrics.{name}] judges by clicks. {why}")
        if label is not None and label not in columns:
            raise ConfigError(
                f"[metrics.{name}] judges by the column {label!r}, which the test set {test!r} lacks.{nearest(label, columns)} "
                f"It has: {', '.join(columns)}. {why}"
            )


def _propensities(result: ComparisonResult) -> Iterator[str]:
    """Lay the learned propensities out beside the truth, where there are any."""
    curves = {str(name): curve.groupby("position")["propensity"].mean() for name, curve in result.curves.groupby("estimator", sort=False)}
    if curves:
        truth = {} if result.truth is None else {"truth": result.truth}
        lines = by_rank({name: curve.to_numpy() for name, curve in curves.items()} | truth)
        yield f"Propensity relative to rank 1, mean over seeds\n{lines}"
