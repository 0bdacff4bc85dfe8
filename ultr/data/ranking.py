"""RankingData: queries, their items and graded relevance, as learning-to-rank sets come."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ultr.data.checks import check_grades, rows_are
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import LogError
from ultr.random import generator


@dataclass(frozen=True, eq=False)
class RankingData:
    """Q queries with D documents: features, grades, and which documents belong to which query.

    Args:
        features: Finite numbers, shape [D, F]; stored as float32.
        grades: Whole numbers from 0 (irrelevant) to 31, shape [D].
        offsets: Query q owns the documents offsets[q]:offsets[q + 1], shape [Q + 1].
        query_ids: Ids of the queries, all different, shape [Q]; their numbers when None.
        names: Names of the features, if they have any.

    Raises:
        LogError: shapes disagree, features are not finite, grades are out of range, an id stands twice, or there is no document.
    """

    features: np.ndarray
    grades: np.ndarray
    offsets: np.ndarray
    query_ids: np.ndarray = None  # type: ignore[assignment]  # filled in below
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        items = Items(self.features, names=self.names)
        features, grades = items.features, np.asarray(self.grades)
        offsets = np.asarray(self.offsets, dtype=np.int64)
        query_ids = np.arange(len(offsets) - 1) if self.query_ids is None else np.asarray(self.query_ids)
        if len(items) == 0:
            raise LogError("There is no document: a ranking set needs at least one.")
        if grades.shape != (len(items),):
            raise LogError(f"grades must have shape [documents] = ({len(items)},), not {grades.shape}.")
        if offsets.ndim != 1 or len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != len(items) or (np.diff(offsets) < 0).any():
            raise LogError(f"offsets must rise from 0 to the {len(items)} documents, one boundary more than queries.")
        if query_ids.shape != (len(offsets) - 1,):
            raise LogError(f"query_ids must have shape [queries] = ({len(offsets) - 1},), not {query_ids.shape}.")
        if len(set(query_ids.tolist())) < len(query_ids):
            raise LogError(f"query_ids must be distinct: {len(query_ids)} queries have {len(set(query_ids.tolist()))} ids.")
        grades = check_grades(grades, rows_are(offsets))
        for name, value in (("features", features), ("grades", grades), ("offsets", offsets), ("query_ids", query_ids)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"RankingData({len(self)} queries, {len(self.grades)} documents, {self.features.shape[1]} features)"

    @property
    def n_features(self) -> int:
        """Number of features, F."""
        return self.features.shape[1]

    @cached_property
    def items(self) -> Items:
        """The documents as items of a log: item i is row i of `features`."""
        return Items(self.features, names=self.names)

    def split(self, test: float = 0.5, seed: int = 0) -> tuple[RankingData, RankingData]:
        """Split by query into (train, test), each in the order of this set.

        Args:
            test: Share of the queries for the test set, in (0, 1).
            seed: Which queries; the same seed gives the same split.

        Raises:
            LogError: `test` is outside (0, 1), or a side would be empty.
        """
        size = round(test * len(self)) if 0 < test < 1 else 0
        if not 0 < size < len(self):
            raise LogError(f"test must leave queries on both sides: {test!r} of {len(self)} queries does not.")
        chosen = np.zeros(len(self), dtype=bool)
        chosen[generator(seed, "split").permutation(len(self))[:size]] = True
        return self.select(~chosen), self.select(chosen)

    def select(self, query_mask: np.ndarray) -> RankingData:
        """Return the queries where `query_mask` [Q] is True."""
        query_mask, lengths = np.asarray(query_mask), np.diff(self.offsets)
        if query_mask.dtype != bool or query_mask.shape != lengths.shape:
            raise LogError(f"query_mask must be boolean with shape {lengths.shape}, not {query_mask.dtype} with shape {query_mask.shape}.")
        rows = np.repeat(query_mask, lengths)
        offsets = offsets_of(lengths[query_mask])
        return RankingData(self.features[rows], self.grades[rows], offsets, self.query_ids[query_mask], self.names)

    def widen(self, n_features: int) -> RankingData:
        """Return the set with zero columns added up to `n_features`: in a sparse file the last features may never occur."""
        missing = n_features - self.n_features
        if missing <= 0:
            return self
        features = np.pad(self.features, ((0, 0), (0, missing)))
        return RankingData(features, self.grades, self.offsets, self.query_ids, None)

    def as_log(self) -> ClickLog:
        """Return one page a query with all its documents, columns item and grade; no clicks, and the order means nothing."""
        columns = {"item": np.arange(len(self.grades), dtype=np.int32), "grade": self.grades}
        return ClickLog(self.offsets, columns, {"query": self.query_ids}, self.items)
