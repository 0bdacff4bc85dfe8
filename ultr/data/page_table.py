"""Number the distinct pages of a log that is read in pieces: a hash table that stays, and pages compared row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ultr.data import compress
from ultr.data.log import ClickLog

_FIRST_SLOTS = 1 << 12


class Grown:
    """An array that grows at its end; adding is cheap on average."""

    def __init__(self, dtype: np.dtype | type) -> None:
        self._array = np.empty(0, dtype=dtype)
        self._length = 0

    @property
    def values(self) -> np.ndarray:
        """What has been added, as a view that is good until more is."""
        return self._array[: self._length]

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return self._array.nbytes

    def append(self, values: np.ndarray) -> None:
        """Add values at the end; they are cast to the dtype of the array."""
        end = self._length + len(values)
        if end > len(self._array):
            grown = np.empty(max(end, len(self._array) * 3 // 2), dtype=self._array.dtype)
            grown[: self._length] = self.values
            self._array = grown
        self._array[self._length : end] = values
        self._length = end


class PageTable:
    """Numbers for distinct pages, by first appearance. Hashes find candidates, rows decide.

    Args:
        dtype: Of the rows that tell pages apart.
        n_keys: How many numbers a page has that tell pages apart too.
    """

    def __init__(self, dtype: np.dtype, n_keys: int) -> None:
        self.rows = Grown(dtype)
        self.offsets = Grown(np.int64)  # where each page's rows start
        self.lengths = Grown(np.int64)
        self._keys = [Grown(np.int64) for _ in range(n_keys)]
        self._hashes = Grown(np.int64)
        self._slots = np.zeros(_FIRST_SLOTS, dtype=np.int32)  # number of a page + 1; 0 is empty

    def __len__(self) -> int:
        return len(self.lengths.values)

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return self._slots.nbytes + sum(a.nbytes for a in (self.rows, self.offsets, self.lengths, self._hashes, *self._keys))

    def number(self, rows: np.ndarray, offsets: np.ndarray, keys: Sequence[np.ndarray] = ()) -> tuple[np.ndarray, np.ndarray]:
        """Number pages, new ones too.

        Args:
            rows: Numbers that tell pages apart, contiguous, shape [N].
            offsets: Page i owns rows offsets[i]:offsets[i + 1], shape [P + 1].
            keys: Numbers that tell pages apart, each of shape [P].

        Returns:
            The number of each page, int64, shape [P], and the pages that are new, rising.
        """
        lengths = np.diff(offsets)
        number, hashes = np.empty(len(lengths), dtype=np.int64), np.empty(len(lengths), dtype=np.int64)
        for length, pages in compress.blocks_of(lengths) if len(lengths) else []:
            own = compress.rows_at(rows, offsets[pages], length)
            block_keys = [key[pages] for key in keys]
            hashes[pages] = own_hash = compress.page_hashes(block_keys, [own], len(own))
            number[pages] = self._find(own, block_keys, own_hash)
        unknown = np.flatnonzero(number < 0)
        if not len(unknown):
            return number, unknown
        few = ClickLog(offsets, {"item": rows}, {f"key{i}": key for i, key in enumerate(keys)}).take(unknown)
        first = compress.first_equal([few.columns["item"]], [few.page_columns[f"key{i}"] for i in range(len(keys))], few.offsets)
        distinct = first == np.arange(len(few))
        place = np.cumsum(distinct) - 1 + len(self)
        number[unknown] = place[first]
        new = unknown[distinct]
        self._add(few.select(distinct), hashes[new])
        return number, new

    def _find(self, own: np.ndarray, keys: list[np.ndarray], hashes: np.ndarray) -> np.ndarray:
        """Return the number of each page of a block, -1 where it is not known."""
        number = np.full(len(own), -1, dtype=np.int64)
        mask, pages, slots = len(self._slots) - 1, np.arange(len(own)), hashes & (len(self._slots) - 1)
        while len(pages):
            found = self._slots[slots].astype(np.int64) - 1
            taken = np.flatnonzero(found >= 0)
            pages, found, slots = pages[taken], found[taken], slots[taken]
            same = self._equal(own if len(pages) == len(own) else own[pages], [key[pages] for key in keys], hashes[pages], found)
            number[pages[same]] = found[same]
            rest = np.flatnonzero(~same)
            pages, slots = pages[rest], (slots[rest] + 1) & mask
        return number

    def _equal(self, own: np.ndarray, keys: list[np.ndarray], hashes: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Return which pages [B] equal the page of the number beside it."""
        same = (self._hashes.values[found] == hashes) & (self.lengths.values[found] == own.shape[1])
        for key, known in zip(keys, self._keys, strict=True):
            same &= known.values[found] == key
        near = np.flatnonzero(same)
        if len(near):
            there = compress.rows_at(self.rows.values, self.offsets.values[found[near]], own.shape[1])
            same[near] = compress.equal_pages(own if len(near) == len(own) else own[near], there)
        return same

    def _add(self, pages: ClickLog, hashes: np.ndarray) -> None:
        """Keep distinct pages that are not known, and make them known."""
        before = len(self)
        self.offsets.append(pages.offsets[:-1] + len(self.rows.values))
        self.lengths.append(pages.lengths)
        self.rows.append(pages.columns["item"])
        self._hashes.append(hashes)
        for known, key in zip(self._keys, pages.page_columns.values(), strict=True):
            known.append(key)
        if 2 * len(self) > len(self._slots):  # at most half of the slots fill up
            self._slots = np.zeros(1 << (4 * len(self) - 1).bit_length(), dtype=np.int32)
            before = 0
        number = np.arange(before, len(self))
        mask = len(self._slots) - 1
        slots = self._hashes.values[number] & mask
        while len(number):
            empty = np.flatnonzero(self._slots[slots] == 0)
            self._slots[slots[empty]] = number[empty] + 1
            rest = np.flatnonzero(self._slots[slots] != number + 1)
            number, slots = number[rest], (slots[rest] + 1) & mask
