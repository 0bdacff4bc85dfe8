"""Predicted: every score on every protocol against the functions, true probabilities, and what is refused."""

import functools
import operator

import numpy as np
import pytest

import simulators
import ultr
from ultr.errors import ConfigError, LogError
from ultr.estimators import NaiveCVR
from ultr.metrics import Predicted, auc, calibration_ratio, expected_calibration_error, group_auc, log_loss
from ultr.random import generator

N = 400
RNG = generator(0, "predicted")
P = RNG.random(N)
COLUMNS = {
    "item": np.zeros(N, dtype=int),
    "click": (RNG.random(N) < 0.5).astype(int),
    "conversion": (RNG.random(N) < P).astype(int),
    "truth": P,
    "predicted_conversion": np.clip(P + 0.2 * RNG.normal(size=N), 0.01, 0.99),
    "other": RNG.random(N),
}
LOG = ultr.ClickLog(np.arange(N + 1), COLUMNS, {"user": RNG.integers(20, size=N)})
CLICKED = COLUMNS["click"] > 0


@pytest.mark.parametrize(("rows", "chosen"), [("all", slice(None)), ("clicked", CLICKED), ("unclicked", ~CLICKED)])
@pytest.mark.parametrize(
    ("score", "function"),
    [
        ("auc", auc),
        ("log_loss", log_loss),
        ("calibration_ratio", calibration_ratio),
        ("expected_calibration_error", expected_calibration_error),
    ],
)
def test_the_functions_on_the_rows(score, function, rows, chosen):
    found = Predicted(score, rows=rows)(LOG)
    np.testing.assert_allclose(found, [function(COLUMNS["conversion"][chosen], COLUMNS["predicted_conversion"][chosen])])
    other = Predicted(score, predicted="other", rows=rows)(LOG)
    np.testing.assert_allclose(other, [function(COLUMNS["conversion"][chosen], COLUMNS["other"][chosen])])


def test_by_group_and_by_true_probabilities():
    found = Predicted("group_auc")(LOG)
    np.testing.assert_allclose(found, [group_auc(COLUMNS["conversion"], COLUMNS["predicted_conversion"], LOG.page_columns["user"])])
    exact = Predicted("auc", label="truth", predicted="predicted_conversion")(LOG)[0]
    s, p = COLUMNS["predicted_conversion"], COLUMNS["truth"]
    wins = (s[:, None] > s) + 0.5 * (s[:, None] == s)
    weight = p[:, None] * (1 - p)
    assert exact == pytest.approx((wins * weight).sum() / weight.sum(), abs=1e-12)
    assert Predicted("log_loss", label="truth", predicted="truth")(LOG)[0] == pytest.approx(
        -(p * np.log(p) + (1 - p) * np.log1p(-p)).mean()
    )


@pytest.mark.parametrize("pieces", [1, 7])
def test_rows_without_a_group_are_one_group(pieces):
    device = np.array(["ios", None, "web", np.nan], dtype=object)[np.arange(N) % 4]
    filled = np.where(np.arange(N) % 2, "none", device)
    expected = [group_auc(COLUMNS["conversion"], COLUMNS["predicted_conversion"], filled)]
    log, metric = LOG.with_columns(device=device), Predicted("group_auc", groups="device")
    chunks = [log.take(pages) for pages in np.array_split(np.arange(N), pieces)]
    np.testing.assert_allclose(metric.value(functools.reduce(operator.add, map(metric.state, chunks))), expected, rtol=1e-12)


def test_it_judges_in_a_comparison_and_says_how():
    world = simulators.Conversions(4000, interaction=1.0, seed=0)
    train, test = world.log(seed=0), world.log(seed=1)
    training = ultr.Training(steps=20, batch_pages=1000, validation=0.0, weight_decay=0.0)
    metrics = {"cvr auc": Predicted("auc", rows="clicked"), "entire space": Predicted("log_loss", label="conversion")}
    naive = NaiveCVR(fields=world.fields, towers=(), training=training)
    result = ultr.Comparison(train, test, {"a": naive, "b": NaiveCVR(fields=world.fields, training=training)}, metrics, seeds=range(2)).run(
        progress=False
    )
    assert len(result.table)
    assert Predicted("auc", rows="clicked").protocol == "auc of predicted_conversion against conversion on clicked rows"
    assert "clicked" in str(result.metrics["cvr auc"])
    found = ultr.evaluate(naive.fit(train), test, metrics)
    assert np.isfinite(found["mean"]).all()


def test_what_is_undefined_or_wrong():
    assert np.isnan(Predicted("auc")(LOG.with_columns(conversion=np.zeros(N, dtype=int)))[0])
    with pytest.raises(ConfigError, match=r"score must be one of auc.*Did you mean 'auc'"):
        Predicted("auk")
    with pytest.raises(ConfigError, match="rows must be one of all, clicked, unclicked"):
        Predicted("auc", rows="some")
    with pytest.raises(LogError, match="needs the column 'predicted_conversion'"):
        Predicted("auc")(ultr.ClickLog(LOG.offsets, {k: v for k, v in COLUMNS.items() if k != "predicted_conversion"}, LOG.page_columns))
    with pytest.raises(LogError, match=r"needs the row or page column 'usr'.* Did you mean 'user'\? It has: item, .*, user\."):
        Predicted("group_auc", groups="usr")(LOG)
    for name in ("label", "predicted", "groups"):
        with pytest.raises(ConfigError, match=f"{name} is the name of one column, not \\['user'\\]"):
            Predicted("group_auc", **{name: ["user"]})
    for setting in ("score", "rows"):
        with pytest.raises(ConfigError, match=f"{setting} must be one of"):
            Predicted(**{"score": "auc", setting: ["auc"]})
    assert Predicted("auc").higher_is_better
    assert not Predicted("log_loss").higher_is_better
