"""Session DCG in which the last queries count most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import within
from ultr.errors import ConfigError
from ultr.metrics.session_dcg import FORMS, check_bases
from ultr.metrics.sessions import SessionMetric, Sessions


def check_decay(by: str, decay: float) -> None:
    """Raise ConfigError unless the decay is finite and 0 or more."""
    if not within(decay, "[0, inf)"):
        raise ConfigError(f"{by}: decay must be in [0, inf), not {decay!r}.")


def recency(sessions: Sessions, decay: float) -> np.ndarray:
    """Return exp(-decay (M - m)) for page m of the M of its session, shape [P]."""
    after = np.repeat(sessions.bounds[1:], np.diff(sessions.bounds)) - 1 - np.arange(len(sessions.offsets) - 1)
    return np.exp(-decay * after)


@dataclass(frozen=True)
class RecencySessionDCG(SessionMetric):
    """`SessionDCG` in the jarvelin form with a further weight of exp(-decay (M - m)) for page m of M: users remember the end best.

    A session without a positive label has 0, also where nothing was shown. A document pays each time it has a positive label. An empty
    page counts as a query, so that an empty last page lowers the value.

    Args:
        decay: How fast a query is forgotten, 0 or more, per query; 0 is `SessionDCG`.
        base: Base of the discount by rank, above 1.
        query_base: Base of the discount by query, above 1.
        label: Column of numbers of 0 or more; `click` or judgements.
        k: Rows of a page that count, at least 1; None for all of them.

    Raises:
        ConfigError: a setting has an impossible value.

    Examples:
        exp(-.5) = .6065 for the page before the last; 1 / (1 + log_4 2) = .6667 for the second query.

        >>> from ultr.metrics.sketch import sketch
        >>> RecencySessionDCG()(sketch("a*", "a* | x", "x | a*", "a* | a b*", "a* | ", "a")).round(4)
        array([1.    , 0.6065, 0.6667, 0.9399, 0.6065, 0.    ])

    Source:
        Zhang et al. (2020), Cascade or recency: constructing better evaluation metrics for session search, SIGIR. The idea is theirs; the
        formula is reconstructed from the abstract.
    """

    decay: float = 0.5
    base: float = 2
    query_base: float = 4
    label: str = "click"
    k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decay("RecencySessionDCG", self.decay)
        check_bases("RecencySessionDCG", self.base, self.query_base)

    def of_sessions(self, sessions: Sessions) -> np.ndarray:
        form = FORMS["jarvelin"]
        rank, query = sessions.ranks()
        dcg = sessions.page_sums(form.gain, form.of_rank(rank, self.base), self.k)
        return sessions.weigh(dcg, form.of_query(query, self.query_base)[sessions.page_numbers] * recency(sessions, self.decay))
