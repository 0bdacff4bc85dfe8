"""Claim: weights undo the selection of clicks where the tower is too simple; elsewhere there is nothing to undo, or nothing that can be.

200,000 impressions, P(click) = sigmoid(-2 + x), P(conversion | click) = sigmoid(-1.5 + x^2 - .8 x), log-loss against the true conversion of
every impression, in excess of what the best model of the fields would have. Linear towers cannot express x^2: MultiIPW and ESCM2-IPS (loss
weights 1, 1) are below NaiveCVR and ESMM by .03 or more in every seed. With a weight for each x all agree within .001. With a hidden
confounder of strength 1 beside it every excess is .02 or more. Where clicks are rare (1% and 3%; 3,000 users and 1,000 ads of which what is
clicked also converts), ESMM and shared embeddings order later impressions better than NaiveCVR by the conversion, but not by the product of
both; AUC against the true probabilities. Seeds are paired; intervals are Student's t over seeds.

    python experiments/conversion_selection.py [--write] [--seeds 10] [--first-seed 100] [--figure FILE]

Settings were chosen on the worlds 0 and 1; the seeds reported were not looked at before.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import torch
from tqdm import tqdm

import ultr
from simulators.conversions import Conversions
from ultr.data.fields import Fields
from ultr.estimators.conversion.dcmt import DCMT
from ultr.estimators.conversion.escm2 import ESCM2
from ultr.estimators.conversion.esmm import ESMM
from ultr.estimators.conversion.multi_dr import MultiDR
from ultr.estimators.conversion.multi_ipw import MultiIPW
from ultr.estimators.conversion.naive_cvr import NaiveCVR
from ultr.evaluation import paired_interval
from ultr.metrics import auc, log_loss
from ultr.models.conversion_settings import ConversionSettings

RESULT = Path(__file__).parent / "results" / "conversion_selection.json"
PLAIN = ultr.Training(steps=600, batch_pages=8192, learning_rate=0.03, weight_decay=0.0, validation=0.0, gradient_clip=None)
CONVERGED = dataclasses.replace(PLAIN, steps=1000, learning_rate=0.1)
RARE = ultr.Training(steps=300, batch_pages=4096, learning_rate=0.003, weight_decay=1e-5, validation=0.1, check_every=20)
TRAIN = 200_000
Found = dict[str, float]


def estimators(fields: Fields, training: ultr.Training) -> dict[str, ConversionSettings]:
    """Return all estimators with linear towers."""
    settings = {"fields": fields, "towers": (), "training": training}
    return {
        "NaiveCVR": NaiveCVR(**settings),
        "ESMM": ESMM(**settings),
        "MultiIPW": MultiIPW(**settings),
        "MultiIPW, clip 20": MultiIPW(**settings, clip=20.0),
        "MultiDR": MultiDR(**settings),
        "ESCM2-IPS": ESCM2(**settings),
        "ESCM2-IPS, weights .1, 1": ESCM2(**settings, risk_weight=0.1),
        "ESCM2-DR": ESCM2(**settings, kind="dr"),
        "DCMT": DCMT(**settings),
    }


def excess(world: Conversions, fields: Fields, training: ultr.Training, seed: int) -> Found:
    """Log-loss of each estimator's conversion over the entire space, in excess of the best model of the fields."""
    log, best = world.log(seed=seed), log_loss(world.conversion, world.conversion_given_fields)
    found = {}
    for name, estimator in estimators(fields, training).items():
        predicted = estimator.fit(log, seed=seed).predict(log)["conversion"].to_numpy()
        found[name] = log_loss(world.conversion, predicted) - best
    return found


def linear(seed: int) -> Found:
    world = Conversions(TRAIN, interaction=1.0, seed=seed)
    return excess(world, world.fields, PLAIN, seed)


def saturated(seed: int) -> Found:
    return excess(Conversions(TRAIN, interaction=1.0, seed=seed), Fields(categorical={"x": "vocabulary"}), CONVERGED, seed)


def confounded(seed: int) -> Found:
    world = Conversions(TRAIN, interaction=1.0, confounding=1.0, seed=seed)
    return excess(world, Fields(categorical={"x": "vocabulary"}), CONVERGED, seed)


