"""Expected reciprocal rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.checks import MAX_GRADE, refuse, rows_are
from ultr.errors import ConfigError
from ultr.metrics.top import QueryMetric, RankedPages, expected_reciprocal_stop


@dataclass(frozen=True)
class ERR(QueryMetric):
    """Expected 1 / rank at which a user who reads down the page is satisfied, where a row satisfies with (2^grade - 1) / 2^max_grade.

    A page without a positive label has 0. A page shorter than k ends where it ends. The order of the log is taken as it is: the mean over
    the orders of tied rows has no simple form, so there is no `ties`.

    Args:
        k: Ranks that count, at least 1; None for the whole page.
        max_grade: Highest grade of the scale, at least 1 and at most 31: 4 for grades 0..4. It sets the scale, so pages without
            that grade are judged alike.
        label: Column of numbers in [0, max_grade], fractions allowed.

    Raises:
        ConfigError: a setting has an impossible value.
        LogError: (when called) a label is above `max_grade`.

    Source:
        Chapelle, Metzler, Zhang and Grinspan (2009), Expected reciprocal rank for graded relevance, CIKM. doi:10.1145/1645953.1646033
    """

    k: int | None = 10
    max_grade: int = 4
    label: str = "grade"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.max_grade <= MAX_GRADE:
            raise ConfigError(f"ERR: max_grade must be in 1..{MAX_GRADE}, not {self.max_grade!r}.")

    def of_pages(self, pages: RankedPages) -> np.ndarray:
        if pages.any_order().max() > self.max_grade:
            labels = pages.log.columns[self.label]
            what, do = (
                f"ERR needs {self.label} of at most max_grade={self.max_grade}",
                "Give the highest grade of the scale, e.g. ERR(max_grade=5).",
            )
            refuse(labels > self.max_grade, what, do, rows_are(pages.log.offsets), labels)
        scale = 2.0**self.max_grade
        return expected_reciprocal_stop(pages.gains(lambda grade: (np.exp2(grade, dtype=np.float64) - 1.0) / scale, self.k))
