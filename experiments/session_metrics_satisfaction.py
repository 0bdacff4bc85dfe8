"""Claim: what a session metric is worth depends on what satisfies: NUM follows needs met with little effort, session DCG total gain.

Simulated sessions (`simulate_sessions`, 1,000 a seed) in two worlds. In "attention" a row is looked at with probability .92^position and
clicked then with .85 if relevant, else .05; "eye tracking" has the defaults of the simulator: lower rows are hardly seen. Spearman
correlation, over the sessions of a seed, of every session metric, judged by clicks, with true satisfaction plus normal noise as large as
the signal, under several models of satisfaction. Sessions without a click count 0 for every metric. Differences are paired by seed;
intervals are Student's t over seeds. The plot also shows how horizon and ideal session change NUM.

Found: the claim holds in "attention", and NUM gains as effort counts more. In "eye tracking" NUM and session DCG are level at effort / 100.
NUM without the click-through enhancement, and nsDCG, follow satisfaction better than NUM does in both worlds.

    python experiments/session_metrics_satisfaction.py [--write] [--seeds 10] [--first-seed 900]

No setting was chosen by the outcome: costs and horizon are those that NUM has by default, and only seeds 0 and 1 had been looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from tqdm import tqdm

import simulators
import ultr
from simulators.session_user import FoundPerEffort, NeedMet, NeedMetLessEffort, Outcomes, TotalGain
from simulators.sessions import simulate_sessions
from ultr.click_models import PositionBased
from ultr.evaluation import paired_interval
from ultr.metrics import (
    NUM,
    ExpectedSessionNDCG,
    NormalisedSessionDCG,
    RecencySessionDCG,
    RecencySessionRBP,
    SessionDCG,
    SessionRBP,
    UMeasure,
)
from ultr.metrics.session_inst import SessionINST
from ultr.metrics.sessions import SessionMetric
from ultr.random import generator

RESULTS = Path(__file__).parent / "results"
NAME = "session_metrics_satisfaction"
SESSIONS = 1000
METRICS: dict[str, SessionMetric] = {
    "NUM": NUM(),
    "NUM, no enhancement": NUM(enhance=False),
    "NUM, read to the last click": NUM(depth="last"),
    "U-measure": UMeasure(),
    "sDCG": SessionDCG(),
    "sDCG, Kanoulas": SessionDCG(form="kanoulas"),
    "nsDCG": NormalisedSessionDCG(),
    "nsDCG, slots": NormalisedSessionDCG(ideal="slots"),
    "esNDCG": ExpectedSessionNDCG(),
    "sRBP": SessionRBP(),
    "RsDCG": RecencySessionDCG(),
    "RsRBP": RecencySessionRBP(),
    "sINST": SessionINST(),
}
SATISFACTION: dict[str, Callable[[Outcomes], np.ndarray]] = {
    "need met": NeedMet(),
    "need met - effort / 200": NeedMetLessEffort(200),
    "need met - effort / 100": NeedMetLessEffort(100),
    "need met - effort / 50": NeedMetLessEffort(50),
    "found per effort": FoundPerEffort(),
    "total gain": TotalGain(),
}
LESS_EFFORT, GAIN = "need met - effort / 100", "total gain"
HORIZONS = (10, 20, 30, 50, 75, 100, 150, 200, 500, 1000)
IDEALS = {
    "clicks, shown": {},
    "grades, shown": {"label": "grade"},
    "grades, first 5 rows, shown": {"label": "grade", "k": 5},
    "grades, first 5 rows, pool": {"label": "grade", "k": 5, "ideal": "pool"},
}
Row = dict[str, object]


def relevant_or_not(grades: np.ndarray) -> np.ndarray:
    """P(click | looked at)."""
    return np.where(grades >= 1, 0.85, 0.05)


WORLDS = {
    "attention": {"click_model": PositionBased(0.92 ** np.arange(10)), "relevance": relevant_or_not},
    "eye tracking": {},
}


def correlation(metric: SessionMetric, log: ultr.ClickLog, satisfaction: np.ndarray, some: np.ndarray) -> float:
    """Spearman correlation over some sessions."""
    return float(spearmanr(np.nan_to_num(metric(log))[some], satisfaction[some]).statistic)


def judged(seed: int) -> list[Row]:
    """Correlations of all metrics in both worlds."""
    data, rows = ultr.synthetic_ranking(300, range(10, 21), 20, seed=seed), []
    for world, settings in WORLDS.items():
        log = simulate_sessions(data, policy=simulators.LinearPolicy(), n_sessions=SESSIONS, seed=seed, **settings)
        outcomes = Outcomes.of(log)
        every, several = np.ones(SESSIONS, dtype=bool), outcomes.queries > 1
        for satisfies, law in SATISFACTION.items():
            signal = law(outcomes)
            felt = signal + signal.std() * generator(seed, world, satisfies).standard_normal(SESSIONS)
            base = {"seed": seed, "world": world, "satisfaction": satisfies}
            for which, some in (("all", every), ("2 or more queries", several)):
                rows += [
                    base | {"sessions": which, "metric": name, "value": correlation(metric, log, felt, some)}
                    for name, metric in METRICS.items()
                ]
            if satisfies in (LESS_EFFORT, GAIN):
                for ideal, choice in IDEALS.items():
                    for horizon in HORIZONS:
                        value = correlation(NUM(horizon=horizon, **choice), log, felt, every)
                        rows.append(base | {"sessions": "all", "metric": f"NUM {ideal}", "horizon": horizon, "value": value})
    return rows


def summary(values: np.ndarray, base: np.ndarray | None = None) -> dict[str, object]:
    """Mean and interval over seeds, of values or of differences."""
    differences = values if base is None else values - base
    interval = paired_interval(differences)
    found: dict[str, object] = {"mean": round(interval.mean, 4), "low": round(interval.low, 4), "high": round(interval.high, 4)}
    return found if base is None else found | {"above": f"{int((differences > 0).sum())}/{len(differences)}"}


def tables(frame: pd.DataFrame) -> dict[str, object]:
    """Correlations, and the differences that are claimed."""
    main = frame[frame["horizon"].isna()]
    table: dict[str, object] = {}
    for (world, sessions, satisfies), group in main.groupby(["world", "sessions", "satisfaction"], sort=False):
        wide = group.pivot(index="seed", columns="metric", values="value")
        found: dict[str, object] = {name: summary(wide[name].to_numpy()) for name in METRICS}
        found["NUM less sDCG"] = summary(wide["NUM"].to_numpy(), wide["sDCG"].to_numpy())
        found["NUM less nsDCG"] = summary(wide["NUM"].to_numpy(), wide["nsDCG"].to_numpy())
        found["enhancement"] = summary(wide["NUM"].to_numpy(), wide["NUM, no enhancement"].to_numpy())
        table[f"{world}; {sessions}; {satisfies}"] = found
    return table


def sensitivity(frame: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Mean correlation of NUM by horizon and ideal."""
    swept = frame.dropna(subset="horizon")
    out: dict[str, dict[str, dict[str, float]]] = {}
    for (world, satisfies, metric), group in swept.groupby(["world", "satisfaction", "metric"], sort=False):
        means = group.groupby("horizon")["value"].mean()
        out.setdefault(f"{world}; {satisfies}", {})[str(metric)] = {f"{horizon:g}": round(mean, 4) for horizon, mean in means.items()}
    return out


