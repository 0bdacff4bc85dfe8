"""What learns from a filtered log: the log without the rows that were filtered, and the pairs that are then unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ultr.data.filters.marks import clicked, reasons, weights
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.source import LogSource, gather

if TYPE_CHECKING:
    import pandas as pd


def masked(source: LogSource, *, keep_pages: bool = False) -> ClickLog:
    """Return the log without the rows of weight 0, which so are neither clicks nor skips.

    The other rows keep their position, and with it their propensity. Laws of whole pages, as the cascade, read the clicks above a row and
    see a page with a hole: give them the pages without one, `log.select(...)`.

    Args:
        source: A log with the column `weight`.
        keep_pages: Keep pages all of whose rows were filtered. Estimators for users and items do so themselves: they leave the pairs that
            were filtered out of their losses, and the user's other pairs are as well known as before.

    Returns:
        The rows of positive weight. A page all of whose rows were filtered is dropped, since an empty page says that nothing was clicked;
        pages that were empty before stay.

    Raises:
        LogError: the column `weight` is missing or outside [0, 1].
    """
    log = gather(source)
    log.column("weight", "masked")
    kept = weights(log) > 0
    lengths = np.bincount(log.page_of_row()[kept], minlength=len(log))
    columns = {name: values[kept] for name, values in log.columns.items()}
    rows = ClickLog(offsets_of(lengths), columns, log.page_columns, log.items)
    emptied = (lengths == 0) & (log.lengths > 0) & (not keep_pages)
    return rows.select(~emptied) if emptied.any() else rows


def masked_pairs(source: LogSource) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of user and item of which nothing is known once filtered rows are left out: neither clicked nor unclicked.

    These are pairs without a kept click of which a click was filtered, or every row. An estimator on all pairs leaves them out of its
    loss.

    Args:
        source: A log with the column `weight` and the page column `user`.

    Returns:
        Users [M] as the log calls them, and item rows [M]; distinct pairs, in order of first appearance.

    Raises:
        LogError: a column is missing, or a weight is outside [0, 1].
    """
    import pandas as pd

    log = gather(source)
    log.column("weight", "masked_pairs")
    kept, click = weights(log) > 0, clicked(log)
    user = log.page_column("user", "masked_pairs")[log.page_of_row()]
    frame = pd.DataFrame({"user": user, "item": log.columns["item"], "kept": kept, "good": kept & click, "bad": ~kept & click})
    any_of = frame.groupby(["user", "item"], sort=False, dropna=False)[["kept", "good", "bad"]].any().reset_index()
    unknown = any_of[~any_of["good"] & (any_of["bad"] | ~any_of["kept"])]
    return unknown["user"].to_numpy(), unknown["item"].to_numpy()


def summary(source: LogSource) -> pd.DataFrame:
    """Count what was filtered, and why.

    Args:
        source: A log with the column `reason`.

    Returns:
        A line a reason, the kept rows ("") first: reason, rows, clicks, and the number of distinct users where the log has them.

    Raises:
        LogError: the column `reason` is missing.
    """
    import pandas as pd

    log = gather(source)
    log.column("reason", "summary")
    frame = pd.DataFrame({"reason": reasons(log), "click": clicked(log)})
    if "user" in log.page_columns:
        frame["user"] = log.page_columns["user"][log.page_of_row()]
    groups = frame.groupby("reason", sort=True)
    table = pd.DataFrame({"rows": groups.size(), "clicks": groups["click"].sum()})
    if "user" in frame:
        table["users"] = groups["user"].nunique()
    return table.reset_index()
