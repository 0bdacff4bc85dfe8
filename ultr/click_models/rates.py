"""Which rows of logs share an attraction: those of one (query, item), of one position, of both, or all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ultr.data.counts import Pairs
from ultr.data.log import ClickLog

if TYPE_CHECKING:
    import pandas as pd


class Rates:
    """The rates of a fitted model, numbered in the order in which they were found.

    Args:
        by: What rows share a rate: ("query", "item"), ("position",), all three, or nothing.
        pairs: The (query, item) pairs, where they matter.
    """

    def __init__(self, by: tuple[str, ...], pairs: Pairs) -> None:
        import pandas as pd

        self.by, self.pairs = by, pairs
        self.keys = pd.Index([], dtype=np.int64)  # (pair, position) of each rate, where both matter
        self._size = 0

    def __len__(self) -> int:
        return len(self.pairs) if self.by == ("query", "item") else self._size

    def add(self, log: ClickLog, position: np.ndarray, by: str) -> np.ndarray:
        """Number the rates of a log's rows at their positions [N], new ones too, shape [N]; `by` needs them."""
        if self.by == ("query", "item"):
            return self.pairs.add(log, by)
        if "query" in self.by:
            import pandas as pd

            keys, found = pd.factorize(self._keys(self.pairs.add(log, by), position))
            self.keys = self.keys.append(pd.Index(found[self.keys.get_indexer(pd.Index(found)) < 0]))
            self._size = len(self.keys)
            return self.keys.get_indexer(pd.Index(found))[keys]
        number = position if self.by else np.zeros(log.n_rows, dtype=np.int64)
        self._size = max(self._size, int(number.max(initial=-1)) + 1)
        return number

    def find(self, log: ClickLog, by: str) -> np.ndarray:
        """Return the rate of each row, -1 where it is not known, shape [N]; positions are those logged, else places in the page."""
        if self.by == ("query", "item"):
            return self.pairs.find(log, by)
        position = log.columns["position"] if "position" in log.columns else log.slots()
        if "query" in self.by:
            import pandas as pd

            pair = self.pairs.find(log, by)
            return np.where(pair >= 0, self.keys.get_indexer(pd.Index(self._keys(pair, position))), -1)
        number = position if self.by else np.zeros(log.n_rows, dtype=np.int64)
        return np.where(number < self._size, number, -1)

    def index(self) -> pd.Index:
        """Return what each rate belongs to, as the index of a table."""
        import pandas as pd

        pair, position = np.arange(len(self)), np.arange(len(self))
        if self.by == ("query", "item", "position"):
            pair, position = self.keys.to_numpy() >> 32, self.keys.to_numpy() & 0xFFFFFFFF
        levels = {"position": position}
        if "query" in self.by:
            levels |= {"query": self.pairs.query_ids()[pair], "item": self.pairs.item_ids()[pair]}
        return pd.MultiIndex.from_arrays([levels[name] for name in self.by], names=self.by) if self.by else pd.RangeIndex(len(self))

    @classmethod
    def of(cls, by: tuple[str, ...], pairs: Pairs, keys: np.ndarray, size: int) -> Rates:
        """Make rates anew from their parts."""
        import pandas as pd

        out = cls(by, pairs)
        out.keys, out._size = pd.Index(keys), size
        return out

    @staticmethod
    def _keys(pair: np.ndarray, position: np.ndarray) -> np.ndarray:
        return pair.astype(np.int64) << 32 | position.astype(np.int64)
