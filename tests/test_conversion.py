"""Estimators of conversions: the contract, reductions to one another, what they learn in known worlds, every setting, bad input, files."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import ultr
from simulators.conversions import Conversions
from ultr.data.fields import Fields
from ultr.data.source import Chunked
from ultr.errors import ConfigError, FileError, LogError, PropensityError
from ultr.estimators.conversion.dcmt import DCMT
from ultr.estimators.conversion.escm2 import ESCM2
from ultr.estimators.conversion.esmm import ESMM
from ultr.estimators.conversion.multi_dr import MultiDR
from ultr.estimators.conversion.multi_ipw import MultiIPW
from ultr.estimators.conversion.naive_cvr import NaiveCVR
from ultr.metrics import auc, calibration_ratio, log_loss
from ultr.random import generator
from ultr.testing import check_estimator
from ultr.training.minimise import minimise
from ultr.training.split import validation_pages

FIELDS = Fields(categorical={"ad": "vocabulary", "user": 20}, dense=("x",), embedding=4)
QUICK = ultr.Training(steps=12, batch_pages=128, check_every=4, learning_rate=0.02)
TRAINED = dataclasses.replace(QUICK, validation=0.0)
WHOLE = ultr.Training(steps=30, batch_pages=1 << 20, learning_rate=0.05, weight_decay=0.0, validation=0.0)
WEIGHTED = (MultiIPW, MultiDR, ESCM2, DCMT)
ALL = (NaiveCVR, ESMM, *WEIGHTED)
WORLD = Conversions(1500, interaction=0.5, n_users=30, n_ads=8, conversion_rate=0.4, seed=0)
LOG = WORLD.log(seed=0)


def predictions(estimator, log=LOG, **fit):
    return estimator.fit(log, **fit).predict(log).to_numpy()


# The contract


@pytest.mark.parametrize(
    "estimator", [*(kind(fields=FIELDS, training=QUICK) for kind in ALL), ESCM2(fields=FIELDS, kind="dr", training=QUICK)]
)
@pytest.mark.parametrize("towers", [(8,), ()])
def test_the_contract(estimator, towers):
    check_estimator(dataclasses.replace(estimator, towers=towers), LOG.take(np.arange(300)))


def test_predictions_are_probabilities_of_every_row_and_their_product():
    fitted = ESMM(fields=FIELDS, training=QUICK).fit(LOG)
    frame = fitted.predict(LOG)
    assert list(frame.columns) == ["click", "conversion", "click_and_conversion"]
    assert len(frame) == LOG.n_rows
    np.testing.assert_array_equal(frame["click_and_conversion"], frame["click"] * frame["conversion"])
    assert ((frame > 0) & (frame < 1)).all(axis=None)
    applied = fitted.apply(LOG)
    for name in frame.columns:
        np.testing.assert_array_equal(applied.columns[f"predicted_{name}"], frame[name])
    without = ultr.ClickLog(LOG.offsets, {name: LOG.columns[name] for name in ("item", "ad", "user", "x")})
    np.testing.assert_array_equal(fitted.predict(without), frame)  # labels are not read
    assert "ESMM" in repr(fitted)
    assert fitted.history["step"].max() == 12


def test_pages_of_several_rows_and_page_columns():
    offsets = np.array([0, 3, 3, *range(10, LOG.n_rows + 1, 10)])
    columns = {name: LOG.columns[name] for name in ("item", "click", "conversion", "ad", "x")}
    log = ultr.ClickLog(offsets, columns, {"user": np.arange(len(offsets) - 1)})
    fitted = ESMM(fields=FIELDS, training=QUICK).fit(log)
    ranked = fitted.rank(log)
    frame = fitted.predict(ranked)
    for page in (0, 2, 5):
        assert (np.diff(frame["click_and_conversion"][offsets[page] : offsets[page + 1]]) <= 0).all()
    assert len(frame) == log.n_rows


@pytest.mark.parametrize("kind", ALL)
def test_the_order_of_the_impressions_does_not_matter(kind):
    """One batch holds all; sums are then taken in another order, so up to rounding."""
    order = generator(0, "order").permutation(len(LOG))
    estimator = kind(fields=FIELDS, towers=(8,), training=WHOLE)
    np.testing.assert_allclose(predictions(estimator)[order], estimator.fit(LOG.take(order)).predict(LOG.take(order)), rtol=0, atol=2e-4)


@pytest.mark.parametrize("kind", ALL)
def test_a_log_given_twice_is_the_same_log(kind):
    estimator = kind(fields=FIELDS, towers=(8,), training=WHOLE)
    twice = ultr.ClickLog.concat([LOG, LOG])
    estimator_twice = dataclasses.replace(estimator, fields=dataclasses.replace(FIELDS, min_count=4))  # the same vocabulary
    np.testing.assert_allclose(estimator_twice.fit(twice).predict(LOG), predictions(estimator), rtol=0, atol=2e-4)


def test_another_seed_is_another_fit_and_the_same_seed_the_same():
    estimator = ESMM(fields=FIELDS, training=QUICK)
    np.testing.assert_array_equal(predictions(estimator, seed=3), predictions(estimator, seed=3))
    assert not np.allclose(predictions(estimator, seed=3), predictions(estimator, seed=4))


# Reductions


def test_escm2_reduces_to_esmm_and_to_weighted_conversions():
    settings = {"fields": FIELDS, "towers": (8,), "training": TRAINED}
    np.testing.assert_allclose(
        predictions(ESCM2(**settings, risk_weight=0.0, joint_weight=1.0)), predictions(ESMM(**settings)), rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(predictions(ESCM2(**settings, joint_weight=0.0)), predictions(MultiIPW(**settings)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        predictions(ESCM2(**settings, kind="dr", joint_weight=0.0)), predictions(MultiDR(**settings)), rtol=0, atol=1e-6
    )


def test_dcmt_without_consistency_is_weighted_conversions():
    settings = {"fields": FIELDS, "towers": (), "training": dataclasses.replace(TRAINED, gradient_clip=None)}
    np.testing.assert_allclose(predictions(DCMT(**settings, consistency=0.0)), predictions(MultiIPW(**settings)), rtol=0, atol=1e-6)


def test_a_constant_propensity_is_the_naive_fit():
    rate = LOG.columns["click"].mean()
    settings = {"fields": FIELDS, "towers": (8,), "training": TRAINED}
    weighted = predictions(MultiIPW(**settings, propensity=lambda batch: torch.full(batch.mask.shape, rate)))
    np.testing.assert_allclose(weighted, predictions(NaiveCVR(**settings, shared=True)), rtol=0, atol=1e-5)
    clipped = predictions(MultiIPW(**settings, propensity="propensity", clip=1.0, normalise="self"))  # all weights equal
    np.testing.assert_allclose(clipped, weighted, rtol=0, atol=1e-5)


# What they learn


def cells_log(n=4000):
    """Four cells with clicks and conversions in exactly the stated numbers: no noise."""
    p, r = np.array([0.1, 0.5, 0.3, 0.2]), np.array([0.5, 0.3, 0.1, 0.05])
    columns = {"cell": [], "click": [], "conversion": []}
    for cell in range(4):
        clicks = round(n / 4 * p[cell])
        conversions = round(clicks * r[cell])
        columns["cell"] += [cell] * (n // 4)
        columns["click"] += [1] * clicks + [0] * (n // 4 - clicks)
        columns["conversion"] += [1] * conversions + [0] * (n // 4 - conversions)
    arrays = {name: np.array(values) for name, values in columns.items()}
    log = ultr.ClickLog(np.arange(n + 1), {"item": arrays["cell"], **arrays, "propensity": p[arrays["cell"]]})
    return log, p, r


CELLS, CELL_P, CELL_R = cells_log()
ONE_OF_EACH = ultr.ClickLog(np.arange(5), {"item": np.zeros(4, dtype=int), "cell": np.arange(4)})
CONVERGED = ultr.Training(
    steps=400, batch_pages=1 << 20, learning_rate=0.1, weight_decay=0.0, validation=0.0, gradient_clip=None, check_every=400
)


@pytest.mark.parametrize("estimator", [NaiveCVR, ESMM, MultiIPW, MultiDR, ESCM2])
def test_a_weight_a_cell_finds_every_conversion_rate(estimator):
    """What can express the truth finds it, weighted or not: the bias of ESMM and of naive fits comes with towers that cannot."""
    fitted = estimator(fields=Fields(categorical={"cell": "vocabulary"}), towers=(), training=CONVERGED).fit(CELLS)
    frame = fitted.predict(ONE_OF_EACH)
    np.testing.assert_allclose(frame["click"], CELL_P, atol=2e-3)
    np.testing.assert_allclose(frame["conversion"], CELL_R, atol=5e-3)


def test_a_single_number_tells_them_apart():
    """Two cells, P(click) .1 and .5, conversions .4 and .1, and a field that is the same everywhere: closed forms."""
    n = 2000
    click = np.r_[np.ones(100), np.zeros(900), np.ones(500), np.zeros(500)].astype(int)
    conversion = np.r_[np.ones(40), np.zeros(960), np.ones(50), np.zeros(950)].astype(int)
    columns = {"item": np.zeros(n, dtype=int), "click": click, "conversion": conversion, "propensity": np.repeat([0.1, 0.5], n // 2)}
    log = ultr.ClickLog(np.arange(n + 1), {**columns, "same": np.zeros(n, dtype=int)})
    settings = {"fields": Fields(dense=("same",)), "towers": (), "training": CONVERGED}

    def number(estimator):
        return estimator.fit(log).predict(log.take(np.array([0])))["conversion"][0]

    assert number(NaiveCVR(**settings)) == pytest.approx(0.15, abs=1e-3)
    assert number(MultiIPW(**settings, propensity="propensity")) == pytest.approx(0.25, abs=1e-3)
    assert number(MultiIPW(**settings, propensity="propensity", normalise="self")) == pytest.approx(0.25, abs=1e-3)
    assert number(MultiDR(**settings, propensity="propensity")) == pytest.approx(0.25, abs=1e-3)
    assert number(MultiIPW(**settings)) == pytest.approx(0.15, abs=1e-3)  # the click tower is one number too, so nothing is undone
    assert number(ESMM(**settings)) == pytest.approx(0.15, abs=1e-3)  # with p = .3 for both: sum p r / sum p again
    pulled = [number(DCMT(**settings, propensity="propensity", consistency=c)) for c in (0.0, 0.1, 0.5)]
    assert pulled[0] == pytest.approx(0.25, abs=1e-3)
    assert pulled[0] > pulled[1] > pulled[2]


def test_weights_undo_the_selection_where_the_tower_is_too_simple():
    world = Conversions(20_000, interaction=1.0, seed=7)
    log, training = world.log(seed=7), dataclasses.replace(CONVERGED, steps=120, check_every=120)
    best = log_loss(world.conversion, world.conversion)
    settings = {"fields": world.fields, "towers": (), "training": training}
    estimators = {
        "naive": NaiveCVR(**settings),
        "esmm": ESMM(**settings),
        "ipw": MultiIPW(**settings),
        "stopped early": MultiIPW(fields=world.fields, towers=()),
        "true": MultiIPW(**settings, propensity="propensity"),
        "dr": MultiDR(**settings),
        "escm2": ESCM2(**settings),
    }
    predicted = {name: estimator.fit(log).predict(log) for name, estimator in estimators.items()}
    excess = {name: log_loss(world.conversion, frame["conversion"]) - best for name, frame in predicted.items()}
    for debiased in ("ipw", "stopped early", "true", "dr", "escm2"):
        assert excess[debiased] < min(excess["naive"], excess["esmm"]) - 0.03
    # an intercept is right where the weighted residuals add up to 0
    click, weight = log.columns["click"], 1 / world.click
    residual = {name: click * (log.columns["conversion"] - frame["conversion"]) for name, frame in predicted.items()}
    assert abs((weight * residual["true"]).mean()) < 1e-3 < 0.03 < abs((weight * residual["naive"]).mean())
    assert abs(residual["naive"].mean()) < 1e-3 < 3e-3 < abs(residual["true"].mean())
    # a calibrated product says nothing about its factors
    assert calibration_ratio(log.columns["conversion"], predicted["esmm"]["click_and_conversion"]) == pytest.approx(1, abs=0.03)
    assert calibration_ratio(world.conversion, predicted["esmm"]["conversion"]) < 0.9


# Settings


BASE = MultiIPW(fields=FIELDS, towers=(8,), training=TRAINED)


@pytest.mark.parametrize(
    "estimator, setting, value",
    [
        *[(kind(fields=FIELDS, towers=(8,), training=TRAINED), "towers", value) for kind in ALL for value in ((4,), (8, 4), ())],
        *[(kind(fields=FIELDS, towers=(8,), training=TRAINED), "shared", kind is NaiveCVR) for kind in ALL],
        *[(kind(fields=FIELDS, towers=(8,), training=TRAINED), "fields", Fields(dense=("x",))) for kind in ALL],
        *[(kind(fields=FIELDS, towers=(8,), training=TRAINED), "clip", 2.0) for kind in WEIGHTED],
        *[(kind(fields=FIELDS, towers=(8,), training=TRAINED), "normalise", "self") for kind in WEIGHTED],
        *[(kind(fields=FIELDS, towers=(8,), training=TRAINED), "propensity", "propensity") for kind in WEIGHTED],
        *[(kind(fields=FIELDS, towers=(8,), training=TRAINED, propensity="propensity"), "normalise", "self") for kind in WEIGHTED],
        *[(kind(fields=FIELDS, towers=(8,), training=TRAINED, propensity="propensity"), "clip", 2.0) for kind in WEIGHTED],
        (ESCM2(fields=FIELDS, towers=(8,), training=TRAINED), "kind", "dr"),
        (ESCM2(fields=FIELDS, towers=(8,), training=TRAINED), "risk_weight", 0.2),
        (ESCM2(fields=FIELDS, towers=(8,), training=TRAINED), "joint_weight", 0.2),
        (DCMT(fields=FIELDS, towers=(8,), training=TRAINED), "consistency", 0.5),
        *[
            (BASE, "fields", dataclasses.replace(FIELDS, **change))
            for change in ({"embedding": 5}, {"embedding": {"ad": 4}}, {"min_count": 100})
        ],
        *[
            (BASE, "training", dataclasses.replace(TRAINED, **change))
            for change in (
                {"steps": 8},
                {"batch_pages": 64},
                {"optimizer": "adagrad"},
                {"learning_rate": 0.01},
                {"schedule": "constant"},
                {"weight_decay": 5.0},
                {"gradient_clip": 1e-3},
                {"validation": 0.2},
                {"precision": "bfloat16"},
            )
        ],
    ],
)
def test_every_setting_has_an_effect(estimator, setting, value):
    first, second = predictions(estimator), predictions(dataclasses.replace(estimator, **{setting: value}))
    assert np.abs(first - second).max() > 1e-7


def test_a_propensity_model_of_any_kind_is_taken():
    settings = {"fields": FIELDS, "towers": (8,), "training": QUICK}
    by_column = predictions(MultiIPW(**settings, propensity="propensity"))
    by_function = predictions(MultiIPW(**settings, propensity=lambda batch: batch.column("propensity")))
    np.testing.assert_array_equal(by_column, by_function)
    first = LOG.with_columns(position=np.zeros(LOG.n_rows, dtype=int))
    np.testing.assert_array_equal(
        predictions(MultiIPW(**settings, propensity=[0.3]), first),
        predictions(MultiIPW(**settings, propensity=lambda batch: torch.full(batch.mask.shape, 0.3)), first),
    )


@pytest.mark.parametrize("kind", WEIGHTED)
def test_an_array_of_one_value_a_row_is_no_propensity_by_position(kind):
    with pytest.raises(PropensityError, match=r"every page has one row, and the array 1500 values, one a row\. Give them as a column"):
        kind(fields=FIELDS, training=QUICK, propensity=np.full(LOG.n_rows, 0.3)).fit(LOG)


@pytest.mark.parametrize(
    "kind, settings, message",
    [
        *[(kind, {"fields": None}, f"{kind.__name__}: fields says which columns") for kind in ALL],
        (ESMM, {"towers": (0,)}, r"towers are hidden layer widths of at least 1, \(\) for linear ones, not \(0,\)"),
        (ESMM, {"towers": (8.0,)}, "towers"),
        (ESMM, {"towers": None}, "towers are hidden layer widths .* not None"),
        (ESMM, {"fields": Fields(dense=("x", "click"))}, "ESMM: 'click' is what it predicts: leave it out of the fields"),
        (ESMM, {"training": ultr.Training(weight_decay=(0.1, 0.2))}, "give one weight_decay"),
        *[(kind, {"clip": 0.5}, f"{kind.__name__}: clip is the largest weight, at least 1") for kind in WEIGHTED],
        *[(kind, {"normalise": "first"}, "normalise must be None or 'self'") for kind in WEIGHTED],
        (ESCM2, {"kind": "ipw"}, "kind must be 'ips' or 'dr', not 'ipw'"),
        (ESCM2, {"risk_weight": -1.0}, "risk_weight must be at least 0"),
        (ESCM2, {"joint_weight": 0.0, "risk_weight": 0.0}, "nothing trains"),
        (DCMT, {"consistency": -0.1}, "consistency must be at least 0"),
    ],
)
def test_impossible_settings_are_refused(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        kind(**{"fields": FIELDS, **settings})


# Bad logs


def changed(name, row, value):
    values = LOG.columns[name].astype(float)
    values[row] = value
    return LOG.with_columns(**{name: values})


UNCLICKED = int(np.argmin(LOG.columns["click"]))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "log, message",
    [
        (changed("conversion", UNCLICKED, 1), rf"a conversion needs a click: page {UNCLICKED}, row 0 has 1.0; 1 of 1500 is wrong"),
        (changed("conversion", 5, np.nan), "conversion must be 0 or 1: page 5, row 0 has nan"),
        (changed("conversion", 5, 2), "conversion must be 0 or 1: page 5, row 0 has 2.0"),
        (changed("click", 7, 3), "click must be 0 or 1"),
        (changed("x", 9, np.inf), "x must be finite or missing: page 9, row 0 has inf"),
        (LOG.with_columns(conversion=np.zeros(1500)), "nothing to learn from: conversion is 0 on all 1500 rows"),
        (LOG.with_columns(click=np.zeros(1500), conversion=np.zeros(1500)), "nothing to learn from: click is 0 on all 1500 rows"),
        (ultr.ClickLog(LOG.offsets, {n: v for n, v in LOG.columns.items() if n != "conversion"}), "needs the column 'conversion'"),
        (ultr.ClickLog(LOG.offsets, {n: v for n, v in LOG.columns.items() if n != "ad"}), "needs the row or page column 'ad'"),
        (ultr.ClickLog(LOG.offsets, LOG.columns, {"count": np.full(1500, 2)}), "do not compress"),
        (LOG.take(np.arange(0)), "nothing to learn from"),
    ],
)
def test_bad_logs_are_refused(kind, log, message):
    with pytest.raises(LogError, match=message):
        kind(fields=FIELDS, training=QUICK).fit(log)


def test_tables_that_no_memory_holds_are_refused():
    fields = Fields(categorical={"ad": 2**30}, embedding=2**16)
    with pytest.raises(ConfigError, match="The tables of 1 fields need 281,475 GB, more than there is"):
        ESMM(fields=fields, training=QUICK).fit(LOG)


def test_predicting_needs_the_fields():
    fitted = ESMM(fields=FIELDS, training=QUICK).fit(LOG)
    with pytest.raises(LogError, match="ESMM needs the row or page column 'ad'"):
        fitted.predict(ultr.ClickLog(LOG.offsets, {n: v for n, v in LOG.columns.items() if n != "ad"}))
    with pytest.raises(LogError, match="A ClickLog is needed"):
        fitted.predict("log")


@pytest.mark.parametrize("kind", WEIGHTED)
def test_propensities_outside_of_0_and_1_are_refused(kind):
    with pytest.raises(PropensityError, match=r"page 3, row 0.* has 0\.0"):
        kind(fields=FIELDS, training=QUICK, propensity="propensity").fit(changed("propensity", 3, 0.0))
    with pytest.raises(LogError, match="The propensity needs the column 'chance'"):
        kind(fields=FIELDS, training=QUICK, propensity="chance").fit(LOG)


def test_dcmt_needs_a_chance_of_no_click_where_there_was_none():
    log = changed("propensity", UNCLICKED, 1.0)
    with pytest.raises(LogError, match=f"propensity must be below 1 where there is no click: page {UNCLICKED}"):
        DCMT(fields=FIELDS, training=QUICK, propensity="propensity").fit(log)
    DCMT(fields=FIELDS, training=QUICK, propensity="propensity", clip=50.0).fit(log)


def test_all_conversions_held_out_is_an_error():
    few, training = LOG.select(np.arange(1500) < 40), dataclasses.replace(QUICK, validation=0.5)
    held = validation_pages(few, 0.5, 0) & (few.columns["click"] == 1)
    assert held.any()
    log = few.with_columns(conversion=held.astype(int))
    with pytest.raises(LogError, match=f"all {held.sum()} conversions are held out. Lower validation"):
        ESMM(fields=FIELDS, training=training).fit(log)


# Files


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("towers", [(8, 4), ()])
def test_what_was_saved_predicts_the_same(kind, towers, tmp_path):
    fitted = kind(fields=FIELDS, towers=towers, training=QUICK).fit(LOG)
    fitted.save(tmp_path / "model")
    loaded = ultr.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(LOG), fitted.predict(LOG))
    assert loaded.estimator == fitted.estimator
    assert loaded.fields == fitted.fields
    assert loaded.history.equals(fitted.history)
    assert loaded.best_step == fitted.best_step


def test_damaged_models_are_refused(tmp_path):
    fitted = ESMM(fields=FIELDS, training=QUICK).fit(LOG)
    fitted.save(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"x")
    with pytest.raises(FileError, match="not what was saved"):
        ultr.load(tmp_path / "model")
    weights.unlink()
    with pytest.raises(FileError, match=r"model.safetensors is missing"):
        ultr.load(tmp_path / "model")
    weights.write_bytes(content)
    header = json.loads((tmp_path / "model" / "model.json").read_text())
    del header["towers"]
    (tmp_path / "model" / "model.json").write_text(json.dumps(header))
    with pytest.raises(FileError, match="damaged model"):
        ultr.load(tmp_path / "model")


# Values that training never saw


def test_unknown_values_get_the_average_and_missing_ones_too():
    fields = Fields(categorical={"cell": "vocabulary"})
    fitted = NaiveCVR(fields=fields, towers=(), training=CONVERGED).fit(CELLS)
    asked = ultr.ClickLog(np.arange(3), {"item": np.zeros(2, dtype=int), "cell": np.array([99, None], dtype=object)})
    logit = np.log(CELL_R / (1 - CELL_R)).mean()
    np.testing.assert_allclose(fitted.predict(asked)["conversion"], 1 / (1 + np.exp(-logit)), atol=5e-3)


def test_rare_values_train_the_row_of_unknown_ones():
    cell = CELLS.columns["cell"].copy()
    cell[cell == 2] = 1000 + np.arange((cell == 2).sum())  # each seen once
    fitted = NaiveCVR(fields=Fields(categorical={"cell": "vocabulary"}), towers=(), training=CONVERGED).fit(CELLS.with_columns(cell=cell))
    asked = ONE_OF_EACH.with_columns(cell=np.array([0, 1, -7, 3]))
    np.testing.assert_allclose(fitted.predict(asked)["conversion"], CELL_R, atol=5e-3)


# Sparse tables in the loop


class Looked(torch.nn.Module):
    """An embedding of one number a row."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(6, 1, sparse=True)
        torch.nn.init.zeros_(self.table.weight)

    def forward(self, rows):
        return self.table(rows)[:, 0]


