"""Who searches in a simulated session, and how satisfied they are when they leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ultr.data.checks import within
from ultr.data.log import ClickLog
from ultr.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Searcher:
    """What users want, how well they ask, what it costs them, and when they give up.

    Args:
        need: Largest number of relevant documents that a user wants, at least 1. It is uniform in 1..min(need, relevant documents of the
            topic); a topic without one is a need of 1 that nothing meets.
        relevant: Smallest grade of a document that helps, at least 1.
        skill: Mean logit of the quality of a query.
        skill_spread: Standard deviation of the logit among users, at least 0.
        query_spread: Standard deviation of the logit among the queries of a session, at least 0.
        clutter: Chance that a query finds an irrelevant document, in [0, 1], however good it is.
        again: P(click | examined) of a document that was read before in the session, as a share of what it was, in [0, 1].
        snippet: Cost of a row read, at least 0. All costs are in one unit of the user's choice.
        document: Cost of a click, at least 0.
        reformulation: Cost of each query but the first, at least 0.
        patience: Mean of the exponential effort after which a user leaves, whatever was found; above 0, infinity for ever.

    Raises:
        ConfigError: a setting is out of range.
    """

    need: int = 6
    relevant: int = 1
    skill: float = 0.0
    skill_spread: float = 1.0
    query_spread: float = 1.0
    clutter: float = 0.5
    again: float = 0.2
    snippet: float = 1.0
    document: float = 4.0
    reformulation: float = 5.0
    patience: float = 100.0

    def __post_init__(self) -> None:
        for name in ("need", "relevant"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ConfigError(f"Searcher: {name} must be a whole number of at least 1, not {value!r}.")
        intervals = {
            "(-inf, inf)": ("skill",),
            "[0, inf)": ("skill_spread", "query_spread", "snippet", "document", "reformulation"),
            "[0, 1]": ("clutter", "again"),
            "(0, inf]": ("patience",),
        }
        for interval, names in intervals.items():
            for name in names:
                if not within(getattr(self, name), interval):
                    raise ConfigError(f"Searcher: {name} must be in {interval}, not {getattr(self, name)!r}.")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came of S sessions.

    Args:
        need: Relevant documents wanted, at least 1, shape [S].
        found: Distinct relevant documents clicked, shape [S].
        gain: Sum of their grades, shape [S].
        effort: Cost of all rows read, clicks and reformulations, shape [S].
        queries: Number of queries, at least 1, shape [S].
    """

    need: np.ndarray
    found: np.ndarray
    gain: np.ndarray
    effort: np.ndarray
    queries: np.ndarray

    @classmethod
    def of(cls, log: ClickLog) -> Outcomes:
        """Read them from a log of `simulate_sessions`, in the order of `log.sessions`.

        Raises:
            LogError: a page column is missing.
        """
        codes = log._session_codes[0]
        first = np.unique(codes, return_index=True)[1]
        need, found, gain, effort = (log.page_column(name, "Outcomes")[first] for name in ("need", "found", "gain", "effort"))
        return cls(need, found, gain, effort, np.bincount(codes))

    @property
    def met(self) -> np.ndarray:
        """The share of the need that was met, in [0, 1], shape [S]."""
        return np.minimum(self.found, self.need) / self.need


Satisfaction = Callable[[Outcomes], np.ndarray]  # one number a session [S], each from its own session alone


@dataclass(frozen=True)
class NeedMet:
    """Satisfied by the share of the need that was met, in [0, 1]."""

    def __call__(self, outcomes: Outcomes) -> np.ndarray:
        """Return it for each session, shape [S]."""
        return outcomes.met


@dataclass(frozen=True)
class NeedMetLessEffort:
    """The share of the need that was met, less effort / worth: at most 1.

    Args:
        worth: The effort that a need that is met is just worth, above 0, in the unit of the costs.

    Raises:
        ConfigError: it is not.
    """

    worth: float = 100.0

    def __post_init__(self) -> None:
        if not within(self.worth, "(0, inf)"):
            raise ConfigError(f"NeedMetLessEffort: worth must be above 0 and finite, not {self.worth!r}.")

    def __call__(self, outcomes: Outcomes) -> np.ndarray:
        """Return it for each session, shape [S]."""
        return outcomes.met - outcomes.effort / self.worth


@dataclass(frozen=True)
class FoundPerEffort:
    """Documents found that were needed, over the effort; 0 where there was no effort."""

    def __call__(self, outcomes: Outcomes) -> np.ndarray:
        """Return it for each session, shape [S]."""
        useful = np.minimum(outcomes.found, outcomes.need).astype(np.float64)
        return np.divide(useful, outcomes.effort, out=np.zeros(len(useful)), where=outcomes.effort > 0)


@dataclass(frozen=True)
class TotalGain:
    """The sum of the grades of all relevant documents found, needed or not, whatever the effort."""

    def __call__(self, outcomes: Outcomes) -> np.ndarray:
        """Return it for each session, shape [S]."""
        return outcomes.gain.astype(np.float64)
