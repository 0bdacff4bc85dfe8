"""Shrunk rates on real counts: batting averages, and the click rates of the Open Bandit logs.

python experiments/shrinkage_real.py [--baseball FOLDER] [--obd FOLDER] [--splits 500] [--write]

Nothing is claimed: what comes out is reported. FOLDER holds the files named below; they are not ours to ship.

Baseball
    efron-morris-75-data.tsv: hits in the first 45 at-bats of 18 batters, against their averages in the rest of the season. 18 players of
        one season; the interval is paired over players.
    baseball-hits-2006.csv: season totals of 308 batters. Each batter's at-bats are split at random: a fifth (at least 1) to estimate
        from, the rest to judge by. Such a hypergeometric split makes the two parts independent binomials of one rate. Batters with fewer
        than 8 at-bats are left out. The judging part has noise of its own, which is estimated without bias and taken off: what is
        reported estimates the error against the true rate. Good batters bat more often: trials go with the rate. "fixed" has a weight that
        no data chose: there the unbiased risk and the error in the other part must agree.
Open Bandit (bts_*.csv.gz, random_*.csv.gz; men and women)
    Click rates of each item, and of each item at each position, from the log of Thompson sampling: raw, shrunk, and weighted by the
    inverse of its column propensity_score; against the raw rates of the uniform log. There are 46 to 69 clicks a log, so the judge is
    itself nearly noise: only the paired differences between estimators are free of it on average. Cells that either log never shows are
    left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ultr.evaluation import paired_interval
from ultr.random import generator
from ultr.rates import ShrunkRates, shrink, unbiased_risk

Found = dict[str, object]
FIXED_STRENGTH = 50  # at-bats; any number, chosen before


def estimates(successes: np.ndarray, trials: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, ShrunkRates]]:
    """Return the rates by every rule, and what the shrunk ones know about themselves."""
    shrunk = {weight: shrink(successes, trials, weight=weight) for weight in ("constant", "size")}
    rates = {"raw": successes / trials, "pooled": shrunk["size"].target}
    return rates | {name: found.rate for name, found in shrunk.items()}, shrunk


def compared(rates: dict[str, np.ndarray], judge: np.ndarray, scale: float) -> Found:
    """Mean squared error to the judge, and the difference to raw rates, paired over cells, with a 95% interval; times `scale`."""
    squared = {name: scale * (rate - judge) ** 2 for name, rate in rates.items()}
    differences = {name: paired_interval(values - squared["raw"]) for name, values in squared.items() if name != "raw"}
    return {
        "mean_squared_error": {name: round(float(values.mean()), 4) for name, values in squared.items()},
        "less_raw": {name: [round(v, 4) for v in (found.mean, found.low, found.high)] for name, found in differences.items()},
    }


def told(shrunk: dict[str, ShrunkRates], scale: float) -> Found:
    """What the shrinkage says without the judge."""
    return {
        name: {
            "risk": round(scale * found.risk, 4),
            "interval": [round(scale * bound, 4) for bound in found.interval],
            "weight, smallest and largest": [round(float(bound(found.weight)), 4) for bound in (np.min, np.max)],
        }
        for name, found in shrunk.items()
    }


def eighteen_batters(folder: Path) -> Found:
    rows = pd.read_csv(folder / "efron-morris-75-data.tsv", sep="\t")
    rates, shrunk = estimates(rows["Hits"].to_numpy(), rows["At-Bats"].to_numpy())
    rest = (rows["SeasonHits"] - rows["Hits"]) / rows["RemainingAt-Bats"]
    return {"batters": len(rows), "x": 1000, **compared(rates, rest.to_numpy(), 1000), "told": told(shrunk, 1000)}


def batters_of_2006(folder: Path, splits: int) -> Found:
    """Mean over random splits; the interval is over batters, whose errors are averaged over the splits first."""
    rows = pd.read_csv(folder / "baseball-hits-2006.csv", comment="#")
    rows = rows[rows["K"] >= 8]
    hits, bats = rows["y"].to_numpy(), rows["K"].to_numpy()
    part = np.maximum(bats // 5, 1)
    rest = bats - part
    total: dict[str, np.ndarray] = {}
    risks: dict[str, list[float]] = {"constant": [], "size": [], "fixed": []}
    told_for, fixed = part >= 2, part / (part + FIXED_STRENGTH)
    for split in range(splits):
        x = generator(split, "shrinkage_real", "2006").hypergeometric(hits, bats - hits, part)
        rates, shrunk = estimates(x, part)
        target = rates["pooled"]
        rates["fixed"] = fixed * rates["raw"] + (1 - fixed) * target
        risks["fixed"].append(float(unbiased_risk(x[told_for], part[told_for], fixed[told_for], target[told_for]).mean()))
        judge = (hits - x) / rest
        noise = judge * (1 - judge) / (rest - 1)
        for name, rate in rates.items():
            total[name] = total.get(name, 0.0) + ((rate - judge) ** 2 - noise) / splits
        for name, found in shrunk.items():
            risks[name].append(found.risk)
    differences = {name: paired_interval(1000 * (values - total["raw"])) for name, values in total.items() if name != "raw"}
    size_less_constant = paired_interval(1000 * (total["size"] - total["constant"]))
    return {
        "batters": len(rows),
        "splits": splits,
        "x": 1000,
        "correlation of log at-bats and average": round(float(np.corrcoef(np.log(bats), hits / bats)[0, 1]), 3),
        "mean_squared_error": {name: round(1000 * float(values.mean()), 4) for name, values in total.items()},
        "less_raw": {name: [round(v, 4) for v in (found.mean, found.low, found.high)] for name, found in differences.items()},
        "size_less_constant": [round(v, 4) for v in (size_less_constant.mean, size_less_constant.low, size_less_constant.high)],
        "batters with 2 at-bats or more in their part": int(told_for.sum()),
        "their error": {name: round(1000 * float(total[name][told_for].mean()), 4) for name in risks},
        "their risk, mean over splits": {name: round(1000 * float(np.mean(values)), 4) for name, values in risks.items()},
    }


def weighted_rates(log: pd.DataFrame, cell: np.ndarray, n_cells: int, by_position: bool) -> dict[str, np.ndarray]:
    """Click rates weighted by 1 / propensity of the item: over all rows (that could have shown it), and self-normalised."""
    weight = 1 / log["propensity_score"].to_numpy()
    clicks = np.bincount(cell, weight * log["click"].to_numpy(), n_cells)
    chances = np.bincount(log["position"].to_numpy() - 1, minlength=3) if by_position else np.full(1, len(log))
    return {"ips": clicks / np.resize(chances, n_cells), "snips": clicks / np.maximum(np.bincount(cell, weight, n_cells), 1e-300)}


def open_bandit(folder: Path, campaign: str, by_position: bool) -> Found:
    biased, uniform = (pd.read_csv(folder / f"{policy}_{campaign}.csv.gz") for policy in ("bts", "random"))
    n_items = int(max(biased["item_id"].max(), uniform["item_id"].max())) + 1
    n_cells = n_items * 3 if by_position else n_items

    def cells(log: pd.DataFrame) -> np.ndarray:
        item = log["item_id"].to_numpy()
        return item * 3 + log["position"].to_numpy() - 1 if by_position else item

    def counts(log: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        return np.bincount(cells(log), log["click"], n_cells).astype(int), np.bincount(cells(log), minlength=n_cells)

    (clicks, shown), (judge_clicks, judge_shown) = counts(biased), counts(uniform)
    kept = (shown > 0) & (judge_shown > 0)
    rates, shrunk = estimates(clicks[kept], shown[kept])
    rates |= {name: rate[kept] for name, rate in weighted_rates(biased, cells(biased), n_cells, by_position).items()}
    judge = judge_clicks[kept] / judge_shown[kept]
    measured = judge_shown[kept] >= 2
    noise = (judge * (1 - judge))[measured] / (judge_shown[kept][measured] - 1)
    return {
        "cells": int(kept.sum()),
        "left out": int((~kept).sum()),
        "clicks": [int(clicks.sum()), int(judge_clicks.sum())],
        "impressions, smallest, median and largest": [round(float(v), 1) for v in np.quantile(shown[kept], [0, 0.5, 1])],
        "x": 1e6,
        "noise of the judge": round(1e6 * float(noise.mean()), 4),
        **compared(rates, judge, 1e6),
        "told": told(shrunk, 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseball", type=Path, help="folder with efron-morris-75-data.tsv and baseball-hits-2006.csv")
    parser.add_argument("--obd", type=Path, help="folder with bts_men.csv.gz and its three likes")
    parser.add_argument("--splits", type=int, default=500)
    parser.add_argument("--write", action="store_true", help="write experiments/results/shrinkage_real.json")
    arguments = parser.parse_args()
    jobs: dict[str, Callable[[], Found]] = {}
    if arguments.baseball:
        jobs["eighteen_batters"] = lambda: eighteen_batters(arguments.baseball)
        jobs["batters_of_2006"] = lambda: batters_of_2006(arguments.baseball, arguments.splits)
    if arguments.obd:
        for campaign in ("men", "women"):
            jobs[f"open_bandit_{campaign}_by_item"] = lambda campaign=campaign: open_bandit(arguments.obd, campaign, False)
            jobs[f"open_bandit_{campaign}_by_item_and_position"] = lambda campaign=campaign: open_bandit(arguments.obd, campaign, True)
    if not jobs:
        parser.error("name a folder: --baseball, --obd or both.")
    found = {name: job() for name, job in jobs.items()}
    print(json.dumps(found, indent=1))
    if arguments.write:
        path = Path(__file__).parent / "results" / "shrinkage_real.json"
        path.write_text(json.dumps({"claim": "none: reported whatever it says", **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
