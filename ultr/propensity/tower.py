"""A propensity network that sees the position and its context."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ultr.data.counts import Cells
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.source import LogSource
from ultr.errors import ConfigError, LogError
from ultr.propensity.bradley_terry import comparable
from ultr.propensity.curve import warn_missing
from ultr.propensity.impressions import Impressions, impressions_of
from ultr.propensity.tables import compare
from ultr.propensity.tower_network import FittedTower, TowerNetwork
from ultr.random import generator
from ultr.training.batch import Batch, PageBatches
from ultr.training.losses import weighted_softmax
from ultr.training.minimise import Curve, minimise
from ultr.training.seeding import seeded_torch
from ultr.training.settings import Training
from ultr.training.split import validation_pages

_BY = "Tower"
_BLOCK = 1 << 13  # pairs at once
_CLICKS, _SHOWN = "ultr.clicks", "ultr.log_shown"


@dataclass(frozen=True, kw_only=True)
class Tower:
    """P(observed) as a function h of the position and its context, learnt from swaps alone, without a model of relevance.

    All impressions of a (query, item) pair have the same relevance, so how its clicks spread over them says how h does. With n_i
    impressions and c_i clicks in context i of a pair, what is minimised is the soft-max cross-entropy, summed over pairs,

        - sum_i c_i log(n_i h_i / sum_j n_j h_j).

    The truth is a minimum whatever the relevances are: with E[c_i] = gamma n_i h*_i each pair's loss is gamma sum_j n_j h*_j times the
    cross-entropy of the shares n_i h*_i / sum_j n_j h*_j under those of h, which is smallest where they are equal: at h = h*.

    log h is one number and one slope a position; hidden layers over position and context come in place of the slopes. h is known up to
    a factor, and is scaled so that its largest value in the training log is 1. A column that never differs between two impressions of a
    pair, such as one of the query, cannot say how the level depends on it: there the first position is taken to be seen equally often.

    Args:
        columns: Row or page columns of numbers that examination depends on besides the position; they are standardised.
        hidden: Widths of hidden layers; () for slopes.
        training: Settings of the loop. A page of a batch is a pair. Weight decay is 0 by default, since it pulls towards no bias.
        label: Row column of clicks, non-negative.
        query: Page column that says what was searched; None where an item is the same whatever the query.

    Raises:
        ConfigError: a width is no whole number of at least 1, columns are one string, or hidden layers have no column to read.

    Source:
        Fang, Agarwal and Joachims (2019), SIGIR, doi:10.1145/3331184.3331238; reconstructed from the idea.

    Differs:
        The paper's likelihood has a second network for the relevance of the pairs that two positions share, and compares two positions at
        a time. Here the relevance cancels out of the clicks of each pair, and all its impressions are compared at once.
    """

    columns: tuple[str, ...] = ()
    hidden: tuple[int, ...] = ()
    training: Training = field(default_factory=lambda: Training(weight_decay=0.0))
    label: str = "click"
    query: str | None = "query"

    def __post_init__(self) -> None:
        for name in ("columns", "hidden"):
            if not isinstance(getattr(self, name), (str, list, tuple)):
                raise ConfigError(f"Tower: {name} must be a list, not {getattr(self, name)!r}.")
        if isinstance(self.columns, str):
            raise ConfigError(f"Tower: columns is a list of names, not one string: write columns=({self.columns!r},).")
        for name in ("columns", "hidden"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in self.hidden):
            raise ConfigError(f"Tower: hidden must be layer widths of at least 1, not {self.hidden!r}.")
        if self.hidden and not self.columns:
            raise ConfigError("Tower: without columns every position has a number of its own: hidden layers have nothing to add.")

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedTower:
        """Fit the network.

        Args:
            source: A log with positions, clicks, the page column `query` and `columns`, compressed or not.
            seed: Initial weights, order of the batches, and which queries are held out.

        Warns:
            IdentifiabilityWarning: no pair leads from the first position to another one; its propensity is NaN.
            UltrWarning: a position was compared, but never clicked; its propensity is NaN.

        Raises:
            LogError: a column is missing, holds other things than numbers, there is no click, or no pair says anything.
        """
        device = self.training.usable_device()
        found = impressions_of(source, self.columns, self.query, self.label, _BY)
        known = _estimable(found)
        pages = _pairs_as_pages(found, known, alone=self.query is None)
        with seeded_torch(seed, "tower", device=device):
            network = TowerNetwork(found.position, found.values, _varies(pages), self.hidden).to(device)
            history = self._minimise(network, pages, seed, device)
        return FittedTower.of(network.cpu().eval(), found, known, self.columns, history)

    def _minimise(self, network: TowerNetwork, pages: ClickLog, seed: int, device: str) -> Curve:
        clicks = np.bincount(pages.page_of_row(), pages.columns[_CLICKS], len(pages))
        held_out = validation_pages(pages, self.training.validation, seed)
        train, held = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        weights = np.full(len(train), len(train) / clicks[train].sum())
        batches = PageBatches(pages, train, weights, self.training.batch_pages, generator(seed, "tower batches"), device)
        validate = _validation(network, pages, held, float(clicks[held].sum()), device) if len(held) else None
        return minimise([network], batches, lambda batch: _loss(network, batch), validate, self.training)


def _loss(network: TowerNetwork, batch: Batch) -> Tensor:
    """Cross-entropy of each pair's clicks over its impressions, shape [B]."""
    scores = network(batch.position, batch.features).float() + batch.column(_SHOWN)
    return weighted_softmax(scores, batch.column(_CLICKS), batch.mask)


