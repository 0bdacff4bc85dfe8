"""How often each item of a query was shown and clicked at each position: training on these cells costs the same for any number of pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ultr.data.counts import CellCounts
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.training.documents import documents_of

SHOWN = "ultr.shown"  # row column: how often the row was shown
CLICKS = "ultr.clicks"  # row column: how often it was clicked


def counted_rows(log: ClickLog, labels: np.ndarray) -> ClickLog:
    """Give each row how often it was shown and clicked, in the place of the pages' counts. Pages without a row are left out.

    Args:
        log: Pages as they are, or compressed.
        labels: Clicks of each row, the mean over the pages that it stands for, in [0, 1], shape [N].
    """
    shown = np.repeat(log.counts, log.lengths)
    clicks = labels * shown
    whole = np.rint(clicks)
    clicks = np.where(np.isclose(clicks, whole, rtol=1e-12, atol=0), whole, clicks)  # whole numbers again, so that their sums are exact
    counted = log.with_columns(**{SHOWN: shown, CLICKS: clicks})
    counted = replace(counted, page_columns={name: values for name, values in log.page_columns.items() if name != "count"})
    return counted.select(counted.lengths > 0) if (counted.lengths == 0).any() else counted


def cells_of(log: ClickLog) -> ClickLog:
    """Sum the rows that show one item of one query at one position.

    Any loss that is a sum over rows, each depending on its item and position alone and linear in how often it was shown and clicked, is
    the same before and after. So are the mass of the labels and the queries that are held out.

    Args:
        log: Pages of `counted_rows`, with the page column `query` and positions.

    Returns:
        One page a query, a row a cell: columns item, position and both counts; page column query. The order depends on the
        queries and their items, not on the order of the pages.
    """
    documents, counts = documents_of(log), CellCounts()
    counts.add(documents.of_row, log.columns["position"], log.columns[CLICKS], log.columns[SHOWN])
    cells = counts.cells()
    query_of = np.repeat(np.arange(len(documents.offsets) - 1), np.diff(documents.offsets))
    page_of = np.empty(len(documents), dtype=np.int64)
    page_of[documents.of_row] = log.page_of_row()  # some page that shows the document
    columns = {"item": documents.item[cells.pair], "position": cells.context, SHOWN: cells.shown, CLICKS: cells.clicks}
    lengths = np.bincount(query_of[cells.pair], minlength=len(documents.offsets) - 1)
    query = log.page_columns["query"][page_of[documents.offsets[:-1]]]
    return ClickLog(offsets_of(lengths), columns, {"query": query}, log.items)
