"""How much sooner than CLAX does `fit(PositionBased, log)` reach the same held-out log-likelihood? Optional: CLAX is no dependency.

python experiments/benchmarks/clax_fit.py --clax PYTHON [--pages 100000] [--repeats 3] [--write]

PYTHON is an interpreter with CLAX, which needs an environment of its own: pip install clax-models==0.1.1 jax==0.7.2 (newer jax does not
import with the flax that it pins). The log is the usual one: 1,000 queries of 20 documents, 10 shown in random order, examination 1/rank;
90% of the pages are learnt from. CLAX gets ready batches of 512 pages (so its reader costs nothing) and AdamW at 0.003 as in its examples.
Its clock stops with the epoch that first comes within 1e-4 nats a row of the best held-out log-likelihood of 50 epochs; ours after 50
steps, and has to be at least as good. Both are CPU seconds of one thread, imports not counted; compiling is part of CLAX's first epoch,
given beside it. Runs take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

QUERIES, DOCUMENTS, ROWS = 1000, 20, 10
NEAR = 1e-4  # nats a row
EPOCHS, BATCH = 50, 512
TARGET = 40.0  # times


def ours(n_pages: int) -> tuple[float, float, dict[str, np.ndarray]]:
    """CPU seconds of a fit, held-out log-likelihood in nats a row, and the log in CLAX's form."""
    import warnings

    import simulators
    import ultr
    from ultr.click_models import PositionBased, fit

    rng = np.random.default_rng(0)
    n = QUERIES * DOCUMENTS
    data = ultr.RankingData(rng.normal(size=(n, 2)), rng.integers(0, 5, n), np.arange(0, n + 1, DOCUMENTS))
    law = PositionBased(1 / np.arange(1, ROWS + 1))
    log = simulators.simulate_clicks(data, policy=simulators.RandomPolicy(), n_pages=n_pages, click_model=law)
    held_out = np.arange(n_pages) < n_pages // 10
    train, test = log.select(~held_out), log.select(held_out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(PositionBased, test, max_iter=1)  # imports what it needs
        start = time.process_time()
        fitted = fit(PositionBased, train, max_iter=50, tol=0)
    seconds = time.process_time() - start
    arrays = {"item": log.columns["item"].reshape(-1, ROWS), "click": log.columns["click"].reshape(-1, ROWS)}
    return seconds, float(fitted.log_likelihood(test).sum()) / test.n_rows, arrays


def theirs(file: str) -> None:
    """Run in CLAX's own interpreter; prints CPU seconds of the epochs and the held-out log-likelihood reached."""
    import jax.numpy as jnp
    import optax
    from clax import PositionBasedModel, Trainer
    from clax.metrics import Average, MultiMetric
    from flax import nnx

    log = np.load(file)
    item, click = log["item"], log["click"].astype(np.float32)
    n_held_out = len(item) // 10

    def batch(rows: np.ndarray) -> dict[str, object]:
        shape = (len(rows), ROWS)
        return {
            "positions": jnp.broadcast_to(jnp.arange(1, ROWS + 1), shape),
            "query_doc_ids": jnp.asarray(item[rows]),
            "clicks": jnp.asarray(click[rows]),
            "mask": jnp.ones(shape, dtype=bool),
        }

    model = PositionBasedModel(positions=ROWS + 1, query_doc_pairs=QUERIES * DOCUMENTS, rngs=nnx.Rngs(0))
    trainer, optimizer = Trainer(optax.adamw(0.003)), nnx.ModelAndOptimizer(model, optax.adamw(0.003))
    metrics, rng, seconds = MultiMetric({"loss": Average("loss")}), np.random.default_rng(0), []
    likelihoods = []
    for _ in range(EPOCHS):
        order = n_held_out + rng.permutation(len(item) - n_held_out)
        batches = [batch(order[at : at + BATCH]) for at in range(0, len(order) - BATCH + 1, BATCH)]
        start = time.process_time()
        model.train()
        for each in batches:
            trainer._train_step(model, optimizer, metrics, each)
        float(metrics.compute()["loss"])  # waits for the last step
        seconds.append(time.process_time() - start)
        model.eval()
        p = np.asarray(model.predict_conditional_clicks(batch(np.arange(n_held_out))), dtype=np.float64)
        held_out = click[:n_held_out] > 0
        likelihoods.append(float(np.where(held_out, p, np.log(-np.expm1(np.minimum(p, -1e-12)))).mean()))
    epochs = 1 + int(np.argmax(np.array(likelihoods) > max(likelihoods) - NEAR))
    reached = {"epochs": epochs, "seconds": sum(seconds[:epochs]), "first_epoch": seconds[0], "log_likelihood": max(likelihoods)}
    print(json.dumps(reached))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clax", help="a Python interpreter with clax-models==0.1.1 and jax==0.7.2")
    parser.add_argument("--pages", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write experiments/results/clax_fit.json")
    parser.add_argument("--worker", metavar="FILE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        theirs(arguments.worker)
        return
    if not arguments.clax:
        sys.exit("Give --clax, a Python interpreter with CLAX: pip install clax-models==0.1.1 jax==0.7.2 in an environment of its own.")
    one_thread = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.repeats):
            seconds, likelihood, log = ours(arguments.pages)
            file = f"{folder}/log.npz"
            np.savez(file, **log)
            command = [arguments.clax, __file__, "--worker", file]
            run = subprocess.run(command, env={**os.environ, **one_thread}, capture_output=True, text=True, check=True)
            clax = json.loads(run.stdout.strip().splitlines()[-1])
            rows.append({"ours_s": seconds, "ours_log_likelihood": likelihood, **{f"clax_{name}": value for name, value in clax.items()}})
            rows[-1]["ratio"] = clax["seconds"] / seconds
            print({name: round(value, 5) for name, value in rows[-1].items()}, flush=True)
    ratio = float(np.median([row["ratio"] for row in rows]))
    ahead = min(row["ours_log_likelihood"] - row["clax_log_likelihood"] for row in rows)
    print(f"CLAX takes {ratio:.0f} times as long (target: at least {TARGET:.0f}); ours is ahead by {ahead:.5f} nats a row or more")
    if arguments.write:
        result = {
            "pages": arguments.pages,
            "unit": "CPU",
            "ratio": round(ratio, 1),
            "target": TARGET,
            "ours_ahead_by": ahead,
            "numpy": np.__version__,
            "runs": rows,
        }
        path = Path(__file__).parents[1] / "results" / "clax_fit.json"
        path.write_text(json.dumps({**result, "python": platform.python_version()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
