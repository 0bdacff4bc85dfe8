"""What does UnbiasedLambdaMART cost, against LightGBM called directly? One thread; both take turns, and ratios are printed.

    python experiments/benchmarks/lambdamart.py [--repeats 5] [--write]

100,000 documents (10,000 queries of 10) with 136 features, trees of 31 leaves. The wrapper: whole fits of 20 trees on the same rows and
parameters, LightGBM's dataset and all: lambdarank on grades, and with positions. A tree: a round of boosting on a dataset that is there,
with our objective over the pairs that 200,000 pages of clicks leave, against LightGBM's own lambdarank. CPU seconds, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import lightgbm
import numpy as np

import simulators
import ultr
from ultr.estimators import UnbiasedLambdaMART
from ultr.models.boosting import Boosting
from ultr.training.documents import documents_of
from ultr.training.objectives import WeightedPairs
from ultr.training.pairs import weighted_pairs

QUERIES, ROWS, FEATURES, TREES, PAGES = 10_000, 10, 136, 20, 200_000
RESULT = Path(__file__).parent.parent / "results" / "lambdamart.json"
TARGETS = {
    "wrapper / direct, grades": "at most 1.05",
    "wrapper / direct, position": "at most 1.05",
    "ours / lambdarank, a tree": "at most 1.5",
}


def cpu(function: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def in_turns(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median CPU seconds of each, called one after the other again and again; the first turn does not count."""
    seconds = [{name: cpu(function) for name, function in functions.items()} for _ in range(repeats + 1)][1:]
    return {name: float(np.median([turn[name] for turn in seconds])) for name in functions}


def settings(objective: str) -> dict:
    """What our fits tell LightGBM."""
    return Boosting(parameters={}, rounds=TREES, patience=None, threads=1, seed=0).settings(objective=objective)


def whole_fits(log: ultr.ClickLog, repeats: int) -> dict[str, float]:
    """Fit with and without the wrapper: one page a query, so that documents are rows."""
    features, group = log.items.features, log.lengths
    position, click, grade = (log.columns[name] for name in ("position", "click", "grade"))

    def direct(label: np.ndarray, places: np.ndarray | None) -> None:
        data = lightgbm.Dataset(features[log.columns["item"]], label, group=group, position=places)
        lightgbm.train({**settings("lambdarank"), "verbosity": -1}, data, TREES).model_to_string()

    own = {"rounds": TREES, "validation": 0}
    graded, placed = UnbiasedLambdaMART(debias="none", label="grade", **own), UnbiasedLambdaMART(debias="position", **own)
    functions = {
        "wrapper, grades": lambda: graded.fit(log),
        "direct, grades": lambda: direct(grade, None),
        "wrapper, position": lambda: placed.fit(log),
        "direct, position": lambda: direct(click, position),
    }
    return in_turns(functions, repeats)


def trees(log: ultr.ClickLog, repeats: int) -> dict[str, float]:
    """Seconds a tree of our objective and of LightGBM's own."""
    documents = documents_of(log)
    weights = log.columns["click"] * (1 / log.columns["propensity"]).astype(np.float32).astype(float)
    objective = WeightedPairs(weighted_pairs(log, documents, weights), documents.offsets, normalise=True, delta="one")
    grade = np.zeros(len(documents))
    grade[documents.of_row] = log.columns["grade"]
    boosters = {}
    for name in ("none", "lambdarank"):
        data = lightgbm.Dataset(log.items.features[documents.item], grade, group=np.diff(documents.offsets), params=settings(name))
        boosters[name] = lightgbm.Booster(settings(name), data)
    functions = {
        "ours": lambda: boosters["none"].update(fobj=lambda scores, _: objective.gradients(scores)),
        "lambdarank": boosters["lambdarank"].update,
    }
    return in_turns(functions, repeats * 6)


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    arguments = parser.parse_args()
    data = ultr.synthetic_ranking(QUERIES, ROWS, FEATURES, seed=0)
    policy = simulators.LinearPolicy().fit(data)
    pages = simulators.simulate_clicks(data, policy=policy, n_pages=PAGES, seed=0)
    _, first = np.unique(pages.page_columns["query"], return_index=True)
    fits = whole_fits(pages.take(first), arguments.repeats)
    boosted = trees(pages, arguments.repeats)
    ratios = {f"wrapper / direct, {way}": fits[f"wrapper, {way}"] / fits[f"direct, {way}"] for way in ("grades", "position")}
    ratios["ours / lambdarank, a tree"] = boosted["ours"] / boosted["lambdarank"]
    for name, value in {**fits, **boosted}.items():
        print(f"{name:20s} {1e3 * value:9.1f} ms")
    for name, ratio in ratios.items():
        print(f"{name:28s} {ratio:6.3f}   target: {TARGETS[name]}")
    if arguments.write:
        machine = {
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "lightgbm": lightgbm.__version__,
        }
        RESULT.write_text(
            json.dumps({"machine": machine, "cpu_seconds": {**fits, **boosted}, "ratios": ratios}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
