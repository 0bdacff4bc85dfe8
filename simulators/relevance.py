"""From a grade to the chance of a click on an examined document."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ultr.data.checks import check_grades, within
from ultr.errors import ConfigError, LogError


@dataclass(frozen=True)
class GradedRelevance:
    """P(click | examined, grade y) = noise + (1 - noise) (2**y - 1) / (2**max_grade - 1).

    Args:
        noise: P(click | examined) of an irrelevant document, in [0, 1).
        max_grade: The grade that is always clicked when examined, at least 1; the largest grade it is called with when None.

    Raises:
        ConfigError: a setting is out of range.

    Source:
        Ai et al. (2018), SIGIR, doi:10.1145/3209978.3209986; reconstructed from the published code, in which noise 0.1 gives
        0.10, 0.16, 0.28, 0.52 and 1 for the grades 0 to 4.
    """

    noise: float = 0.1
    max_grade: int | None = None

    def __post_init__(self) -> None:
        if not within(self.noise, "[0, 1)"):
            raise ConfigError(f"noise must be in [0, 1), not {self.noise!r}: at 1 every examined document is clicked.")
        if self.max_grade is not None and not self.max_grade >= 1:
            raise ConfigError(f"max_grade must be at least 1, not {self.max_grade!r}.")

    def __call__(self, grades: ArrayLike) -> np.ndarray:
        """Return P(click | examined) of every document.

        Args:
            grades: Whole numbers from 0, shape [D].

        Returns:
            Probabilities in [noise, 1], shape [D]; all `noise` where every grade is 0 and `max_grade` is None.

        Raises:
            LogError: a grade is negative, no whole number, or above `max_grade`.
        """
        grades = np.asarray(grades)
        check_grades(grades, lambda document: f"document {document}")
        top = max(1, int(grades.max(initial=0))) if self.max_grade is None else self.max_grade
        above = grades > top
        if above.any():
            at = int(np.argmax(above))
            raise LogError(
                f"grade must be at most max_grade={top}: document {at} has {grades[at]};"
                f" {np.count_nonzero(above)} of {len(grades)} are above. Raise max_grade, or leave it out."
            )
        return self.noise + (1 - self.noise) * ((2.0**grades - 1) / (2.0**top - 1))  # in this order never above 1
