"""Discounted cumulative gain of a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ultr.data.checks import within
from ultr.errors import ConfigError
from ultr.metrics.sessions import SessionMetric, Sessions, check_choice
from ultr.metrics.top import Gain, exponential, linear


@dataclass(frozen=True)
class Discounts:
    """A form of session DCG: the gain of a label, the weight of a rank and that of a query.

    Args:
        gain: Maps labels to gains.
        of_rank: Maps ranks and the base to weights.
        of_query: Maps ranks of queries and the query base to weights.
    """

    gain: Gain
    of_rank: Callable[[np.ndarray, float], np.ndarray]
    of_query: Callable[[np.ndarray, float], np.ndarray]


def _jarvelin(rank: np.ndarray, base: float) -> np.ndarray:
    return 1 / (1 + np.log(rank) / np.log(base))


def _kanoulas(rank: np.ndarray, base: float) -> np.ndarray:
    return np.log(base) / np.log(rank + base - 1)


FORMS = {"jarvelin": Discounts(linear, _jarvelin, _jarvelin), "kanoulas": Discounts(exponential, _kanoulas, _kanoulas)}


def check_bases(by: str, base: float, query_base: float) -> None:
    """Raise ConfigError unless both bases of logarithms are above 1."""
    for setting, value in (("base", base), ("query_base", query_base)):
        if not within(value, "(1, inf)"):
            raise ConfigError(f"{by}: {setting} is the base of a logarithm, above 1, not {value!r}.")


@dataclass(frozen=True)
class SessionDCG(SessionMetric):
    """Sum over the pages of a session of the page's DCG, discounted once more by the rank of its query.

    With n the rank in the page and m that of its query, "jarvelin" is the sum of label / (1 + log_b n) / (1 + log_q m), "kanoulas" of
    (2^label - 1) / log_b(n + b - 1) / log_q(m + q - 1), with b the base and q the query base: the first rank and query count in full.

    A session without a positive label has 0, also where nothing was shown. A document pays each time it has a positive label: give
    `ultr.metrics.credit.credited(log)` as labels to count it once. An empty page counts as a query. (SDCG elsewhere is scaled DCG.)

    Args:
        base: b, above 1.
        query_base: q, above 1.
        form: "jarvelin" or "kanoulas".
        label: Column of numbers of 0 or more; `click` or judgements.
        k: Rows of a page that count, at least 1; None for all of them.

    Raises:
        ConfigError: a setting has an impossible value.

    Examples:
        b has rank 2: 1 / (1 + 1). In the second query, 1 / (1 + log_4 2) = 2/3 of it counts; in the third 1 / (1 + log_4 3) = .5579.

        >>> from ultr.metrics.sketch import sketch
        >>> SessionDCG()(sketch("a b*", "x | a* b*", " | | a*", "a", "a* | a*")).round(4)
        array([0.5   , 1.    , 0.5579, 0.    , 1.6667])

        The other form: 1 / log2(3), grade 2 pays 3; 1 / log_4(5) = .8614 in the second query.

        >>> SessionDCG(form="kanoulas")(sketch("a b*", "x | a* b*")).round(4)
        array([0.6309, 1.4048])
        >>> SessionDCG(form="kanoulas", label="grade")(sketch("a=2", "x | a=2")).round(4)
        array([3.    , 2.5841])

    Source:
        Jarvelin, Price, Delcambre and Nielsen (2008), Discounted cumulated gain based evaluation of multiple-query IR sessions, ECIR.
        doi:10.1007/978-3-540-78646-7_4
        Kanoulas, Carterette, Clough and Sanderson (2011), Evaluating multi-query sessions, SIGIR. doi:10.1145/2009916.2010056
        Both reconstructed from published implementations.

    Differs:
        Every rank is discounted; in the original cumulated gain ranks below the base are not.
    """

    base: float = 2
    query_base: float = 4
    form: str = "jarvelin"
    label: str = "click"
    k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("SessionDCG", "form", self.form, tuple(FORMS))
        check_bases("SessionDCG", self.base, self.query_base)

    def of_sessions(self, sessions: Sessions) -> np.ndarray:
        form = FORMS[self.form]
        rank, query = sessions.ranks()
        dcg = sessions.page_sums(form.gain, form.of_rank(rank, self.base), self.k)
        return sessions.weigh(dcg, form.of_query(query, self.query_base)[sessions.page_numbers])
