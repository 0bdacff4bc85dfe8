"""Order the rows of every page by falling score: fast, exact, and independent of the order the rows came in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ultr.data.checks import refuse, rows_are

_BLOCK = 1 << 16  # rows a step: keys and their sort stay in the cache
_NOT_SIGN = np.int64(0x7FFFFFFFFFFFFFFF)


@dataclass(frozen=True, eq=False)
class Block:
    """Pages of one length: a matrix without padding.

    Args:
        pages: Page numbers, rising, shape [B].
        starts: First flat row of each of these pages, shape [B].
        length: Rows a page, L, at least 1.
    """

    pages: np.ndarray
    starts: np.ndarray
    length: int

    @cached_property
    def rows(self) -> np.ndarray:
        """Flat row numbers, shape [B, L]."""
        return self.starts[:, None] + np.arange(self.length)

    def of(self, values: np.ndarray, width: int | None = None) -> np.ndarray:
        """Return a flat column's values [N] as pages, shape [B, min(width, L)]; a view where the pages lie side by side."""
        run = self._run()
        return values.take(self.rows[:, :width]) if run is None else values[run].reshape(-1, self.length)[:, :width]

    def put(self, out: np.ndarray, values: np.ndarray) -> None:
        """Write pages [B, L] to their places in a flat column [N]."""
        run, values = self._run(), values.astype(out.dtype, copy=False)  # scattering is slow where it has to cast as well
        out[self.rows if run is None else run] = values if run is None else values.reshape(-1)

    def _run(self) -> slice | None:
        first, n = int(self.starts[0]), len(self.starts)
        together = int(self.starts[-1]) - first == (n - 1) * self.length
        return slice(first, first + n * self.length) if together else None


def blocks(offsets: np.ndarray) -> Iterator[Block]:
    """Iterate over the pages that have rows, pages of equal length together and about 65,536 rows at a time.

    Args:
        offsets: Page boundaries, shape [P + 1].
    """
    lengths = np.diff(offsets)
    by_length = np.argsort(lengths.astype(np.min_scalar_type(lengths.max(initial=0))), kind="stable")  # short integers sort by radix
    cuts = np.flatnonzero(np.diff(lengths[by_length])) + 1
    for pages in np.split(by_length, cuts):
        length = int(lengths[pages[0]]) if len(pages) else 0
        step = max(1, _BLOCK // max(1, length))
        for at in range(0, len(pages) if length else 0, step):
            some = pages[at : at + step]
            yield Block(some, offsets[some], length)


@dataclass(frozen=True, eq=False)
class Reordered(Mapping[str, np.ndarray]):
    """Row columns in another order within pages, each permuted when it is first read: who reads the first ranks pays for no more.

    Args:
        source: The columns as they were, each of shape [N]; not to be written into afterwards.
        offsets: Page boundaries, shape [P + 1].
        slots: For each place, which row of its page now stands there, counted from 0, shape [N].
    """

    source: Mapping[str, np.ndarray]
    offsets: np.ndarray
    slots: np.ndarray
    _done: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def rows(self) -> np.ndarray:
        """Which row of `source` stands in each place, shape [N]."""
        return np.repeat(self.offsets[:-1], np.diff(self.offsets)) + self.slots

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._done:
            self._done[name] = self.source[name].take(self.rows)
        return self._done[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.source)

    def __len__(self) -> int:
        return len(self.source)

    def __contains__(self, name: object) -> bool:
        return name in self.source

    def __reduce__(self) -> tuple[type[Reordered], tuple[Mapping[str, np.ndarray], np.ndarray, np.ndarray]]:
        return Reordered, (self.source, self.offsets, self.slots)  # what can be permuted again is not sent along


def order_by_score(scores: np.ndarray, offsets: np.ndarray, tiebreak: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the order of the rows of every page by falling score.

    A score's float64 image stands in the high bits of an integer, the slot in the page in the low bits, and each page is sorted as
    integers. Rows whose images meet are sorted again by the full score and then by the tie-break, so the result is exact.

    Args:
        scores: Numbers without NaN, shape [N].
        offsets: Page boundaries, shape [P + 1].
        tiebreak: Maps flat rows [n] to the integers that order equal scores, shape [n]; called for the rows whose images meet only.

    Returns:
        For each place, which row of its page belongs there, counted from 0, shape [N]; the shortest unsigned integers that hold it, since
        writing 8 bytes a row takes as long as sorting.

    Raises:
        LogError: a score is NaN.
    """
    slots = np.empty(len(scores), dtype=np.min_scalar_type(int(np.diff(offsets).max(initial=0))))
    for block in blocks(offsets):
        order = _order_block(scores, block, tiebreak)
        if np.isnan(scores[block.starts[:, None] + order[:, [0, -1]]]).any():  # NaN, of either sign, sorts beyond the infinities
            refuse(np.isnan(scores), "scores must not be NaN", "Look for missing features or a diverged model.", rows_are(offsets), scores)
        block.put(slots, order)
    return slots


def _order_block(scores: np.ndarray, block: Block, tiebreak: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the slots of a block's pages by falling score, shape [B, L]."""
    slot_bits = (1 << (block.length - 1).bit_length()) - 1
    keys = np.subtract(0.0, block.of(scores), dtype=np.float64).view(np.int64)  # falling scores rise, and -0.0 becomes 0.0
    keys ^= (keys >> 63) & _NOT_SIGN  # the bits of negative floats fall as the numbers rise
    keys &= ~slot_bits
    keys |= np.arange(block.length)
    keys.sort(axis=1)
    flat = keys.reshape(-1)
    close = np.flatnonzero((flat[1:] - flat[:-1]).view(np.uint64) <= slot_bits)  # equal images, and a few neighbours
    close = close[close % block.length != block.length - 1]  # the last row of a page does not meet the first of the next
    keys &= slot_bits
    if len(close):
        _order_meeting(keys, close, scores, block, tiebreak)
    return keys


def _order_meeting(
    order: np.ndarray, close: np.ndarray, scores: np.ndarray, block: Block, tiebreak: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Sort, in place, each run of places in which place i meets place i + 1 for i in `close`: by the full score, then the tie-break.

    Args:
        order: Slots by falling image of the score, shape [B, L].
        close: Flat places, each before the end of its page, shape [n].
    """
    meets_next = np.zeros(order.size, dtype=bool)
    meets_next[close] = True
    meets = meets_next.copy()
    meets[1:] |= meets_next[:-1]
    places = np.flatnonzero(meets)
    run = np.cumsum(~meets_next[places - 1])  # places - 1 may be -1: the last row never meets a next one
    page, place = np.divmod(places, block.length)
    slots = order[page, place]
    rows = block.starts[page] + slots
    order[page, place] = slots[np.lexsort((tiebreak(rows), -scores[rows], run))]
