"""Claim: inverse exposure learns relevance from clicks that are missing not at random, as long as exposure is not too uneven.

Log-loss against the true relevance of all pairs over that of the truth itself (1 is perfect), for exposure = e ** p, e in [.25, 1]: naive
factorisation, the unbiased loss with the true exposure, and the same with weights clipped at 10. For p <= 1 the unbiased estimator is
within 1.10 and below naive; it rises from p = 1 on; for p >= 3 the clipped one is below both. With the mean exposure held at .35 naive
stays between 1.3 and 1.7. Seeds are paired; intervals are Student's t over seeds.

    python experiments/exposure_power.py [--write] [--seeds 10] [--first-seed 100] [--figure FILE]

Settings (100 steps, two factors, weight decay .1) were chosen on world 0; the seeds reported were not looked at before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import torch
from tqdm import tqdm

import simulators
import ultr
from ultr.estimators import WMF, RelMF
from ultr.evaluation import paired_interval

RESULT = Path(__file__).parent / "results" / "exposure_power.json"
POWERS = (0.5, 1.0, 2.0, 3.0, 4.0)
LEVELS = {"exposure follows the power": None, "mean exposure held at .35": 0.35}
TRAINING = ultr.Training(steps=100, batch_pages=1 << 16, learning_rate=0.03, weight_decay=0.1, validation=0.0)
ESTIMATORS = {
    "naive": WMF(factors=2, training=TRAINING),
    "unbiased": RelMF(propensity="propensity", factors=2, training=TRAINING),
    "clipped": RelMF(propensity="propensity", clip=10.0, factors=2, training=TRAINING),
}
COLOURS = {"naive": "C0", "unbiased": "C1", "clipped": "C2"}


def ratios(power: float, level: float | None, seed: int) -> dict[str, float]:
    """Log-loss of each estimator over that of the truth in one world."""
    world = simulators.MissingNotAtRandom(400, 600, exposure_power=power, mean_exposure=level, seed=seed)
    log, users = world.log(seed=seed), np.arange(400)
    gamma = world.relevance(users)

    def loss(p: np.ndarray) -> float:
        p = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
        return float(-(gamma * np.log(p) + (1 - gamma) * np.log1p(-p)).mean())

    best = loss(gamma)
    return {name: loss(estimator.fit(log, seed=seed).score_users(users)) / best for name, estimator in ESTIMATORS.items()}


def summarised(found: dict[str, np.ndarray]) -> dict[str, object]:
    """Means of each estimator over seeds [S], and paired differences with intervals."""
    pairs = (("unbiased", "naive"), ("clipped", "unbiased"), ("clipped", "naive"))
    differences = {}
    for first, second in pairs:
        difference = found[first] - found[second]
        interval = paired_interval(difference)
        wins = f"{int((difference < 0).sum())}/{len(difference)}"
        differences[f"{first} - {second}"] = {"difference": interval.mean, "low": interval.low, "high": interval.high, "below": wins}
    means = {name: {"mean": float(v.mean()), "sd": float(v.std(ddof=1)), "worst": float(v.max())} for name, v in found.items()}
    return {"ratios": means, "paired": differences}


def draw(table: dict[str, dict[str, dict]], path: Path) -> None:
    """Plot the ratios over the power, one panel a way to set the level of exposure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, len(table), sharey=True)
    for axis, (level, by_power) in zip(axes, table.items(), strict=True):
        for name, colour in COLOURS.items():
            mean = np.array([by_power[str(p)]["ratios"][name]["mean"] for p in POWERS])
            sd = np.array([by_power[str(p)]["ratios"][name]["sd"] for p in POWERS])
            axis.plot(POWERS, mean, marker="o", color=colour, label=name)
            axis.fill_between(POWERS, mean - sd, mean + sd, color=colour, alpha=0.2, linewidth=0)
        axis.axhline(1.0, color="black", linewidth=0.8)
        axis.set(title=level, xlabel="exposure power p")
    axes[0].set_ylabel("log-loss over that of the truth")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=70)


def main() -> None:
    """Print the table; `--write` also keeps it, with a figure beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} and a figure in experiments/results")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    table: dict[str, dict[str, dict]] = {}
    for level, mean in LEVELS.items():
        table[level] = {}
        for power in POWERS:
            rows = [ratios(power, mean, seed) for seed in tqdm(seeds, desc=f"{level}, p = {power}")]
            table[level][str(power)] = summarised({name: np.array([row[name] for row in rows]) for name in ESTIMATORS})
            print(level, power, {name: round(v["mean"], 3) for name, v in table[level][str(power)]["ratios"].items()}, flush=True)
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        found = {"claim": " ".join((__doc__ or "").split("\n\n")[0:2]), "seeds": list(seeds), "table": table, "machine": machine}
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    figure = arguments.figure or (RESULT.with_suffix(".png") if arguments.write else None)
    if figure is not None:
        draw(table, figure)


if __name__ == "__main__":
    main()
