"""What the contract checks share: saying what is broken, and noticing what was changed."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from ultr.data.log import ClickLog
from ultr.errors import ContractError

ROUNDING = 1e-5  # two ways to the same float32 number may differ by this share of it


def demand(holds: bool, broken: str) -> None:
    """Raise ContractError with `broken` unless the contract holds."""
    if not holds:
        raise ContractError(broken)


@contextmanager
def calling(what: str, hint: str = "") -> Iterator[None]:
    """Turn any error of a part, while it is called as promised, into a ContractError that names the call."""
    try:
        yield
    except ContractError:
        raise
    except Exception as error:
        message = str(error).partition("\n")[0]
        raise ContractError(f"{what} raised {type(error).__name__}: {message} {hint}".rstrip()) from error


def differences(first: np.ndarray, second: np.ndarray, rounding: float = ROUNDING) -> np.ndarray:
    """Return where two arrays of one shape differ by more than rounding; NaN equals NaN."""
    first, second = np.asarray(first), np.asarray(second)
    if first.dtype.kind in "fc" or second.dtype.kind in "fc":
        return ~np.isclose(first.astype(np.float64), second.astype(np.float64), rtol=rounding, atol=rounding * 1e-2, equal_nan=True)
    return np.asarray(first != second)


def demand_equal(first: np.ndarray, second: np.ndarray, broken: str, where: Callable[[int], str], rounding: float = ROUNDING) -> None:
    """Raise ContractError at the first place where two arrays [N] differ: `broken`, the place and both values."""
    demand(np.shape(first) == np.shape(second), f"{broken}: shape {np.shape(first)} became {np.shape(second)}.")
    differ = differences(first, second, rounding)
    if differ.any():
        at = int(np.argmax(differ))
        raise ContractError(f"{broken}: {where(at)} has {first[at]} and {second[at]}; {int(differ.sum())} of {len(differ)} values differ.")


def untouched_log(log: ClickLog, by: str) -> Callable[[], None]:
    """Remember a log, and return a function that raises ContractError if `by` has changed it since."""
    before = {name: (values, values.copy()) for name, values in _arrays(log).items()}

    def check() -> None:
        now = _arrays(log)
        demand(now.keys() == before.keys(), f"{by} adds or removes columns of the log it is given: return a new log (log.with_columns).")
        for name, (array, copy) in before.items():
            same = now[name] is array and (
                np.array_equal(array, copy) or (array.dtype.kind == "f" and np.array_equal(array, copy, equal_nan=True))
            )
            demand(same, f"{by} writes into the log it is given ({name}): copy the array first.")

    return check


def _arrays(log: ClickLog) -> dict[str, np.ndarray]:
    out = {"offsets": log.offsets}
    out |= {f"column {name!r}": values for name, values in log.columns.items()}
    out |= {f"page column {name!r}": values for name, values in log.page_columns.items()}
    if log.items is not None and log.items.features is not None:
        out["items.features"] = log.items.features
    return out


@contextmanager
def untouched_generators(by: str) -> Iterator[None]:
    """Raise ContractError if a block draws from Python's, NumPy's or torch's global random generator, or sets it.

    A block that loads a package for the first time is not judged: some draw while they are imported.
    """
    before, packages = _generators(), _packages()
    yield
    if _packages() != packages:
        return
    for name, state in _generators().items():
        demand(
            state == before.get(name, state),
            f"{by} draws from or sets {name}'s global random generator: use the seed or rng it is given (ultr.random.generator;"
            " for torch, ultr.training.seeding.seeded_torch).",
        )


def _packages() -> set[str]:
    return {name.partition(".")[0] for name in list(sys.modules)}


def _generators() -> dict[str, object]:
    numpy = [np.asarray(part).tolist() for part in np.random.get_state()]
    states: dict[str, object] = {"Python": random.getstate(), "NumPy": numpy}
    if "torch" in sys.modules:
        import torch

        states["torch"] = torch.get_rng_state().numpy().tobytes()
    return states
