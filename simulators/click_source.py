"""Simulated clicks as a log source: drawn anew whenever they are read, or written to disk, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from simulators.clicks import Relevance, world_of
from simulators.drawing import Drawing
from simulators.fitted import FittedPolicy, Policy
from simulators.relevance import GradedRelevance
from simulators.world import BLOCK_PAGES
from ultr import __version__
from ultr.click_models.base import ClickModel
from ultr.data.checks import check_shards
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.ranking import RankingData
from ultr.data.resumable import write_shards
from ultr.engine.base import Engine
from ultr.errors import ConfigError, LogError
from ultr.random import hash_ids

PAGES_PER_SHARD = 16 * BLOCK_PAGES


@dataclass(frozen=True, eq=False)
class ClickSource:
    """The log of `simulate_clicks` with the same arguments, which are explained there, in bounded memory: a LogSource of any length.

    Nothing is kept: each pass over the chunks draws the same pages again, and so does each shard, anywhere. The policy is fitted once,
    now. A compressed log is small: draw it with `simulate_clicks(compressed=True)`.

    Args:
        data: Queries, documents and grades.
        policy: Settings, fitted here with the same seed, or a fitted policy.
        n_pages: Number of pages, at least 1.
        click_model: The law of the clicks.
        relevance: Maps all grades [D] to P(click | examined).
        satisfaction: Maps all grades [D] to P(satisfied | clicked), for laws that read it.
        cutoff: Most rows of a page.
        seed: Non-negative integer.

    Raises:
        UltrError: whatever `simulate_clicks` refuses.
    """

    data: RankingData = field(repr=False)
    policy: Policy | FittedPolicy = field(kw_only=True)
    n_pages: int = field(kw_only=True)
    click_model: ClickModel | None = field(kw_only=True, default=None)
    relevance: Relevance = field(kw_only=True, default=GradedRelevance(noise=0.1))
    satisfaction: Relevance | None = field(kw_only=True, default=None)
    cutoff: int = field(kw_only=True, default=10)
    seed: int = field(kw_only=True, default=0)
    _blocks: Blocks = field(init=False, repr=False)

    def __post_init__(self) -> None:
        world = world_of(self.data, self.policy, self.n_pages, self.click_model, self.relevance, self.satisfaction, self.cutoff, self.seed)
        drawing = Drawing.of(world, int(self.n_pages))
        examined = drawing.knows_examination
        if examined and drawing.known is None and not world.law.independent_rows:
            examined = "propensity" in drawing.log(0, 1).columns  # pages of the whole log are not known: the first block decides
        object.__setattr__(self, "_blocks", Blocks(drawing, range(drawing.n_blocks), examined))

    def __len__(self) -> int:
        return int(self.n_pages)

    @property
    def items(self) -> Items:
        """The documents of `data`."""
        return self.data.items

    def chunks(self) -> Iterator[ClickLog]:
        """Draw the log, 65,536 pages at a time.

        Raises:
            LogError: see `Blocks.chunks`.
        """
        return self._blocks.chunks()

    def shards(self, n: int) -> Sequence[Blocks]:
        """Split into n sources of whole blocks, disjoint and covering, in order; some are empty if there are fewer blocks.

        Raises:
            LogError: n is less than 1.
        """
        return self._blocks.shards(n)

    def write_parquet(
        self,
        path: str | Path,
        *,
        engine: Engine | None = None,
        progress: bool = False,
        overwrite: bool = False,
        pages_per_shard: int = PAGES_PER_SHARD,
    ) -> int:
        """Write the log that `simulate_clicks(...).write_parquet(path)` would, shard by shard; a killed call goes on where it was.

        Args:
            path: The folder; it appears when it is complete. Missing parents are made. Until then finished shards wait in a hidden
                folder beside it, and the same call again draws only what is missing.
            engine: Where shards are drawn; here, one after the other, when None.
            progress: Whether a bar on standard error counts the shards.
            overwrite: Replace a log that is there already, and discard an unfinished one of other settings.
            pages_per_shard: Pages a file, at least 1, rounded up to whole blocks of 65,536. They decide on the files, not on the log.

        Returns:
            How many shards were there from an earlier call.

        Raises:
            ConfigError: `pages_per_shard` is below 1.
            FileError: something is at `path` that may not be replaced, another writer is at work, an unfinished log of other settings is
                there, or the disk refuses.
            LogError: see `Blocks.chunks`.
        """
        if pages_per_shard < 1:
            raise ConfigError(f"pages_per_shard must be at least 1, not {pages_per_shard!r}.")
        shards = _Shards(self._blocks, -(-pages_per_shard // BLOCK_PAGES))
        return write_shards(
            shards,
            -(-len(self._blocks.which) // shards.size),
            path,
            identity=self._identity(),
            items=self.items,
            engine=engine,
            progress=progress,
            overwrite=overwrite,
        )

    def _identity(self) -> dict[str, object]:
        """What tells one log from another: the settings that are numbers, and hashes of the set and of the first block."""
        drawing = self._blocks.drawing
        first, world = drawing.log(0, 1, self._blocks.examined), drawing.world
        truth = [world.attraction] if world.satisfaction is None else [world.attraction, world.satisfaction]
        return {
            "version": __version__,
            "pages": int(self.n_pages),
            "cutoff": int(self.cutoff),
            "seed": int(self.seed),
            "data": _hash(self.data.offsets, self.data.query_ids, self.data.grades, self.data.features),
            "relevance": _hash(*truth),
            "policy and clicks": _hash(*first.columns.values(), *first.page_columns.values()),
        }


@dataclass(frozen=True, eq=False)
class Blocks:
    """Some blocks of a simulated log, as a source.

    Args:
        drawing: The whole log.
        which: Numbers of the blocks, without gaps.
        examined: Whether the log has a column `propensity`.
    """

    drawing: Drawing
    which: range
    examined: bool

    def chunks(self) -> Iterator[ClickLog]:
        """Draw the blocks, one by one.

        Raises:
            LogError: a page has a row that nobody ever examines, while no page of the log's first block has, so that the log was said to
                have a column `propensity`.
        """
        for block in self.which:
            log = self.drawing.log(block, block + 1, self.examined)
            if self.examined and "propensity" not in log.columns:
                raise LogError(
                    f"Block {block} has a page with a row that is never examined, so that its propensity is 0; no page of block 0 has one."
                    " Keep relevance below 1, as GradedRelevance does with a max_grade above the largest grade."
                )
            yield log
        if not self.which:
            yield self.drawing.log(0, 0, self.examined)

    def shards(self, n: int) -> Sequence[Blocks]:
        """Split into n sources of whole blocks; see `ClickSource.shards`."""
        check_shards(n)
        ends = [i * len(self.which) // n for i in range(n + 1)]
        return [Blocks(self.drawing, self.which[start:stop], self.examined) for start, stop in pairwise(ends)]


@dataclass(frozen=True)
class _Shards:
    """Maps the number of a shard to its blocks."""

    blocks: Blocks
    size: int

    def __call__(self, number: int) -> Blocks:
        which = self.blocks.which[number * self.size : (number + 1) * self.size]
        return Blocks(self.blocks.drawing, which, self.blocks.examined)


def _hash(*arrays: np.ndarray) -> str:
    state = hashlib.sha256()
    for array in arrays:
        values = array if array.dtype.kind in "biuf" else hash_ids(array)
        state.update(f"{values.dtype} {values.shape};".encode())
        state.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return state.hexdigest()[:16]
