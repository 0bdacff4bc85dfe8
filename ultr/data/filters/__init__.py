"""Filters of dirty clicks, one a file: each maps a log to the same log with what it filtered marked, so that filters follow one another.

    for clean in (RobotTraffic(rates=[(100, 3600)]), DoubleClicks(), Bursts(window=3600)):
        log = clean(log)
    ranker = IPS(...).fit(masked(log))       # who learns from the rows of pages
    model = RelMF(...).fit(log)              # who learns from all pairs of users and items: leaves filtered pairs out by itself

A filter drops no row and changes no click. It sets the row column `weight` (made of ones where there is none) to 0 where it filters, and
the row column `reason`, "" where a row was kept, to its name. Weight 0 says that the row tells nothing: it is neither a click nor a skip.
A filter looks at the clicks that the filters before it kept, so the crude ones come first. Applied again it changes nothing. All of them
need the whole history of a user or an item: a log in pieces is read into memory.

Who learns from the rows of pages takes `masked(log)`, which leaves these rows out. Who learns from all pairs of users and items, listed or
not, must also leave `masked_pairs(log)` out of the loss: a pair that is no longer listed would else count as one without a click. The
estimators for users and items do so when they are given the filtered log itself, not `masked(log)`.
Clicks that a propensity is counted from are those of the log that it is given: give it `masked(log)` as well.
"""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Bursts": "rolling",
        "DoubleClicks": "repeats",
        "RobotTraffic": "robots",
        "ShortDwell": "dwell",
        "masked": "masking",
        "masked_pairs": "masking",
        "summary": "masking",
    },
)
