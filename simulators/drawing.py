"""Draw a log of `simulate_clicks`, all of it or any blocks of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulators.columns import Columns, KnownPages, Shown
from simulators.world import BLOCK_PAGES, Menu, World, n_blocks
from ultr.data.log import ClickLog


@dataclass(frozen=True, eq=False)
class Drawing:
    """A log that can be drawn; blocks do not depend on one another.

    Args:
        world: What the pages are about.
        n_pages: Pages of the whole log.
        menu: All pages that can be shown; None where there are too many to list.
        known: The truth about them.
    """

    world: World
    n_pages: int
    menu: Menu | None
    known: KnownPages | None

    @classmethod
    def of(cls, world: World, n_pages: int) -> Drawing:
        """Look up what is the same on all pages."""
        menu = world.menu()
        return cls(world, n_pages, menu, None if menu is None else KnownPages(world, menu))

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the whole log."""
        return n_blocks(self.n_pages)

    @property
    def knows_examination(self) -> bool:
        """Whether the log has a column `propensity`, unless pages are drawn with a row that nobody ever examines."""
        return self.world.law.knows_examination if self.known is None else "propensity" in self.known.tables

    def log(self, first: int = 0, stop: int | None = None, examined: bool | None = None) -> ClickLog:
        """Draw the blocks from `first` to before `stop`.

        Args:
            first: Number of a block.
            stop: Number of a block; the whole rest when None.
            examined: Whether there is to be a column `propensity`; where the law knows it when None.
        """
        stop = self.n_blocks if stop is None else stop
        pages = min(self.n_pages, stop * BLOCK_PAGES) - first * BLOCK_PAGES
        columns = Columns(self.world, pages, np.int8, self.knows_examination if examined is None else examined)
        for rng, asked in self.world.blocks(self.n_pages, first, stop):
            columns.add(self._shown(asked, rng), rng)
        return columns.log()

    def _shown(self, asked: np.ndarray, rng: np.random.Generator) -> Shown:
        if self.menu is None or self.known is None:
            queries = self.world.queries[asked]
            return Shown.documents(self.world, queries, self.world.draw(queries, rng))
        return self.known.shown(self.menu.draw(asked, rng))
