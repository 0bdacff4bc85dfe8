"""`ultr fit`: one estimator on one log; the ranker, its propensity curve and its learning curves on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from ultr.commands.simulate import seed_of, simulated
from ultr.commands.sources import Data, first_chunk, open_data
from ultr.commands.text import by_rank
from ultr.config import Config, build
from ultr.data.folder import is_log
from ultr.data.ranking import RankingData
from ultr.data.source import LogSource, projected
from ultr.diagnostics import identifiability
from ultr.errors import ConfigError, FileError
from ultr.evaluation.cell import Estimator
from ultr.evaluation.store import write_atomically
from ultr.training.ranks import joined, rank, world
from ultr.training.settings import Training


def fit(config: Config, place: Path | None, out: Path | None) -> str:
    """Fit the estimator of a config and write what came out; where several processes were started, they train together.

    Args:
        config: Needs [data] and [estimator], or one [estimators.NAME]. With [simulate] the clicks are drawn on a graded set.
        place: What --data gave.
        out: Where results go; [run] out, else ultr-NAME after the config, when None.

    Returns:
        How the fit went, its propensity curve and how far to trust it, and where the files are.
    """
    run = config.run()
    name, estimator = _estimator(config)
    out = out or Path(run.out or f"ultr-{config.path.stem}")
    if is_log(out) or (out / "model.json").exists() or out.is_file():
        raise FileError(f"{out} is no folder for results, but a log, a model or a file: choose another one with --out.")
    log, seed = _log(config, open_data(config, place, "A fit")), run.seed_list[0]
    with joined(_device(estimator, name)):
        fitted = estimator.fit(log, seed=seed)
        if rank() > 0:
            return ""
        fitted.save(out / "model")  # type: ignore[attr-defined]  # every fitted object of ultr can
        written = ["model", *_write_tables(fitted, out)]
        together = f" by {world()} processes" if world() > 1 else ""
    pages, shows = _size(log)
    shown = f", shown {shows:,} times," if shows > pages else ""
    head = f"{name}: fitted on {pages:,} pages{shown} with seed {seed}{together}."
    return "\n\n".join([head, *_summary(fitted, log), f"Written to {out}: {', '.join(written)}."])


def _device(estimator: Estimator, name: str) -> str:
    """Return where the estimator trains; refuse to start several processes for one that does not share pages out.

    Raises:
        ConfigError: several processes were started, and it trains no scoring network on pages.
    """
    training = getattr(estimator, "training", None)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not (isinstance(training, Training) and hasattr(estimator, "model")):
        raise ConfigError(f"{name} trains in one process: leave --nproc out. Rankers with a scoring network (model=) train in several.")
    return training.device if isinstance(training, Training) else "cpu"


def _size(source: LogSource) -> tuple[int, int]:
    """Return how many pages a log has and how often they were shown."""
    sizes = [(len(chunk), int(chunk.counts.sum())) for chunk in projected(source, ("count",)).chunks()]
    return sum(pages for pages, _ in sizes), sum(shows for _, shows in sizes)


def _estimator(config: Config) -> tuple[str, Estimator]:
    tables = dict(config.sections.get("estimators", {}))
    names = [*(["estimator"] if "estimator" in config else []), *(f"estimators.{name}" for name in tables)]
    if len(names) != 1:
        have = f"{config.path} has {', '.join(f'[{name}]' for name in names) or 'none'}"
        raise ConfigError(f"A fit needs exactly one estimator, [estimator] or [estimators.NAME]; {have}.")
    table = config.sections["estimator"] if "estimator" in config else tables[names[0].partition(".")[2]]
    estimator = build(table, names[0], call=True)
    if not callable(getattr(estimator, "fit", None)):
        raise ConfigError(f"[{names[0]}] {type(estimator).__name__} has no fit(log, seed=): name an estimator.")
    return type(estimator).__name__, cast(Estimator, estimator)


def _log(config: Config, data: Data) -> LogSource:
    if "simulate" in config:
        return simulated(config, data)(seed_of(config))
    if isinstance(data, RankingData):
        raise ConfigError("[data] is a graded set without clicks: say in [simulate] how to draw them, or read a click log.")
    return data


def _write_tables(fitted: object, out: Path) -> Iterator[str]:
    """Write propensity.csv and history.csv, where the fitted object has them, and yield their names."""
    import pandas as pd

    propensity, history = getattr(fitted, "propensity", None), getattr(fitted, "history", None)
    curve = None if propensity is None else pd.DataFrame({"position": np.arange(len(propensity)), "propensity": propensity})
    for name, frame in (("propensity.csv", curve), ("history.csv", history)):
        if frame is not None:
            text = frame.to_csv(index=False).encode()
            write_atomically(out / name, lambda file, text=text: file.write(text))  # type: ignore[misc]
            yield name


def _summary(fitted: object, log: LogSource) -> Iterator[str]:
    """Say when training stopped, what the propensities are, and whether swaps identify them."""
    history, best = getattr(fitted, "history", None), getattr(fitted, "best_step", None)
    if history is not None and best is not None:
        held = history[(history["split"] == "validation") & (history["step"] == best)]["loss"]
        loss = f", validation loss {held.iloc[0]:.4f}" if len(held) else "; no query was held out for validation"
        yield f"Kept the weights of step {best} of {history['step'].max()}{loss}."
    propensity = getattr(fitted, "propensity", None)
    if propensity is not None:
        yield f"Propensity relative to rank 1\n{by_rank({'propensity': propensity})}"
    if "position" in first_chunk(log).columns and hasattr(fitted, "propensity"):  # estimators of conversions and credits read no positions
        yield identifiability(log).explain()
