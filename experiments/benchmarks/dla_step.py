"""What does a DLA step cost, against the same maths in bare torch? One thread; the two take turns step by step, and ratios are printed.

python experiments/benchmarks/dla_step.py [--steps 60] [--write]

Ours is `DLA(...).fit(log)` itself: its propensity head is asked for gradients once a step, so the time between two such calls is a step,
batching and all. Within that call the bare step runs on a batch of tensors made beforehand, features already standardised. Network
512-256-128 with layer normalisation, 136 features, 256 pages of 10 rows, Adam, gradients clipped. CPU seconds, medians over steps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import torch
from torch import Tensor, nn

import ultr
from ultr.estimators import DLA
from ultr.models import MLP, PositionLogits
from ultr.models.fitting import TARGET
from ultr.random import generator
from ultr.training import PageBatches

FEATURES, PAGES, ROWS, HIDDEN, CAP, CLIP, RATE = 136, 256, 10, (512, 256, 128), 50.0, 5.0, 1e-3
LOG_PAGES, ITEMS = 10_240, 20_000
RESULT = Path(__file__).parent.parent / "results" / "dla_step.json"
TARGETS = {"ours / bare, float32": "at most 1.1", "batching / step, float32": "at most 0.03", "float32 / bfloat16": "at least 1.6"}


def make_log(seed: int = 0) -> ultr.ClickLog:
    """Pages with one click or more."""
    rng = np.random.default_rng(seed)
    click = rng.random((LOG_PAGES, ROWS)) < 0.15
    click[np.arange(LOG_PAGES), rng.integers(ROWS, size=LOG_PAGES)] = True
    columns = {
        "item": rng.integers(ITEMS, size=LOG_PAGES * ROWS).astype(np.int32),
        "position": np.tile(np.arange(ROWS, dtype=np.int32), LOG_PAGES),
        "click": click.reshape(-1).astype(np.int8),
    }
    items = ultr.Items(rng.normal(size=(ITEMS, FEATURES)).astype(np.float32))
    return ultr.ClickLog(np.arange(LOG_PAGES + 1) * ROWS, columns, {"query": np.arange(LOG_PAGES) % 1000}, items)


def bare_steps(log: ultr.ClickLog, bfloat16: bool) -> Iterator[None]:
    """Train the same network on the same losses, written out; one step each time the iterator is advanced."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for width, hidden in zip((FEATURES, *HIDDEN), HIDDEN, strict=False):
        layers += [nn.LayerNorm(width), nn.Linear(width, hidden), nn.ELU()]
    network = nn.Sequential(*layers, nn.LayerNorm(HIDDEN[-1]), nn.Linear(HIDDEN[-1], 1))
    logits = nn.Parameter(torch.zeros(ROWS))
    optimizer = torch.optim.Adam([{"params": list(network.parameters()), "weight_decay": 0.01}, {"params": [logits]}], lr=RATE)
    features = torch.from_numpy(log.items.features[log.columns["item"]]).reshape(-1, PAGES, ROWS, FEATURES)
    clicks = torch.from_numpy(log.columns["click"].astype(np.float32)).reshape(-1, PAGES, ROWS)
    ceiling = float(np.log(CAP))
    for x, c in cycle(list(zip(features[:8].clone(), clicks, strict=False))):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            scores = network(x).squeeze(-1).float()
            examined = logits.expand(PAGES, ROWS)
            from_position = (examined[:, :1] - examined).detach().clamp(max=ceiling).exp()
            from_relevance = (scores[:, :1] - scores).detach().clamp(max=ceiling).exp()
            loss = -(c * from_position * torch.log_softmax(scores, -1)).sum(-1)
            loss = loss - (c * from_relevance * torch.log_softmax(examined, -1)).sum(-1)
        loss.mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        nn.utils.clip_grad_norm_([logits], CLIP)
        optimizer.step()
        yield


