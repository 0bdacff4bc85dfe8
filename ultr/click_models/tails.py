"""The rows below the last clicks of a log, which chain laws go through at every step: in memory while they are few, else in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from ultr.engine.base import Engine, in_order
from ultr.errors import FileError

Result = TypeVar("Result")

RESIDENT = 1 << 25  # cells that stay in memory, 4 bytes each
_PARCEL = 1 << 22  # cells that are gone through at a time, and summed up before they are added to the others
_CELLS = 1 << 16  # cells of a block: they stay in the cache


@dataclass(frozen=True, eq=False)
class Tails:
    """The rows below the last click, or all rows, of B pages with t of them each.

    Args:
        rate: Number of each row's attraction, shape [t, B].
        last: Number of the attraction of the row clicked last, -1 where none was, shape [B].
        position: Position of that row, shape [B].
        weight: How much each page counts, shape [B]; once when None.
    """

    rate: np.ndarray
    last: np.ndarray
    position: np.ndarray
    weight: np.ndarray | None


Parcel = Sequence[Tails] | Path


class TailStore:
    """Keeps tails in parcels, whose order and size belong to the log alone.

    Parcels beyond RESIDENT cells, and all of them where an engine other than this process goes through them, lie in files of a temporary
    folder (the system's; TMPDIR says where), which goes with this object.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, list[Tails]] = {}
        self._cells = self._resident = 0
        self._parcels: list[Parcel] = []
        self._folder: TemporaryDirectory[str] | None = None

    def add(self, tails: Tails, away: bool) -> None:
        """Keep the tails of some pages, all equally long; `away` from memory if asked."""
        self._waiting.setdefault(len(tails.rate), []).append(tails)
        self._cells += tails.rate.size
        if self._cells >= _PARCEL:
            self.close(away)

    def close(self, away: bool) -> None:
        """Make a parcel of what waits."""
        if not self._cells:
            return
        joined = [_joined(parts) for _, parts in sorted(self._waiting.items())]
        if away or self._resident + self._cells > RESIDENT:
            self._parcels.append(self._written(joined))
        else:
            self._parcels.append(joined)
            self._resident += self._cells
        self._waiting, self._cells = {}, 0

    def map(self, function: Callable[[Iterator[Tails]], Result], block_cells: int, engine: Engine) -> Iterator[Result]:
        """Apply `function` to the blocks of about `block_cells` cells of each parcel; yield its results in the order of the parcels."""
        names = [f"tails {i} of {len(self._parcels)}" for i in range(len(self._parcels))]
        results = engine.map(partial(_of_parcel, function, max(_CELLS, block_cells)), self._parcels, names)
        return (result for _, result in in_order(results))

    def _written(self, tails: Sequence[Tails]) -> Path:
        try:
            if self._folder is None:
                self._folder = TemporaryDirectory(prefix="ultr-tails-")
            path = Path(self._folder.name) / f"{len(self._parcels):05d}.npy"
            with path.open("wb") as file:
                for part in tails:
                    for values in (part.rate, part.last, part.position, np.empty(0) if part.weight is None else part.weight):
                        np.save(file, values)
        except OSError as error:
            raise FileError(
                f"Chain laws keep rows of a long log in temporary files, which fails: {error}. Set TMPDIR to a place with room."
            ) from error
        return path


def _of_parcel(function: Callable[[Iterator[Tails]], Result], cells: int, parcel: Parcel) -> Result:
    tails = _read(parcel) if isinstance(parcel, Path) else iter(parcel)
    return function(block for part in tails for block in _blocks(part, cells))


def _read(path: Path) -> Iterator[Tails]:
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            rate, last, position, weight = (np.load(file) for _ in range(4))
            yield Tails(rate, last, position, weight if len(weight) else None)


def _joined(parts: Sequence[Tails]) -> Tails:
    """Join tails of one length."""
    rate, last, position = (np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in ("rate", "last", "position"))
    weights = [part.weight for part in parts if part.weight is not None]
    return Tails(rate, last, position, np.concatenate(weights) if weights else None)


def _blocks(tails: Tails, cells: int) -> Iterator[Tails]:
    """Cut tails into blocks of about `cells` cells."""
    step = max(1, cells // len(tails.rate))
    for at in range(0, len(tails.last), step):
        some = slice(at, at + step)
        weight = None if tails.weight is None else tails.weight[some]
        yield Tails(np.ascontiguousarray(tails.rate[:, some]), tails.last[some], tails.position[some], weight)
