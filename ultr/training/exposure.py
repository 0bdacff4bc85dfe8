"""What a whole log says about each document of a query: how often it could have been examined, and how often it was clicked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.data.log import ClickLog
from ultr.training.documents import Documents, documents_of


@dataclass(frozen=True, eq=False)
class Exposure:
    """D documents of Q queries, averaged over the pages of their query that have rows, also over those that do not show them.

    Args:
        documents: The distinct documents.
        pages: One page a query with all its documents, in canonical order; page columns query and count, the pages that it stands for.
        rate: Labels a page, shape [D].
        alpha: Slope of the label a page in the document's relevance, above 0, shape [D]: its propensity averaged over the policies that
            made the log; above 1 only where pages show a document twice.
        beta: Label a page that an irrelevant document would have, in [0, 1), shape [D].
    """

    documents: Documents
    pages: ClickLog
    rate: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray

    def mean(self, log: ClickLog, values: np.ndarray) -> np.ndarray:
        """Average values of the rows [N] over the times that each document was shown, shape [D]."""
        count = np.repeat(log.counts, log.lengths).astype(np.float64)
        of_row = self.documents.of_row
        return np.bincount(of_row, values * count, len(self.rate)) / np.bincount(of_row, count, len(self.rate))


def exposure_of(log: ClickLog, labels: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> Exposure:
    """Average over the pages of each query.

    Args:
        log: The log; a page counts as often as it was shown.
        labels: Mean label of each row over the times that it was shown, shape [N].
        alpha: Slope of the expected label in the relevance at the row's position, shape [N].
        beta: Intercept, shape [N].

    Source:
        Oosterhuis and de Rijke (2020), "Policy-aware unbiased learning to rank for top-k rankings", SIGIR, equation 18,
        doi:10.1145/3397271.3401102; the average over all policies of the log: Oosterhuis and de Rijke (2021), "Unifying online and
        counterfactual learning to rank", WSDM. doi:10.1145/3437963.3441794
    """
    documents = documents_of(log)
    n_queries = len(documents.offsets) - 1
    query_of_document = np.repeat(np.arange(n_queries), np.diff(documents.offsets))
    filled = np.flatnonzero(log.lengths > 0)
    query_of_page = query_of_document[documents.of_row[log.offsets[filled]]]
    shown = np.bincount(query_of_page, log.counts[filled], n_queries)
    first = np.full(n_queries, -1)
    first[query_of_page[::-1]] = filled[::-1]
    count = np.repeat(log.counts, log.lengths)
    rate, slope, intercept = (
        np.bincount(documents.of_row, values * count, len(documents)) / shown[query_of_document] for values in (labels, alpha, beta)
    )
    units = log.page_columns.get("query", log.page_columns.get("page", np.arange(len(log))))
    page_columns = {"query": np.asarray(units)[first], "count": shown.astype(np.int64)}
    pages = ClickLog(documents.offsets, {"item": documents.item}, page_columns, log.items)
    return Exposure(documents, pages, rate, slope, intercept)
