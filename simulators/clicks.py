"""Clicks on the pages of a graded set, drawn by a known mechanism, with the truth beside each click."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulators.columns import Columns, KnownPages, Shown
from simulators.compressed import compressed_log
from simulators.fitted import FittedPolicy, Policy, fitted
from simulators.relevance import GradedRelevance
from simulators.world import World
from ultr.click_models.base import ClickModel
from ultr.click_models.position_based import PositionBased
from ultr.data.checks import check_probabilities
from ultr.data.log import ClickLog
from ultr.data.ranking import RankingData
from ultr.errors import ConfigError, ContractError

_EYE_TRACKING = (0.68, 0.61, 0.48, 0.34, 0.28, 0.20, 0.11, 0.10, 0.08, 0.06)

Relevance = Callable[[np.ndarray], np.ndarray]  # grades [D] -> P(click | examined) [D]


def eye_tracking_examination(eta: float = 1.0) -> np.ndarray:
    """Return P(examined) of the first ten positions as eye tracking measured them, raised to a power.

    Args:
        eta: Severity of the position bias, at least 0: 0 means none.

    Returns:
        Probabilities in (0, 1], shape [10].

    Raises:
        ConfigError: `eta` is negative or not finite.

    Source:
        Joachims et al. (2005), SIGIR, doi:10.1145/1076034.1076063, with the numbers used by Ai et al. (2018), SIGIR,
        doi:10.1145/3209978.3209986; reconstructed from the latter's published code.
    """
    if not 0 <= eta < np.inf:
        raise ConfigError(f"eta must be at least 0 and finite, not {eta!r}.")
    return np.array(_EYE_TRACKING) ** eta


def simulate_clicks(
    data: RankingData,
    *,
    policy: Policy | FittedPolicy,
    n_pages: int,
    click_model: ClickModel | None = None,
    relevance: Relevance = GradedRelevance(noise=0.1),  # noqa: B008 (frozen)
    cutoff: int = 10,
    compressed: bool = False,
    seed: int = 0,
) -> ClickLog:
    """Simulate what users of a search engine click.

    Each page is a query, drawn uniformly from those with documents, the policy's first `cutoff` documents for it, and the clicks of one
    user. Pages without a click stay in the log: drawing them again would bias the click rates.

    Pages are drawn in blocks of 65,536, each from its own generator (seed, block): a log of 100,000 pages starts with the pages of a log
    of 65,536, whatever is drawn after them.

    Args:
        data: Queries, documents and grades.
        policy: Settings, fitted here with the same seed, or a fitted policy, taken as it is.
        n_pages: Number of pages, at least 1.
        click_model: The law of the clicks; the position-based model with `eye_tracking_examination()` when None, which covers ten
            positions.
        relevance: Maps all grades [D] to P(click | examined) in [0, 1], [D].
        cutoff: Most rows of a page, at least 1; queries with fewer documents give shorter pages.
        compressed: Draw the summed clicks of equal pages directly. The log has the distribution of `compress()` of a full log. Its cost
            does not grow with `n_pages` where the policy has few orders a query; elsewhere pages are drawn, but only one click a cell.
        seed: Non-negative integer.

    Returns:
        A log about `data.items` itself with the columns item (row of `data`), position, click, grade, relevance = P(click | examined) and
        propensity = P(examined), whatever was clicked above; page column query. `propensity` is missing if the law does not say what is
        examined. A compressed log has the page column count, clicks from 0 to count, and only pages that were shown.

    Raises:
        ConfigError: `n_pages` or `cutoff` is below 1.
        PropensityError: the law covers fewer positions than a page has.
        LogError: a relevance is outside [0, 1], or a shown row is never examined: its propensity would be 0.
        ContractError: the policy, the law or the relevance breaks its contract.
    """
    for name, value in (("n_pages", n_pages), ("cutoff", cutoff)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}.")
    width = min(int(cutoff), int(np.diff(data.offsets).max()))
    law = PositionBased(eye_tracking_examination()) if click_model is None else click_model
    world = World(data, fitted(policy, data, seed), law, _attraction(relevance, data.grades), width, seed)
    if compressed:
        return compressed_log(world, int(n_pages))
    return _full_log(world, int(n_pages))


def _full_log(world: World, n_pages: int) -> ClickLog:
    columns, menu = Columns(world, n_pages, np.int8), world.menu()
    known = None if menu is None else KnownPages(world, menu)
    for rng, asked in world.blocks(n_pages):
        if menu is None or known is None:
            queries = world.queries[asked]
            pages = Shown.documents(world, queries, world.draw(queries, rng))
        else:
            pages = known.shown(menu.draw(asked, rng))
        columns.add(pages, rng)
    return columns.log()


def _attraction(relevance: Relevance, grades: np.ndarray) -> np.ndarray:
    attraction = np.asarray(relevance(grades))
    if attraction.shape != grades.shape:
        raise ContractError(f"relevance must map the grades {grades.shape} to one probability each; it returned shape {attraction.shape}.")
    check_probabilities("relevance", attraction, lambda document: f"document {document}", zero=True)
    return attraction.astype(np.float32)
