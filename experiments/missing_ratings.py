"""Claim: ratings that users choose to give are no sample; inverse propensities and the doubly robust loss predict the others better.

Ratings 1 to 5 of 300 users for 400 items (1 + Binomial(4, gamma) of a MissingNotAtRandom world), given with probability .02 to .5, the
higher the likelier. Mean squared error of the predictions against all ratings: plain factorisation, weights by the true propensity (IPS,
self-normalised), by naive Bayes from a randomised slice (10 pairs a user), by a logistic regression on users and items, by popularity, and
the doubly robust loss, clipped and not. Seeds are paired; intervals are Student's t over seeds.

    python experiments/missing_ratings.py [--write] [--seeds 10] [--first-seed 700]

The weight decay (.2 for all), the clip of 10 and the five folds of the doubly robust loss were chosen on worlds 0 and 1.
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
from ultr.data.padded import offsets_of
from ultr.estimators import DoublyRobustMF, RatingMF
from ultr.evaluation import paired_interval
from ultr.metrics import PredictionError
from ultr.propensity import Logistic, NaiveBayes, Popularity
from ultr.random import generator

RESULT = Path(__file__).parent / "results" / "missing_ratings.json"
USERS, ITEMS, SLICE = 300, 400, 10
GIVEN = np.array([0.02, 0.04, 0.1, 0.25, 0.5])  # P(rated) by rating
TRAINING = ultr.Training(steps=200, batch_pages=1 << 16, learning_rate=0.03, weight_decay=0.2, validation=0.0)


def as_log(listed: np.ndarray, rating: np.ndarray) -> ultr.ClickLog:
    """A page a user with the listed ratings."""
    user, item = np.nonzero(listed)
    columns = {"item": item, "rating": rating[user, item], "propensity": GIVEN[rating[user, item].astype(int) - 1]}
    return ultr.ClickLog(offsets_of(listed.sum(1)), columns, {"user": np.arange(USERS)}, ultr.Items(ids=np.arange(ITEMS)))


def judged(seed: int) -> dict[str, float]:
    """Mean squared error of each estimator over all pairs of one world."""
    world, rng = simulators.MissingNotAtRandom(USERS, ITEMS, seed=seed), generator(seed, "ratings")
    rating = 1.0 + rng.binomial(4, world.relevance(np.arange(USERS)))
    log = as_log(rng.random(rating.shape) < GIVEN[rating.astype(int) - 1], rating)
    slice_ = as_log(np.argsort(rng.random(rating.shape), axis=1) < SLICE, rating)
    bayes = NaiveBayes(randomised=slice_)
    estimators = {
        "naive": RatingMF(factors=2, training=TRAINING),
        "IPS, popularity": RatingMF(propensity=Popularity(of="impressions", power=1.0), factors=2, training=TRAINING),
        "IPS, logistic": RatingMF(propensity=Logistic(), factors=2, training=TRAINING),
        "IPS, naive Bayes": RatingMF(propensity=bayes, factors=2, training=TRAINING),
        "IPS, true": RatingMF(propensity="propensity", factors=2, training=TRAINING),
        "IPS, true, clip 10": RatingMF(propensity="propensity", clip=10.0, factors=2, training=TRAINING),
        "doubly robust, naive Bayes, clip 10": DoublyRobustMF(propensity=bayes, clip=10.0, factors=2, training=TRAINING),
        "doubly robust, true, clip 10": DoublyRobustMF(propensity="propensity", clip=10.0, factors=2, training=TRAINING),
        "doubly robust, true": DoublyRobustMF(propensity="propensity", factors=2, training=TRAINING),
    }
    every = as_log(np.ones(rating.shape, dtype=bool), rating)
    error = {name: PredictionError()(e.fit(log, seed=seed).apply(every))[0] for name, e in estimators.items()}
    return {**error, "the mean of all ratings": float(rating.var())}


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=700)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    rows = [judged(seed) for seed in tqdm(seeds)]
    table = {}
    for name in rows[0]:
        values, base = (np.array([row[which] for row in rows]) for which in (name, "naive"))
        interval = paired_interval(values - base)
        wins = f"{int((values < base).sum())}/{len(values)}"
        table[name] = {"error": values.mean(), "minus naive": interval.mean, "low": interval.low, "high": interval.high, "below": wins}
        print(f"{name:36} {values.mean():.4f}  {interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}] {wins}")
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        found = {"claim": " ".join((__doc__ or "").split("\n\n")[0:2]), "seeds": list(seeds), "table": table, "machine": machine}
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
