"""Clicks on the pages of a graded set, drawn by a known mechanism, with the truth beside each click."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulators.compressed import compressed_log
from simulators.drawing import Drawing
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
    satisfaction: Relevance | None = None,
    cutoff: int = 10,
    compressed: bool = False,
    seed: int = 0,
) -> ClickLog:
    """Simulate what users of a search engine click.

    Each page is a query, drawn uniformly from those with documents, the policy's first `cutoff` documents for it, and the clicks of one
    user. Pages without a click stay in the log: drawing them again would bias the click rates.

    Pages are drawn in blocks of 65,536, each from its own generator (seed, block): a log of 100,000 pages starts with the pages of a log
    of 65,536, whatever is drawn after them. `ClickSource` draws the same log block by block, for logs that memory does not hold.

    Args:
        data: Queries, documents and grades.
        policy: Settings, fitted here with the same seed, or a fitted policy, taken as it is.
        n_pages: Number of pages, at least 1.
        click_model: The law of the clicks; the position-based model with `eye_tracking_examination()` when None, which covers ten
            positions.
        relevance: Maps all grades [D] to P(click | examined) in [0, 1], [D].
        satisfaction: Maps all grades [D] to P(satisfied | clicked) in [0, 1], [D], such as another `GradedRelevance`; for laws that read
            it, as the dynamic Bayesian ones do, and for no other.
        cutoff: Most rows of a page, at least 1; queries with fewer documents give shorter pages.
        compressed: Draw the summed clicks of equal pages directly. The log has the distribution of `compress()` of a full log. Its cost
            does not grow with `n_pages` where the policy has few orders a query; elsewhere pages are drawn, but only one click a cell.
        seed: Non-negative integer.

    Returns:
        A log about `data.items` itself with the columns item (row of `data`), position, click, grade, relevance = P(click | examined) and
        propensity = P(examined), whatever was clicked above; satisfaction = P(satisfied | clicked) where given; page column query.
        `propensity` is missing if the law does not say what is examined, and, with a warning, if there are rows that nobody ever examines
        because a row above is always clicked and ends the page, as in a cascade below a document of relevance 1. A compressed log has the
        page column count, clicks from 0 to count, and only pages that were shown.

    Raises:
        ConfigError: `n_pages` or `cutoff` is below 1, or `satisfaction` is missing where the law reads it, or given where it does not.
        PropensityError: the law covers fewer positions than a page has.
        LogError: a relevance or satisfaction is outside [0, 1], or a position is never examined: its propensity would be 0.
        ContractError: the policy, the law, the relevance or the satisfaction breaks its contract.
    """
    world = world_of(data, policy, n_pages, click_model, relevance, satisfaction, cutoff, seed)
    if compressed:
        return compressed_log(world, int(n_pages))
    return Drawing.of(world, int(n_pages)).log()


def world_of(
    data: RankingData,
    policy: Policy | FittedPolicy,
    n_pages: int,
    click_model: ClickModel | None,
    relevance: Relevance,
    satisfaction: Relevance | None,
    cutoff: int,
    seed: int,
) -> World:
    """Check the arguments of `simulate_clicks`, fit the policy, and return what is fixed while pages are drawn."""
    for name, value in (("n_pages", n_pages), ("cutoff", cutoff)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}.")
    width = min(int(cutoff), int(np.diff(data.offsets).max()))
    law = PositionBased(eye_tracking_examination()) if click_model is None else click_model
    if not isinstance(law, ClickModel):
        hint = f"write {law.__name__}(...)" if isinstance(law, type) else "e.g. PositionBased(examination)"
        raise ConfigError(f"simulate_clicks: click_model must be a click model, an object, not {law!r}: {hint}.")
    if not isinstance(data, RankingData):
        raise ConfigError(f"simulate_clicks draws from graded data, a RankingData, not {type(data).__name__}.")
    _check_satisfaction(law, satisfaction)
    attraction = of_grades("relevance", relevance, data.grades)
    satisfied = None if satisfaction is None else of_grades("satisfaction", satisfaction, data.grades)
    return World(data, fitted(policy, data, seed), law, attraction, satisfied, width, seed)


def _check_satisfaction(law: ClickModel, satisfaction: Relevance | None) -> None:
    name = type(law).__name__
    if law.reads_satisfaction and satisfaction is None:
        raise ConfigError(
            f"{name} needs satisfaction=, a law of grades that gives P(satisfied | clicked), e.g. satisfaction=GradedRelevance(noise=0.1)."
        )
    if satisfaction is not None and not law.reads_satisfaction:
        raise ConfigError(
            f"{name} does not read satisfaction: leave satisfaction= out. (A law of your own that does says reads_satisfaction = True.)"
        )


def of_grades(name: str, law: Relevance, grades: np.ndarray) -> np.ndarray:
    """Return what a law says of each grade, checked to be probabilities, in the shape of the grades."""
    values = np.asarray(law(grades))
    if values.shape != grades.shape:
        raise ContractError(f"{name} must map the grades {grades.shape} to one probability each; it returned shape {values.shape}.")
    check_probabilities(name, values, lambda document: f"document {document}", zero=True)
    return values.astype(np.float32)
