"""Claim: weights by the true exposure order items by relevance better than clicks do; weights by popularity need not.

Worlds of 400 users and 600 items with uneven exposure (e ** 2). Estimators learn from the clicks (DoublyRobustMF from all that was shown)
and rank, for every user, 20 items drawn at random and all shown: nDCG@5 and Recall@5 over users with a relevant item, rare items (the less
clicked half) apart, the exact floor of a random order beside. Differences to WMF are paired by seed; intervals are Student's t over seeds.

    python experiments/implicit_ranking.py [--write] [--seeds 10] [--first-seed 500]

Settings of the training loop are those of exposure_power.py; the weight decay of BPR, UBPR and DoublyRobustMF was chosen on world 0.
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
from ultr.data import item_counts
from ultr.estimators import BISER, BPR, CJMF, UBPR, WMF, DoublyRobustMF, ExpoMF, MostPopular, RandomOrder, RelMF
from ultr.evaluation import paired_interval
from ultr.metrics import NDCG, Among, Recall

RESULT = Path(__file__).parent / "results" / "implicit_ranking.json"
USERS, ITEMS, TESTED = 400, 600, 20
TRAINING = ultr.Training(steps=100, batch_pages=1 << 16, learning_rate=0.03, weight_decay=0.1, validation=0.0)
LESS = dataclasses.replace(TRAINING, weight_decay=0.03)
ESTIMATORS = {
    "RandomOrder": RandomOrder(),
    "MostPopular": MostPopular(),
    "WMF": WMF(factors=2, training=TRAINING),
    "ExpoMF": ExpoMF(factors=3),
    "BPR": BPR(factors=2, unlabelled=3, training=LESS),
    "RelMF, popularity": RelMF(factors=2, training=TRAINING),
    "RelMF, true exposure": RelMF(propensity="propensity", factors=2, training=TRAINING),
    "RelMF, true exposure, clip 10": RelMF(propensity="propensity", clip=10.0, factors=2, training=TRAINING),
    "UBPR, true exposure": UBPR(propensity="propensity", factors=2, unlabelled=3, training=LESS),
    "CJMF": CJMF(factors=2, training=TRAINING),
    "BISER": BISER(factors=2, training=TRAINING),
    "DoublyRobustMF, what was shown": DoublyRobustMF(propensity="propensity", label="click", factors=2, training=LESS),
}


def judged(seed: int) -> dict[str, dict[str, float]]:
    """Every metric of every estimator in one world."""
    world = simulators.MissingNotAtRandom(USERS, ITEMS, exposure_power=2.0, seed=seed)
    clicks, shown, test = world.log(seed=seed), world.log(seed=seed, rows="exposed"), world.random_slice(TESTED, seed=seed)
    counts = item_counts(clicks)
    rare = counts <= np.median(counts)
    base = {"nDCG@5": NDCG(5, label="click", ties="expected"), "Recall@5": Recall(5, label="click", ties="expected")}
    metrics = {**base, "nDCG@5, rare items": Among(base["nDCG@5"], rare), "nDCG@5, popular items": Among(base["nDCG@5"], ~rare)}
    found = {}
    for name, estimator in ESTIMATORS.items():
        fitted = estimator.fit(shown if "shown" in name else clicks, seed=seed)
        found[name] = ultr.evaluate(fitted, test, metrics)["mean"].to_dict()
    return found


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    rows = [judged(seed) for seed in tqdm(seeds)]
    table: dict[str, dict[str, dict[str, object]]] = {}
    for metric in rows[0]["WMF"]:
        table[metric] = {}
        for name in ESTIMATORS:
            values, base = (np.array([row[which][metric] for row in rows]) for which in (name, "WMF"))
            interval = paired_interval(values - base)
            wins = f"{int((values > base).sum())}/{len(values)}"
            table[metric][name] = {
                "mean": values.mean(),
                "minus WMF": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "above": wins,
            }
            print(f"{metric:22} {name:32} {values.mean():.4f}  {interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}] {wins}")
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        found = {"claim": " ".join((__doc__ or "").split("\n\n")[0:2]), "seeds": list(seeds), "table": table, "machine": machine}
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
