"""Rank-biased precision of a session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import within
from ultr.errors import ConfigError
from ultr.metrics.sessions import SessionMetric, Sessions
from ultr.metrics.top import linear


def check_persistence(by: str, p: float, b: float) -> None:
    """Raise ConfigError unless p is in (0, 1) and b in [0, 1]."""
    for setting, value, interval in (("p", p, "(0, 1)"), ("b", b, "[0, 1]")):
        if not within(value, interval):
            raise ConfigError(f"{by}: {setting} is a probability in {interval}, not {value!r}.")


def page_rbp(sessions: Sessions, p: float, b: float, k: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return (1 - p) times the sum of label times (b p)^(n - 1) of each page, shape [P], and the weight of its query, shape [P]."""
    rank, query = sessions.ranks()
    further = (p - b * p) / (1 - b * p)
    values = (1 - p) * sessions.page_sums(linear, (b * p) ** (rank - 1), k)
    return values, (further ** (query - 1))[sessions.page_numbers]


@dataclass(frozen=True)
class SessionRBP(SessionMetric):
    """Rate of gain of a user who goes on with probability p: to the next row with probability b, else to the first row of the next query.

    (1 - p) times the sum of label times w^(m - 1) (b p)^(n - 1), n the rank in the page, m that of its query, w = (p - b p) / (1 - b p).
    All weights sum to 1 over endlessly many and long pages, so labels in [0, 1] give values in [0, 1]; map grades to [0, 1] first for that.

    A session without a positive label has 0, also where nothing was shown. A document pays each time it has a positive label: give
    `ultr.metrics.credit.credited(log)` as labels to count it once. An empty page counts as a query.

    Args:
        p: Probability to go on, in (0, 1).
        b: Probability to go on within the page, in [0, 1]; 1 is RBP of the first page, 0 looks at first rows only.
        label: Column of numbers of 0 or more; `click` or judgements.
        k: Rows of a page that count, at least 1; None for all of them.

    Raises:
        ConfigError: a setting has an impossible value.

    Examples:
        b p = .4, so b pays .2 * .4 at rank 2; w = .4 / .6, so the second query pays two thirds.

        >>> from ultr.metrics.sketch import sketch
        >>> SessionRBP()(sketch("a*", "a b*", "x | a*", " | | a*", "a", "a* | a*")).round(4)
        array([0.2   , 0.08  , 0.1333, 0.0889, 0.    , 0.3333])
        >>> SessionRBP(b=1)(sketch("a b* | a*")).round(4)
        array([0.16])

    Source:
        Lipani, Carterette and Yilmaz (2019), From a user model for query sessions to session rank biased precision, ICTIR.
        The formula is reconstructed.
    """

    p: float = 0.8
    b: float = 0.5
    label: str = "click"
    k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_persistence("SessionRBP", self.p, self.b)

    def of_sessions(self, sessions: Sessions) -> np.ndarray:
        return sessions.weigh(*page_rbp(sessions, self.p, self.b, self.k))
