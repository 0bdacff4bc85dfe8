"""What credit rules read of a log of journeys, checked once and in the shape that they need."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ultr.attribution.tally import BLOCK, count_cells
from ultr.data.checks import as_numbers, refuse, require, rows_are
from ultr.data.log import ClickLog
from ultr.errors import LogError, UltrWarning

_CENTURY = 36_525.0  # days: nobody's journey lasts as long, and in seconds it is ten hours
_CALENDAR = 1e8  # days: ten times what any calendar counts up to now, and in seconds the year 1973
_SPREAD = 16  # integer ids up to this many times the touches are looked up in a table, others are sorted


@dataclass(frozen=True, eq=False)
class Journeys:
    """P journeys of N touches: the view of a log that a rule is given. `read_journeys` makes and checks it.

    A journey with a `count` is a path that occurred that many times and converted `converted` of them: a group of journeys that share one
    path. A conversion ends its journey.

    Args:
        log: The journeys as they came: a rule may read other columns too.
        converted: Conversions of each journey, whole numbers in 0..count, float64, shape [P].
        count: How often each journey occurred, float64, shape [P].
        time: When each touch happened, in days, float64, never falling within a journey, shape [N]; None where the log does not say.
    """

    log: ClickLog
    converted: np.ndarray
    count: np.ndarray
    time: np.ndarray | None

    def __len__(self) -> int:
        return len(self.log)

    @property
    def offsets(self) -> np.ndarray:
        """Journey i owns the touches offsets[i]:offsets[i + 1], int64, shape [P + 1]."""
        return self.log.offsets

    @cached_property
    def lengths(self) -> np.ndarray:
        """Touches of each journey, shape [P]."""
        return self.log.lengths

    @cached_property
    def touched(self) -> np.ndarray | slice:
        """The numbers of the journeys that have touches, as an index; a slice where all have."""
        return slice(None) if self.lengths.all() else np.flatnonzero(self.lengths)

    @property
    def first(self) -> np.ndarray:
        """First touch of each journey that has any, shape [P'] for the journeys `touched`."""
        return self.offsets[:-1][self.touched]

    @property
    def last(self) -> np.ndarray:
        """Last touch of each journey that has any, shape [P'] for the journeys `touched`."""
        return self.offsets[1:][self.touched] - 1

    @cached_property
    def _numbered(self) -> tuple[np.ndarray, np.ndarray]:
        return _number(self.log)

    @property
    def channel(self) -> np.ndarray:
        """Number of each touch's channel in `channels`, shape [N]."""
        return self._numbered[0]

    @property
    def channels(self) -> np.ndarray:
        """The channels that occur, by the log's own ids, in their order, shape [K]."""
        return self._numbered[1]

    def per_touch(self, values: np.ndarray) -> np.ndarray:
        """Repeat a value of each journey [P] for each of its touches, shape [N]."""
        return np.repeat(values, self.lengths)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum a value of each touch [N] over its journey, float64, shape [P]; 0 where there is no touch."""
        out = np.zeros(len(self))
        if len(values):
            out[self.touched] = np.add.reduceat(values, self.first)
        return out

    def normalised(self, weights: np.ndarray) -> np.ndarray:
        """Divide the weight of each touch [N] by the sum over its journey; not finite where that is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return weights * self.per_touch(1 / self.total(weights))

    def repeats(self) -> np.ndarray:
        """Count the touches that a touch's journey has of the same channel, itself included, int64, shape [N]."""
        out = np.empty(len(self.channel), dtype=np.int64)
        for journeys in self.blocks():
            rows = slice(self.offsets[journeys.start], self.offsets[journeys.stop])
            own = np.repeat(np.arange(journeys.stop - journeys.start), self.lengths[journeys])
            cell = own * len(self.channels) + self.channel[rows]
            if (journeys.stop - journeys.start) * len(self.channels) > 8 * BLOCK:
                cell = np.unique(cell, return_inverse=True)[1]
            out[rows] = np.bincount(cell)[cell]
        return out

    def blocks(self) -> Iterator[slice]:
        """Cut the journeys into runs of about a block of touches."""
        cuts = np.searchsorted(self.offsets, np.arange(0, self.offsets[-1], BLOCK), side="left")
        cuts = np.unique(np.append(cuts, len(self)))
        yield from (slice(int(a), int(b)) for a, b in pairwise(cuts))


def read_journeys(log: ClickLog, by: str) -> Journeys:
    """Check a log of journeys: a page is a journey, a row a touch, in the order in which they happened.

    Args:
        log: `item` is the channel. Needs the page column `converted`; the page column `count` and the column `time` (days, or NumPy
            times) where known.
        by: Who reads them, for messages.

    Raises:
        LogError: conversions are no whole numbers in 0..count, a converted journey has no touch, time falls within a journey or is
            missing for a touch, or a channel is missing.
    """
    where = "journey {}".format
    count = as_numbers("count", log.counts, where)
    bad = ~((count >= 1) & (count == np.floor(count)))
    refuse(bad, "count must be a whole number, 1 or more", "Drop journeys that never happened.", where, count)
    converted = as_numbers("converted", log.page_column("converted", by=by), where)
    bad = ~((converted >= 0) & (converted <= count) & (converted == np.floor(converted)))
    what = "converted must be 0 or 1 (0..count on a page with a count)"
    refuse(bad, what, "Give count where a path stands for several journeys, and end a journey at its conversion.", where, converted)
    bad = (converted > 0) & (log.lengths == 0)
    do = "Leave them out: journeys.select((journeys.lengths > 0) | (journeys.page_columns['converted'] == 0))."
    refuse(bad, "a journey that converted without any touch has nobody to credit", do, where)
    return Journeys(log, converted.astype(np.float64), count.astype(np.float64), _times(log))


def times_of(journeys: Journeys, by: str) -> np.ndarray:
    """Return the time of each touch in days, float64, shape [N], or raise LogError saying that `by` needs it.

    Warns where no calendar and no life has so many days: then they are seconds or less, beside which a half-life in days is nothing.
    """
    hint = "Add it, in days: journeys.with_columns(time=...). Rules that read the order of the touches only: UShaped, Linear."
    require(journeys.log.columns, "time", by=by, hint=hint)
    time = journeys.time if journeys.time is not None else np.empty(0)
    last = time[journeys.last]
    odd = (last - time[journeys.first] > _CENTURY) | (np.abs(last) > _CALENDAR)
    if odd.any() and journeys.log.columns["time"].dtype.kind not in "mM":
        first = int(np.argmax(odd))
        warnings.warn(
            f"time looks like seconds, but must be in days: journey {np.arange(len(journeys))[journeys.touched][first]} ends at"
            f" {last[first]:g} and lasts {last[first] - time[journeys.first][first]:g}; {int(odd.sum())} of {len(journeys)} are as odd."
            " Divide seconds by 86400, milliseconds by 86400000, or give datetimes.",
            UltrWarning,
            stacklevel=4,  # the line that called credit
        )
    return time


def _times(log: ClickLog) -> np.ndarray | None:
    """Return the times in days, where there are any; refuse those that fall within a journey."""
    if "time" not in log.columns:
        return None
    time = log.columns["time"]
    if time.dtype.kind in "mM":
        time = (time - np.zeros((), dtype=time.dtype)) / np.timedelta64(1, "D")
    do = "Give days, or datetimes: journeys.with_columns(time=pd.to_datetime(journeys.columns['time'])), or a Parquet table that has them."
    time = as_numbers("time", time, rows_are(log.offsets), do).astype(np.float64, copy=False)
    if not np.isfinite(time.sum()):  # one pass, no mask
        refuse(~np.isfinite(time), "time must be a finite number of days", "Drop these touches.", rows_are(log.offsets), time)
    falls = np.zeros(len(time), dtype=bool)
    np.less(time[1:], time[:-1], out=falls[1:])
    falls[log.offsets[:-1][log.lengths > 0]] = False
    do = "Sort the touches of each journey by time."
    refuse(falls, "time must never fall within a journey", do, rows_are(log.offsets), time)
    return time


def _number(log: ClickLog) -> tuple[np.ndarray, np.ndarray]:
    """Number the channels that occur: the number of each touch's channel, int32, shape [N], and their ids, shape [K]."""
    item = log.columns["item"]
    if item.dtype.kind in "biu" and len(item):
        low, high = int(item.min()), int(item.max())
        if log.items is not None and not 0 <= low <= high < len(log.items):
            raise LogError(f"item must be a row number of the log's {len(log.items)} items: {low if low < 0 else high} is none.")
        if low >= 0 and high < _SPREAD * len(item):
            used = np.flatnonzero(count_cells(item, high + 1))
            if len(used) == high + 1:
                return item.astype(np.int32, copy=False), _ids(log, used)
            number = np.zeros(high + 1, dtype=np.int32)
            number[used] = np.arange(len(used))
            return number[item], _ids(log, used)
        ids, place = np.unique(item, return_inverse=True)
        return place.astype(np.int32), _ids(log, ids)
    from pandas import factorize

    place, found = factorize(item, sort=True)
    refuse(place < 0, "the channel of a touch must not be missing", "Drop these touches.", rows_are(log.offsets), item)
    return place.astype(np.int32), np.asarray(found)


def _ids(log: ClickLog, used: np.ndarray) -> np.ndarray:
    return used if log.items is None or log.items.ids is None else log.items.ids[used]
