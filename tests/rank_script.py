"""What each process of tests/test_ranks.py does: fit a ranker together with the others and write down what came out."""

import sys
from pathlib import Path

import numpy as np

import simulators
import ultr
from ultr.data.writer import write_log
from ultr.estimators import DLA, IPS, Naive, PairDebias, RegressionEM, TwoTower
from ultr.models.fitting import with_labels
from ultr.training import ranks
from ultr.training.labelled import labelled_pages

ESTIMATORS = {"Naive": Naive, "IPS": IPS, "DLA": DLA, "PairDebias": PairDebias, "RegressionEM": RegressionEM, "TwoTower": TwoTower}
PAGES = 1_200
FULL = ultr.Training(steps=25, check_every=5, batch_pages=PAGES, schedule="constant")  # every batch holds all pages
STREAMED = ultr.Training(steps=25, check_every=5, batch_pages=64, shuffle_rows=1_000)


def make_log() -> ultr.ClickLog:
    data = ultr.synthetic_ranking(40, 6, 5, seed=0)
    policy = simulators.SwapPairs(simulators.LinearPolicy(0.5), 0.5)
    return simulators.simulate_clicks(data, policy=policy, n_pages=PAGES, cutoff=4, seed=0)


def fitted(name: str, source, training: ultr.Training):
    return ESTIMATORS[name](training=training).fit(source, seed=3)


def results(names, folder: Path) -> dict[str, np.ndarray]:
    """Fit in memory with full batches, and one streamed; weights, curves, and who is held out."""
    log, out = make_log(), {}
    for name in names:
        ranker = fitted(name, log, FULL)
        out[f"{name} scores"] = ranker.score_log(log)
        out[f"{name} weights"] = np.concatenate([value.detach().numpy().ravel() for value in ranker.scorer.parameters()])
        if ranker.propensity is not None:
            out[f"{name} propensity"] = ranker.propensity
        out[f"{name} validation"] = np.array([loss for _, loss in ranker.curve.validation])
    source = ultr.ParquetLog.open(folder / "log")
    streamed = fitted("DLA", source, STREAMED)
    out["streamed weights"] = np.concatenate([value.detach().numpy().ravel() for value in streamed.scorer.parameters()])
    pages = labelled_pages(with_labels(log, log.columns["click"].astype(float)), FULL, by="test", seed=3, keep_empty_pages=True)
    out["held out"] = np.unique(np.concatenate(ranks.gathered(pages.watched.page_columns["query"])))
    out["mine"] = np.array([len(pages.source), len(pages.watched)])
    return out


if __name__ == "__main__":
    place = Path(sys.argv[1])
    with ranks.joined("cpu"):
        found = results(sys.argv[2].split(","), place)
        np.savez(place / f"rank{ranks.rank()}of{ranks.world()}.npz", **found)
else:

    def prepare(place: Path) -> None:
        """Write the log that is streamed."""
        write_log(make_log(), place / "log", pages_per_group=100)
