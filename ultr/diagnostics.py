"""Can the propensities be learnt from this log, and how much do their weights leave of it? `ultr.evaluation` re-exports this room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ultr.data.cells import count_pairs, needed
from ultr.data.checks import check_probabilities, within
from ultr.data.counts import Cells
from ultr.errors import LogError, PropensityError

if TYPE_CHECKING:
    from ultr.data.source import LogSource

_FEW = 10  # a position tied to the others by fewer pairs than this is called out


def effective_sample_size(weights: np.ndarray) -> float:
    """How many equally weighted clicks carry as much information as these weighted ones.

    Args:
        weights: Non-negative weights, dimensionless, any shape; zeros (rows without a click) count for nothing.

    Returns:
        (sum w)^2 / sum w^2, between 1 and the number of positive weights; 0 where no weight is positive.

    Raises:
        PropensityError: a weight is negative, NaN or infinite.

    Examples:
        >>> effective_sample_size([2.0, 2.0, 0.0])
        2.0
        >>> effective_sample_size([3.0, 1.0])  # (3 + 1)^2 / (9 + 1)
        1.6

    Source:
        Kish (1965), Survey Sampling, section 11.7.
    """
    weights = np.asarray(weights, dtype=np.float64).reshape(-1)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        first = int(np.argmax(bad))
        raise PropensityError(
            f"weights must be finite and not negative: entry {first} is {weights[first]}; {np.count_nonzero(bad)} of {len(bad)} are wrong. "
            "A propensity of 0 has no weight: give it a floor or drop the row."
        )
    return _kish(float(weights.sum()), float(np.square(weights).sum()))


def _kish(total: float, squares: float) -> float:
    return total * total / squares if squares > 0 else 0.0


@dataclass(frozen=True)
class Overlap:
    """How far inverse-propensity weights stretch a log. Two pieces of a log add up.

    Args:
        smallest: Smallest propensity, in (0, 1]; infinite where there is no row.
        rows: Shown rows (times the count of their page).
        rows_clipped: Of these, rows whose weight 1 / propensity is above the clip.
        clicks: Clicks.
        weight: Sum of the clicks' weights, after clipping.
        squares: Sum of their squares.
    """

    smallest: float
    rows: int
    rows_clipped: int
    clicks: int
    weight: float
    squares: float

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(
            min(self.smallest, other.smallest),
            self.rows + other.rows,
            self.rows_clipped + other.rows_clipped,
            self.clicks + other.clicks,
            self.weight + other.weight,
            self.squares + other.squares,
        )

    @property
    def share_clipped(self) -> float:
        """Share of the shown rows whose weight is clipped, in [0, 1]; 0 where there is no row."""
        return self.rows_clipped / self.rows if self.rows else 0.0

    @property
    def effective_sample_size(self) -> float:
        """Kish's effective number of clicks; 0 where there is no click."""
        return _kish(self.weight, self.squares)


def overlap_of(propensity: np.ndarray, click: np.ndarray, clip: float | None = None, count: np.ndarray | int = 1) -> Overlap:
    """Summarise the inverse-propensity weights of rows; `ultr.evaluation.overlap` does it for a log and any propensity model.

    Args:
        propensity: P(observed) of each row, in (0, 1], shape [N].
        click: Clicks of each row, 0..count, shape [N].
        clip: Largest weight, at least 1; None clips nothing.
        count: How often each row was shown, shape [N] or one number.

    Raises:
        PropensityError: a propensity is outside (0, 1], or the clip is below 1.
    """
    propensity, click = np.asarray(propensity, dtype=np.float64), np.asarray(click, dtype=np.float64)
    try:
        check_probabilities("propensity", propensity, lambda row: f"row {row}", zero=False)
    except LogError as error:
        raise PropensityError(str(error)) from error
    if clip is not None and not within(clip, "[1, inf)"):
        raise PropensityError(
            f"clip is the largest weight and must be at least 1, not {clip!r}; a floor M on the propensity is clip = 1/M."
        )
    weight = 1.0 / propensity
    clipped = np.zeros(len(weight), dtype=bool) if clip is None else weight > clip
    weight = weight if clip is None else np.minimum(weight, clip)
    shown = np.broadcast_to(count, propensity.shape)
    return Overlap(
        smallest=float(propensity.min(initial=np.inf)),
        rows=int(shown.sum()),
        rows_clipped=int(shown[clipped].sum()),
        clicks=int(click.sum()),
        weight=float((click * weight).sum()),
        squares=float((click * weight * weight).sum()),
    )


