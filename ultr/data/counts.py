"""Sufficient statistics of a log: its (query, item) pairs, numbered, and how often each was shown and clicked in which context."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.errors import LogError

if TYPE_CHECKING:
    import pandas as pd

_DENSE_CELLS = 1 << 25  # cells that are counted in a table; beyond, those that occur are sorted
_SORTED_CELLS = 1 << 22  # cells that are sorted in one go at least


class Pairs:
    """The distinct (query, item) pairs of logs, numbered in the order in which they are found.

    An item is known by the user's own id where the log's items have ids, so logs with other `Items` objects can be looked up; else by
    its row number.

    Args:
        query: Page column that says what was searched; None where an item is the same whatever the query.
    """

    def __init__(self, query: str | None = "query") -> None:
        import pandas as pd

        self.query_column = query
        self.query, self.item = np.zeros((2, 0), dtype=np.int32)  # numbers of each pair's query and item, shape [U]
        self._queries = pd.Index([] if query else [None], dtype=object)
        self._ids: pd.Index | None = None  # of the items, where they have any
        self._known: tuple[Items, bool, np.ndarray | None] | None = None  # items seen last, whether to be added, number of each row
        self._pair_of_item = np.zeros(0, dtype=np.int32)  # most items belong to one query
        self._others = pd.Index([], dtype=np.int64)  # keys of the pairs whose item has another pair too
        self._pair_of_other = np.zeros(0, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.query)

    def add(self, log: ClickLog, by: str) -> np.ndarray:
        """Number the pairs of a log, new ones too.

        Args:
            log: Needs the page column `query`, unless that is None.
            by: Who needs it, for errors.

        Returns:
            Pair of each row, int32, shape [N].

        Raises:
            LogError: the page column is missing, or an item number is negative.
        """
        queries, items = self._query_numbers(log, by, grow=True), self._item_numbers(log, grow=True)
        pair = self._find(queries, items)
        if pair.min(initial=0) < 0:
            self._register(queries, items, np.flatnonzero(pair < 0))
            pair = self._find(queries, items)
        return pair

    def find(self, log: ClickLog, by: str) -> np.ndarray:
        """Return the pair of each row, -1 where it is not known, int32, shape [N]; arguments and errors as for `add`."""
        queries, items = self._query_numbers(log, by, grow=False), self._item_numbers(log, grow=False)
        return self._find(queries, items)

    def query_ids(self) -> np.ndarray:
        """Return the query of each pair, shape [U]; None everywhere where queries do not count."""
        return self._queries.to_numpy()[self.query]

    def item_ids(self) -> np.ndarray:
        """Return the user's id of each pair's item, or its row number, shape [U]."""
        return self.item.copy() if self._ids is None else self._ids.to_numpy()[self.item]

    def parts(self) -> PairParts:
        """Take the pairs apart, to be written down; `of` puts them together again."""
        used, query = np.unique(self.query, return_inverse=True)
        queries = self._queries.to_numpy()[used]
        if self._ids is None:
            return PairParts(queries, None, query.astype(np.int32), self.item)
        used, item = np.unique(self.item, return_inverse=True)
        return PairParts(queries, self._ids.to_numpy()[used], query.astype(np.int32), item.astype(np.int32))

    @classmethod
    def of(cls, query: str | None, parts: PairParts) -> Pairs:
        """Make pairs anew, with the page column `query`."""
        import pandas as pd

        out = cls(query)
        out._queries = pd.Index(list(parts.queries), dtype=object)
        out._ids = None if parts.items is None else pd.Index(parts.items)
        out._append(parts.query, parts.item)
        number, item = np.arange(len(out), dtype=np.int32), out.item
        out._pair_of_item = np.full(int(item.max(initial=-1)) + 1, -1, dtype=np.int32)
        out._pair_of_item[item] = number
        other = out._pair_of_item[item] != number
        out._others, out._pair_of_other = pd.Index(_keys(out.query[other], item[other])), number[other]
        return out

    def _append(self, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
        first = len(self)
        self.query = np.append(self.query, queries.astype(np.int32))
        self.item = np.append(self.item, items.astype(np.int32))
        return np.arange(first, len(self), dtype=np.int32)

    def _register(self, queries: np.ndarray, items: np.ndarray, rows: np.ndarray) -> None:
        """Number the pairs of these rows: an item's first pair in a table, the others among the keys."""
        import pandas as pd

        queries, items = queries[rows], items[rows]
        size = max(len(self._pair_of_item), int(items.max()) + 1)
        self._pair_of_item = np.pad(self._pair_of_item, (0, size - len(self._pair_of_item)), constant_values=-1)
        owner = np.full(size, -1, dtype=np.int32)
        owner[items] = queries
        new = np.flatnonzero((self._pair_of_item < 0) & (owner >= 0))
        self._pair_of_item[new] = self._append(owner[new], new)
        other = self.query[self._pair_of_item[items]] != queries
        keys = pd.unique(_keys(queries[other], items[other]))
        self._others = self._others.append(pd.Index(keys))
        self._pair_of_other = np.append(self._pair_of_other, self._append(keys >> 32, keys & 0xFFFFFFFF))

    def _find(self, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
        size = len(self._pair_of_item)
        if items.min(initial=0) < 0 or items.max(initial=-1) >= size:
            known = np.flatnonzero((items >= 0) & (items < size))
            pair = np.full(len(items), -1, dtype=np.int32)
            pair[known] = self._find(queries[known], items[known])
            return pair
        pair = self._pair_of_item.take(items)
        other = self.query.take(pair, mode="clip") != queries
        other |= pair < 0
        if other.any():
            import pandas as pd

            rows = np.flatnonzero(other)
            at = self._others.get_indexer(pd.Index(_keys(queries[rows], items[rows])))
            pair[rows] = np.append(self._pair_of_other, np.int32(-1))[at]
        return pair

    def _query_numbers(self, log: ClickLog, by: str, grow: bool) -> np.ndarray:
        """Number of each row's query, -1 where it is not known, int32, shape [N]."""
        if self.query_column is None:
            return np.zeros(log.n_rows, dtype=np.int32)
        import pandas as pd

        codes, ids = pd.factorize(_page_column(log, self.query_column, by), use_na_sentinel=False)
        number = self._queries.get_indexer(pd.Index(ids, dtype=object))
        if grow and (number < 0).any():
            new = number < 0
            number[new] = len(self._queries) + np.arange(np.count_nonzero(new))
            self._queries = self._queries.append(pd.Index(ids, dtype=object)[new])
        return np.repeat(number[codes].astype(np.int32), log.lengths)

    def _item_numbers(self, log: ClickLog, grow: bool) -> np.ndarray:
        """Number of each row's item, -1 where it is not known, shape [N]."""
        item = log.columns["item"]
        if item.dtype.kind not in "iu" or item.min(initial=0) < 0:
            raise LogError(f"item must be row numbers of the items, whole numbers from 0, not {item.dtype} from {item.min(initial=0)}.")
        if log.items is None:
            numbers = self._numbers_of(None, int(item.max(initial=-1)) + 1, grow)
        elif self._known is not None and self._known[0] is log.items and self._known[1] == grow:
            numbers = self._known[2]
        else:
            numbers = self._numbers_of(log.items, len(log.items), grow)
            self._known = log.items, grow, numbers
        return item if numbers is None else numbers.take(item)

    def _numbers_of(self, items: Items | None, size: int, grow: bool) -> np.ndarray | None:
        """Number of each row of `items`; None where they are the row numbers."""
        import pandas as pd

        ids = None if items is None else items.ids
        if self._ids is None and ids is None:
            return None
        index = pd.RangeIndex(size) if ids is None else pd.Index(ids)
        if self._ids is None and len(self) == 0 and grow:
            codes, self._ids = pd.factorize(index, use_na_sentinel=False)
            return codes.astype(np.int32)
        if self._ids is None:
            self._ids = pd.RangeIndex(int(self.item.max(initial=-1)) + 1)
        numbers = self._ids.get_indexer(index)
        if grow and (numbers < 0).any():
            codes, new = pd.factorize(index[numbers < 0], use_na_sentinel=False)
            numbers[numbers < 0] = len(self._ids) + codes
            self._ids = self._ids.append(new)
        return numbers.astype(np.int32)


class PairParts(NamedTuple):
    """Pairs as plain arrays.

    Args:
        queries: Ids of the queries, all different.
        items: Ids of the items, all different; None where items are row numbers.
        query: Number of each pair's query, shape [U].
        item: Number of each pair's item, or its row number, shape [U].
    """

    queries: np.ndarray
    items: np.ndarray | None
    query: np.ndarray
    item: np.ndarray


def _keys(queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    return queries.astype(np.int64) << 32 | items.astype(np.int64) & 0xFFFFFFFF


def _page_column(log: ClickLog, name: str, by: str) -> np.ndarray:
    if name not in log.page_columns:
        have = ", ".join(log.page_columns) or "none"
        raise LogError(
            f"{by} needs the page column {name!r}, which the log lacks. It has: {have}."
            " Give query= another one, or query=None where items are the same whatever the query."
        )
    return log.page_columns[name]


class CellCounts:
    """How often a row of each (pair, context) was shown and clicked, summed over any number of pieces of a log.

    A context is whatever examination depends on, such as the position.
    """

    def __init__(self) -> None:
        self._shown, self._clicks = np.zeros((2, 0, 0))  # with room for more pairs
        self._sorted: list[Cells] = []  # in place of the tables, once those would be too large

    def add(self, pair: np.ndarray, context: np.ndarray, clicks: np.ndarray | None, counts: np.ndarray | None = None) -> None:
        """Count rows.

        Args:
            pair: Numbers from 0, shape [N].
            context: Numbers from 0, shape [N].
            clicks: Clicks of each row, shape [N]; none when None.
            counts: How often each row was shown, shape [N]; once when None.
        """
        rows, columns = (
            max(old, int(new.max()) + 1 if len(new) else 0) for old, new in zip(self._shown.shape, (pair, context), strict=True)
        )
        if self._sorted or rows * columns > _DENSE_CELLS:
            if not self._sorted:
                self._sorted, self._shown, self._clicks = [self.cells()], *np.zeros((2, 0, 0))
            self._sorted.append(_sorted_cells(pair, context, np.zeros(len(pair)) if clicks is None else clicks, counts))
            self._merge_sorted()
            return
        self._grow(rows, columns)
        key = pair.astype(np.intp)
        key *= self._shown.shape[1]
        key += context
        _add_at(self._shown, key, counts)
        if clicks is not None:
            clicked = np.flatnonzero(clicks)
            _add_at(self._clicks, key[clicked], clicks[clicked] if counts is not None or clicks.dtype.kind == "f" else None)

    def cells(self) -> Cells:
        """Return the cells that were shown, by pair and context."""
        if self._sorted:
            self._sorted = [_joined(self._sorted)]
            return self._sorted[0]
        flat = np.flatnonzero(self._shown)
        shown, clicks = self._shown.reshape(-1)[flat], self._clicks.reshape(-1)[flat]
        return Cells(*np.divmod(flat, max(1, self._shown.shape[1])), shown, clicks)

    def _grow(self, rows: int, columns: int) -> None:
        """Make room for pairs below `rows` and contexts below `columns`; half as many pairs again, so that few pieces have to."""
        old_rows, old_columns = self._shown.shape
        if rows > old_rows:
            rows = min(max(rows, old_rows + old_rows // 2), _DENSE_CELLS // max(1, columns))
        if rows > old_rows or columns > old_columns:
            more = [(0, rows - old_rows), (0, columns - old_columns)]
            self._shown = np.pad(self._shown, more)
            self._clicks = np.pad(self._clicks, more)

    def _merge_sorted(self) -> None:
        """Join what was sorted piece by piece, once it is half as much as what was joined before."""
        if sum(len(part.pair) for part in self._sorted[1:]) > max(len(self._sorted[0].pair) // 2, _SORTED_CELLS):
            self._sorted = [_joined(self._sorted)]


def _add_at(table: np.ndarray, key: np.ndarray, values: np.ndarray | None) -> None:
    """Add values (ones when None) to the cells of a table with these flat numbers."""
    if table.size <= len(key):
        table += np.bincount(key, values, table.size).reshape(table.shape)
    else:  # a large table is not passed over for a small piece
        np.add.at(table.reshape(-1), key, 1.0 if values is None else values)


class Cells(NamedTuple):
    """Cells that were shown, by pair and then context, each of shape [C].

    Args:
        pair: Number of the pair.
        context: Number of the context.
        shown: How often a row was shown, above 0.
        clicks: How often it was clicked.
    """

    pair: np.ndarray
    context: np.ndarray
    shown: np.ndarray
    clicks: np.ndarray


def _joined(parts: list[Cells]) -> Cells:
    """Add up cells that are sorted, with few copies of them at a time."""
    if len(parts) == 1:
        return parts[0]
    keys = np.concatenate([part.pair.astype(np.int64) << 32 | part.context for part in parts])
    order = np.argsort(keys, kind="stable")  # finds the runs
    keys = keys[order]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    keys = keys[first]
    shown, clicks = (
        np.add.reduceat(np.concatenate([getattr(part, name) for part in parts])[order], first) if len(first) else np.zeros(0)
        for name in ("shown", "clicks")
    )
    return Cells(*_apart(keys), shown, clicks)


def _sorted_cells(pair: np.ndarray, context: np.ndarray, clicks: np.ndarray, counts: np.ndarray | None) -> Cells:
    """Count cells by sorting, for tables that would be mostly empty."""
    keys, cell = np.unique(pair.astype(np.int64) << 32 | context, return_inverse=True)
    shown, clicked = np.bincount(cell, counts, len(keys)), np.bincount(cell, clicks, len(keys))
    return Cells(*_apart(keys), shown.astype(np.float64), clicked)


def _apart(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pair and context of the keys, in 4 bytes each where they fit."""
    context = keys & 0xFFFFFFFF
    return (keys >> 32).astype(np.int32), context.astype(np.int32 if context.max(initial=0) < 1 << 31 else np.int64)