def plot(frame: pd.DataFrame, path: Path) -> None:
    """Correlations of the metrics in one world, and how horizon and ideal change NUM."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), layout="constrained")
    axes = figure.subplots(2, 3)
    for row, world in zip(axes, WORLDS, strict=True):
        here = frame[(frame["world"] == world) & (frame["sessions"] == "all")]
        means = here[here["horizon"].isna()].pivot_table(index="metric", columns="satisfaction", values="value").loc[list(METRICS)]
        for satisfies, marker in zip(("need met", LESS_EFFORT, "found per effort", GAIN), "osd^", strict=True):
            row[0].plot(means[satisfies], np.arange(len(means)), marker, label=satisfies)
        row[0].set(yticks=np.arange(len(means)), yticklabels=list(means.index), xlabel="Spearman with satisfaction", title=world)
        row[0].invert_yaxis()
        row[0].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(-0.5, -0.17), ncols=2)
        for axis, satisfies in zip(row[1:], (LESS_EFFORT, GAIN), strict=True):
            for ideal in IDEALS:
                part = here[(here["metric"] == f"NUM {ideal}") & (here["satisfaction"] == satisfies)]
                axis.plot(part.groupby("horizon")["value"].mean(), marker=".", label=ideal)
            axis.axhline(means.loc["sDCG", satisfies], color="0.6", linestyle=":", label="sDCG")
            axis.set(xscale="log", xlabel="horizon of NUM", ylabel="Spearman with satisfaction", title=satisfies)
        row[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(-0.1, -0.17), ncols=2)
    figure.savefig(path, dpi=70)


def main() -> None:
    """Print the tables; `--write` also keeps them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {NAME}.json and .png in experiments/results")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=900)
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    frame = pd.DataFrame([row for seed in tqdm(seeds) for row in judged(seed)])
    table = tables(frame)
    for setting, found in table.items():
        print(setting)
        for name, values in found.items():  # type: ignore[attr-defined]
            print(f"    {name:28} {values['mean']:+.3f} [{values['low']:+.3f}, {values['high']:+.3f}] {values.get('above', '')}")
    swept = sensitivity(frame)
    print(json.dumps(swept, indent=1))
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        claim = " ".join((__doc__ or "").split("\n\n    python")[0].split())
        found = {"claim": claim, "seeds": list(seeds), "table": table, "NUM by horizon": swept, "machine": machine}
        (RESULTS / f"{NAME}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        plot(frame, RESULTS / f"{NAME}.png")


if __name__ == "__main__":
    main()
