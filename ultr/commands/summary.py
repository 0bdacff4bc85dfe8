"""What `ultr describe` counts in a log, piece by piece, in memory that does not grow with the log."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ultr.data.log import ClickLog
from ultr.data.parquet import ParquetLog
from ultr.data.source import LogSource, projected
from ultr.random import hash_ids, mix

COUNTED = ("item", "position", "click", "query", "session", "count")  # the columns that are read
_MOST = 1 << 22  # distinct queries, orders or items that are told apart


class Distinct:
    """Counts distinct keys, told apart by 64-bit hashes; gives up where there are too many."""

    def __init__(self) -> None:
        self._known = np.empty((2, 0), np.uint64)
        self._new: list[np.ndarray] = []
        self._waiting = 0
        self.too_many = False

    def add(self, keys: np.ndarray, groups: np.ndarray | None = None) -> None:
        """Take more keys, shape [n], and, if wanted, the group of each."""
        if self.too_many:
            return
        unique, first = np.unique(keys, return_index=True)
        self._new.append(np.stack([unique, unique if groups is None else groups[first]]))
        self._waiting += len(unique)
        if self._waiting > max(1 << 16, self._known.shape[1]):  # twice as many each time: a key is sorted a few times only
            self._merge()

    def groups(self) -> np.ndarray:
        """Return the group of each distinct key."""
        self._merge()
        return self._known[1]

    def _merge(self) -> None:
        both = np.concatenate([self._known, *self._new], axis=1)
        _, first = np.unique(both[0], return_index=True)
        self._known, self._new, self._waiting = both[:, first], [], 0
        if len(first) > _MOST:
            self._known, self.too_many = self._known[:, :0], True

    def spell(self) -> str:
        """Write the number of distinct keys."""
        n = len(self.groups())
        return f"more than {_MOST:,}" if self.too_many else f"{n:,}"


class Roughly:
    """Estimates the number of distinct keys in fixed memory, within a percent or so, by how many of 2^24 places they leave empty.

    Source:
        Whang, Vander-Zanden and Taylor (1990), A linear-time probabilistic counting algorithm. doi:10.1145/78922.78925
    """

    def __init__(self) -> None:
        self._hit = np.zeros(1 << 24, dtype=bool)

    def add(self, keys: np.ndarray) -> None:
        """Take hashes, uint64, shape [n]."""
        self._hit[(keys >> np.uint64(40)).astype(np.int64)] = True

    def __float__(self) -> float:
        empty = len(self._hit) - int(np.count_nonzero(self._hit))
        return float(len(self._hit) * np.log(len(self._hit) / max(empty, 1)))


@dataclass
class Summary:
    """Counts over a log.

    Args:
        columns: Names of the row columns.
        page_columns: Names of the page columns.
        pages: Pages.
        rows: Rows.
        shown: Pages, each times its count.
        rows_shown: Rows, each times the count of its page.
        sessions: Sessions.
        clicks: Clicks; 0 where they are not logged.
        without_click: Pages without any.
        compressed: Whether a page stands for several.
        shortest: Rows of the shortest page.
        longest: Rows of the longest page.
        shown_at: Rows shown at each position, shape [L].
        clicked_at: Clicks at each position, shape [L].
        n_features: Features of the items.
        queries: Distinct queries.
        orders: Distinct (query, displayed order) pairs.
        items: Distinct items shown, where the log has no items of its own.
        seen: Which of the log's items were shown, shape [I].
        pairs: Distinct (query, item) pairs.
    """

    columns: tuple[str, ...]
    page_columns: tuple[str, ...]
    pages: int = 0
    rows: int = 0
    shown: int = 0
    rows_shown: int = 0
    sessions: int = 0
    clicks: int = 0
    without_click: int = 0
    compressed: bool = False
    shortest: int = np.iinfo(np.int64).max
    longest: int = 0
    shown_at: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    clicked_at: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    n_features: int = 0
    queries: Distinct = field(default_factory=Distinct)
    orders: Distinct = field(default_factory=Distinct)
    items: Distinct = field(default_factory=Distinct)
    seen: np.ndarray | None = None
    pairs: Roughly = field(default_factory=Roughly)

    def add(self, log: ClickLog) -> None:
        """Count a piece of whole sessions."""
        self.pages, self.rows = self.pages + len(log), self.rows + log.n_rows
        counts, lengths = log.counts, log.lengths
        self.shown, self.rows_shown = self.shown + int(counts.sum()), self.rows_shown + int((counts * lengths).sum())
        self.compressed = self.compressed or log.compressed
        self.shortest, self.longest = (
            min(self.shortest, int(lengths.min(initial=self.shortest))),
            max(self.longest, int(lengths.max(initial=0))),
        )
        if "session" in log.page_columns:
            self.sessions += len(log.sessions)
        item = hash_ids(log.columns["item"])
        if log.items is None:
            self.items.add(item)
        else:
            self.seen = np.zeros(len(log.items), dtype=bool) if self.seen is None else self.seen
            self.seen[log.columns["item"]] = True
            self.n_features = log.items.n_features
        if "query" in log.page_columns:
            self._add_orders(log, item)
        if "click" in log.columns:
            self._add_clicks(log)

    def _add_clicks(self, log: ClickLog) -> None:
        click = log.columns["click"].astype(np.int64)
        self.clicks += int(click.sum())
        self.without_click += int(np.count_nonzero(np.bincount(log.page_of_row(), click, minlength=len(log)) == 0))
        position = log.columns.get("position", log.slots())
        self.shown_at = _sum(self.shown_at, np.bincount(position, np.repeat(log.counts, log.lengths)))
        self.clicked_at = _sum(self.clicked_at, np.bincount(position, click))

    def _add_orders(self, log: ClickLog, item: np.ndarray) -> None:
        order = np.zeros(len(log), dtype=np.uint64)
        filled = log.lengths > 0
        order[filled] = np.add.reduceat(mix(item ^ mix(log.slots())), log.offsets[:-1][filled])  # modulo 2**64
        query = hash_ids(log.page_columns["query"])
        self.queries.add(query)
        self.orders.add(mix(query ^ mix(order)), query)
        self.pairs.add(mix(np.repeat(query, log.lengths) ^ item))


def summarise(source: LogSource) -> Summary:
    """Count over a log, reading no column in vain."""
    if isinstance(source, ParquetLog):
        summary = Summary(tuple(source.columns), tuple(source.page_columns))
    else:
        first = next(iter(source.chunks()))
        summary = Summary(tuple(first.columns), tuple(first.page_columns))
    for chunk in projected(source, COUNTED).chunks():
        summary.add(chunk)
    return summary


def _sum(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Add counts by position of different lengths."""
    out = np.zeros(max(len(left), len(right)), np.int64)
    out[: len(left)] += left
    out[: len(right)] += right.astype(np.int64)
    return out
