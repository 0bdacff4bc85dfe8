"""A metric on some of the items: rare ones apart from popular ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, LogError
from ultr.metrics.protocol import Metric


@dataclass(frozen=True, eq=False)
class Among:
    """Any metric of pages, judged as if a page showed certain items only: the others are taken out, the order of the rest stays.

    `rare = ultr.data.item_counts(train) <= 500`, then `Among(Recall(5), rare)` and `Among(Recall(5), ~rare)`. A page of which nothing is
    left is NaN for every metric here, so it is skipped and counted. The catalogue stays whole: a metric that divides by all pairs, as
    PredictionError with method="ips" does, still counts them all.

    Args:
        metric: A metric of pages, sessions or the log.
        items: True at the rows of `log.items` to keep, shape [I].

    Raises:
        ConfigError: the metric cannot be called, or `items` is no array of truth values.

    Source:
        Strata of popularity as in Saito et al. (2020), WSDM, doi:10.1145/3336191.3371783, who judge items of 500 or fewer clicks apart.
    """

    metric: Metric
    items: ArrayLike

    def __post_init__(self) -> None:
        if isinstance(self.metric, type) or not callable(self.metric):
            raise ConfigError(f"Among: metric must be a metric such as Recall(5), not {self.metric!r}.")
        items = np.asarray(self.items)
        if items.dtype != bool or items.ndim != 1:
            raise ConfigError(f"Among: items must be True or False for each item, shape [I], not {items.dtype} of shape {items.shape}.")
        object.__setattr__(self, "items", items)

    @property
    def per(self) -> str:
        """What the metric has one value for."""
        return getattr(self.metric, "per", "page")

    @property
    def higher_is_better(self) -> bool:
        """As of the metric."""
        return getattr(self.metric, "higher_is_better", True)

    @property
    def label(self) -> str:
        """The column that the metric reads."""
        return getattr(self.metric, "label", "")

    def __call__(self, log: ClickLog) -> np.ndarray:
        """Judge the rows of the chosen items.

        Raises:
            LogError: the log has more items than `items` tells of, or the metric refuses the log.
        """
        chosen, item = np.asarray(self.items), log.columns["item"]
        if len(item) and int(item.max()) >= len(chosen):
            raise LogError(f"Among: the log shows item {int(item.max())}, but items tells of 0 to {len(chosen) - 1} only.")
        kept = chosen[item]
        lengths = np.bincount(log.page_of_row()[kept], minlength=len(log))
        columns = {name: values[kept] for name, values in log.columns.items()}
        return np.asarray(self.metric(ClickLog(offsets_of(lengths), columns, log.page_columns, log.items)))
