"""Random generators and hashes that depend on their arguments alone: no global state anywhere."""

from __future__ import annotations

import zlib

import numpy as np

from ultr.errors import ConfigError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """Return the generator of one named stream: the same seed and keys give the same numbers, any other keys independent ones.

    Args:
        seed: Non-negative integer.
        keys: What the numbers are for ("split"), and which block or cell (integers).

    Raises:
        ConfigError: `seed` is not a non-negative integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"seed must be a non-negative integer, not {seed!r}.")
    words = [zlib.crc32(key.encode()) if isinstance(key, str) else int(key) for key in keys]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(seed), spawn_key=tuple(words))))


def need_generator(rng: object) -> np.random.Generator:
    """Return a source of draws as it is, or raise ConfigError saying how to make one."""
    if not isinstance(rng, np.random.Generator):
        raise ConfigError(f"rng must be a numpy.random.Generator, not {rng!r}: write numpy.random.default_rng(seed).")
    return rng


def mix(values: np.ndarray) -> np.ndarray:
    """Scramble 64-bit integers, element by element (the finaliser of SplitMix64; Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        x = np.asarray(values).astype(np.uint64) + _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * _MIX_1
        x = (x ^ (x >> np.uint64(27))) * _MIX_2
        return x ^ (x >> np.uint64(31))


def hash_ids(ids: np.ndarray) -> np.ndarray:
    """Hash identifiers to uint64, equal for equal ids whatever array they stand in; integers need no pandas.

    Args:
        ids: Integers, strings or other hashable ids, shape [N].

    Returns:
        Hashes, uint64, shape [N]. The same on every machine and in every run.
    """
    ids = np.asarray(ids)
    if ids.dtype.kind in "iub":
        return mix(ids.astype(np.int64).view(np.uint64))
    from pandas.util import hash_array

    if ids.dtype.kind == "f":
        return hash_array(ids)
    return hash_array(np.array([str(value) for value in ids], dtype=object), categorize=True)
