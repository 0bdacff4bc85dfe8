"""Claim: rankers that undo position bias in the clicks of sessions also serve new sessions better, judged by session.

Naive, IPS with the true propensity, DLA and Oracle (the true relevance) learn from the pages of simulated sessions on 400 topics. 600 other
topics are searched in 10,000 new sessions. "Reranked": the pages that the logging policy shows there, reranked, and judged by grades.
"Live": the same users (same seed) with the ranker as the policy, who reformulate as they need to; judged by their clicks, and by the truth.
Differences to Naive are paired by seed; intervals are Student's t over seeds. Policy, topics, users and clicks are new for every seed.

Found: reranked, all three are better than Naive by every metric and in every seed, by little. Live, so are session DCG and nsDCG of the
clicks; NUM of the clicks, and the needs that IPS and DLA meet, cannot be told from those of Naive.

    python experiments/session_rankers.py [--write] [--seeds 10] [--first-seed 2000]

Settings of the training are those of dla_synthetic.toml.
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
from simulators.session_user import Outcomes
from simulators.sessions import simulate_sessions
from ultr.estimators import DLA, IPS, Naive, Oracle
from ultr.evaluation import paired_interval
from ultr.metrics import NUM, NormalisedSessionDCG, SessionDCG

JUDGED = 10_000
RESULT = Path(__file__).parent / "results" / "session_rankers.json"
TRAINING = ultr.Training(steps=800, batch_pages=1024, learning_rate=0.03, weight_decay=0.03)
ESTIMATORS = {
    "naive": Naive(training=TRAINING),
    "ips": IPS(propensity="propensity", training=TRAINING),
    "dla": DLA(training=TRAINING),
    "oracle": Oracle(training=TRAINING),
}
LOGGING = simulators.PlackettLuce(simulators.LinearPolicy(), temperature=0.5)
RELEVANCE = simulators.GradedRelevance(noise=0.1)
RERANKED = {
    "NUM": NUM(label="grade"),
    "sDCG": SessionDCG(label="grade"),
    "nsDCG": NormalisedSessionDCG(label="grade"),
}
LIVE = {"NUM": NUM(), "sDCG": SessionDCG(), "nsDCG": NormalisedSessionDCG()}


def judged(seed: int, sessions: int) -> dict[str, dict[str, float]]:
    """Every number of every ranker in one world."""
    train, test = ultr.synthetic_ranking(1000, range(10, 21), 20, seed=seed).split(test=0.6, seed=seed)
    log = simulate_sessions(train, policy=LOGGING, relevance=RELEVANCE, n_sessions=sessions, seed=seed)
    log = log.with_columns(relevance=RELEVANCE(log.columns["grade"]))  # what Oracle learns from: not less where it was read before
    new = simulate_sessions(test, policy=LOGGING, relevance=RELEVANCE, n_sessions=JUDGED, seed=seed + 1)
    found = {}
    for name, estimator in ESTIMATORS.items():
        ranker = estimator.fit(log, seed=seed)
        ranked = ranker.apply(new)
        policy = simulators.FixedOrder(test, ranker.score_log(test.as_log()))
        live = simulate_sessions(test, policy=policy, relevance=RELEVANCE, n_sessions=JUDGED, seed=seed + 1)
        outcomes = Outcomes.of(live)
        found[name] = {f"reranked {metric}": float(np.nanmean(law(ranked))) for metric, law in RERANKED.items()}
        found[name] |= {f"live {metric}": float(np.nanmean(law(live))) for metric, law in LIVE.items()}
        truth = {"need met": outcomes.met, "effort": outcomes.effort, "queries": outcomes.queries}
        found[name] |= {f"live {truth_name}": float(values.mean()) for truth_name, values in truth.items()}
        found[name]["live need met - effort / 100"] = float((outcomes.met - outcomes.effort / 100).mean())
    return found


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=60_000, help="sessions to learn from")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = [arguments.first_seed + 10 * i for i in range(arguments.seeds)]
    rows = [judged(seed, arguments.sessions) for seed in tqdm(seeds)]
    table: dict[str, dict[str, dict[str, object]]] = {}
    for metric in rows[0]["naive"]:
        table[metric] = {}
        for name in ESTIMATORS:
            values, base = (np.array([row[which][metric] for row in rows]) for which in (name, "naive"))
            interval, wins = paired_interval(values - base), f"{int((values > base).sum())}/{len(values)}"
            bounds = {"minus naive": interval.mean, "low": interval.low, "high": interval.high}
            table[metric][name] = {key: round(float(value), 5) for key, value in ({"mean": values.mean()} | bounds).items()} | {
                "above": wins
            }
            print(f"{metric:30} {name:8} {values.mean():.4f}  {interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}] {wins}")
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        claim = " ".join((__doc__ or "").split("\n\n    python")[0].split())
        found = {"claim": claim, "seeds": seeds, "sessions": arguments.sessions, "table": table, "machine": machine}
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
