"""The columns of a simulated log: the truth about the pages shown, and the clicks on them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulators.world import Menu, World
from ultr.data.checks import check_probabilities
from ultr.data.log import ClickLog
from ultr.errors import UltrWarning


@dataclass(frozen=True, eq=False)
class Shown:
    """B pages, and where the truth about their rows stands.

    Args:
        query_ids: Id of each page's query, shape [B].
        mask: True where a page has a row, shape [B, width]; None where every cell is one.
        tables: For each column a table whose entries at `index` are the column's cells: one entry a document [D], or one a page [M, width].
        index: Documents [B, width] or pages [B]; any number where no row is shown.
    """

    query_ids: np.ndarray
    mask: np.ndarray | None
    tables: Mapping[str, np.ndarray]
    index: np.ndarray

    @classmethod
    def documents(cls, world: World, queries: np.ndarray, rows: np.ndarray) -> Shown:
        """Look pages up document by document: query numbers [B], rows [B, width] with -1 behind the last one."""
        mask = None if rows[:, -1].min(initial=0) >= 0 else rows >= 0
        return cls(world.data.query_ids[queries], mask, world.documents, rows)

    def cells(self, name: str) -> np.ndarray:
        """Return a column's cells, shape [B, width]."""
        return np.take(self.tables[name], self.index, axis=0, mode="clip")

    def put(self, out: np.ndarray, cells: np.ndarray) -> None:
        """Write the cells [B, width] that are shown to these pages' part of a column, page after page."""
        shown = self._shown
        if shown is None:
            out.reshape(cells.shape)[...] = cells
        else:
            out[...] = np.take(cells.reshape(-1), shown, mode="clip")

    @cached_property
    def _shown(self) -> np.ndarray | None:
        """Places of the shown cells among all of them, shape [n]; None where every cell is shown."""
        return None if self.mask is None else np.flatnonzero(self.mask)


class KnownPages:
    """The truth about all pages of a menu, looked up once.

    Args:
        world: What the pages are about.
        menu: The pages that can be shown.

    Raises:
        LogError: a position is never examined.
    """

    def __init__(self, world: World, menu: Menu) -> None:
        self.pages = Shown.documents(world, menu.queries, menu.rows)
        self.tables = {name: self.pages.cells(name) for name in self.pages.tables}
        if world.law.knows_examination:
            values = propensity(world, self.pages, self.tables["relevance"], self.tables.get("satisfaction"))
            self.tables |= {} if values is None else {"propensity": values}

    def shown(self, which: np.ndarray) -> Shown:
        """Return the pages with these numbers [B]."""
        mask = self.pages.mask
        return Shown(self.pages.query_ids[which], None if mask is None else mask[which], self.tables, which)


def propensity(world: World, pages: Shown, attraction: np.ndarray, satisfaction: np.ndarray | None) -> np.ndarray | None:
    """Return P(examined) of every cell, float32, shape [B, width].

    The propensities of a log are in (0, 1]: no weight makes up for a row that is never seen. Where a law never examines a position
    the pages have to be cut. Where it never examines a row below one that is always clicked, no user ever does: nothing is returned.

    Warns:
        UltrWarning: nothing is returned, why, and what to do.

    Raises:
        LogError: a position is never examined.
    """
    values = world.law.marginal_examination(attraction, satisfaction, pages.mask).astype(np.float32)
    positive = values if pages.mask is None else np.where(pages.mask, values, 1)
    if positive.min(initial=1) > 0:
        return values
    ids, width, flat = pages.query_ids, world.width, positive.reshape(-1)
    if world.law.independent_rows:
        check_probabilities("propensity", flat, lambda i: f"query {ids[i // width]}, position {i % width}", zero=False)
    first = int(np.argmin(flat))
    warnings.warn(
        f"{type(world.law).__name__} never examines query {ids[first // width]}, position {first % width}, below rows that are always"
        " clicked, so the log has no column 'propensity', whose values are above 0. To have one keep relevance below 1, as"
        " GradedRelevance does with a max_grade above the largest grade.",
        UltrWarning,
        stacklevel=5,
    )
    return None


class Columns:
    """The columns of a log, filled page after page.

    Args:
        world: What the pages are about.
        n_pages: How many pages there will be.
        click: Type of the clicks.
        examined: Whether there is a column `propensity`.
    """

    def __init__(self, world: World, n_pages: int, click: type[np.generic], examined: bool) -> None:
        kinds: dict[str, type[np.generic]] = {"item": np.int32, "position": np.int32, "click": click, "grade": np.int32}
        kinds |= {name: np.float32 for name in ("relevance", "satisfaction") if name in world.documents}
        if examined:
            kinds["propensity"] = np.float32
        self.world = world
        self.values = {name: np.empty(n_pages * world.width, dtype=kind) for name, kind in kinds.items()}
        self.query_ids = np.empty(n_pages, dtype=world.data.query_ids.dtype)
        self.offsets = np.zeros(n_pages + 1, dtype=np.int64)
        self.n_pages = self.n_rows = 0

    def add(self, pages: Shown, rng: np.random.Generator, counts: np.ndarray | None = None) -> None:
        """Add pages and draw their clicks.

        Args:
            pages: The pages, B of them.
            rng: Source of the clicks.
            counts: How often each page is shown, shape [B]; once when None.
        """
        world, mask, shape = self.world, pages.mask, (len(pages.query_ids), self.world.width)
        out = self._room(pages)
        for name, table in pages.tables.items():
            if mask is None:
                np.take(table, pages.index, axis=0, out=out[name].reshape(shape), mode="clip")
            else:
                pages.put(out[name], pages.cells(name))
        pages.put(out["position"], np.broadcast_to(np.arange(world.width, dtype=np.int32), shape))
        truth = {
            name: out[name].reshape(shape) if mask is None else pages.cells(name) for name in ("relevance", "satisfaction") if name in out
        }
        attraction, satisfaction = truth["relevance"], truth.get("satisfaction")
        if "propensity" in out and "propensity" not in pages.tables:
            values = propensity(world, pages, attraction, satisfaction)
            if values is None:
                del self.values["propensity"]
            else:
                pages.put(out["propensity"], values)
        if counts is None:
            pages.put(out["click"], world.law.sample(attraction, rng, satisfaction, mask))
        else:
            pages.put(out["click"], world.law.sample_counts(attraction, counts, rng, satisfaction, mask))

    def log(self, counts: np.ndarray | None = None) -> ClickLog:
        """Return the log of the pages added; `counts` [P] become the page column count."""
        columns = {name: values[: self.n_rows] for name, values in self.values.items()}
        pages = {"query": self.query_ids} if counts is None else {"query": self.query_ids, "count": counts}
        return ClickLog(self.offsets, columns, pages, self.world.data.items)

    def _room(self, pages: Shown) -> dict[str, np.ndarray]:
        """Append pages, and return the part of each column that is theirs."""
        n = len(pages.query_ids)
        lengths = np.full(n, self.world.width) if pages.mask is None else np.einsum("ij->i", pages.mask, dtype=np.int64)  # a fast sum
        ends = lengths.cumsum()
        self.query_ids[self.n_pages : self.n_pages + n] = pages.query_ids
        self.offsets[self.n_pages + 1 : self.n_pages + n + 1] = ends + self.n_rows
        rows = slice(self.n_rows, self.n_rows + int(ends[-1]))
        self.n_pages, self.n_rows = self.n_pages + n, rows.stop
        return {name: values[rows] for name, values in self.values.items()}
