"""UnbiasedLambdaMART: gradient-boosted trees that learn to rank from biased clicks, on LightGBM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from ultr.data.checks import check_grades, refuse, rows_are
from ultr.data.items import features_of
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather
from ultr.errors import ConfigError, LogError
from ultr.metrics.ndcg import NDCG
from ultr.models.lightgbm_parameters import Parameter, checked_parameters
from ultr.propensity.evaluate import PropensityModel, by_position, propensities
from ultr.training.documents import Documents, documents_of
from ultr.training.labels import labels_of
from ultr.training.objectives import DebiasedPairs, WeightedPairs, placed_loss
from ultr.training.pairs import click_pairs, weighted_pairs
from ultr.training.split import validation_pages
from ultr.training.weights import inverse_propensity

if TYPE_CHECKING:
    from ultr.models.boosting import Boosted, Boosting, Objective
    from ultr.models.tree_ranker import TreeRanker

Debias = Literal["position", "ips", "pairwise", "none"]
Delta = Literal["one", "dcg"]

_BY = "UnbiasedLambdaMART"
_TARGET = "ultr.target"
