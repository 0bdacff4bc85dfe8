"""Training in several processes at once: which of them this is, and what they tell one another. Alone where nobody joined any.

A process joins by `torch.distributed.init_process_group`, as scripts under `torchrun` do, or by `joined`, as `ultr fit` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from ultr.errors import ConfigError

T = TypeVar("T")


def world() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if _together() else 1


def rank() -> int:
    """Return the number of this process among them, from 0."""
    return distributed.get_rank() if _together() else 0


def gathered(value: T) -> list[T]:
    """Return the value of every process, in the order of their ranks: the same list everywhere."""
    if not _together():
        return [value]
    values: list[T | None] = [None] * world()
    distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value]  # every rank has put one in


def summed(values: Tensor) -> Tensor:
    """Return the sum over all processes: the same bits everywhere."""
    if not _together():
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total


def average_gradients(networks: Sequence[nn.Module]) -> None:
    """Replace every gradient by its mean over the processes, so that all of them take the same step.

    Raises:
        ConfigError: a gradient is sparse; tables of embeddings are trained by one process.

    Source:
        Li et al. (2020), "PyTorch Distributed: experiences on accelerating data parallel training", VLDB 13(12), section 2.
        doi:10.14778/3415478.3415530

    Differs:
        One reduction after the backward pass, not bucket by bucket beside it: the networks are small, and a loss may use several of
        them in any way without wrapping them.
    """
    if not _together():
        return
    parameters = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        return
    if any(parameter.grad is not None and parameter.grad.is_sparse for parameter in parameters):
        raise ConfigError("Estimators with tables of embeddings train in one process, not in several under torchrun: start one.")
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    total = summed(torch.cat([gradient.reshape(-1) for gradient in gradients])) / world()
    for parameter, mean in zip(parameters, total.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = mean.reshape(parameter.shape).to(parameter.dtype)


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the other processes that the environment speaks of (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _together():
        yield
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
