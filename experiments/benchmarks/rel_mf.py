"""An epoch of RelMF on drawn pairs against the bare torch steps of the same size. One thread; CPU seconds, as a ratio in one run.

    python experiments/benchmarks/rel_mf.py [--write]

1,000,000 clicks of 50,000 users on 20,000 items and as many unlabelled pairs drawn, factors of length 64, Adam. The bare line has its pairs
and targets as tensors already: what it leaves out is drawing, looking up and weighting.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import torch
from torch.nn.functional import softplus

import ultr
from ultr.data.padded import offsets_of
from ultr.estimators import RelMF
from ultr.random import generator

RESULT = Path(__file__).parent.parent / "results" / "rel_mf.json"
USERS, ITEMS, CLICKS, FACTORS, SIZE = 50_000, 20_000, 1_000_000, 64, 1 << 16


def clicks_log() -> ultr.ClickLog:
    """Clicks of popular items by many users, each pair once."""
    rng = generator(0, "clicks")
    popularity = np.arange(1, ITEMS + 1) ** -0.5
    item = rng.choice(ITEMS, size=int(CLICKS * 1.1), p=popularity / popularity.sum())
    key = np.unique(rng.integers(USERS, size=len(item)) * ITEMS + item)
    key = np.sort(rng.choice(key, size=CLICKS, replace=False))
    user, item = np.divmod(key, ITEMS)
    columns = {"item": item.astype(np.int32), "click": np.ones(CLICKS, dtype=np.int8)}
    lengths = np.bincount(user, minlength=USERS)
    return ultr.ClickLog(offsets_of(lengths), columns, {"user": np.arange(USERS)}, ultr.Items(ids=np.arange(ITEMS)))


def ours(log: ultr.ClickLog, epochs: int) -> float:
    """CPU seconds of a fit of some epochs."""
    steps = epochs * -(-CLICKS // SIZE)
    training = ultr.Training(steps=steps, batch_pages=SIZE, learning_rate=0.01, gradient_clip=None, validation=0.0, check_every=steps)
    start = time.process_time()
    RelMF(factors=FACTORS, unlabelled=1, training=training).fit(log, seed=0)
    return time.process_time() - start


def bare(epochs: int) -> float:
    """CPU seconds of bare steps on pairs of the same number and size."""
    rng, steps = generator(0, "bare"), epochs * -(-CLICKS // SIZE)
    n = 2 * CLICKS // -(-CLICKS // SIZE)
    pairs = [(torch.from_numpy(rng.integers(USERS, size=n)), torch.from_numpy(rng.integers(ITEMS, size=n))) for _ in range(steps)]
    target = torch.cat([torch.full((n // 2,), 3.0), torch.zeros(n - n // 2)])
    user, item = (torch.nn.Parameter(torch.randn(size, FACTORS) * 0.1) for size in (USERS, ITEMS))
    user_bias, item_bias = (torch.nn.Parameter(torch.zeros(size)) for size in (USERS, ITEMS))
    optimizer = torch.optim.Adam([user, item, user_bias, item_bias], lr=0.01)
    start = time.process_time()
    for users, items in pairs:
        optimizer.zero_grad(set_to_none=True)
        left, right = user.index_select(0, users), item.index_select(0, items)
        logits = (left * right).sum(-1) + user_bias.index_select(0, users) + item_bias.index_select(0, items)
        loss = (target * softplus(-logits) + (1 - target) * softplus(logits)).mean()
        (loss + 0.01 * (left.square().sum(-1).mean() + right.square().sum(-1).mean())).backward()
        optimizer.step()
    return time.process_time() - start


def main() -> None:
    """Print the ratio; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    log = clicks_log()
    ours(log, 1), bare(1)
    rows = []
    for _ in range(arguments.repeats):  # the difference of two fits is three epochs, without reading the log and setting up
        rows.append((ours(log, 4) - ours(log, 1), bare(4) - bare(1)))
        print(f"three epochs: RelMF {rows[-1][0]:.2f} s, bare {rows[-1][1]:.2f} s", flush=True)
    mine, anchor = (float(np.median([row[i] for row in rows])) / 3 for i in (0, 1))
    print(f"an epoch: RelMF {mine:.2f} s, bare {anchor:.2f} s, ratio {mine / anchor:.2f}")
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        found = {"machine": machine, "epoch_cpu_s": mine, "bare_epoch_cpu_s": anchor, "ratio": mine / anchor}
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
