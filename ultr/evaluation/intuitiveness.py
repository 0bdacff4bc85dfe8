"""Concordance test: where two metrics disagree about which system served a session better, which of them agrees with a gold measure?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from ultr.errors import ConfigError
from ultr.evaluation.paired_tests import randomisation_test
from ultr.evaluation.systems import pairs_of, side_by_side

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Concordance:
    """Who agrees with the gold measure, over the pairs of systems on a session about which the two metrics disagree.

    Args:
        first: Share of the disagreements in which the first metric agrees with the gold measure, in [0, 1]; a tie of the gold measure
            agrees with both. NaN where the metrics never disagree.
        second: Share in which the second does.
        n_disagreements: Pairs of systems on a session that the metrics order in opposite ways.
        n_pairs: Pairs of systems on a session on which both metrics and the gold measure are defined.
        n_dropped: Pairs on which one of them is NaN.
        p_sign: Sign test over the disagreements about which the gold measure is not tied, two-sided, as in the literature. It takes them
            for independent, which pairs of systems on one session are not: read `p_value`.
        p_value: Randomisation test over sessions: all disagreements of a session change sides together.
    """

    first: float
    second: float
    n_disagreements: int
    n_pairs: int
    n_dropped: int
    p_sign: float
    p_value: float


def concordance(
    first: Mapping[str, ArrayLike] | pd.DataFrame,
    second: Mapping[str, ArrayLike] | pd.DataFrame,
    gold: Mapping[str, ArrayLike] | pd.DataFrame,
    *,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Concordance:
    """Compare two metrics by a simple gold measure of what a good session is (relevant documents found, satisfaction, ...).

    Also known as the intuitiveness test. A metric that agrees more often is the more intuitive one in the sense of that measure.

    Args:
        first: Values of the first metric, a column a system: a mapping of names to vectors [S], or a DataFrame; NaN where undefined.
        second: Values of the second metric, the same systems and sessions.
        gold: Values of the gold measure, the same systems and sessions; larger is better.
        n_resamples: Random sign patterns of `p_value`.
        seed: Of these.

    Returns:
        Shares, counts and p-values; without a disagreement that the gold measure decides, both p-values are 1.

    Raises:
        ConfigError: the three differ in systems or sessions, or there are fewer than two systems.

    Source:
        Sakai (2012), Evaluation with informational and navigational intents, WWW. doi:10.1145/2187836.2187904

    Differs:
        `p_value` takes sessions, not pairs of systems, as independent; Sakai's sign test is `p_sign`.
    """
    one, two, three = _aligned(first, second, gold)
    i, j = pairs_of(one.shape[1])
    known = ~np.isnan(one + two + three)
    defined = known[:, i] & known[:, j]
    signs = [np.where(defined, np.sign(values[:, i] - values[:, j]), 0) for values in (one, two, three)]
    disagree = signs[0] * signs[1] < 0
    n = int(disagree.sum())
    agreeing = [disagree & (sign * signs[2] >= 0) for sign in signs[:2]]
    wins = (agreeing[0] & ~agreeing[1]).sum(axis=1)
    losses = (agreeing[1] & ~agreeing[0]).sum(axis=1)
    decided = int(wins.sum() + losses.sum())
    return Concordance(
        first=float(agreeing[0].sum() / n) if n else np.nan,
        second=float(agreeing[1].sum() / n) if n else np.nan,
        n_disagreements=n,
        n_pairs=int(defined.sum()),
        n_dropped=int((~defined).sum()),
        p_sign=float(scipy.stats.binomtest(int(wins.sum()), decided).pvalue) if decided else 1.0,
        p_value=randomisation_test(wins, losses, n_resamples=n_resamples, seed=seed).p_value,
    )


def _aligned(
    first: Mapping[str, ArrayLike] | pd.DataFrame,
    second: Mapping[str, ArrayLike] | pd.DataFrame,
    gold: Mapping[str, ArrayLike] | pd.DataFrame,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the three tables [S, K] with their systems in the order of the first."""
    names, one = side_by_side(first, "concordance: first")
    tables = [one]
    for name, values in (("second", second), ("gold", gold)):
        others, table = side_by_side(values, f"concordance: {name}")
        if set(others) != set(names) or len(table) != len(one):
            raise ConfigError(
                f"concordance: {name} must have the systems and sessions of first, {', '.join(names)} on {len(one)} sessions;"
                f" it has {', '.join(others)} on {len(table)}."
            )
        tables.append(table[:, [others.index(system) for system in names]])
    return tables[0], tables[1], tables[2]
