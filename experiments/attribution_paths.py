"""Who gets the credit for conversions on real paths, by every rule that needs no times.

    python experiments/attribution_paths.py --data FOLDER [--write]

Nothing is claimed: what comes out is reported. FOLDER holds data.csv.gz, the example of the packages ChannelAttribution and mta: 10,000
lines of paths over 12 channels with Greek letters for names, 19,785 conversions and 68,602 others, of undisclosed (maybe simulated) origin.
It is not ours to ship.

There is no truth to compare with: rules differ in what they mean by credit. How far two rules are apart is said by the share of all
conversions that would have to move between channels to get from one to the other (total variation). Every data-driven rule has settings
that nothing in the data fixes; their variants are in the table too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import ultr
from ultr.attribution import FirstTouch, Hazard, LastTouch, Linear, MarkovRemoval, Shapley, UShaped, channel_credit
from ultr.data.paths import load_paths

RESULT = Path(__file__).parent / "results" / "attribution_paths.json"
RULES = {
    "first touch": FirstTouch(),
    "last touch": LastTouch(),
    "linear": Linear(),
    "U-shaped": UShaped(),
    "Shapley": Shapley(),
    "Markov 1": MarkovRemoval(),
    "Markov 2": MarkovRemoval(order=2),
    "Markov 3": MarkovRemoval(order=3),
    "hazard": Hazard(),
    "hazard, carry .9": Hazard(carry_over=0.9),
}
COLOURS = ("#6b7480", "#a3abb5", "#2b6cb0", "#63a4dd", "#c05621", "#22794a", "#4da673", "#93cfae", "#7b4bb0", "#b596d8")


def shares_by_rule(log: ultr.ClickLog) -> pd.DataFrame:
    """One line a channel, the largest by the linear rule first; one column a rule."""
    table = channel_credit(log, RULES).pivot(index="channel", columns="rule", values="share")[list(RULES)]
    return table.sort_values("linear", ascending=False)


def apart(shares: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The share of all conversions that two rules credit to different channels."""
    return {
        one: {other: round(float(np.abs(shares[one] - shares[other]).sum() / 2), 4) for other in shares if other != one} for one in shares
    }


def found_in(log: ultr.ClickLog) -> dict[str, object]:
    shares = shares_by_rule(log)
    effects = {f"order {order}": MarkovRemoval(order=order).removal_effects(log) for order in (1, 2, 3)}
    fit = Hazard().fit(log)
    negative = Shapley().credit(log) < 0
    return {
        "paths": len(log),
        "touches on them": log.n_rows,
        "journeys": int(log.counts.sum()),
        "conversions": int(log.page_columns["converted"].sum()),
        "share of the conversions": {str(rule): {str(name): round(v, 4) for name, v in shares[rule].items()} for rule in shares},
        "apart": apart(shares),
        "removal effects": {order: {str(c): round(v, 4) for c, v in effect.items()} for order, effect in effects.items()},
        "hazard": {
            "base": round(fit.base, 3),
            "own": dict(zip(map(str, fit.channels), np.round(fit.own, 3).tolist(), strict=True)),
            "carried": dict(zip(map(str, fit.channels), np.round(fit.carried, 3).tolist(), strict=True)),
        },
        "touches with negative Shapley credit": int(negative.sum()),
    }


def draw(shares: dict[str, dict[str, float]]) -> Figure:
    """Channels side by side, a bar a rule."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots()
    channels, width = list(shares["linear"]), 0.84 / len(shares)
    for i, (rule, by_channel) in enumerate(shares.items()):
        x = np.arange(len(channels)) + (i - (len(shares) - 1) / 2) * width
        axes.bar(x, [100 * by_channel[name] for name in channels], width, label=rule, color=COLOURS[i])
    axes.set_xticks(range(len(channels)), channels)
    axes.set_ylabel("% of the conversions")
    axes.set_title("Who gets the credit, by rule")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#d5d9df", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(ncols=2, frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with data.csv.gz")
    parser.add_argument("--write", action="store_true", help="write experiments/results/attribution_paths.json and .png")
    arguments = parser.parse_args()
    found = found_in(load_paths(arguments.data / "data.csv.gz"))
    print(pd.DataFrame(found["share of the conversions"]).to_string())
    print(pd.DataFrame(found["apart"]).to_string())
    if arguments.write:
        RESULT.write_text(json.dumps({"claim": "none: reported whatever it says", **found}, indent=1) + "\n", encoding="utf-8")
        draw(found["share of the conversions"]).savefig(RESULT.with_suffix(".png"), dpi=70)


if __name__ == "__main__":
    main()
