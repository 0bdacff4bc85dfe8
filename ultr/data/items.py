"""Item features and ids, kept once and shared by reference by every log about the same items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ultr.data.checks import check_features
from ultr.errors import LogError
from ultr.random import hash_ids


@dataclass(frozen=True, eq=False)
class Items:
    """What is known about each item: row i belongs to the value i of a log's column `item`.

    Args:
        features: Finite numbers, shape [I, F]; stored as float32. None where items are known by id only.
        ids: The user's own ids, shape [I]; None where the row number is the id. An id may stand in several rows
            (one a query) where features depend on the query.
        names: Names of the F features, if they have any; a fitted ranker checks them when it scores.

    Raises:
        LogError: shapes disagree, features are not finite, or neither features nor ids are given.
    """

    features: np.ndarray | None = None
    ids: np.ndarray | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.features is None and self.ids is None:
            raise LogError("Items needs features, ids or both.")
        if self.features is not None:
            with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused as such
                features = np.ascontiguousarray(self.features, dtype=np.float32)
            if features.ndim != 2:
                raise LogError(f"features must have shape [items, features], not {features.shape}.")
            check_features(features, self.names)
            object.__setattr__(self, "features", features)
            if self.names is not None and len(self.names) != features.shape[1]:
                raise LogError(f"{len(self.names)} feature names for {features.shape[1]} features.")
        if self.ids is not None:
            ids = np.asarray(self.ids)
            if ids.ndim > 1 and not isinstance(self.ids, np.ndarray):  # a list of tuples: each is one id
                ids = np.empty(len(self.ids), dtype=object)
                ids[:] = self.ids
            if ids.ndim != 1 or (self.features is not None and len(ids) != len(self.features)):
                raise LogError(f"ids must have shape [items] = [{len(self)}], not {ids.shape}.")
            object.__setattr__(self, "ids", ids)
        if self.names is not None:
            object.__setattr__(self, "names", tuple(map(str, self.names)))

    @classmethod
    def checked(cls, features: np.ndarray | None, ids: np.ndarray | None, names: tuple[str, ...] | None) -> Items:
        """Make items of parts that are known to be good: nothing is checked, so nothing of features on disk is read.

        Args:
            features: Finite float32 numbers in C order, shape [I, F].
            ids: One dimension, shape [I].
            names: F names.
        """
        items = object.__new__(cls)
        for name, value in (("features", features), ("ids", ids), ("names", names)):
            object.__setattr__(items, name, value)
        return items

    def __len__(self) -> int:
        if self.features is not None:
            return len(self.features)
        return 0 if self.ids is None else len(self.ids)

    @property
    def n_features(self) -> int:
        """Number of features, F; 0 where items are known by id only."""
        return 0 if self.features is None else self.features.shape[1]

    @cached_property
    def hashes(self) -> np.ndarray:
        """Hash of each item's id (its row number where it has none), uint64, shape [I]."""
        return hash_ids(np.arange(len(self)) if self.ids is None else self.ids)


def features_of(items: Items | None, by: str) -> np.ndarray:
    """Return the items' features [I, F], or raise LogError saying that `by` needs them."""
    if items is None or items.features is None or items.n_features == 0:
        raise LogError(f"{by} needs items with features: give features= to from_frame or read_table, or items=Items(features).")
    return items.features
