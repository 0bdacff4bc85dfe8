"""Merge the pages that show the same order for the same query. Rows decide what is equal; hashes only find candidates."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from ultr.data.checks import check_clicks, rows_are
from ultr.data.log import ClickLog
from ultr.errors import CompressionWarning
from ultr.random import mix

LEAST_MERGED = 0.1  # share of the pages that has to disappear, or the log stays as it is
_ORDER = ("item", "position")  # row columns that make up the displayed order
_BLOCK_PAGES, _BLOCK_ROWS = 1 << 15, 1 << 19  # a step: what it reads and compares stays in the cache

Block = tuple[int, np.ndarray]  # the length of some equally long pages, and their numbers, rising


def compress(log: ClickLog) -> ClickLog:
    """Merge pages with the same query and the same displayed order (`item`, and `position` where logged) into one.

    Args:
        log: Pages of any lengths. Without a page column `query`, pages of the same order merge whoever saw them. Pages that stand for
            several already (page column `count`) merge like others.

    Returns:
        The distinct pages by first appearance. `click` is summed (int64); the page column `count` (int64) says how many shown pages each
        one stands for. Columns that are equal on all merged pages stay (NaN equals NaN), the page id `page` goes, and others are dropped
        with one CompressionWarning that names them. Where fewer than LEAST_MERGED of the pages would disappear the log itself comes
        back, with a CompressionWarning unless it has a `count` already.

    Raises:
        LogError: a click is no whole number.
    """
    if len(log) == 0:
        return log
    blocks = blocks_of(log.lengths)
    first = _first_page(log, blocks)
    kept = np.flatnonzero(first == np.arange(len(log)))
    merged = len(log) - len(kept)
    if merged < LEAST_MERGED * len(log):
        if "count" not in log.page_columns:
            _warn(
                f"Compressing would gain nothing: {merged} of {len(log)} pages repeat the query and the order of an earlier page."
                " The log stays as it is, and everything that takes a compressed log takes it too."
            )
        return log
    plain = _constant_columns(log, blocks, first)
    dropped = [name for name in log.columns if name not in plain.columns]
    dropped += [f"{name} (page column)" for name in log.page_columns if name not in plain.page_columns and name != "page"]
    if dropped:
        _warn(f"Compressing drops columns that differ on merged pages: {', '.join(dropped)}. Use the full log for what needs them.")
    return _with_sums(plain.take(kept), log, blocks, first, kept)


def _warn(message: str) -> None:
    warnings.warn(message, CompressionWarning, stacklevel=4)  # the line that called ClickLog.compress


def blocks_of(lengths: np.ndarray) -> list[Block]:
    """Split the pages into blocks of equally long ones."""
    sizes = np.bincount(lengths)
    present = np.flatnonzero(sizes)
    narrow = lengths.astype(np.min_scalar_type(present[-1]), copy=False)  # 8 and 16 bits are sorted by radix
    order = np.arange(len(lengths)) if len(present) == 1 else np.argsort(narrow, kind="stable")
    blocks, start = [], 0
    for length in present.tolist():
        end = start + int(sizes[length])
        step = max(1, min(_BLOCK_PAGES, _BLOCK_ROWS // max(1, length)))
        blocks += [(length, order[at : min(at + step, end)]) for at in range(start, end, step)]
        start = end
    return blocks


def _first_page(log: ClickLog, blocks: list[Block]) -> np.ndarray:
    """Return for each page the first page with the same query and order, int64, shape [P]."""
    order = [_codes(log.columns[name]) for name in _ORDER if name in log.columns]
    order = [values for values in order if not _set_by_length(values, log.offsets, blocks)]
    query = [_codes(log.page_columns["query"])] if "query" in log.page_columns else []
    return first_equal(order, query, log.offsets, blocks)


def first_equal(order: list[np.ndarray], keys: list[np.ndarray], offsets: np.ndarray, blocks: list[Block] | None = None) -> np.ndarray:
    """Return for each page the first page with the same keys and rows, int64, shape [P].

    A hash table in arrays: the pages of a block look up their slots together, pages that equal the page at their slot are done, and the
    rest try the next slot.

    Args:
        order: Whole numbers that tell pages apart, each of shape [N].
        keys: Whole numbers that tell pages apart, each of shape [P].
        offsets: Page i owns rows offsets[i]:offsets[i + 1], shape [P + 1].
        blocks: `blocks_of` the pages' lengths, if known.
    """
    lengths = np.diff(offsets)
    n = len(lengths)
    mask = (1 << (2 * n - 1).bit_length()) - 1  # at most half of the slots fill up
    table = np.zeros(mask + 1, dtype=np.min_scalar_type(n))
    first, hashes = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for length, pages in blocks_of(lengths) if blocks is None else blocks:
        rows = [rows_at(values, offsets[pages], length) for values in order]
        own_hash = hashes[pages] = page_hashes([key[pages] for key in keys], rows, len(pages))
        slots = own_hash & mask
        while len(pages):
            found = _claim(table, slots, pages)
            same = (hashes[found] == own_hash) & (lengths[found] == length)
            other = np.where(same, found, pages)
            for key in keys:
                same &= key[other] == key[pages]
            for values, own in zip(order, rows, strict=True):
                same &= equal_pages(own, rows_at(values, offsets[other], length))
            first[pages[same]] = found[same]
            rest = np.flatnonzero(~same)
            pages, own_hash, rows = pages[rest], own_hash[rest], [own[rest] for own in rows]
            slots = (slots[rest] + 1) & mask
    return first


def _set_by_length(values: np.ndarray, offsets: np.ndarray, blocks: list[Block]) -> bool:
    """Tell whether all pages of one length have the same rows, as positions 0, 1, 2, ... do: such a column tells no pages apart."""
    seen: dict[int, np.ndarray] = {}
    for length, pages in blocks:
        rows = rows_at(values, offsets[pages], length)
        if not (np.array_equal(rows[1:], rows[:-1]) and np.array_equal(rows[0], seen.setdefault(length, rows[0]))):
            return False
    return True


def _claim(table: np.ndarray, slots: np.ndarray, pages: np.ndarray) -> np.ndarray:
    """Return the page that owns each slot; the table holds page + 1, and an empty slot goes to the first page that asks for it."""
    found = table[slots]
    empty = np.flatnonzero(found == 0)[::-1]  # the last one written stays: the first
    if len(empty):
        table[slots[empty]] = pages[empty] + 1
        found = table[slots]
    return found.astype(np.int64) - 1


def page_hashes(keys: list[np.ndarray], columns: list[np.ndarray], n: int) -> np.ndarray:
    """Hash the keys [n] and the rows [n, L] of each of n pages; int64, shape [n]."""
    hashes = mix(np.zeros(n, dtype=np.int8) if not keys else keys[0])
    for key in keys[1:]:
        hashes = mix(hashes ^ mix(key))
    for i, rows in enumerate(columns):
        factors = mix(np.arange(rows.shape[1]) + (i << 32)).view(np.int64) | 1
        hashes = mix(hashes ^ (rows @ factors).view(np.uint64))
    return hashes.view(np.int64)


def _constant_columns(log: ClickLog, blocks: list[Block], first: np.ndarray) -> ClickLog:
    """Keep what tells pages apart, what is summed, and the columns that are the same on every page as on the first one equal to it."""
    whole_pages = [(1, pages) for _, pages in blocks]
    columns, page_columns = {}, {}
    for name, values in log.columns.items():
        if name in (*_ORDER, "click") or _constant(values, log.offsets, blocks, first):
            columns[name] = values
    for name, values in log.page_columns.items():
        if name in ("query", "count") or _constant(values, np.arange(len(log)), whole_pages, first):
            page_columns[name] = values
    return replace(log, columns=columns, page_columns=page_columns)


def _constant(values: np.ndarray, offsets: np.ndarray, blocks: list[Block], first: np.ndarray) -> bool:
    floating = values.dtype.kind in "fc"
    values = np.ascontiguousarray(values) if values.dtype.kind in "biufcSU" else _codes(values)
    for length, pages in blocks:
        own, other = rows_at(values, offsets[pages], length), rows_at(values, offsets[first[pages]], length)
        if not np.array_equal(own, other) and not (floating and np.array_equal(own, other, equal_nan=True)):
            return False
    return True


def _with_sums(out: ClickLog, log: ClickLog, blocks: list[Block], first: np.ndarray, kept: np.ndarray) -> ClickLog:
    """Put the summed clicks and counts into `out`, whose page i is page `kept[i]` of the log."""
    number = np.empty(len(log), dtype=np.int64)
    number[kept] = np.arange(len(kept))
    click, counts = log.columns.get("click"), log.page_columns.get("count")
    if click is not None and click.dtype.kind not in "biu":
        click = check_clicks(click, np.repeat(log.counts, log.lengths), rows_are(log.offsets))
    sums, count = np.zeros(out.n_rows, dtype=np.int64), np.zeros(len(out), dtype=np.int64)
    for length, pages in blocks:
        target = number[first[pages]]
        np.add.at(count, target, 1 if counts is None else counts[pages].astype(np.int64))
        if click is not None and length:
            clicks = rows_at(np.ascontiguousarray(click), log.offsets[pages], length).reshape(-1)
            cells = np.flatnonzero(clicks != 0)
            shift = out.offsets[target] - np.arange(len(pages)) * length
            np.add.at(sums, cells + shift[cells // length], clicks[cells].astype(np.int64))
    return replace(out if click is None else out.with_columns(click=sums), page_columns={**out.page_columns, "count": count})


def _codes(values: np.ndarray) -> np.ndarray:
    """Return contiguous integers that are equal where the values are; missing values equal one another."""
    if values.dtype.kind in "biu":
        return np.ascontiguousarray(values if values.dtype != np.uint64 else values.view(np.int64))
    if values.dtype.kind in "mM":
        return np.ascontiguousarray(values).view(np.int64)
    import pandas as pd

    return pd.factorize(values)[0]


def rows_at(values: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Return the rows of equally long pages, shape [B, L]; a view where the pages are adjacent."""
    if length == 0:
        return np.empty((len(starts), 0), dtype=values.dtype)
    if starts[-1] - starts[0] == (len(starts) - 1) * length and (np.diff(starts) == length).all():
        return values[starts[0] : starts[0] + len(starts) * length].reshape(-1, length)
    record = np.dtype((np.void, length * values.itemsize))  # a page's rows as one value: one copy a page instead of one a row
    windows = np.ndarray((len(values) - length + 1,), record, values, strides=(values.itemsize,))
    return windows[starts].view(values.dtype).reshape(-1, length)


def equal_pages(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return which of the pages [B, L] are equal, shape [B]."""
    return np.ones(len(left), dtype=bool) if np.array_equal(left, right) else (left == right).all(axis=1)
