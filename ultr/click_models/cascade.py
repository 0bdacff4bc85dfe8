"""The cascade model: the user reads down to the first click."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.chain import ChainLaw
from ultr.click_models.chain_learner import ChainCounts, ChainLearner
from ultr.click_models.learning import Expected, Learner, Prior, Rows, State


@dataclass(frozen=True, eq=False)
class Cascade(ChainLaw):
    """Rows are examined from the top until one is clicked; nothing below is. A second click on a page has probability 0.

    Source:
        Craswell, Zoeter, Taylor and Ramsey (2008), WSDM, doi:10.1145/1341531.1341545.
    """

    has_tails: ClassVar[bool] = False

    def _after_click(self, attraction: np.ndarray, satisfaction: np.ndarray | None, position: np.ndarray) -> float:
        return 0.0

    @classmethod
    def _counted(cls, law: ClickModel | None, counts: ChainCounts, prior: Prior) -> State:
        return State(cls(), prior.rate(counts.clicks, counts.examined))

    def _maximised(self, counts: ChainCounts, state: State) -> Expected:
        return Expected(self, counts.clicks, counts.examined)

    @classmethod
    def _learner(cls) -> Learner:
        return _FirstClicks(cls)


class _FirstClicks(ChainLearner):
    """Reads each page down to its first click, and remembers how many pages have more."""

    def __init__(self, law: type[Cascade]) -> None:
        super().__init__(law)
        self._pages = self._ruled_out = 0

    def add(self, rows: Rows) -> None:
        clicked = rows.clicked
        page = rows.page_of(clicked)
        again = np.append(False, page[1:] == page[:-1])[: len(page)]
        click = np.zeros(len(rows.click), dtype=np.int8)
        click[clicked[~again]] = 1
        self._pages += len(rows.offsets) - 1
        self._ruled_out += len(np.unique(page[again]))
        super().add(replace(rows, click=click))

    def caution(self) -> str | None:
        if not self._ruled_out:
            return None
        return (
            f"Cascade rules out more than one click a page: {self._ruled_out} of {self._pages} pages have more, and are read down to the"
            " first. Their log-likelihood is -inf; DependentClick is the cascade that goes on."
        )