def batch_steps(log: ultr.ClickLog) -> Iterator[None]:
    """Make the tensors that a DLA step reads; one batch each time the iterator is advanced."""
    log = log.with_columns(**{TARGET: log.columns["click"].astype(np.float64)})
    batches = PageBatches(log, np.arange(LOG_PAGES), np.ones(LOG_PAGES), PAGES, generator(0), "cpu")
    while True:
        for batch, _ in batches:
            _ = (batch.features_for("the benchmark"), batch.mask, batch.position, batch.column(TARGET))
            yield


class Turns:
    """Takes the time of the steps of a fit, and lets the others have their turn in between.

    Args:
        others: Name -> iterator, advanced once a step.
    """

    def __init__(self, others: dict[str, Iterator[None]]) -> None:
        self.others = others
        self.seconds: dict[str, list[float]] = {name: [] for name in ("ours", *others)}
        self.left = time.process_time()

    def __deepcopy__(self, memo: object) -> Turns:
        return self

    def take(self) -> None:
        self.seconds["ours"].append(time.process_time() - self.left)
        for name, steps in self.others.items():
            start = time.process_time()
            with torch.enable_grad():
                next(steps)
            self.seconds[name].append(time.process_time() - start)
        self.left = time.process_time()


class TimedLogits(PositionLogits):
    """DLA's own head, with a bell."""

    def __init__(self, turns: Turns) -> None:
        super().__init__(ROWS)
        self.turns = turns

    def forward(self, batch: ultr.Batch) -> Tensor:
        if torch.is_grad_enabled():  # not where the learning curve is watched
            self.turns.take()
        return super().forward(batch)


def measure(log: ultr.ClickLog, precision: str, steps: int) -> dict[str, float]:
    """Return milliseconds a step (median): ours, bare, and batching alone."""
    turns = Turns({"bare": bare_steps(log, precision == "bfloat16"), "batching": batch_steps(log)})
    training = ultr.Training(
        steps=steps + 6, batch_pages=PAGES, validation=0, check_every=steps + 6, precision=precision, learning_rate=RATE, gradient_clip=CLIP
    )
    DLA(head=TimedLogits(turns), model=MLP(HIDDEN), max_weight=CAP, training=training).fit(log, seed=0)
    return {name: 1e3 * float(np.median(times[6:])) for name, times in turns.seconds.items()}


def processor_flags() -> list[str]:
    """The bfloat16 instructions that this processor has, where the system tells."""
    info = Path("/proc/cpuinfo")
    words = set(info.read_text().split()) if info.is_file() else set()
    return sorted(words & {"avx512_bf16", "amx_bf16"})


def main() -> None:
    """Print the table; `--write` also keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name} in experiments/results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    log, flags = make_log(), processor_flags()
    times = {precision: measure(log, precision, arguments.steps) for precision in ("float32", "bfloat16")}
    for precision, row in times.items():
        print(f"{precision:9s} " + "  ".join(f"{name} {value:7.2f} ms" for name, value in row.items()))
    single, half = times["float32"], times["bfloat16"]
    ratios = {
        "ours / bare, float32": single["ours"] / single["bare"],
        "ours / bare, bfloat16": half["ours"] / half["bare"],
        "batching / step, float32": single["batching"] / single["ours"],
        "float32 / bfloat16": single["ours"] / half["ours"],
        "float32 / bfloat16, bare": single["bare"] / half["bare"],
    }
    print(f"bfloat16 instructions: {', '.join(flags) or 'none, so no gain is to be expected'}")
    for name, ratio in ratios.items():
        print(f"{name:26s} {ratio:6.3f}" + (f"   target: {TARGETS[name]}" if name in TARGETS else ""))
    if arguments.write:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
        result = {
            "machine": {**machine, "bfloat16": flags},
            "steps": arguments.steps,
            "cpu_ms_a_step": {precision: {name: round(value, 2) for name, value in row.items()} for precision, row in times.items()},
            "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        }
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
