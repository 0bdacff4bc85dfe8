"""Session DCG, divided by that of the best session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ultr.data.order import Block, blocks
from ultr.metrics.credit import credit
from ultr.metrics.session_dcg import FORMS, check_bases
from ultr.metrics.sessions import SessionMetric, Sessions, check_choice


@dataclass(frozen=True)
class NormalisedSessionDCG(SessionMetric):
    """Session DCG divided by that of the best session with as many queries and rows, in [0, 1].

    The relevant documents are those with a positive label anywhere in the session, with their largest one. "repeat" ranks the best of
    them on every page, so a document pays once a page; "slots" gives each of them one place of the session, the best to the best, so a
    document pays once a session. In either, it pays at its first positive label.

    A session without a positive label is NaN, also where nothing was shown: any session is as good. An empty page counts as a query.

    Args:
        base: Base of the discount by rank, above 1.
        query_base: Base of the discount by query, above 1.
        form: "jarvelin" or "kanoulas", as for `SessionDCG`.
        ideal: "repeat" or "slots".
        label: Column of numbers of 0 or more; `click` or judgements.
        k: Rows of a page that count, at least 1; None for all of them.

    Raises:
        ConfigError: a setting has an impossible value.

    Examples:
        Two queries of two rows weigh 1, 1/2 and 2/3, 1/3. With a and b relevant, the best session has all of that by "repeat", the first
        two weights in falling order, 1 and 2/3, by "slots".

        >>> from ultr.metrics.sketch import sketch
        >>> log = sketch("a b* | a* x", "a* b* | x y", "a* x | a* y", "a x | y b")
        >>> NormalisedSessionDCG()(log).round(4)
        array([0.4667, 0.6   , 1.    ,    nan])
        >>> NormalisedSessionDCG(ideal="slots")(log).round(4)
        array([0.7, 0.9, 1. , nan])

    Source:
        "repeat": Kanoulas, Carterette, Clough and Sanderson (2011), Evaluating multi-query sessions, SIGIR. doi:10.1145/2009916.2010056
        "slots": the bound of session DCG in the TREC dynamic domain track. Both reconstructed from published implementations.

    Differs:
        Best lists are as long as the pages of the session, not of a fixed length, and documents that were not shown are in none of them.
    """

    needs: ClassVar[tuple[str, ...]] = ("item",)
    base: float = 2
    query_base: float = 4
    form: str = "jarvelin"
    ideal: str = "repeat"
    label: str = "click"
    k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("NormalisedSessionDCG", "form", self.form, tuple(FORMS))
        check_choice("NormalisedSessionDCG", "ideal", self.ideal, ("repeat", "slots"))
        check_bases("NormalisedSessionDCG", self.base, self.query_base)

    def of_sessions(self, sessions: Sessions) -> np.ndarray:
        sessions = sessions.first_ranks(self.k)
        values = np.full(len(sessions), np.nan)
        of_rank, of_query = self._weights(sessions)
        for block in blocks(sessions.rows):
            some = block.of(sessions.columns["label"]).any(axis=1)
            if some.any():
                block = Block(block.pages[some], block.starts[some], block.length)
                values[block.pages] = self._of_block(sessions, block, of_rank, of_query)
        return values

    def _weights(self, sessions: Sessions) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of ranks, up to the longest page, and of queries, up to the longest session."""
        form, (rank, query) = FORMS[self.form], sessions.ranks()
        return form.of_rank(rank, self.base), form.of_query(query, self.query_base)

    def _of_block(self, sessions: Sessions, block: Block, of_rank: np.ndarray, of_query: np.ndarray) -> np.ndarray:
        """Return the values of sessions of equally many rows, each with a positive label, shape [B]."""
        gain, labels, items = FORMS[self.form].gain, block.of(sessions.columns["label"]), block.of(sessions.items)
        slot, number = block.of(sessions.slot_of_row), block.of(sessions.page_number_of_row)
        weight = of_rank[slot] * of_query[number]
        best = gain(-np.sort(-credit(items, labels), axis=1))
        if self.ideal == "slots":
            ideal = (best * -np.sort(-weight, axis=1)).sum(axis=1)
            return (gain(credit_first(items, labels)) * weight).sum(axis=1) / ideal
        # The row at slot n of any page has the n-th best document beside it: the best list is repeated.
        ideal = (np.take_along_axis(best, slot.astype(np.int64), axis=1) * weight).sum(axis=1)
        page = items.astype(np.int64) * (int(number.max()) + 1) + number  # a document of one page is another than that of the next
        return (gain(credit_first(page, labels)) * weight).sum(axis=1) / ideal


def credit_first(items: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the labels with each document's first positive one left, the others 0; shape [B, T]."""
    return np.where(credit(items, labels, labels == 0) > 0, labels, 0)
