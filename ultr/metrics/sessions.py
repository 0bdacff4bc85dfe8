"""What the session metrics share: pages grouped by session, checked labels, and where each document of a session pays."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from ultr.data.checks import as_numbers, check_clicks, refuse, require, rows_are
from ultr.data.log import ClickLog
from ultr.data.order import blocks
from ultr.data.padded import offsets_of, slots
from ultr.data.source import need_log
from ultr.errors import ConfigError, LogError, UltrWarning
from ultr.imports import nearest
from ultr.metrics.top import Gain


class SessionMetric(ABC):
    """A metric of whole sessions: pages that share the page column `session`, in the order of the log; without it each page is one.

    Pages of a session need not be adjacent. A page's rank in its session counts empty pages too. Values stand in the order of
    `log.sessions`, and depend on no other session.
    """

    per: ClassVar[str] = "session"
    higher_is_better: ClassVar[bool] = True
    needs: ClassVar[Sequence[str]] = ()  # further columns
    label: str
    k: int | None

    def __post_init__(self) -> None:
        """Refuse an impossible cutoff; settings that a metric adds are checked by its own `__post_init__`.

        Raises:
            ConfigError: `k` is no rank.
        """
        if self.k is not None and (isinstance(self.k, bool) or not isinstance(self.k, (int, np.integer)) or self.k < 1):
            raise ConfigError(f"{type(self).__name__}: k must be a whole number of at least 1, or None for the whole page, not {self.k!r}.")

    def __call__(self, log: ClickLog) -> np.ndarray:
        """Judge the sessions.

        Args:
            log: Needs the column that `label` names: numbers of 0 or more, shape [N]; clicks are 0 or 1.

        Returns:
            One value a session, float64, shape [S], in the order of `log.sessions`; NaN where the class says so.

        Raises:
            LogError: a column is missing, a label is negative or not finite, pages stand for several, or, with `label="click"`, the
                logged positions of a page do not increase.
        """
        return self.of_sessions(Sessions.of(log, self.label, by=type(self).__name__, needs=self.needs))

    @abstractmethod
    def of_sessions(self, sessions: Sessions) -> np.ndarray:
        """Return the values of the sessions, shape [S]."""


def check_choice(by: str, setting: str, value: object, known: Sequence[str]) -> None:
    """Raise ConfigError unless a setting has one of its known names."""
    if value not in known:
        raise ConfigError(f"{by}: {setting} must be one of {', '.join(known)}, not {value!r}.{nearest(str(value), known)}")


@dataclass(frozen=True, eq=False)
class Sessions:
    """Sessions whose pages lie side by side.

    Args:
        offsets: Row boundaries of the pages, shape [P + 1].
        bounds: Page boundaries of the sessions, shape [S + 1].
        columns: The label as `label`, the document as `item` and its `length`, where asked for; each of shape [N].
    """

    offsets: np.ndarray
    bounds: np.ndarray
    columns: dict[str, np.ndarray]

    @classmethod
    def of(cls, log: ClickLog, label: str, by: str, needs: Sequence[str] = ()) -> Sessions:
        """Check a log and group its pages.

        Args:
            log: The log as it stands.
            label: Column of labels.
            by: The metric, for errors.
            needs: Further columns: `item`, and `length`, which is left out where the log has none.
        """
        if not isinstance(label, str) or label == "item":
            raise ConfigError(f"{by}: label must be the name of a column of labels, not {label!r}.")
        columns = {"label": checked_labels(need_log(log), label, by)}
        if "item" in needs:
            columns["item"] = documents(log)
        if "length" in needs and "length" in log.columns:
            columns["length"] = _checked_lengths(log, by)
        sessions, n = log._session_codes[0], len(log.sessions)
        if "session" in log.page_columns and "time" in log.page_columns:
            _warn_of_disorder(sessions, log.page_columns["time"])
        if not (sessions[1:] >= sessions[:-1]).all():
            log = ClickLog(log.offsets, {"item": log.columns["item"], **columns}).take(np.argsort(sessions, kind="stable"))
            columns = {name: log.columns[name] for name in columns}
        return cls(log.offsets, offsets_of(np.bincount(sessions, minlength=n)), columns)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @cached_property
    def session_of_page(self) -> np.ndarray:
        """Number of each page's session, shape [P]."""
        return np.repeat(np.arange(len(self)), np.diff(self.bounds))

    @cached_property
    def page_numbers(self) -> np.ndarray:
        """0-based place of each page in its session, shape [P]; in a short integer, which is quick to repeat."""
        return short(slots(self.bounds))

    @cached_property
    def rows(self) -> np.ndarray:
        """Row boundaries of the sessions, shape [S + 1]."""
        return self.offsets[self.bounds]

    @cached_property
    def page_number_of_row(self) -> np.ndarray:
        """0-based place in its session of each row's page, shape [N]."""
        return np.repeat(self.page_numbers, np.diff(self.offsets))

    @cached_property
    def slot_of_row(self) -> np.ndarray:
        """0-based place of each row in its page, shape [N]."""
        lengths = np.diff(self.offsets)
        out = np.empty(int(self.offsets[-1]), dtype=np.min_scalar_type(int(lengths.max(initial=0))))
        for block in blocks(self.offsets):  # in pieces, since 8 bytes a row are more than all that a metric needs otherwise
            block.put(out, np.broadcast_to(np.arange(block.length, dtype=out.dtype), (len(block.pages), block.length)))
        return out

    @cached_property
    def items(self) -> np.ndarray:
        """Items as integers that leave room for a page and a row of the session in 63 bits, shape [N]."""
        item = self.columns["item"]
        room = sum(int(np.diff(bounds).max(initial=1)).bit_length() for bounds in (self.rows, self.bounds))
        if item.dtype.kind in "iu" and item.min(initial=0) >= 0 and int(item.max(initial=0)).bit_length() + room < 62:
            return item
        return np.unique(item, return_inverse=True)[1]

    def first_ranks(self, k: int | None) -> Sessions:
        """Return the sessions with the first k rows of every page."""
        lengths = np.diff(self.offsets)
        if k is None or lengths.max(initial=0) <= k:
            return self
        kept = self.slot_of_row < k
        return Sessions(offsets_of(np.minimum(lengths, k)), self.bounds, {name: values[kept] for name, values in self.columns.items()})

    def page_sums(self, gain: Gain, discount: np.ndarray, k: int | None) -> np.ndarray:
        """Return the sum of gain times discount over the first k ranks of each page, shape [P]; 0 without rows.

        Args:
            gain: Maps labels to gains.
            discount: Weight by rank, at least as long as the longest page.
            k: How many ranks; all when None.
        """
        out = np.zeros(len(self.offsets) - 1)
        for block in blocks(self.offsets):
            gains = gain(block.of(self.columns["label"], k))
            out[block.pages] = (gains * discount[: gains.shape[1]]).sum(axis=1)
        return out

    def weigh(self, values: np.ndarray, page_weight: np.ndarray) -> np.ndarray:
        """Return the sum over each session's pages of value [P] times weight [P], shape [S]."""
        return np.bincount(self.session_of_page, values * page_weight, minlength=len(self)).astype(np.float64, copy=False)

    def ranks(self) -> tuple[np.ndarray, np.ndarray]:
        """Return 1, 2, ... up to the longest page, and up to the session of most pages, as float64."""
        longest, most = (int(np.diff(bounds).max(initial=0)) for bounds in (self.offsets, self.bounds))
        return np.arange(1.0, longest + 1), np.arange(1.0, most + 1)


