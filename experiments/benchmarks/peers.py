"""ultr beside the peers that install from the registry, on the same work, in one run and on one thread; CPU seconds, medians of turns.

    python experiments/benchmarks/peers.py [--repeats 5] [--clax PYTHON] [--write]

- nDCG@10 of 10,000 queries x 100 documents: `rerank` and `NDCG(10)` against scikit-learn (matrices ready) and ir-measures (dictionaries and
  objects ready, the log handed over as arrays; linear gains, since trec_eval's are).
- Boosted trees from biased clicks, 100,000 rows with 136 features, 20 trees of 31 leaves: UnbiasedLambdaMART (position) against LightGBM
  called directly, and against XGBoost's `rank:ndcg` with `lambdarank_unbiased`; every contender builds its own dataset.
- A position-based click model on 100,000 pages: `clax_fit.py`, where an interpreter with CLAX is given.

ir-measures comes with `pip install ultr[eval]`; XGBoost is no dependency: `pip install xgboost`. What is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import lightgbm
import numpy as np
from lambdamart import FEATURES, QUERIES, ROWS, TREES, in_turns, settings
from sklearn.metrics import ndcg_score

import simulators
import ultr
from ultr.estimators import UnbiasedLambdaMART
from ultr.metrics import NDCG

RESULT = Path(__file__).parent.parent / "results" / "peers.json"
JUDGED, DOCUMENTS, K = 10_000, 100, 10
Contenders = dict[str, Callable[[], object]]


def judged() -> Contenders:
    """nDCG@10; all contenders have to agree."""
    rng = np.random.default_rng(0)
    grade, scores = rng.choice(5, (JUDGED, DOCUMENTS), p=[0.5, 0.25, 0.15, 0.07, 0.03]), rng.normal(size=(JUDGED, DOCUMENTS))
    columns = {"item": np.tile(np.arange(DOCUMENTS), JUDGED), "grade": grade.reshape(-1)}
    log = ultr.ClickLog(np.arange(JUDGED + 1) * DOCUMENTS, columns, {"query": np.arange(JUDGED)})
    metric, flat = NDCG(K, gain="linear"), scores.reshape(-1)
    found: Contenders = {
        "ultr": lambda: float(np.nanmean(metric(log.rerank(flat)))),
        "scikit-learn": lambda: float(ndcg_score(grade, scores, k=K, ignore_ties=True)),
    }
    if importlib.util.find_spec("ir_measures"):
        import ir_measures
        from ir_measures import nDCG

        names = [str(i) for i in range(DOCUMENTS)]
        qrels = {str(q): dict(zip(names, map(int, row), strict=True)) for q, row in enumerate(grade)}
        run = {str(q): dict(zip(names, map(float, row), strict=True)) for q, row in enumerate(scores)}
        evaluator = ir_measures.evaluator([nDCG @ K], qrels)
        found["ir-measures"] = lambda: float(evaluator.calc_aggregate(run)[nDCG @ K])
    values = {name: function() for name, function in found.items()}
    if np.ptp(list(values.values())) > 1e-6:  # ir-measures holds scores in float32
        raise SystemExit(f"The contenders disagree: {values}")
    return found


def boosted() -> Contenders:
    """Boosted trees on the pages of a weak policy, one a query."""
    data = ultr.synthetic_ranking(QUERIES, ROWS, FEATURES, seed=0)
    pages = simulators.simulate_clicks(data, policy=simulators.LinearPolicy().fit(data), n_pages=20 * QUERIES, seed=0)
    log = pages.take(np.unique(pages.page_columns["query"], return_index=True)[1])
    features, group = log.items.features, log.lengths
    position, click = log.columns["position"], log.columns["click"]

    def direct() -> object:
        dataset = lightgbm.Dataset(features[log.columns["item"]], click, group=group, position=position)
        return lightgbm.train({**settings("lambdarank"), "verbosity": -1}, dataset, TREES)

    found: Contenders = {
        "ultr": lambda: UnbiasedLambdaMART(debias="position", rounds=TREES, validation=0).fit(log),
        "LightGBM": direct,
    }
    if importlib.util.find_spec("xgboost"):
        import xgboost

        asked = {
            "objective": "rank:ndcg",
            "lambdarank_unbiased": True,
            "tree_method": "hist",
            "grow_policy": "lossguide",
            "max_leaves": 31,
            "max_depth": 0,
            "nthread": 1,
        }
        qid = np.repeat(np.arange(len(log)), group)
        found["XGBoost"] = lambda: xgboost.train(asked, xgboost.DMatrix(features[log.columns["item"]], click, qid=qid, nthread=1), TREES)
    return found


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clax", metavar="PYTHON", help="an interpreter with CLAX")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    arguments = parser.parse_args()
    table = {}
    for work, contenders in (("nDCG@10", judged()), ("boosted trees", boosted())):
        seconds = in_turns(contenders, arguments.repeats)
        table[work] = {name: {"cpu_s": value, "times_ultr": value / seconds["ultr"]} for name, value in seconds.items()}
        for name, row in table[work].items():
            print(f"{work:>14}  {name:<14} {1e3 * row['cpu_s']:>9.1f} ms   {row['times_ultr']:>6.2f} times ultr", flush=True)
    for package in ("ir_measures", "xgboost"):
        if not importlib.util.find_spec(package):
            print(f"{package} is not installed: left out.")
    if arguments.clax:
        write = ["--write"] if arguments.write else []
        subprocess.run([sys.executable, Path(__file__).with_name("clax_fit.py"), "--clax", arguments.clax, *write], check=True)
    if arguments.write:
        packages = {name: installed(name) for name in ("scikit-learn", "ir-measures", "lightgbm", "xgboost", "numpy")}
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), **packages}
        RESULT.write_text(json.dumps({"machine": machine, "table": table}, indent=1) + "\n", encoding="utf-8")


def installed(package: str) -> str | None:
    """Return the version of a package, None where there is none; XGBoost without CUDA has a name of its own."""
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


if __name__ == "__main__":
    main()
