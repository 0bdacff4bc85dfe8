"""Each click model with its story, and a twin with one parameter that is wrong: what the tests of laws and sampling go through."""

import click_stories as stories
import numpy as np

from ultr.click_models import (
    Cascade,
    ClickChain,
    DependentClick,
    DynamicBayesian,
    GlobalRate,
    ItemRankRate,
    ItemRate,
    Mixture,
    PositionBased,
    RankRate,
    SimplifiedDynamicBayesian,
    TrustBias,
    UserBrowsing,
)

BROWSING = np.array([[np.nan if p is None else p for p in row] for row in stories.BROWSING])


def wrong(values, at, factor=0.9):
    """The parameters with one entry that is a tenth too small."""
    values = np.array(values, dtype=float)
    values[at] *= factor
    return values


STORIES = {
    "PositionBased": (PositionBased(stories.THETA), stories.position_based),
    "TrustBias": (TrustBias(stories.THETA, stories.TRUST_POSITIVE, stories.TRUST_NEGATIVE), stories.trust_bias),
    "Cascade": (Cascade(), stories.cascade),
    "DependentClick": (DependentClick(stories.LAMBDA), stories.dependent_click),
    "SimplifiedDynamicBayesian": (SimplifiedDynamicBayesian(), stories.simplified_dynamic_bayesian),
    "DynamicBayesian": (DynamicBayesian(stories.GAMMA), stories.dynamic_bayesian),
    "ClickChain": (ClickChain(*stories.TAU), stories.click_chain),
    "UserBrowsing": (UserBrowsing(BROWSING), stories.user_browsing),
    "Mixture": (
        Mixture([PositionBased(stories.THETA), Cascade(), DynamicBayesian(stories.GAMMA)], stories.WEIGHTS),
        stories.mixture,
    ),
    "GlobalRate": (GlobalRate(), stories.click_through),
    "RankRate": (RankRate(), stories.click_through),
    "ItemRate": (ItemRate(), stories.click_through),
    "ItemRankRate": (ItemRankRate(), stories.click_through),
}
TWINS = {
    "PositionBased": PositionBased(wrong(stories.THETA, 1)),
    "TrustBias": TrustBias(stories.THETA, stories.TRUST_POSITIVE, wrong(stories.TRUST_NEGATIVE, 0)),
    "Cascade": DependentClick([0.05] * 4),
    "DependentClick": DependentClick(wrong(stories.LAMBDA, 0)),
    "SimplifiedDynamicBayesian": DynamicBayesian(0.95),
    "DynamicBayesian": DynamicBayesian(0.9 * stories.GAMMA),
    "ClickChain": ClickChain(stories.TAU[0], stories.TAU[1], stories.TAU[2] * 1.3),
    "UserBrowsing": UserBrowsing(wrong(BROWSING, (1, 1))),
    "Mixture": Mixture([PositionBased(stories.THETA), Cascade(), DynamicBayesian(stories.GAMMA)], [0.5, 0.2, 0.3]),
    "GlobalRate": PositionBased([1, 1, 1, 0.95]),
}