def short(values: np.ndarray) -> np.ndarray:
    """Return numbers of 0 or more in the shortest integers that hold them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def checked_labels(log: ClickLog, label: str, by: str) -> np.ndarray:
    """Return the labels of a log that whole sessions can be judged on, shape [N].

    Raises:
        LogError: see `SessionMetric.__call__`.
    """
    require(log.columns, label, by=by)
    if log.compressed:
        raise LogError(f"{by} needs every page as it was shown: this log has pages that stand for several. Give the log before compress().")
    labels = log.columns[label]
    if labels.dtype.kind not in "buif":
        raise LogError(f"{by} needs numbers in the column {label!r}, which has {labels.dtype}. Map the labels to 0, 1, 2, ... first.")
    if label == "click":
        _check_order(log, by)
    smallest, largest = (labels.min(), labels.max()) if len(labels) else (0, 0)
    if label == "click" and not (labels.dtype.kind in "bui" and smallest >= 0 and largest <= 1):
        check_clicks(labels, 1, rows_are(log.offsets))
    if not (smallest >= 0 and largest < np.inf):
        bad = ~((labels >= 0) & (labels < np.inf))
        refuse(bad, f"{by} needs {label} of 0 or more", "Shift, fill or drop the labels.", rows_are(log.offsets), labels)
    return labels


def documents(log: ClickLog) -> np.ndarray:
    """Return a number for the document of each row, shape [N]: one id is one document, also where it has an item row for each query."""
    item, ids = log.columns["item"], None if log.items is None else log.items.ids
    if ids is None:
        return item
    from pandas import factorize

    if len(ids) > len(item):
        present, item = np.unique(item, return_inverse=True)
        ids = ids[present]
    codes, unique = factorize(ids, use_na_sentinel=False)
    return item if len(unique) == len(ids) else codes[item]


def _checked_lengths(log: ClickLog, by: str) -> np.ndarray:
    where = rows_are(log.offsets)
    lengths = as_numbers("length", log.columns["length"], where)
    with np.errstate(invalid="ignore"):
        bad = (lengths < 0) | (lengths == np.inf)
    refuse(bad, f"{by} needs lengths of 0 or more, NaN where unknown", "Fill or drop them.", where, lengths)
    return lengths


def _check_order(log: ClickLog, by: str) -> None:
    """Refuse clicks on another order than the log's."""
    position = log.columns.get("position")
    if position is None:
        return
    falls = ~(position[1:] > position[:-1])
    starts = log.offsets[1:-1]
    falls[starts[(starts > 0) & (starts < len(position))] - 1] = False
    if falls.any():
        refuse(
            np.concatenate([[False], falls]),
            f"{by} judges by clicks, so position must increase within a page: clicks on the order shown cannot judge a new one",
            'Give the log as it was shown, or judge the new order by grades: label="grade".',
            rows_are(log.offsets),
            position,
        )


def _warn_of_disorder(sessions: np.ndarray, time: np.ndarray) -> None:
    """Warn where a later page of a session, in the order of the log, has an earlier time."""
    if time.dtype.kind not in "iufmM":
        return
    order = np.argsort(sessions, kind="stable")
    inside = sessions[order][1:] == sessions[order][:-1]
    falls = inside & (time[order][1:] < time[order][:-1])
    if falls.any():
        first = int(order[1:][np.argmax(falls)])
        warnings.warn(
            f"time falls within {len(np.unique(sessions[order][1:][falls]))} sessions, first at page {first}: the pages of a session are"
            " judged in the order of the log. Sort the table by time before it becomes a log.",
            UltrWarning,
            stacklevel=4,
        )
