"""INST: a user who goes on the more readily, the more is still to be found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import within
from ultr.errors import ConfigError
from ultr.metrics.cwl import GainMetric, looks
from ultr.metrics.top import RankedPages, ranks


def inst_looks(gains: np.ndarray, target: float, left: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Return P(look) at each rank of pages, and the expected looks at the endless rows without gain that follow.

    Args:
        gains: By rank, in [0, 1], shape [B, L].
        target: T, the gain that the user looks for.
        left: What of it is still to be found when the page is opened, shape [B] or one number.

    Returns:
        look: Shape [B, L].
        beyond: Shape [B].
    """
    from scipy.special import zeta

    # The probability to go on from rank i is (1 - 1 / x)^2 with x = T + i + T_i, where T_i is left after rank i. A page without rows
    # is left at rank 0, with certainty to look at what follows.
    x = target + ranks(gains.shape[1]) + np.reshape(left, (-1, 1)) - np.cumsum(gains, axis=1)
    if gains.shape[1] == 0:
        x = np.broadcast_to(target + np.reshape(left, (-1, 1)), (len(gains), 1))
        return np.ones(gains.shape), x[:, -1] ** 2 * zeta(2, x[:, -1])
    look = looks((1 - 1 / x) ** 2)
    # From there on x grows by 1 a row: the product of n probabilities is (x / (x + n))^2, and their sum a Hurwitz zeta function.
    return look, look[:, -1] * (x[:, -1] - 1) ** 2 * zeta(2, x[:, -1])


@dataclass(frozen=True)
class INST(GainMetric):
    """Expected gain of a look by a user who wants a total gain of T, and goes on the more readily, the more is still to be found.

    From rank i the user goes on with probability (1 - 1 / (i + T + T_i))^2, where T_i is what is left of T after rank i; the value is the
    sum of P(look) gain over the sum of P(look). A page without a gain has 0. The page is followed by endless rows without gain.

    Args:
        target: T, at least 1/2: 1 for a known item, more for a survey.
        threshold: Smallest label with gain 1, above 0; None takes the labels as gains, which have to be in [0, 1].
        label: Column of numbers of 0 or more.
        k: Ranks that can have a gain, at least 1; None for the whole page.

    Raises:
        ConfigError: a setting has an impossible value.
        LogError: (when called) there is no threshold and a label is above 1.

    Examples:
        With T = 1 and a gain at rank 1, the user looks at rank 1 and, with probability (1 - 1/2)^2, (1 - 1/2)^2 (1 - 1/3)^2, ... further
        down: pi^2 / 6 = 1.6449 looks in all. Without a gain at rank 1 the user goes on with probability (1 - 1/3)^2; what then is found at
        rank 2 leads on with (1 - 1/3)^2, (1 - 1/4)^2, ...: 2.1465 looks, of which .4444 find something.

        >>> from ultr.metrics.sketch import sketch
        >>> INST()(sketch("a=1", "a b=1", "a b")).round(4)
        array([0.6079, 0.2071, 0.    ])
        >>> INST(target=3)(sketch("a=1 b c=1", "a=1 b=1 c=1")).round(4)
        array([0.3005, 0.4989])

    Source:
        Moffat, Bailey, Scholer and Thomas (2017), Incorporating user expectations and behavior into the measurement of search
        effectiveness, ACM TOIS. doi:10.1145/3052768. The formula is that of a published implementation.

    Differs:
        The sum of P(look) is exact; published implementations stop it at the end of the list, or at rank 1000.
    """

    target: float = 1
    threshold: float | None = 1
    label: str = "grade"
    k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not within(self.target, "[0.5, inf)"):
            raise ConfigError(f"INST: target is the gain that the user looks for, in [0.5, inf), not {self.target!r}.")

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        gains = self.gains_of(pages)
        look, beyond = inst_looks(gains, self.target, self.target)
        return (look * gains).sum(axis=1) / (look.sum(axis=1) + beyond)
