"""Claim: labels of other attribution rules help to predict the last touch where they tell about it, and where data are few.

Journeys of 3,000 users (400 ads, carry-over 1), judged on 5,000 others: group AUC by user of the predicted last-touch credit. `correlation`
is that of how an ad closes and how it assists. "base" learns the last touch alone; the others also first, linear and counterfactual credit,
weights 1, soft labels, all networks scaled to about 12,000 parameters. "permuted" is MoAE with auxiliary credits shuffled over touches.
Differences to base and to NATAL are paired by seed; intervals are Student's t over seeds, each with a world of its own.

    python experiments/multi_attribution.py [--write] [--seeds 10] [--first-seed 1100]

Settings (300 steps of 1,024 touches, learning rate .002 falling to 0, weight decay 1e-5, no early stopping: the held-out loss of so few
conversions is so uneven that it now and then keeps the weights of the first steps) were chosen on worlds 0 to 9.
"""

from __future__ import annotations

import argparse
import dataclasses
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
from ultr.data.fields import Fields
from ultr.estimators import NATAL, PLE, HoME, MMoE, MoAE, SharedBottom
from ultr.evaluation import paired_interval
from ultr.metrics import group_auc
from ultr.random import generator

RESULT = Path(__file__).parent / "results" / "multi_attribution.json"
FIELDS = Fields(categorical={"ad": "vocabulary", "segment": "vocabulary"}, embedding={"ad": 8, "segment": 4})
TRAINING = ultr.Training(steps=300, batch_pages=1024, learning_rate=0.002, weight_decay=1e-5, validation=0.0)
PARAMETERS, TRAINED, JUDGED = 12_000, 3_000, 5_000
AUXILIARY = {"last": ("first", "linear", "counterfactual"), "first": ("last", "linear", "counterfactual")}
NETWORKS = {"SharedBottom": SharedBottom, "MMoE": MMoE, "PLE": PLE, "HoME": HoME, "NATAL": NATAL, "MoAE": MoAE}
SETTINGS = {  # name -> (correlation, users, main)
    "correlation 1, last": (1.0, TRAINED, "last"),
    "correlation 0, last": (0.0, TRAINED, "last"),
    "correlation 1, last, 12,000 users": (1.0, 12_000, "last"),
    "correlation 1, first": (1.0, TRAINED, "first"),
}


def judged(name: str, seed: int) -> dict[str, float]:
    """Group AUC of every estimator in one world."""
    correlation, users, main = SETTINGS[name]
    world = simulators.Journeys(users + JUDGED, seed=seed, correlation=correlation)
    log = world.log(seed=seed)
    user = log.page_columns["user"]
    train, test = log.select(user < users), log.select(user >= users)
    shared = {"main": main, "fields": FIELDS, "training": TRAINING, "parameters": PARAMETERS}
    estimators = {"base": SharedBottom(**shared)}
    for network, kind in NETWORKS.items():
        estimators[network] = kind(**shared, auxiliary=AUXILIARY[main], auxiliary_weight=1.0)
    label, groups = test.columns[main] > 0, np.repeat(test.page_columns["user"], test.lengths)
    found = {k: group_auc(label, e.fit(train, seed=seed).predict(test)[main], groups) for k, e in estimators.items()}
    order = generator(seed, "permuted").permutation(train.n_rows)
    shuffled = train.with_columns(**{name: train.columns[name][order] for name in AUXILIARY[main]})
    fitted = dataclasses.replace(estimators["MoAE"]).fit(shuffled, seed=seed)
    return {**found, "permuted": group_auc(label, fitted.predict(test)[main], groups)}


def main() -> None:
    """Print the tables; `--write` also keeps them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=1100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    table: dict[str, dict[str, dict[str, object]]] = {}
    for setting in SETTINGS:
        rows = [judged(setting, seed) for seed in tqdm(seeds, desc=setting)]
        table[setting] = {}
        pairs = [(name, "base") for name in rows[0] if name != "base"] + [("MoAE", "NATAL"), ("MoAE", "SharedBottom")]
        table[setting]["base"] = {"mean": float(np.mean([row["base"] for row in rows]))}
        print(setting, "base", round(table[setting]["base"]["mean"], 4))
        for name, against in pairs:
            difference = np.array([row[name] - row[against] for row in rows])
            interval, wins = paired_interval(difference), f"{int((difference > 0).sum())}/{len(rows)}"
            table[setting][f"{name} - {against}"] = {
                "difference": interval.mean, "low": interval.low, "high": interval.high, "above": wins}  # fmt: skip
            print(f"  {name} - {against}: {interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}] {wins}", flush=True)
        if arguments.write:
            write(table, seeds)


def write(table: dict[str, dict[str, dict[str, object]]], seeds: range) -> None:
    """Keep the table, also of the settings so far."""
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
    found = {"claim": " ".join((__doc__ or "").split("\n\n")[0:2]), "seeds": list(seeds), "table": table, "machine": machine}
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
