"""INST of a session: a user who looks for a total gain, on pages and over queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ultr.data.checks import refuse, rows_are, within
from ultr.data.log import ClickLog
from ultr.data.order import Block
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError
from ultr.metrics.inst import inst_looks
from ultr.metrics.sessions import SessionMetric, Sessions, checked_labels
from ultr.metrics.top import linear, relevant

_CELLS = 1 << 16  # rows a step


@dataclass(frozen=True)
class SessionINST(SessionMetric):
    """Expected gain of a look by a user who wants a total gain of T, and goes down pages and on to further queries to find it.

    On a page the user goes on from rank i with probability (1 - 1 / (i + T + T_i))^2, from query m to the next one with probability
    (1 - 1 / (m + T + T_m))^2, where T_i and T_m are what is left of T: T less the expected gain of the queries before, and on a page less
    the gain down to rank i. What is left when a query is made is never below 0. The value is the sum of P(look) gain over the sum of
    P(look). A session of one page has the value of `INST`.

    Every page is followed by endless rows without gain, an empty one too. A session without a positive label has 0, also where nothing
    was shown. A document pays each time it has a positive label: give `ultr.metrics.credit.credited(log)` as labels to count it once.

    Args:
        target: T, at least 1.
        threshold: Smallest label with gain 1, above 0; None takes the labels as gains, which have to be in [0, 1].
        label: Column of numbers of 0 or more; `click` or judgements.
        k: Rows of a page that can have a gain, at least 1; None for all of them.

    Raises:
        ConfigError: a setting has an impossible value.
        LogError: (when called) there is no threshold and a label is above 1.

    Examples:
        The first page has 1 / (pi^2 / 6), as with INST. In the second session the useless first page takes 2.58 looks, in the third the
        empty one as many, since both are followed by rows without gain; (1 - 1/3)^2 = .4444 make a second query, which takes 1.6449 looks.
        In the last one a quarter makes a second query though all is found, and takes one look: (1 + .25) / (1.6449 + .25).

        >>> from ultr.metrics.sketch import sketch
        >>> SessionINST()(sketch("a*", "x | a*", " | a*", "a", "a* | b*")).round(4)
        array([0.6079, 0.1342, 0.1342, 0.    , 0.6597])

    Source:
        Wicaksono and Moffat (2021), Modeling search and session effectiveness, Information Processing and Management. The idea is theirs;
        the formula is reconstructed from the abstract.

    Differs:
        The gain of earlier queries is its mean over where the user stopped there, so that one pass suffices.
    """

    target: float = 1
    threshold: float | None = 1
    label: str = "click"
    k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not within(self.target, "[1, inf)"):
            raise ConfigError(f"SessionINST: target is the gain that the user looks for, in [1, inf), not {self.target!r}.")
        if self.threshold is not None and not within(self.threshold, "(0, inf)"):
            raise ConfigError(f"SessionINST: threshold must be above 0, or None, not {self.threshold!r}.")

    def __call__(self, log: ClickLog) -> np.ndarray:
        if self.threshold is None:
            labels = checked_labels(log, self.label, "SessionINST")
            what = f"SessionINST(threshold=None) takes {self.label} as gains, which lie in [0, 1]"
            refuse(labels > 1, what, "Divide them by the highest one, or give a threshold.", rows_are(log.offsets), labels)
        return super().__call__(log)

    def of_sessions(self, sessions: Sessions) -> np.ndarray:
        gain = linear if self.threshold is None else relevant(self.threshold)
        n_pages = np.diff(sessions.bounds)
        found, gained, looked, reached = np.zeros(len(sessions)), np.zeros(len(sessions)), np.zeros(len(sessions)), np.ones(len(sessions))
        for m in range(int(n_pages.max(initial=0))):
            some = np.flatnonzero(n_pages > m)
            for block, chosen in _pages(sessions, some, m):
                gains = gain(block.of(sessions.columns["label"], self.k)) if block.length else np.zeros((len(chosen), 0))
                look, beyond = inst_looks(gains, self.target, np.maximum(self.target - found[chosen], 0.0))
                of_page = (look * gains).sum(axis=1)
                gained[chosen] += reached[chosen] * of_page
                looked[chosen] += reached[chosen] * (look.sum(axis=1) + beyond)
                found[chosen] += of_page
            left = np.maximum(self.target - found[some], 0.0)
            reached[some] *= (1 - 1 / (m + 1 + self.target + left)) ** 2
        return gained / looked


def _pages(sessions: Sessions, some: np.ndarray, m: int) -> Iterator[tuple[Block, np.ndarray]]:
    """Iterate over page m (from 0) of some sessions, pages of equal length together: the pages and their sessions."""
    pages = sessions.bounds[some] + m
    lengths = np.diff(sessions.offsets)[pages]
    order = np.argsort(lengths, kind="stable")
    for group in np.split(order, offsets_of(np.bincount(lengths))[1:-1]):
        step = max(1, _CELLS // max(1, int(lengths[group[0]]) if len(group) else 1))
        for at in range(0, len(group), step):
            chosen = group[at : at + step]
            yield Block(pages[chosen], sessions.offsets[pages[chosen]], int(lengths[chosen[0]])), some[chosen]
