"""Checks at the boundary. What has passed them is trusted everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from ultr.errors import FileError, LogError
from ultr.imports import nearest

MAX_GRADE = 31  # 2**grade has to stay exact and finite in the gains of NDCG and ERR


class Cells(Protocol):
    """The entries of a column, whatever kind of array holds them."""

    def __getitem__(self, row: int, /) -> object: ...


def within(value: object, interval: str) -> bool:
    """Tell whether a setting is a real number in an interval, spelled "[0, 1)" or "(0, inf)". What is no number lies in none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    number = float(value)
    return (low <= number if interval[0] == "[" else low < number) and (number <= high if interval[-1] == "]" else number < high)


def check_shards(n: object) -> None:
    """Raise LogError unless a log can be split into n."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise LogError(f"A log splits into a whole number of shards, 1 or more, not {n!r}.")


def require(columns: Mapping[str, object], name: str, *, by: str, kind: str = "column", hint: str = "") -> None:
    """Raise LogError unless `name` is there, saying who needs it and what there is instead."""
    if not isinstance(name, Hashable) or name not in columns:  # a list of names is none
        have = ", ".join(columns) or "none"
        raise LogError(f"{by} needs the {kind} {name!r}, which the log lacks.{nearest(name, columns)} It has: {have}. {hint}".strip())


def refuse(bad: np.ndarray, what: str, do: str, where: Callable[[int], str], values: Cells | None = None) -> None:
    """Raise LogError if any entry of `bad` is true: what, the first place and value, how many, what to do.

    Args:
        bad: True where an entry breaks the rule, shape [N].
        what: The rule, e.g. "click must be 0 or 1".
        do: What the user can do about it.
        where: Describes the place of a flat index.
        values: The entries, to quote the first bad one, shape [N].
    """
    count = int(np.count_nonzero(bad))
    if not count:
        return
    first = int(np.argmax(bad))
    value = "" if values is None else f" has {spelled(values[first])}"
    raise LogError(f"{what}: {where(first)}{value}; {count} of {len(bad)} {'is' if count == 1 else 'are'} wrong. {do}")


def spelled(value: object) -> str:
    """Return a value as messages quote it: text in quotes, everything else plainly."""
    return repr(str(value)) if isinstance(value, str) else str(value)


def rows_are(offsets: np.ndarray) -> Callable[[int], str]:
    """Describe a flat row of a log as page and row in the page."""

    def where(row: int) -> str:
        page = int(np.searchsorted(offsets, row, side="right")) - 1
        return f"page {page}, row {row - int(offsets[page])}"

    return where


def as_numbers(name: str, values: np.ndarray, where: Callable[[int], str], do: str = "") -> np.ndarray:
    """Return a column as an array of numbers: objects and strings that spell numbers are converted, anything else is refused.

    `do` says what the user can do where that is not to encode the column.
    """
    if values.dtype.kind in "biuf":
        return values
    bad = np.ones(len(values), dtype=bool)  # times would convert too, to nanoseconds
    if values.dtype.kind in "OUT":
        bad = np.array([not _spells_number(value) for value in values], dtype=bool)
    refuse(bad, f"{name} must be a number", do or "Check the column mapping, or encode the column first.", where, values)
    return values.astype(np.float64)


def real_numbers(values: ArrayLike) -> np.ndarray | None:
    """Return what somebody gave for an array of real numbers as float64, None where it is none: text, complex or ragged."""
    try:
        array = np.asarray(values)
        return None if array.dtype.kind in "cmM" else array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError):
        return None


def _spells_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def check_clicks(click: np.ndarray, limit: np.ndarray | float, where: Callable[[int], str]) -> np.ndarray:
    """Return clicks as numbers; refuse any that is no whole number in [0, limit]."""
    click = as_numbers("click", click, where)
    with np.errstate(invalid="ignore"):
        bad = ~((click >= 0) & (click <= limit) & (click == np.floor(click)))
    refuse(
        bad, "click must be 0 or 1 (0..count on a page with a count)", "Binarise it, or drop the rows with unknown clicks.", where, click
    )
    return click


def check_grades(grade: np.ndarray, where: Callable[[int], str]) -> np.ndarray:
    """Return grades as int32; refuse any that is no whole number in [0, MAX_GRADE]."""
    grade = as_numbers("grade", grade, where)
    with np.errstate(invalid="ignore"):
        bad = ~((grade >= 0) & (grade <= MAX_GRADE) & (grade == np.floor(grade)))
    refuse(bad, f"grade must be a whole number in 0..{MAX_GRADE}", "Map grades to 0, 1, 2, ... first.", where, grade)
    return grade.astype(np.int32)


def check_probabilities(name: str, values: np.ndarray, where: Callable[[int], str], *, zero: bool) -> np.ndarray:
    """Return probabilities as numbers; refuse any outside [0, 1], or outside (0, 1] when `zero` is false."""
    values = as_numbers(name, values, where)
    with np.errstate(invalid="ignore"):
        bad = ~((values <= 1) & ((values >= 0) if zero else (values > 0)))
    interval = "[0, 1]" if zero else "(0, 1]"
    refuse(bad, f"{name} must be in {interval}", "Rescale it, or drop rows that can never be observed.", where, values)
    return values


def check_features(features: np.ndarray, names: tuple[str, ...] | None = None) -> None:
    """Refuse NaN and infinite features."""
    with np.errstate(invalid="ignore"):
        total = features.sum(dtype=np.float64)
    if np.isfinite(total):  # one pass, no mask; a finite sum of float32 in float64 has only finite terms
        return
    bad = ~np.isfinite(features)
    item, feature = np.argwhere(bad)[0]
    name = f"{names[feature]!r}" if names else f"{feature}"
    raise LogError(
        f"features must be finite: item row {item}, feature {name} has {features[item, feature]};"
        f" {np.count_nonzero(bad)} of {bad.size} values are NaN or infinite."
        " Fill them (0 is LETOR's convention for a missing feature) or drop the feature."
    )


def need_path(path: object) -> Path:
    """Return what names a file or folder as a Path.

    Raises:
        FileError: it is neither text nor a path.
    """
    try:
        return Path(path)  # type: ignore[arg-type]
    except TypeError:
        raise FileError(f"The path of a file or folder is needed, text or a pathlib.Path, not {type(path).__name__}.") from None


def find_file(path: str | Path) -> Path:
    """Return the file, or the `.gz` beside it where only that is there.

    Raises:
        FileError: neither is there, or may be looked for.
    """
    path = need_path(path)
    try:
        for candidate in (path, Path(f"{path}.gz")):
            if candidate.is_file():
                return candidate
        if path.is_dir():
            raise FileError(f"{path} is a folder: name a file in it, such as {path / 'train.txt'}.")
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as error:  # no permission, or a name that is too long
        raise FileError(f"{str(path)[:200]!r} cannot be looked for: {error.strerror}. Give the path of the file.") from error
    raise FileError(f"There is no file {path}, nor {path}.gz.{nearest(path.name, beside)} Check the path, or put the data there.")
