"""Logs for the tests of learning: pages by hand, and clicks of a law on documents that all have an attraction of their own."""

import warnings

import numpy as np
import pytest

import simulators
from ultr import ClickLog, RankingData, click_models
from ultr.click_models import (
    Cascade,
    ClickChain,
    DependentClick,
    DynamicBayesian,
    GlobalRate,
    ItemRankRate,
    ItemRate,
    Mixture,
    PositionBased,
    RankRate,
    SimplifiedDynamicBayesian,
    TrustBias,
    UserBrowsing,
)
from ultr.errors import UltrWarning
from ultr.random import generator

LEARNT = [PositionBased, TrustBias, UserBrowsing, DependentClick, SimplifiedDynamicBayesian, DynamicBayesian, ClickChain]
COUNTED = [Cascade, GlobalRate, RankRate, ItemRate, ItemRankRate]
MIXED = Mixture([PositionBased([0.9, 0.6, 0.5, 0.2]), Cascade(), DynamicBayesian(0.8)], [0.4, 0.3, 0.3])
every_law = pytest.mark.parametrize("law", [*LEARNT, *COUNTED, MIXED], ids=lambda law: law.__name__ if isinstance(law, type) else "Mixture")


def fit(law, log, **settings):
    """Fit with a prior of (1, 1), without a word about how far it came or what a cascade rules out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UltrWarning)
        return click_models.fit(law, log, **{"prior": (1.0, 1.0), **settings})


def pages_log(clicks, items=None, query=None, **columns):
    """A log of pages of any lengths; all of one query with items 0, 1, 2, ... unless said otherwise."""
    lengths = [len(page) for page in clicks]
    items = [range(n) for n in lengths] if items is None else items
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    query = np.zeros(len(clicks), dtype=int) if query is None else np.asarray(query)
    flat = {"item": np.concatenate([np.asarray(page, dtype=int) for page in items]), "click": np.concatenate(clicks).astype(int)}
    return ClickLog(offsets, {**flat, **{name: np.asarray(values) for name, values in columns.items()}}, {"query": query})


def world_of(n_queries=10, n_items=6, seed=0):
    """A graded set whose documents all have an attraction and a satisfaction of their own, and laws of grades that give them."""
    rng = generator(seed, "world")
    n = n_queries * n_items
    data = RankingData(rng.normal(size=(n, 2)), np.zeros(n, dtype=int), np.arange(0, n + 1, n_items))
    attraction, satisfaction = rng.uniform(0.1, 0.9, (2, n))
    return data, {"relevance": lambda grades: attraction, "satisfaction": lambda grades: satisfaction}


def simulated(law, n_pages=4000, seed=0, cutoff=4, **settings):
    data, truth = world_of()
    if not law.reads_satisfaction:
        truth.pop("satisfaction")
    settings = {"policy": simulators.RandomPolicy(), **settings}
    return simulators.simulate_clicks(data, click_model=law, n_pages=n_pages, cutoff=cutoff, seed=seed, **truth, **settings)


RECOVERED = [
    PositionBased([1.0, 0.6, 0.5, 0.3]),
    TrustBias([0.9, 0.6, 0.5, 0.3], [1, 1, 0.95, 0.9], [0.5, 0.3, 0.2, 0.1]),
    Cascade(),
    DependentClick([0.8, 0.5, 0.3, 0.5]),
    SimplifiedDynamicBayesian(),
    DynamicBayesian(0.85),
    ClickChain(0.9, 0.6, 0.2),
    UserBrowsing([[1, 0, 0, 0], [0.7, 0.95, 0, 0], [0.4, 0.6, 0.8, 0], [0.2, 0.3, 0.5, 0.7]]),
    ItemRate(),
]
