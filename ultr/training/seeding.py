"""The one place where torch's generators are touched: seeded inside, untouched outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ultr.random import generator


@contextmanager
def seeded_torch(seed: int, *keys: int | str, device: str = "cpu") -> Iterator[None]:
    """Run a block of torch code on its own stream; the generators' state outside is the same before and after.

    Args:
        seed: Non-negative integer.
        keys: What the numbers are for; see `ultr.random.generator`.
        device: A device whose generator the block may use besides the CPU's.
    """
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        word = int(generator(seed, "torch", *keys).integers(1 << 62))
        torch.default_generator.manual_seed(word)
        if devices:
            torch.cuda.manual_seed(word)
        yield
