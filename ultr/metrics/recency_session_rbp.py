"""Session rank-biased precision in which the last queries count most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.recency_session_dcg import check_decay, recency
from ultr.metrics.session_rbp import check_persistence, page_rbp
from ultr.metrics.sessions import SessionMetric, Sessions


@dataclass(frozen=True)
class RecencySessionRBP(SessionMetric):
    """`SessionRBP` with a further weight of exp(-decay (M - m)) for page m of M: users remember the end best.

    A session without a positive label has 0, also where nothing was shown. A document pays each time it has a positive label. An empty
    page counts as a query, so that an empty last page lowers the value.

    Args:
        p: Probability to go on, in (0, 1).
        b: Probability to go on within the page, in [0, 1].
        decay: How fast a query is forgotten, 0 or more, per query; 0 is `SessionRBP`.
        label: Column of numbers of 0 or more; `click` or judgements.
        k: Rows of a page that count, at least 1; None for all of them.

    Raises:
        ConfigError: a setting has an impossible value.

    Examples:
        .2 for a first row; exp(-.5) = .6065 for the page before the last; w = .4 / .6 for the second query.

        >>> from ultr.metrics.sketch import sketch
        >>> RecencySessionRBP()(sketch("a*", "a* | x", "x | a*", "a* | a b*", "a")).round(4)
        array([0.2   , 0.1213, 0.1333, 0.1746, 0.    ])

    Source:
        Zhang et al. (2020), Cascade or recency: constructing better evaluation metrics for session search, SIGIR. The idea is theirs; the
        formula is reconstructed from the abstract.
    """

    p: float = 0.8
    b: float = 0.5
    decay: float = 0.5
    label: str = "click"
    k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_persistence("RecencySessionRBP", self.p, self.b)
        check_decay("RecencySessionRBP", self.decay)

    def of_sessions(self, sessions: Sessions) -> np.ndarray:
        values, weight = page_rbp(sessions, self.p, self.b, self.k)
        return sessions.weigh(values, weight * recency(sessions, self.decay))