def sparse_fit(**settings):
    network, rows = Looked(), torch.tensor([1, 1, 4])
    plain = {"weight_decay": 0.5, "gradient_clip": None, "schedule": "constant", "validation": 0.0, "steps": 1, "learning_rate": 0.1}
    training = ultr.Training(**{**plain, **settings})
    minimise([network], [(rows, torch.ones(3))], lambda batch: 0.5 * (network(batch) - torch.tensor([3.0, 3.0, -4.0])) ** 2, None, training)
    return network.table.weight.detach()[:, 0]


def test_only_rows_looked_up_move():
    """One step of Adam moves by the learning rate, whatever the gradient."""
    np.testing.assert_allclose(sparse_fit(), [0, 0.1, 0, 0, -0.1, 0], atol=1e-6)
    assert (sparse_fit(steps=50)[[0, 2, 3, 5]] == 0).all()


def test_a_sparse_gradient_is_clipped_by_its_norm():
    """Adagrad by hand: gradients -2 and 4/3, of norm sqrt(4 + 16/9), are scaled to norm 1; the accumulator starts at .1."""
    gradient = np.array([-2.0, 4 / 3])
    for clip in (None, 1.0, 100.0):
        g = gradient * min(1.0, (clip or np.inf) / np.sqrt((gradient**2).sum()))
        moved = -0.1 * g / np.sqrt(0.1 + g**2)
        np.testing.assert_allclose(sparse_fit(optimizer="adagrad", gradient_clip=clip)[[1, 4]], moved, rtol=1e-5)


# With the rest of the toolkit


class ProductAUC:
    """A user's metric of the whole log."""

    per = "log"

    def __call__(self, log):
        return np.array([auc(log.columns["conversion"], log.columns["predicted_click_and_conversion"])])


def test_estimators_are_evaluated_chunk_by_chunk():
    fitted = ESMM(fields=FIELDS, training=TRAINED).fit(LOG)
    table = ultr.evaluate(fitted, Chunked(LOG, 100), {"auc": ProductAUC()})
    expected = auc(LOG.columns["conversion"], fitted.predict(LOG)["click_and_conversion"])
    assert table.loc["auc", "mean"] == pytest.approx(expected, abs=1e-4)  # rounding may swap a pair of nearly equal predictions
