"""What do click models cost: sampling as a multiple of `rng.random((n, 10), dtype=float32) < p`, fitting in CPU seconds, on one thread?

python experiments/benchmarks/click_models.py [--pages 1000000] [--repeats 5] [--write]

Contenders take turns, so that other load on the machine hits all alike, and each is compared with the bare line of its own round. Fits
start at the log (columns item, click, position, query; 1,000 queries of 20 documents, 10 shown in random order) and include building the
statistics that they go through. "EM" rows are the difference of a fit with many steps and one without, per step. Counting is a fit without
a step: what DCM, SDBN and the cascade are in the literature.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import simulators
import ultr
from ultr.click_models import (
    Cascade,
    ClickChain,
    ClickModel,
    DependentClick,
    DynamicBayesian,
    ItemRate,
    Mixture,
    PositionBased,
    SimplifiedDynamicBayesian,
    TrustBias,
    UserBrowsing,
    fit,
)
from ultr.errors import UltrWarning

QUERIES, DOCUMENTS, ROWS = 1000, 20, 10
STEPS = 50
BARE = "bare line"
RANK = np.arange(1, ROWS + 1)
THETA = 1 / RANK
LAWS: dict[str, ClickModel] = {
    "position-based": PositionBased(THETA),
    "trust bias": TrustBias(THETA, 1 - RANK / 50, 0.65 / RANK),
    "cascade": Cascade(),
    "DCM": DependentClick(np.full(ROWS, 0.6)),
    "SDBN": SimplifiedDynamicBayesian(),
    "DBN": DynamicBayesian(0.85),
    "CCM": ClickChain(0.9, 0.6, 0.3),
    "UBM": UserBrowsing(np.tril(1 / (1 + np.abs(RANK[:, None] - np.arange(ROWS))) ** 0.5)),
    "mixture": Mixture([PositionBased(THETA), DynamicBayesian(0.85)], [0.5, 0.5]),
    "click-through rate": ItemRate(),
}
SAMPLING = 3.0  # times the bare line, at most
LIMITS = {  # seconds, at most, for 1,000,000 pages
    f"position-based, {STEPS} steps and the statistics": 0.7,
    f"UBM, {STEPS} steps and the statistics": 1.3,
    "DBN, EM step": 0.5,
    "CCM, EM step": 0.5,
    "cascade, counting": 1 / 3,
    "DCM, counting": 1 / 3,
    "SDBN, counting": 1 / 3,
}
GROWTH = 1.3  # of the position-based steps from 100,000 pages to 1,000,000
Contenders = dict[str, Callable[[], object]]


def log_of(law: ClickModel, n_pages: int) -> ultr.ClickLog:
    rng = np.random.default_rng(0)
    n = QUERIES * DOCUMENTS
    data = ultr.RankingData(rng.normal(size=(n, 2)), rng.integers(0, 5, n), np.arange(0, n + 1, DOCUMENTS))
    relevance = simulators.GradedRelevance(0.1, max_grade=5)
    satisfaction = relevance if law.reads_satisfaction else None
    log = simulators.simulate_clicks(
        data,
        policy=simulators.RandomPolicy(),
        n_pages=n_pages,
        click_model=law,
        relevance=relevance,
        satisfaction=satisfaction,
    )
    kept = {name: log.columns[name] for name in ("item", "click", "position")}
    return ultr.ClickLog(log.offsets, kept, log.page_columns, log.items)


def learn(law: type[ClickModel], log: ultr.ClickLog, steps: int) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UltrWarning)
        return fit(law, log, max_iter=steps, tol=0)


def contenders(n_pages: int) -> Contenders:
    rng = np.random.default_rng(0)
    attraction, satisfaction, p = rng.random((3, n_pages, ROWS), dtype=np.float32)
    out: Contenders = {BARE: lambda: rng.random((n_pages, ROWS), dtype=np.float32) < p}
    for name, law in LAWS.items():
        s = satisfaction if law.reads_satisfaction else None
        out[f"sample, {name}"] = lambda law=law, s=s: law.sample(attraction, rng, s)
    positions, few = log_of(LAWS["position-based"], n_pages), log_of(LAWS["position-based"], n_pages // 10)
    chains = log_of(LAWS["DBN"], n_pages)
    firsts = log_of(LAWS["cascade"], n_pages)
    for name, law, log, steps in (
        ("position-based, statistics", PositionBased, positions, 0),
        (f"position-based, {STEPS} steps and the statistics", PositionBased, positions, STEPS),
        ("position-based, a tenth of the log, statistics", PositionBased, few, 0),
        (f"position-based, a tenth of the log, {STEPS} steps and the statistics", PositionBased, few, STEPS),
        (f"trust bias, {STEPS} steps and the statistics", TrustBias, positions, STEPS),
        (f"UBM, {STEPS} steps and the statistics", UserBrowsing, positions, STEPS),
        ("DBN, start", DynamicBayesian, chains, 0),
        ("DBN, 5 steps", DynamicBayesian, chains, 5),
        ("CCM, start", ClickChain, chains, 0),
        ("CCM, 5 steps", ClickChain, chains, 5),
        ("cascade, counting", Cascade, firsts, 0),
        ("DCM, counting", DependentClick, chains, 0),
        ("SDBN, counting", SimplifiedDynamicBayesian, chains, 0),
        ("click-through rate, counting", ItemRate, positions, 0),
    ):
        out[name] = lambda law=law, log=log, steps=steps: learn(law, log, steps)
    return out


def measure(functions: Contenders, repeats: int) -> dict[str, np.ndarray]:
    """Run all in turns, after one round to warm up; CPU seconds of each round."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            start = time.process_time()
            result = function()
            elapsed = time.process_time() - start
            del result  # its memory is given back before the next one starts
            if repeat:
                seconds[name].append(elapsed)
    out = {name: np.array(times) for name, times in seconds.items()}
    for law in ("DBN", "CCM"):
        out[f"{law}, EM step"] = (out[f"{law}, 5 steps"] - out[f"{law}, start"]) / 5
    whole, tenth = (
        out[f"position-based{part}, {STEPS} steps and the statistics"] - out[f"position-based{part}, statistics"]
        for part in ("", ", a tenth of the log")
    )
    out[f"position-based, {STEPS} steps"], out[f"position-based, a tenth of the log, {STEPS} steps"] = whole, tenth
    return out


