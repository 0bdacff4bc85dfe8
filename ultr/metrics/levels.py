"""Positives and negatives at every distinct score: what an AUC has to know of a log, and what two pieces of one add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ultr.errors import LogError


class Table(NamedTuple):
    """Distinct levels, sorted by group and score; a level is a score within a group.

    Args:
        groups: Ids of the G groups, rising, the missing one last, shape [G].
        code: Which group, shape [T].
        score: Shape [T].
        positive: Weight of the positive rows, shape [T].
        negative: Weight of the negative rows, shape [T].
    """

    groups: np.ndarray
    code: np.ndarray
    score: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


@dataclass(frozen=True, eq=False)
class Levels:
    """Tables of pieces of a log, which add up: a few times as long as there are distinct scores (of each group), however many rows.

    Memory is bounded by the distinct scores alone: where every row has one of its own, there are as many levels as rows.

    Args:
        tables: Each less than half as long as the one before, so that adding many small pieces to a long one stays cheap.
    """

    tables: tuple[Table, ...]

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray, negative: np.ndarray, groups: np.ndarray | None = None) -> Levels:
        """Sum rows up.

        Args:
            scores: Without NaN, shape [N].
            positive: Weight of each row as a positive, 0 or more, shape [N].
            negative: Weight of each row as a negative, 0 or more, shape [N].
            groups: Ids that sort, missing ones (None, NaN) as one group, shape [N]; one group for all rows when None.
        """
        code = np.zeros(len(scores), dtype=np.int64)
        if groups is None:
            return cls((_table(code[:1], code, scores, positive, negative),))
        ids, code = _numbered(groups)
        return cls((_table(ids, code, scores, positive, negative),))

    def __add__(self, other: Levels) -> Levels:
        tables = list(self.tables)
        for table in other.tables:
            tables.append(table)
            while len(tables) > 1 and 2 * len(tables[-1].score) >= len(tables[-2].score):
                tables[-2:] = [_joined(tables[-2], tables[-1])]
        return Levels(tuple(tables))

    def table(self) -> Table:
        """Return all levels in one table."""
        total = self.tables[-1]
        for table in reversed(self.tables[:-1]):
            total = _joined(table, total)
        return total

    def auc(self) -> float:
        """Return the AUC of the only group; NaN where only one class has weight."""
        values = aucs(self.table())
        return float(values[0]) if len(values) else float("nan")


def aucs(table: Table) -> np.ndarray:
    """Return the AUC within each group, shape [G]; NaN where a class has no weight."""
    _, group, _, positive, negative = table
    below = np.cumsum(negative) - negative
    below -= below[np.searchsorted(group, group)]  # of the same group
    pairs = weight_of_groups(table, positive) * weight_of_groups(table, negative)
    won = weight_of_groups(table, positive * (below + 0.5 * negative))
    return np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def weight_of_groups(table: Table, weight: np.ndarray) -> np.ndarray:
    """Sum weights of levels [T] within each group, shape [G]."""
    return np.bincount(table.code, weight, minlength=len(table.groups))


def _numbered(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct groups, rising, shape [G], and the number of each row's, shape [N]; all missing ones are one, the last."""
    if groups.dtype.kind != "O":
        return np.unique(groups, return_inverse=True)
    import pandas as pd

    try:
        number, ids = pd.factorize(groups, sort=True, use_na_sentinel=False)
    except TypeError as error:
        raise LogError(f"groups must be ids that sort, such as numbers and text: {error}. Convert them to text first.") from error
    return ids, number


def _joined(left: Table, right: Table) -> Table:
    groups, code = left.groups, np.concatenate([left.code, right.code])
    if not np.array_equal(left.groups, right.groups):
        groups, number = _numbered(np.concatenate([left.groups, right.groups]))
        code = np.concatenate([number[left.code], number[len(left.groups) + right.code]])
    rows = (np.concatenate(pair) for pair in zip(left[2:], right[2:], strict=True))
    return _table(groups, code, *rows)


def _table(groups: np.ndarray, code: np.ndarray, scores: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> Table:
    if not len(scores):
        return Table(groups, code, scores, positive, negative)
    order = np.lexsort((scores, code)) if code.any() else np.argsort(scores)
    code, scores = code[order], scores[order]
    new_level = np.ones(len(code), dtype=bool)
    new_level[1:] = (code[1:] != code[:-1]) | (scores[1:] != scores[:-1])
    first = np.flatnonzero(new_level)
    return Table(groups, code[first], scores[first], np.add.reduceat(positive[order], first), np.add.reduceat(negative[order], first))
