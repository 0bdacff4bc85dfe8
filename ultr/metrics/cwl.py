"""C/W/L: the metric of a user who goes on to the next row with a probability of one's own making."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ultr.data.checks import refuse, rows_are
from ultr.errors import ConfigError, ContractError
from ultr.metrics.sessions import check_choice
from ultr.metrics.top import QueryMetric, RankedPages, ranks, relevant

Continuation = Callable[[np.ndarray, np.ndarray], np.ndarray]
_BLOCK = 1 << 18  # cells a step


class GainMetric(QueryMetric):
    """A metric of gains in [0, 1]: whether the label reaches a threshold, or, without one, the label itself."""

    threshold: float | None
    k: int | None

    def __post_init__(self) -> None:
        if self.threshold is None:
            replace(self, threshold=1.0)  # type: ignore[type-var]  # which checks the other settings
        else:
            super().__post_init__()

    def gains_of(self, pages: RankedPages) -> np.ndarray:
        """Return the gains at the first k ranks, shape [B, min(k, L)].

        Raises:
            LogError: there is no threshold and a label is above 1.
        """
        if self.threshold is not None:
            return pages.gains(relevant(self.threshold), self.k)
        gains = pages.gains(lambda labels: labels.astype(np.float64), self.k)
        if pages.any_order().max() > 1:
            labels = pages.log.columns[self.label]
            what = f"{pages.by}(threshold=None) takes {self.label} as gains, which lie in [0, 1]"
            refuse(labels > 1, what, "Divide them by the highest one, or give a threshold.", rows_are(pages.log.offsets), labels)
        return gains


@dataclass(frozen=True)
class CWL(GainMetric):
    """Gain of a user who looks at rank 1 and goes on from each rank with the probability that your own function gives.

    "rate" is the expected gain of a look: the sum of P(look) gain over the sum of P(look). "total" is the expected gain of all looks. The
    page is followed by rows without gain up to rank `depth`, where the user stops. A page without a gain has 0.

    Args:
        continuation: Function of ranks 1, 2, ..., depth, shape [D], and gains, shape [B, D], that returns the probability to go on from
            each rank, in [0, 1], shape [B, D] or one that broadcasts to it.
        value: "rate" or "total".
        depth: Last rank that a user can look at, at least 1.
        threshold: Smallest label with gain 1, above 0; None takes the labels as gains, which have to be in [0, 1].
        label: Column of numbers of 0 or more.
        k: Ranks that can have a gain, at least 1; None for the whole page.

    Raises:
        ConfigError: a setting has an impossible value.
        LogError: (when called) there is no threshold and a label is above 1.
        ContractError: (when called) the function returns another shape, or what is no probability.

    Examples:
        Who goes on with probability 1/2 has the expected gain of RBP(0.5); who stops once satisfied looks at rows up to the first relevant
        one, and has its reciprocal rank.

        >>> from ultr.metrics.sketch import sketch
        >>> log = sketch("a b=1 c d=1", "a=1 b=1", "a=1 b", "a b")
        >>> CWL(lambda rank, gain: 0.5 + 0 * gain)(log).round(4)
        array([0.3125, 0.75  , 0.5   , 0.    ])
        >>> CWL(lambda rank, gain: 1 - gain, depth=4)(log).round(4)
        array([0.5, 1. , 1. , 0. ])

    Source:
        Moffat, Bailey, Scholer and Thomas (2017), Incorporating user expectations and behavior into the measurement of search
        effectiveness, ACM TOIS. doi:10.1145/3052768
    """

    continuation: Continuation
    value: str = "rate"
    depth: int = 1000
    threshold: float | None = 1
    label: str = "grade"
    k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.continuation):
            raise ConfigError(f"CWL: continuation must be a function of ranks and gains, not {self.continuation!r}.")
        check_choice("CWL", "value", self.value, ("rate", "total"))
        if isinstance(self.depth, bool) or not isinstance(self.depth, int | np.integer) or self.depth < 1:
            raise ConfigError(f"CWL: depth must be a whole number of at least 1, not {self.depth!r}.")

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        gains = self.gains_of(pages)[:, : self.depth]
        step = max(1, _BLOCK // self.depth)
        return np.concatenate([self._of_gains(gains[at : at + step]) for at in range(0, len(gains), step)])

    def _of_gains(self, gains: np.ndarray) -> np.ndarray:
        gains = np.pad(gains, ((0, 0), (0, self.depth - gains.shape[1])))
        go_on = self._checked(self.continuation(ranks(self.depth), gains.copy()), gains.shape)
        look = looks(go_on)
        total = (look * gains).sum(axis=1)
        return total if self.value == "total" else total / look.sum(axis=1)

    def _checked(self, go_on: object, shape: tuple[int, ...]) -> np.ndarray:
        values = np.asarray(go_on, dtype=np.float64)
        try:
            values = np.broadcast_to(values, shape)
        except ValueError:
            raise ContractError(f"CWL: continuation must return shape {shape}, as the gains have, not {values.shape}.") from None
        bad = ~((values >= 0) & (values <= 1))
        if bad.any():
            rank = int(np.argwhere(bad)[0, 1]) + 1
            raise ContractError(
                f"CWL: continuation must return probabilities: from rank {rank} it has {values[bad][0]};"
                f" {bad.sum()} of {bad.size} are wrong."
            )
        return values


def looks(go_on: np.ndarray) -> np.ndarray:
    """Return P(look) at each rank from P(go on) from it, shape [B, L]."""
    look = np.ones(go_on.shape)
    np.cumprod(go_on[:, :-1], axis=1, out=look[:, 1:])
    return look
