"""Values of several systems (or metrics) on the same sessions, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ultr.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


def side_by_side(values: Mapping[str, ArrayLike] | pd.DataFrame, by: str, least: int = 2) -> tuple[list[str], np.ndarray]:
    """Return the names, and the values as a table of a line a session, float64, shape [S, K].

    Args:
        values: A column a system: a mapping of names to vectors of equal length, or a DataFrame; NaN where undefined.
        by: Who needs it, for errors.
        least: Fewest columns.

    Raises:
        ConfigError: there are too few systems, they differ in length, there is no session, or a value is infinite.
    """
    names = [str(name) for name, _ in values.items()]
    columns = [np.asarray(column, dtype=np.float64) for _, column in values.items()]
    if len(columns) < least or len(set(names)) < len(names):
        raise ConfigError(f"{by} needs {least} or more columns with different names, one each: {', '.join(names) or 'there is none'}.")
    shapes = {name: column.shape for name, column in zip(names, columns, strict=True)}
    if len(set(shapes.values())) > 1 or columns[0].ndim != 1 or not columns[0].size:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ConfigError(f"{by} needs a value a session, equally many of each and at least one: {found}.")
    table = np.column_stack(columns)
    if np.isinf(table).any():
        row, column = np.argwhere(np.isinf(table))[0]
        raise ConfigError(f"{by} needs finite values or NaN: {names[column]} has {table[row, column]} at session {row}.")
    return names, table


def complete_rows(table: np.ndarray, by: str, least: int = 2) -> np.ndarray:
    """Return the sessions on which every system is defined, shape [S', K].

    Raises:
        ConfigError: there are fewer than `least`.
    """
    complete = table[~np.isnan(table).any(axis=1)]
    if len(complete) < least:
        raise ConfigError(f"{by} needs {least} or more sessions on which all are defined; {len(complete)} of {len(table)} are.")
    return complete


def pairs_of(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the two systems of every pair, first below second, each of shape [n (n - 1) / 2]."""
    return np.triu_indices(n, 1)
