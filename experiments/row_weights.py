"""LightGBM's own lambdarank with a weight a row, as many do it: a baseline for experiments/unbiased_lambdamart_lightgbm.toml.

LightGBM multiplies what a row's pairs add up to by that row's weight, so that both rows of a pair have a weight of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ultr.data.source import LogSource, gather
from ultr.models.boosting import Boosting, boost, dataset
from ultr.models.lightgbm_parameters import Parameter
from ultr.models.tree_ranker import TreeRanker


@dataclass(frozen=True, kw_only=True)
class RowWeights:
    """Clicks as labels, 1 / propensity of the column `propensity` as the weight of a clicked row, 1 as that of the others.

    Args:
        parameters: LightGBM's parameters under their main names.
        rounds: Trees.
    """

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    rounds: int = 100

    def fit(self, source: LogSource, *, seed: int = 0) -> TreeRanker:
        """Fit trees to all pages of a log, one row a row shown."""
        log = gather(source)
        boosting = Boosting(parameters=self.parameters, rounds=self.rounds, patience=None, threads=1, seed=seed)
        settings = boosting.settings(objective="lambdarank")
        click = log.columns["click"].astype(np.int32)
        data = dataset(log.items, log.columns["item"], log.lengths, settings, label=click)
        data.construct().set_weight(np.where(click > 0, 1 / log.columns["propensity"], 1.0))
        boosted = boost(data, boosting, settings)
        return TreeRanker(boosted.text, 1, boosted.curve, None, None, "row weights")
