"""What tests by resampling share: clusters drawn with replacement, in batches that fit the memory, and the checks of settings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ultr.data.checks import within
from ultr.errors import ConfigError
from ultr.imports import nearest

CELLS = 1 << 22  # resampled values at once
TOLERANCE = 1e-9  # relative: sums of the same numbers in another order count as equal


def resampled(n_resamples: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each of n clusters is drawn in each of the resamples, float64, shape [R, n]."""
    drawn = rng.integers(0, n, size=(n_resamples, n)) + n * np.arange(n_resamples)[:, None]
    return np.bincount(drawn.reshape(-1), minlength=n_resamples * n).reshape(n_resamples, n).astype(np.float64)


def batches(n_resamples: int, n: int) -> Iterator[int]:
    """Cut resamples into batches whose values fit the memory."""
    step = max(1, CELLS // max(1, n))
    for start in range(0, n_resamples, step):
        yield min(step, n_resamples - start)


def check_name(by: str, setting: str, value: object, known: tuple[str, ...]) -> None:
    """Raise ConfigError unless a setting has one of its known names."""
    if value not in known:
        raise ConfigError(f"{by}: {setting} must be one of {', '.join(known)}, not {value!r}.{nearest(str(value), known)}")


def check_resamples(by: str, n_resamples: object) -> None:
    """Raise ConfigError unless the number of resamples is a whole one of at least 1."""
    if isinstance(n_resamples, bool) or not isinstance(n_resamples, (int, np.integer)) or n_resamples < 1:
        raise ConfigError(f"{by}: n_resamples must be a whole number of at least 1, not {n_resamples!r}.")


def check_level(by: str, level: object) -> None:
    """Raise ConfigError unless a coverage lies in (0, 1)."""
    if not within(level, "(0, 1)"):
        raise ConfigError(f"{by}: level must be in (0, 1), not {level!r}.")
