"""All session metrics on real search sessions, the demo of TianGong-ST: how far they agree. Nothing is claimed: what comes out is reported.

    python experiments/tiangong_metrics.py --data FOLDER [--write]

FOLDER holds train_per_query_quid.txt and valid_per_query_quid.txt; they are not ours to ship. Every metric judges every session by its
clicks; Kendall's tau-b is over the sessions with a click, where all metrics are defined, and over those of them with two or more queries.
Sessions without a click have 0 or NaN by definition: they are counted, and would make all metrics agree.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import pandas as pd
from session_metrics_satisfaction import METRICS

from ultr.data import ClickLog
from ultr.data.tiangong import load_tiangong

RESULT = Path(__file__).parent / "results" / "tiangong_metrics.json"
FILES = ("train_per_query_quid.txt", "valid_per_query_quid.txt")


def told(log: ClickLog, values: pd.DataFrame, queries: np.ndarray, clicks: np.ndarray) -> dict[str, object]:
    """Counts, means, and agreement of the metrics on one file."""
    clicked = clicks > 0
    several = clicked & (queries > 1)
    out: dict[str, object] = {
        "sessions": len(queries),
        "pages": len(log),
        "rows": log.n_rows,
        "queries a session": {str(n): int(count) for n, count in enumerate(np.bincount(queries)) if count},
        "share of sessions without a click": round(float(1 - clicked.mean()), 4),
        "share of sessions with two or more queries": round(float((queries > 1).mean()), 4),
        "share of pages without a click": round(float((np.bincount(log.page_of_row(), log.columns["click"], len(log)) == 0).mean()), 4),
        "clicks a session": round(float(clicks.mean()), 4),
        "NaN": {name: int(values[name].isna().sum()) for name in values},
        "mean, sessions with a click": values[clicked].mean().round(4).to_dict(),
        "median, sessions with a click": values[clicked].median().round(4).to_dict(),
    }
    for name, some in (("sessions with a click", clicked), ("and two or more queries", several)):
        out[f"Kendall tau-b, {name}"] = {"sessions": int(some.sum()), "tau": values[some].corr(method="kendall").round(4).to_dict()}
    return out


def plot(tables: dict[str, pd.DataFrame], path: Path) -> None:
    """Kendall's tau-b of all pairs of metrics."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 7), layout="constrained")
    for axis, (title, tau) in zip(figure.subplots(1, len(tables)), tables.items(), strict=True):
        image = axis.imshow(tau, vmin=0, vmax=1, cmap="viridis")
        ticks = np.arange(len(tau))
        axis.set(xticks=ticks, yticks=ticks, yticklabels=list(tau.index), title=title)
        axis.set_xticks(ticks, list(tau.columns), rotation=60, ha="right")
        for i in ticks:
            for j in ticks:
                value = tau.iloc[i, j]
                axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="black" if value > 0.6 else "white")
    figure.colorbar(image, ax=figure.axes, shrink=0.7, label="Kendall's tau-b")
    figure.savefig(path, dpi=70)


def main() -> None:
    """Print what was found; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the demo of TianGong-ST")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} and its .png in experiments/results")
    arguments = parser.parse_args()
    found, tables = {}, {}
    for file in FILES:
        log = load_tiangong(arguments.data / file)
        values = pd.DataFrame({name: metric(log) for name, metric in METRICS.items()})
        session = log._session_codes[0]
        queries, clicks = np.bincount(session), np.bincount(session[log.page_of_row()], log.columns["click"], len(log.sessions))
        found[file] = told(log, values, queries, clicks)
        if file == FILES[0]:
            for title, some in (("sessions with a click", clicks > 0), ("and two or more queries", (clicks > 0) & (queries > 1))):
                tables[f"{title} ({some.sum():,})"] = values[some].corr(method="kendall")
    print(json.dumps(found, indent=1))
    if arguments.write:
        text = {"what": (__doc__ or "").split("\n")[0], "files": found}
        RESULT.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        plot(tables, RESULT.with_suffix(".png"))


if __name__ == "__main__":
    main()