def report(seconds: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Print and return the times, and how many times the bare line of the same round each contender takes."""
    print(f"{'':72s} {'median s':>9s} {'x bare line':>12s} {'at most':>9s}")
    rows = {}
    for name, times in seconds.items():
        ratio = times / seconds[BARE]
        rows[name] = {"median_s": round(float(np.median(times)), 4), "ratio": round(float(np.median(ratio)), 2)}
        most = f"{SAMPLING} x" if name.startswith("sample") else f"{LIMITS[name]:.2f} s" if name in LIMITS else ""
        print(f"{name:72s} {rows[name]['median_s']:9.3f} {rows[name]['ratio']:12.2f} {most:>9s}")
    growth = seconds[f"position-based, {STEPS} steps"] / seconds[f"position-based, a tenth of the log, {STEPS} steps"]
    rows["growth"] = {"ratio": round(float(np.median(growth)), 2), "at_most": GROWTH}
    print(f"\nposition-based, {STEPS} steps, time for all pages / a tenth of them: {rows['growth']['ratio']} (at most {GROWTH})")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write experiments/results/click_models.json")
    arguments = parser.parse_args()
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    machine = {"cpus": os.cpu_count(), "architecture": platform.machine(), "threads_used": 1, **versions}
    print(machine)
    with threadpool_limits(1):
        cases = report(measure(contenders(arguments.pages), arguments.repeats))
    if arguments.write:
        targets = {"sampling, times the bare line": SAMPLING, "growth": GROWTH, **{name: round(value, 3) for name, value in LIMITS.items()}}
        result = {
            "machine": machine,
            "pages": arguments.pages,
            "repeats": arguments.repeats,
            "unit": "CPU",
            "targets": targets,
            "cases": cases,
        }
        path = Path(__file__).parents[1] / "results" / "click_models.json"
        path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
