"""The click-through baselines: every row is examined, and what is fitted is a click rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ultr.click_models.cell_learner import RateLearner
from ultr.click_models.independent import IndependentRows
from ultr.click_models.learning import Learner


class ClickThrough(IndependentRows):
    """P(click on a row) = attraction; what the baselines below differ in is which rows share one when they are fitted."""

    @classmethod
    def _learner(cls) -> Learner:
        return RateLearner(cls())


@dataclass(frozen=True, eq=False)
class GlobalRate(ClickThrough):
    """P(click on a row) = attraction; `fit` gives all rows of the log one rate."""

    rates_by: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, eq=False)
class RankRate(ClickThrough):
    """P(click on a row) = attraction; `fit` gives each position one rate."""

    rates_by: ClassVar[tuple[str, ...]] = ("position",)


@dataclass(frozen=True, eq=False)
class ItemRate(ClickThrough):
    """P(click on a row) = attraction; `fit` gives each (query, item) one rate."""


@dataclass(frozen=True, eq=False)
class ItemRankRate(ClickThrough):
    """P(click on a row) = attraction; `fit` gives each (query, item) one rate at each position."""

    rates_by: ClassVar[tuple[str, ...]] = ("query", "item", "position")
