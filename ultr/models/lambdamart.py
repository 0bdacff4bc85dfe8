"""The ways in which trees learn to rank from a log: what each makes of the pages before LightGBM boosts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from lightgbm import Dataset

from ultr.data.checks import check_grades, refuse, rows_are
from ultr.data.log import ClickLog
from ultr.errors import LogError
from ultr.metrics.ndcg import NDCG
from ultr.models.boosting import Boosted, Boosting, boost, dataset
from ultr.models.lightgbm_parameters import Parameter
from ultr.models.position_curve import VERBOSITY, hear_position_curve
from ultr.training.documents import Documents, documents_of
from ultr.training.objectives import DebiasedPairs, WeightedPairs, placed_loss
from ultr.training.pairs import click_pairs, weighted_pairs

Settings = Mapping[str, Parameter]

TARGET = "ultr.target"  # the row column that holds what to learn from


def fit_weighted(train: ClickLog, held_out: ClickLog, boosting: Boosting, *, normalise: bool, delta: str) -> Boosted:
    """Fit the pairwise loss in which each row of a page has its weight against all others, on the distinct documents.

    Args:
        train: Pages with the summed weight of each row in the column TARGET.
        held_out: The same of other queries; may be empty.
        boosting: Settings of LightGBM.
        normalise: Whether close pairs count more.
        delta: "one" or "dcg".

    Raises:
        LogError: no page shows a weighted row beside another.
    """
    documents, others = documents_of(train), documents_of(held_out)
    pairs, other_pairs = (weighted_pairs(log, part, log.columns[TARGET]) for log, part in ((train, documents), (held_out, others)))
    _demand_pairs(len(pairs), train, held_out, "a positive label beside another row")
    objective, settings = WeightedPairs(pairs, documents.offsets, normalise=normalise, delta=delta), boosting.settings(objective="none")
    data = _of_documents(train, documents, settings)
    if not len(other_pairs):
        return boost(data, boosting, settings, objective=objective)
    loss = WeightedPairs(other_pairs, others.offsets, normalise=normalise, delta=delta).loss
    return boost(data, boosting, settings, objective=objective, validation=(_of_documents(held_out, others, settings, data), loss))


def fit_debiased(train: ClickLog, held_out: ClickLog, boosting: Boosting, *, normalise: bool, delta: str, regulariser: float) -> Boosted:
    """Fit pairs of clicked and unclicked documents together with the ratios that undo their positions.

    Args:
        train: Pages with clicks, 0 or 1, in the column TARGET, and positions.
        held_out: The same of other queries; may be empty.
        boosting: Settings of LightGBM.
        normalise: Whether close pairs count more.
        delta: "one" or "dcg".
        regulariser: p, at least 0.

    Raises:
        LogError: no page shows a clicked row beside one that is not.
    """
    documents, others = documents_of(train), documents_of(held_out)
    pairs, other_pairs = (click_pairs(log, part, log.columns[TARGET]) for log, part in ((train, documents), (held_out, others)))
    _demand_pairs(len(pairs), train, held_out, "a click beside a row without one")
    objective = DebiasedPairs(pairs, documents.offsets, normalise=normalise, delta=delta, regulariser=regulariser)
    settings = boosting.settings(objective="none")
    data = _of_documents(train, documents, settings)
    validation = None
    if len(other_pairs):
        validation = (_of_documents(held_out, others, settings, data), lambda scores: objective.loss_of(other_pairs, scores))
    return boost(
        data,
        boosting,
        settings,
        objective=objective,
        validation=validation,
        propensity=lambda: objective.clicked,
    )


def fit_position(train: ClickLog, held_out: ClickLog, boosting: Boosting, *, normalise: bool) -> Boosted:
    """Fit LightGBM's own lambdarank with its position bias, on the rows of all pages.

    Args:
        train: Pages with clicks, 0 or 1, in the column TARGET, and positions.
        held_out: The same of other queries; may be empty.
        boosting: Settings of LightGBM.
        normalise: LightGBM's `lambdarank_norm`.

    Raises:
        LogError: no page shows a clicked row beside one that is not.
    """
    clicks, position, others = train.columns[TARGET], train.columns["position"], documents_of(held_out)
    other_pairs = click_pairs(held_out, others, held_out.columns[TARGET])
    clicked = np.add.reduceat(np.append(clicks, 0), train.offsets[:-1]) * (train.lengths > 0)
    _demand_pairs(int(((clicked > 0) & (clicked < train.lengths)).sum()), train, held_out, "a click beside a row without one")
    settings = boosting.settings(objective="lambdarank", lambdarank_norm=normalise, verbosity=VERBOSITY)
    data = dataset(
        train.items, train.columns["item"], train.lengths, settings, label=clicks.astype(np.int32), position=position.astype(np.int32)
    )
    with hear_position_curve(int(position.max()) + 1) as heard:
        validation = None
        if len(other_pairs):
            validation = (_of_documents(held_out, others, settings, data), lambda scores: placed_loss(other_pairs, scores, heard.bias))
        return boost(data, boosting, settings, validation=validation, propensity=lambda: heard.propensity)


def fit_grades(train: ClickLog, held_out: ClickLog, boosting: Boosting, *, normalise: bool) -> Boosted:
    """Fit LightGBM's own lambdarank to the grades of the distinct documents; held-out queries are watched by 1 - nDCG@10.

    Args:
        train: Pages with grades.
        held_out: The same of other queries; may be empty.
        boosting: Settings of LightGBM.
        normalise: LightGBM's `lambdarank_norm`.

    Raises:
        LogError: a document has two grades.
    """
    documents, others = documents_of(train), documents_of(held_out)
    settings = boosting.settings(objective="lambdarank", lambdarank_norm=normalise)
    lengths = np.diff(documents.offsets)
    data = dataset(train.items, documents.item, lengths, settings, label=_grades_of(train, documents))
    judged = ClickLog(others.offsets, {"item": others.item, "grade": _grades_of(held_out, others)}, {}, held_out.items)

    def loss(scores: np.ndarray) -> float:
        return 1 - float(np.nanmean(NDCG(10)(judged.rerank(scores))))

    if not judged.columns["grade"].any():
        return boost(data, boosting, settings)
    return boost(data, boosting, settings, validation=(_of_documents(held_out, others, settings, data), loss))


def _of_documents(log: ClickLog, documents: Documents, settings: Settings, reference: Dataset | None = None) -> Dataset:
    """Make a dataset of documents. Its settings are the booster's: LightGBM's verbosity is that of whoever was made last."""
    return dataset(log.items, documents.item, np.diff(documents.offsets), settings, reference=reference)


def _grades_of(log: ClickLog, documents: Documents) -> np.ndarray:
    """Return the grade of each document, shape [D]."""
    where = rows_are(log.offsets)
    grade = check_grades(log.columns["grade"], where)
    found = np.zeros(len(documents), dtype=np.int32)
    found[documents.of_row] = grade
    advice = "The same item has another grade on another page of this query: make the grades agree."
    refuse(found[documents.of_row] != grade, "a document must have one grade", advice, where, grade)
    return found


def _demand_pairs(n: int, train: ClickLog, held_out: ClickLog, what: str) -> None:
    if n == 0:
        raise LogError(
            f"UnbiasedLambdaMART has nothing to learn from: none of {len(train)} training pages shows {what};"
            f" {len(held_out)} pages are held out."
        )
