"""Adam for embedding tables of which a batch looks up a few rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

_PIECE = 1 << 11  # rows at once, which then stay in the cache of the processor


class LazyAdam(torch.optim.Optimizer):
    """Adam on the rows that a sparse gradient holds; moments and values of all other rows stay as they are.

    The numbers of `torch.optim.SparseAdam`, up to the order in which gradients of one row are added, in less time: rows are read and
    written in place, on a processor a piece that fits its cache after the other.

    Args:
        tables: Parameters with sparse gradients, shape [R, D].
        lr: Learning rate.

    Source:
        Kingma and Ba (2015), "Adam: a method for stochastic optimization", ICLR, arXiv:1412.6980, with beta (.9, .999) and epsilon 1e-8.

    Differs:
        A row that is not looked up does not move on by its momentum, and its moments do not decay.
    """

    def __init__(self, tables: Iterable[Tensor], lr: float) -> None:
        super().__init__(tables, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move the looked-up rows of every table."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, *_summed(table.grad), group)

    def _move(self, table: Tensor, looked_up: Tensor, slopes: Tensor, group: dict[str, Any]) -> None:
        state = self.state[table]
        if not state:
            state.update(step=0, mean=torch.zeros_like(table), square=torch.zeros_like(table))
        state["step"] += 1
        (beta1, beta2), t = group["betas"], state["step"]
        rate = group["lr"] * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        size = _PIECE if table.device.type == "cpu" else max(len(looked_up), 1)
        for rows, slope in zip(looked_up.split(size), slopes.split(size), strict=True):
            mean = _towards(state["mean"], rows, slope, 1 - beta1)
            square = _towards(state["square"], rows, slope.square(), 1 - beta2)
            change = mean.div_(square.sqrt_().add_(group["eps"])).mul_(-rate)
            table.index_copy_(0, rows, change.add_(table.index_select(0, rows)))


def _summed(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of a sparse gradient, each once, and their gradients, as `coalesce` does, in less time where rows are many."""
    rows, values = gradient._indices()[0], gradient._values()
    if gradient.is_coalesced():
        return rows, values
    rows, order = torch.sort(rows.int() if len(gradient) < 1 << 31 else rows, stable=True)
    unique, counts = torch.unique_consecutive(rows, return_counts=True)
    return unique.long(), embedding_bag(order, values, counts.cumsum(0) - counts, mode="sum")


def _towards(moment: Tensor, rows: Tensor, value: Tensor, share: float) -> Tensor:
    """Move rows of a moment a share of the way towards a value, and return them."""
    before = moment.index_select(0, rows)
    after = value.sub(before).mul_(share).add_(before)
    moment.index_copy_(0, rows, after)
    return after
