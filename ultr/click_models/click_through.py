"""The click-through baselines: every row is examined, and what is fitted is a click rate."""

from __future__ import annotations

from dataclasses import dataclass

from ultr.click_models.independent import IndependentRows


@dataclass(frozen=True, eq=False)
class GlobalRate(IndependentRows):
    """P(click on a row) = attraction; `fit` gives all rows of the log one rate."""


@dataclass(frozen=True, eq=False)
class RankRate(IndependentRows):
    """P(click on a row) = attraction; `fit` gives each position one rate."""


@dataclass(frozen=True, eq=False)
class ItemRate(IndependentRows):
    """P(click on a row) = attraction; `fit` gives each (query, item) one rate."""


@dataclass(frozen=True, eq=False)
class ItemRankRate(IndependentRows):
    """P(click on a row) = attraction; `fit` gives each (query, item) one rate at each position."""
