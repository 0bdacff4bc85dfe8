"""The position biases that LightGBM's lambdarank learns, read from its debug messages: LightGBM prints them and has no getter."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from ultr.errors import ContractError

_LINE = re.compile(r"\[LightGBM\] \[Debug\]\s+(\d+)\s+(-?(?:\d[\d.]*(?:e[+-]?\d+)?|nan|inf))\s*")
VERBOSITY = 2  # LightGBM's level at which it prints them


class PositionCurve:
    """What has been heard from this thread; messages of other threads are passed on.

    Args:
        n_positions: L.
        info: Whom LightGBM's messages went to before.
        warning: Whom its warnings went to before.
    """

    def __init__(self, n_positions: int, info: Callable[[str], None], warning: Callable[[str], None]) -> None:
        self.bias = np.full(n_positions, np.nan)  # what LightGBM adds to a score by position now, NaN where no row was shown
        self.warning = warning
        self._info, self._thread = info, threading.get_ident()

    def info(self, message: str) -> None:
        """Take a message; those that are no bias are dropped."""
        if threading.get_ident() != self._thread:
            self._info(message)
        elif line := _LINE.fullmatch(message):
            self.bias[int(line[1])] = float(line[2])

    @property
    def propensity(self) -> np.ndarray:
        """Propensity by position, relative to the first position shown, shape [L].

        A score is a logit of being preferred, so that exp(bias) multiplies the odds as a propensity does.

        Raises:
            ContractError: nothing was heard.
        """
        if np.isnan(self.bias).all():
            raise ContractError("This version of LightGBM prints its position biases in a form that cannot be read here.")
        return np.exp(self.bias - self.bias[np.argmax(~np.isnan(self.bias))])


@contextmanager
def hear_position_curve(n_positions: int) -> Iterator[PositionCurve]:
    """Listen to LightGBM inside the block; whoever listened before listens again after it.

    Args:
        n_positions: L.
    """
    from lightgbm import basic, register_logger

    logger, info, warning = basic._LOGGER, basic._INFO_METHOD_NAME, basic._WARNING_METHOD_NAME
    curve = PositionCurve(n_positions, getattr(logger, info), getattr(logger, warning))
    register_logger(curve)
    try:
        yield curve
    finally:
        register_logger(logger, info, warning)
