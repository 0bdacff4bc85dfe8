"""Training steps of MoAE against the same network written field by field and expert by expert. One thread; CPU seconds, ratios in one run.

    python experiments/benchmarks/moae.py [--write]

20 fields with a vocabulary of 10,000 each, embeddings of 16; main view and three auxiliary ones, 2 public and 2 private experts a view,
width 64, towers 32-16, batches of 256, 1,024 and 4,096. The plain line has one `nn.Embedding` a field and a module for every expert, gate
and tower layer, its batches as tensors already, dense gradients and Adam, as most code has; "plain, sparse" the same with sparse tables
and SparseAdam.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import ultr
from ultr.data.fields import Fields
from ultr.estimators import MoAE
from ultr.random import generator

RESULT = Path(__file__).parent.parent / "results" / "moae.json"
FIELDS, VALUES, LENGTH, ROWS, STEPS = 20, 10_000, 16, 1 << 17, 10
SIZES = (256, 1024, 4096)
VIEWS, EXPERTS, EXPERT, TOWER = 4, 2, 64, (32, 16)


def touches() -> ultr.ClickLog:
    """Touches whose values are all equally frequent, with random credit."""
    rng = generator(0, "touches")
    columns = {f"field {i}": rng.integers(VALUES, size=ROWS) for i in range(FIELDS)}
    columns |= {f"credit {v}": rng.random(ROWS) * (rng.random(ROWS) < 0.1) for v in range(VIEWS)}
    return ultr.ClickLog(np.arange(ROWS + 1), {"item": np.zeros(ROWS, dtype=np.int32), **columns})


def ours(log: ultr.ClickLog, steps: int, size: int) -> float:
    """CPU seconds of a fit."""
    fields = Fields(categorical={f"field {i}": VALUES for i in range(FIELDS)}, embedding=LENGTH)
    plain = {"weight_decay": 0.0, "gradient_clip": None, "validation": 0.0, "check_every": steps}
    training = ultr.Training(steps=steps, batch_pages=size, learning_rate=0.001, **plain)
    auxiliary = tuple(f"credit {v}" for v in range(1, VIEWS))
    estimator = MoAE(main="credit 0", auxiliary=auxiliary, fields=fields, experts=EXPERTS, expert=EXPERT, tower=TOWER, training=training)
    start = time.process_time()
    estimator.fit(log, seed=0)
    return time.process_time() - start


class PlainMoAE(nn.Module):
    """The network of MoAE, a module at a time."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(VALUES + 2, LENGTH, sparse=sparse) for _ in range(FIELDS))
        self.down, self.up = nn.Linear(FIELDS, FIELDS // 4, bias=False), nn.Linear(FIELDS // 4, FIELDS, bias=False)
        self.public = nn.ModuleList(nn.Linear(FIELDS * LENGTH, EXPERT) for _ in range(EXPERTS))
        self.private = nn.ModuleList(nn.ModuleList(nn.Linear(FIELDS * LENGTH, EXPERT) for _ in range(EXPERTS)) for _ in range(VIEWS))
        self.gates = nn.ModuleList(nn.Linear(FIELDS * LENGTH, 2 * EXPERTS, bias=False) for _ in range(VIEWS))
        widths = (EXPERT, *TOWER)
        self.layers = nn.ModuleList(nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, TOWER, strict=False)) for _ in range(VIEWS))
        self.fusion = nn.ModuleList(nn.Linear(VIEWS * b, b) for b in TOWER)
        self.heads = nn.ModuleList(nn.Linear(TOWER[-1], 1) for _ in range(VIEWS))

    def forward(self, codes: Tensor) -> list[Tensor]:
        embeddings = [table(codes[:, i]) for i, table in enumerate(self.tables)]
        z = torch.cat(embeddings, 1)
        gate = torch.sigmoid(self.up(torch.relu(self.down(torch.stack([e.mean(1) for e in embeddings], 1)))))
        gated = torch.cat([e * gate[:, i, None] for i, e in enumerate(embeddings)], 1)
        public = [torch.relu(expert(gated)) for expert in self.public]
        h = []
        for mixer, private in zip(self.gates, self.private, strict=True):
            experts = torch.stack([*public, *(torch.relu(expert(gated)) for expert in private)], 1)
            h.append((torch.softmax(mixer(z), 1)[:, :, None] * experts).sum(1))
        for k, fusion in enumerate(self.fusion):
            u = [layers[k](x) for layers, x in zip(self.layers, h, strict=True)]
            others = [torch.relu(x) for x in u[1:]]
            h = [torch.relu(fusion(torch.cat([u[0], *others], 1)) + u[0]), *others]
        return [head(x)[:, 0] for head, x in zip(self.heads, h, strict=True)]


def plain(log: ultr.ClickLog, steps: int, size: int, sparse: bool) -> float:
    """CPU seconds of steps of the plain network."""
    torch.manual_seed(0)
    network = PlainMoAE(sparse)
    tables = [table.weight for table in network.tables] if sparse else []
    rest = [p for p in network.parameters() if not any(p is t for t in tables)]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(rest, lr=0.001)]
    optimizers += [torch.optim.SparseAdam(tables, lr=0.001)] if sparse else []
    codes = torch.from_numpy(np.stack([log.columns[f"field {i}"] for i in range(FIELDS)], axis=1))
    credit = torch.from_numpy(np.stack([log.columns[f"credit {v}"] for v in range(VIEWS)], axis=1).astype(np.float32))
    batches = [(codes[at : at + size], credit[at : at + size]) for at in range(0, ROWS, size)]
    start = time.process_time()
    for step in range(steps):
        rows, label = batches[step % len(batches)]
        losses = [binary_cross_entropy_with_logits(logit, label[:, v]) for v, logit in enumerate(network(rows))]
        for optimizer in optimizers:
            optimizer.zero_grad()
        (losses[0] + 0.3 * sum(losses[1:])).backward()
        for optimizer in optimizers:
            optimizer.step()
    return time.process_time() - start


def measured(log: ultr.ClickLog, size: int, repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of a step of each, and how many times the samples a second MoAE trains."""
    lines: dict[str, Callable[[int], float]] = {
        "MoAE": lambda n: ours(log, n, size),
        "plain": lambda n: plain(log, n, size, False),
        "plain, sparse": lambda n: plain(log, n, size, True),
    }
    for line in lines.values():
        line(2)
    seconds: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(repeats):  # the difference of two fits is the steps alone, without reading the log and setting up
        for name, line in lines.items():
            seconds[name].append((line(2 + STEPS) - line(2)) / STEPS)
    ratios = {name: float(np.median(np.array(values) / np.array(seconds["MoAE"]))) for name, values in seconds.items() if name != "MoAE"}
    rates = ", ".join(f"{name} {size / float(np.median(values)):,.0f}" for name, values in seconds.items())
    print(f"batches of {size}, samples/s: {rates}; MoAE " + ", ".join(f"{ratio:.2f}x {name}" for name, ratio in ratios.items()), flush=True)
    return {"step_cpu_s": {n: float(np.median(v)) for n, v in seconds.items()}, "MoAE_samples_a_second_over": ratios}


def main() -> None:
    """Print the ratios; `--write` also keeps them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    log = touches()
    found = {str(size): measured(log, size, arguments.repeats) for size in SIZES}
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        kept = {"machine": machine, "batch": found}
        RESULT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