def rare_clicks(click_rate: float, seed: int) -> tuple[Found, Found]:
    """AUC of click-and-conversion, and of the conversion, on impressions that come later."""
    world = Conversions(TRAIN + 100_000, n_users=3000, n_ads=1000, click_rate=click_rate, conversion_rate=0.1, effects=0.8, seed=seed)
    log, first = world.log(seed=seed), np.arange(TRAIN + 100_000) < TRAIN
    train, test = log.select(first), log.select(~first)
    settings = {"fields": dataclasses.replace(world.fields, embedding=8), "training": RARE}
    kinds = {"NaiveCVR": NaiveCVR(**settings), "NaiveCVR, shared": NaiveCVR(**settings, shared=True), "ESMM": ESMM(**settings)}
    both, alone = {}, {}
    for name, estimator in kinds.items():
        predicted = estimator.fit(train, seed=seed).predict(test)
        truth = world.conversion[~first]
        alone[name] = expected_auc(truth, predicted["conversion"].to_numpy())
        both[name] = expected_auc(truth * world.click[~first], predicted["click_and_conversion"].to_numpy())
    return both, alone


def expected_auc(probability: np.ndarray, scores: np.ndarray) -> float:
    """AUC in which every impression is a positive with its true probability and a negative with the rest: no noise of labels."""
    n = len(scores)
    return auc(np.repeat([1, 0], n), np.tile(scores, 2), np.concatenate([probability, 1 - probability]))


def summarised(rows: list[Found], baseline: str) -> dict[str, object]:
    """Means over seeds, and paired differences from a baseline with intervals."""
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    out: dict[str, object] = {}
    for name, values in found.items():
        interval = paired_interval(values - found[baseline]) if name != baseline else None
        line: dict[str, float] = {"mean": float(values.mean()), "sd": float(values.std(ddof=1))}
        line |= {"smallest": float(values.min()), "largest": float(values.max())}
        out[name] = line if interval is None else {**line, "difference": interval.mean, "low": interval.low, "high": interval.high}
    return out


def checks(linear_rows: list[Found], saturated_rows: list[Found], confounded_rows: list[Found]) -> dict[str, float]:
    """The numbers that the claim is about: the worst seed of each."""
    biased, weighted = ("NaiveCVR", "ESMM"), ("MultiIPW", "ESCM2-IPS")
    same = ("NaiveCVR", "ESMM", "MultiIPW", "MultiDR", "ESCM2-IPS", "ESCM2-DR")  # DCMT is pulled down on purpose
    return {
        "linear: smallest gain (at least .03)": min(row[b] - row[w] for row in linear_rows for b in biased for w in weighted),
        "saturated: largest disagreement (at most .001)": max(
            max(row[name] for name in same) - min(row[name] for name in same) for row in saturated_rows
        ),
        "confounded: smallest excess (at least .02)": min(min(row.values()) for row in confounded_rows),
    }


def draw(table: Mapping[str, list[Found]], path: Path) -> None:
    """Plot the excess of every estimator and seed, one panel a setting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, len(table), sharey=True)
    for axis, (title, rows) in zip(axes, table.items(), strict=True):
        names = list(rows[0])[::-1]
        for i, name in enumerate(names):
            axis.plot([row[name] for row in rows], [i] * len(rows), "o", markersize=4, alpha=0.5, color="C0")
        axis.set(title=title, xlabel="excess log-loss", yticks=range(len(names)), yticklabels=names)
        axis.axvline(0.0, color="black", linewidth=0.8)
        axis.set_xlim(-0.005, 0.15)
    figure.savefig(path, dpi=70)


def main() -> None:
    """Print the tables; `--write` also keeps them, with a figure beside them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} and a figure in experiments/results")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    settings = {"linear towers": linear, "a weight for each x": saturated, "the same, confounded": confounded}
    rows = {title: [function(seed) for seed in tqdm(seeds, desc=title)] for title, function in settings.items()}
    table: dict[str, object] = {title: summarised(found, "NaiveCVR") for title, found in rows.items()}
    for rate in (0.01, 0.03):
        both, alone = zip(*(rare_clicks(rate, seed) for seed in tqdm(seeds, desc=f"click rate {rate}")), strict=True)
        table[f"click rate {rate}, AUC of click and conversion"] = summarised(list(both), "NaiveCVR")
        table[f"click rate {rate}, AUC of the conversion"] = summarised(list(alone), "NaiveCVR")
    found = checks(*rows.values())
    print(json.dumps({"checks": found, "table": table}, indent=1))
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        claim = " ".join((__doc__ or "").split("\n\n")[0:2])
        whole = {"claim": claim, "seeds": list(seeds), "checks": found, "table": table, "machine": machine}
        RESULT.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    figure = arguments.figure or (RESULT.with_suffix(".png") if arguments.write else None)
    if figure is not None:
        draw(rows, figure)


if __name__ == "__main__":
    main()
