"""Estimators that fit in no time, for tests of everything around a fit."""

from __future__ import annotations

import os
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import ultr
from ultr.data.log import ClickLog
from ultr.data.ranking import RankingData
from ultr.data.source import LogSource, gather
from ultr.errors import IdentifiabilityWarning
from ultr.metrics import NDCG

THETA = np.array([1.0, 0.5, 0.25])


def graded_set(queries: int = 12, seed: int = 0) -> RankingData:
    """Queries with 4 documents, grades 0 to 3 in some order, and the first of 3 features close to the grade."""
    rng = np.random.default_rng(seed)
    grades = np.concatenate([rng.permutation(4) for _ in range(queries)])
    features = rng.normal(size=(4 * queries, 3)).astype(np.float32)
    features[:, 0] = grades
    return RankingData(features, grades, np.arange(queries + 1) * 4, np.array([f"q{i}" for i in range(queries)], dtype=object))


def click_log(seed: int) -> ClickLog:
    """A log of its own for each seed, three rows a page, with the true propensity."""
    data = graded_set()
    rng = np.random.default_rng([9, seed])
    first = data.offsets[:-1, None] + np.argsort(rng.random((len(data), 4)))[:, :3]
    columns = {
        "item": first.reshape(-1).astype(np.int32),
        "position": np.tile(np.arange(3, dtype=np.int32), len(data)),
        "click": rng.integers(0, 2, 3 * len(data)),
        "propensity": np.tile(0.8 * THETA, len(data)),
    }
    return ClickLog(np.arange(len(data) + 1) * 3, columns, {"query": data.query_ids}, data.items)


@dataclass(frozen=True, eq=False)
class FakeRanker:
    """Scores by the first feature plus noise that belongs to the item."""

    noise: np.ndarray
    propensity: np.ndarray | None = None
    history: pd.DataFrame | None = None
    best_step: int | None = None

    def apply(self, log: ClickLog) -> ClickLog:
        item = log.columns["item"]
        return log.rerank(log.items.features[item, 0] + self.noise[item])


@dataclass(frozen=True, kw_only=True)
class Fake:
    """Ranks better with less noise; the noise depends on the seed and on the training log."""

    noise: float = 1.0
    curve: bool = False
    warn: str = ""
    train_loss: float = 0.1  # of the training pages, minus that of the held-out ones

    def fit(self, source: LogSource, *, seed: int = 0) -> FakeRanker:
        if self.warn:
            warnings.warn(self.warn.format(seed=seed), IdentifiabilityWarning, stacklevel=2)
        log = gather(source)
        rng = np.random.default_rng([seed, int(log.columns["click"].sum())])
        noise = self.noise * rng.normal(size=len(log.items))
        if not self.curve:
            return FakeRanker(noise)
        step = np.arange(3) * 50
        shift = {"train": self.train_loss, "validation": 0.0}
        history = pd.concat([pd.DataFrame({"step": step, "split": s, "loss": np.array([3.0, 2.0, 2.5]) + shift[s]}) for s in shift])
        return FakeRanker(noise, THETA * np.exp(0.1 * rng.normal(size=3) * [0, 1, 1]), history, 50)


@dataclass(frozen=True, kw_only=True)
class Dies:
    """Ends the process (or raises) the first time it is fitted with this seed."""

    marker: Path
    seed: int
    how: str = "kill"
    noise: float = 0.5

    def fit(self, source: ClickLog, *, seed: int = 0) -> FakeRanker:
        if seed == self.seed and not self.marker.exists():
            self.marker.touch()
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
        return Fake(noise=self.noise).fit(source, seed=seed)


TEST = graded_set(seed=0)


def compare(**changes) -> ultr.Comparison:
    """A comparison of three fakes, with some arguments replaced."""
    arguments = {
        "train": click_log,
        "test": TEST,
        "estimators": {"naive": Fake(noise=3.0), "ips": Fake(noise=1.0, curve=True), "truth": Fake(noise=0.0)},
        "metrics": {"ndcg@3": NDCG(3)},
        "seeds": range(4),
        "baseline": "naive",
    }
    return ultr.Comparison(**{**arguments, **changes})


def quietly(comparison: ultr.Comparison, **arguments):
    """Run it without a progress bar."""
    return comparison.run(progress=False, **arguments)
