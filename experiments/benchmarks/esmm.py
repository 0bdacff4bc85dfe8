"""Samples a second of ESMM's training steps against bare torch steps of the same model. One thread; CPU seconds, as ratios in one run.

    python experiments/benchmarks/esmm.py [--write]

20 fields with a vocabulary of 10,000 each, embeddings of 16 in one table, two towers 256-128-64, batches of 4,096. The bare lines have
their batches as tensors already and the loss as users write it, binary cross-entropy of the product of two sigmoids. One has a dense
gradient and Adam, as in most code; one has a sparse gradient and SparseAdam, as ESMM has.
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
from torch import nn
from torch.nn.functional import binary_cross_entropy

import ultr
from ultr.data.fields import Fields
from ultr.estimators.conversion.esmm import ESMM
from ultr.random import generator

RESULT = Path(__file__).parent.parent / "results" / "esmm.json"
FIELDS, VALUES, LENGTH, HIDDEN, SIZE, ROWS = 20, 10_000, 16, (256, 128, 64), 4096, 1 << 17
STEPS = 40


def impressions() -> ultr.ClickLog:
    """Impressions whose values are all equally frequent, the worst case for sparse gradients."""
    rng = generator(0, "impressions")
    click = rng.random(ROWS) < 0.1
    conversion = click & (rng.random(ROWS) < 0.2)
    columns = {f"field {i}": rng.integers(VALUES, size=ROWS) for i in range(FIELDS)}
    labels = {"item": np.zeros(ROWS, dtype=np.int32), "click": click.astype(np.int8), "conversion": conversion.astype(np.int8)}
    return ultr.ClickLog(np.arange(ROWS + 1), {**labels, **columns})


def ours(log: ultr.ClickLog, steps: int) -> float:
    """CPU seconds of a fit."""
    fields = Fields(categorical={f"field {i}": VALUES for i in range(FIELDS)}, embedding=LENGTH)
    plain = {"weight_decay": 0.0, "gradient_clip": None, "validation": 0.0, "check_every": steps}
    training = ultr.Training(steps=steps, batch_pages=SIZE, learning_rate=0.001, **plain)
    start = time.process_time()
    ESMM(fields=fields, towers=HIDDEN, training=training).fit(log, seed=0)
    return time.process_time() - start


def bare(log: ultr.ClickLog, steps: int, sparse: bool) -> float:
    """CPU seconds of bare steps."""
    table = nn.Embedding(FIELDS * VALUES, LENGTH, sparse=sparse)
    towers = nn.ModuleList(_tower() for _ in range(2))
    optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam([*towers.parameters(), *([] if sparse else table.parameters())], lr=0.001)]
    optimizers += [torch.optim.SparseAdam(table.parameters(), lr=0.001)] if sparse else []
    codes = torch.from_numpy(np.stack([log.columns[f"field {i}"] + i * VALUES for i in range(FIELDS)], axis=1))
    click, conversion = (torch.from_numpy(log.columns[name].astype(np.float32)) for name in ("click", "conversion"))
    batches = [(codes[at : at + SIZE], click[at : at + SIZE], conversion[at : at + SIZE]) for at in range(0, ROWS, SIZE)]
    start = time.process_time()
    for step in range(steps):
        rows, clicked, converted = batches[step % len(batches)]
        inputs = table(rows).flatten(1)
        p, c = (torch.sigmoid(tower(inputs)[:, 0]) for tower in towers)
        for optimizer in optimizers:
            optimizer.zero_grad()
        (binary_cross_entropy(p, clicked) + binary_cross_entropy(p * c, converted)).backward()
        for optimizer in optimizers:
            optimizer.step()
    return time.process_time() - start


def _tower() -> nn.Sequential:
    widths = (FIELDS * LENGTH, *HIDDEN)
    layers = [layer for a, b in zip(widths, HIDDEN, strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1))


def main() -> None:
    """Print the ratios; `--write` also keeps them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    log = impressions()
    lines = {"ESMM": lambda n: ours(log, n), "bare, dense": lambda n: bare(log, n, False), "bare, sparse": lambda n: bare(log, n, True)}
    for line in lines.values():
        line(2)
    seconds: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(arguments.repeats):  # the difference of two fits is the steps alone, without reading the log and setting up
        for name, line in lines.items():
            seconds[name].append((line(2 + STEPS) - line(2)) / STEPS)
        print({name: f"{SIZE / values[-1]:,.0f} samples/s" for name, values in seconds.items()}, flush=True)
    a_step = {name: float(np.median(values)) for name, values in seconds.items()}
    ratios = {name: float(np.median(np.array(values) / np.array(seconds["ESMM"]))) for name, values in seconds.items() if name != "ESMM"}
    print({name: f"{SIZE / value:,.0f} samples/s" for name, value in a_step.items()}, {n: f"{r:.2f}x" for n, r in ratios.items()})
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        found = {"machine": machine, "step_cpu_s": a_step, "ESMM_samples_a_second_over": ratios}
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