@dataclass(frozen=True, eq=False)
class Identifiability:
    """Which positions a log ties together through (query, item) pairs shown at several of them.

    Args:
        components: Groups of 0-based positions; within a group pairs connect every position to every other.
        pairs: Number of distinct (query, item) pairs shown.
        swapped: Of these, pairs shown at two or more positions.
        links: For every position that was shown, in rising order: how many of its pairs were shown elsewhere too.
    """

    components: tuple[np.ndarray, ...]
    pairs: int
    swapped: int
    links: np.ndarray

    @property
    def identified(self) -> bool:
        """True if swaps identify all propensities up to one common factor."""
        return len(self.components) == 1

    @property
    def positions(self) -> np.ndarray:
        """The positions that were shown, 0-based, rising."""
        return np.sort(np.concatenate(self.components))

    def __repr__(self) -> str:
        groups = " | ".join(_spell(group) for group in self.components)
        return f"Identifiability(identified={self.identified}, components {groups}; {self.swapped:,} of {self.pairs:,} pairs swapped)"

    def explain(self) -> str:
        """Say in plain sentences what is connected, what follows for an estimator, and what to do."""
        return self._explain_connected() if self.identified else self._explain_apart()

    def _explain_connected(self) -> str:
        n = len(self.positions)
        if n == 1:
            return "Only one position was shown, so there is no position bias to identify: every propensity ratio is 1."
        text = (
            f"Swaps identify the propensities up to one common factor: all {n} positions ({_spell(self.positions)}) are connected by "
            f"{self.swapped:,} of {self.pairs:,} (query, item) pairs that were shown at several positions."
        )
        weak = self.links < _FEW
        if weak.any():
            text += (
                f" But the tie is thin: {_few(self.positions[weak], self.links[weak])} with other positions, so the estimate there will "
                "be noisy. Log more pages, or show these positions in other orders too."
            )
        return text

    def _explain_apart(self) -> str:
        n, groups = len(self.positions), len(self.components)
        text = (
            f"Swaps do not identify the propensities: the {n} positions fall into {groups} groups that no (query, item) pair connects "
            f"({' | '.join(_spell(group) for group in self.components)}); {self.swapped:,} of {self.pairs:,} pairs were shown at several "
            "positions."
        )
        if self.swapped == 0:
            text += (
                " No pair ever changed its position, as with one fixed order a query: with a ranker that has a free score for each pair, "
                "every propensity vector explains the clicks equally well, so what is learned is what learning started from."
            )
        else:
            text += (
                " Within a group the ratios are identified; between groups a ranker with a free score for each pair fits the clicks "
                "equally well under any factor, so the factor that learning started from stays."
            )
        return text + (
            " With features shared between queries only these features identify the rest, and only as far as the ranker is right about "
            "them. What to do: show a share of the pages in another order (swap neighbours, or randomise), use a log that spans a change "
            "of ranker, or give IPS a propensity from an experiment."
        )


def identifiability(log: LogSource) -> Identifiability:
    """Find out which positions' propensities swaps of items can identify.

    The logged positions are the nodes of one side of a graph, the (query, item) pairs those of the other, and an edge stands for a
    pair that was shown at a position. Within a connected component the click rates fix the ratios of the propensities whatever the
    relevance of the pairs, where it is not 0; between components they fix nothing. Without a page column `query` the item alone is the
    pair. A soft-max over the page, as in DLA, reads less: the ratios within pages. It can leave open what the rates would fix where a
    query's pages differ in length or start, e.g. pages (a) and (b, a).

    Args:
        log: Pages with the column `position`. A log on disk is read chunk by chunk; what is kept are the distinct edges.

    Raises:
        LogError: the log has no row, or lacks `position`.

    Source:
        Chen et al. (2023), Identifiability Matters, section 4. arXiv:2309.15560.

    Differs:
        Positions stand for the bias factors and pairs for the features; an edge needs one page only, however rare.
    """
    log = needed(log, ["position"], ["query"])
    first = next(iter(log.chunks()), None)
    query = "query" if first is not None and "query" in first.page_columns else None
    cells = count_pairs(log, query, "position", None, "identifiability").counts.cells()
    if not len(cells.pair):
        raise LogError("The log has no row: there is no position to identify. Check the path or the filter that made it.")
    return _components(cells)


def _components(cells: Cells) -> Identifiability:
    """Group the positions of distinct cells, which are sorted by pair."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    there = np.bincount(cells.context) > 0
    positions, at = np.flatnonzero(there), (np.cumsum(there) - 1)[cells.context]
    degree = np.bincount(cells.pair)
    n = len(positions)
    tied = cells.pair[1:] == cells.pair[:-1]  # two cells of one pair, one after the other
    edge = np.unique(at[:-1][tied] * n + at[1:][tied])
    graph = coo_array((np.ones(len(edge), np.int8), (edge // n, edge % n)), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    groups = {int(group): positions[label == group] for group in label}  # in the order of their first position
    links = np.bincount(at[degree[cells.pair] > 1], minlength=n).astype(np.int64)
    return Identifiability(tuple(groups.values()), int(np.count_nonzero(degree)), int(np.count_nonzero(degree > 1)), links)


def _spell(positions: np.ndarray) -> str:
    """Write positions as runs: 0-3, 5."""
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    runs = np.split(positions, breaks)
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _few(positions: np.ndarray, links: np.ndarray) -> str:
    """Name the positions with few links: position 7 shares 3 pairs, position 9 shares 1."""
    shown = [f"position {p} shares {n} pair{'' if n == 1 else 's'}" for p, n in zip(positions[:3], links[:3], strict=True)]
    more = len(positions) - 3
    return ", ".join(shown) + (f" and {more} more positions share few" if more > 0 else "")