def _validation(network: TowerNetwork, pages: ClickLog, held: np.ndarray, clicks: float, device: str) -> Callable[[], float]:
    def validate() -> float:
        total = 0.0
        network.eval()
        with torch.inference_mode():
            for start in range(0, len(held), _BLOCK):
                total += float(_loss(network, Batch(pages, held[start : start + _BLOCK], device)).double().sum())
        network.train()
        return total / clicks

    return validate


def _estimable(found: Impressions) -> np.ndarray:
    """Find the positions that clicks on pairs compare with the first one, shape [L], and warn about the others that were shown."""
    cells = found.cells
    n = int(found.position.max()) + 1
    keys, cell = np.unique(cells.pair.astype(np.int64) * n + found.position[cells.context], return_inverse=True)
    pair, position = np.divmod(keys, n)
    positions, at = np.unique(position, return_inverse=True)
    compared = compare(Cells(pair, at, np.bincount(cell, cells.shown), np.bincount(cell, cells.clicks)), "uniform")
    estimable = comparable(compared.clicks > 0)
    warn_missing(positions, estimable, comparable(compared.n_pairs > 0), _BY)
    known = np.zeros(positions[-1] + 1, dtype=bool)
    known[positions[estimable]] = True
    return known


def _pairs_as_pages(found: Impressions, known: np.ndarray, alone: bool) -> ClickLog:
    """Make a page of each pair that says something: clicked, and shown in two contexts of known positions or more.

    Pairs of a query are held out together, or each `alone` where there are no queries.
    """
    cells = found.cells
    use = known[found.position[cells.context]]
    size, clicks = np.bincount(cells.pair, use), np.bincount(cells.pair, cells.clicks * use)
    use &= ((size > 1) & (clicks > 0))[cells.pair]
    if not use.any():
        raise LogError(f"{_BY} has nothing to learn from: no (query, item) pair was clicked and shown in two contexts. Log other orders.")
    pair, context, shown, clicks = (values[use] for values in cells)
    pairs, lengths = np.unique(pair, return_counts=True)
    columns = {"item": context, "position": found.position[context], _CLICKS: clicks, _SHOWN: np.log(shown)}
    return ClickLog(offsets_of(lengths), columns, {"query": pairs if alone else found.query[pairs]}, Items(found.values))


def _varies(pages: ClickLog) -> np.ndarray:
    """True for the columns of the context that differ between two impressions of some pair, shape [C]."""
    values = pages.items.features[pages.columns["item"]]  # type: ignore[union-attr, index]
    first = np.repeat(pages.offsets[:-1], pages.lengths)
    return (values != values[first]).any(axis=0)
