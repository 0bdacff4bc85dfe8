"""Propensity models: what may be given, by hand; and where a wrong one is said to be wrong."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import ultr
from ultr.errors import LogError, PropensityError
from ultr.estimators import IPS
from ultr.propensity import ByPosition, Column, PowerLaw, as_propensity, attach, propensities
from ultr.propensity.evaluate import by_position
from ultr.testing import tiny_log
from ultr.training import Batch

LOG = ultr.ClickLog(  # two pages of two and three rows, positions with a hole
    np.array([0, 2, 5]),
    {
        "item": np.array([0, 1, 1, 2, 0]),
        "position": np.array([0, 1, 0, 1, 3]),
        "click": np.array([1, 0, 0, 0, 1]),
        "propensity": np.array([1.0, 0.6, 0.9, 0.5, 0.2]),
        "theta": np.array([0.5, 0.25, 0.5, 0.25, 0.125]),
    },
    {"query": np.array([3, 4]), "count": np.array([3, 1])},
)


def three_on_screen(batch):
    """Three results fit on the screen; the rest need a scroll."""
    return torch.where(batch.position < 3, 1.0, 0.3)


class Learnt(nn.Module):
    """A module with a parameter, whose dropout would show if it were not evaluated."""

    def __init__(self):
        super().__init__()
        self.logit, self.dropout = nn.Parameter(torch.tensor(0.0)), nn.Dropout(0.5)

    def forward(self, batch):
        return torch.sigmoid(self.logit).expand(batch.mask.shape) * self.dropout(torch.ones(batch.mask.shape))


# What may be given


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (np.array([0.8, 0.4, 0.2, 0.1]), [0.8, 0.4, 0.8, 0.4, 0.1]),
        ([1.0, 0.5, np.nan, 0.25], [1, 0.5, 1, 0.5, 0.25]),  # nothing stands at position 2
        ([1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
        ("propensity", [1.0, 0.6, 0.9, 0.5, 0.2]),
        ("theta", [0.5, 0.25, 0.5, 0.25, 0.125]),
        (Column(), [1.0, 0.6, 0.9, 0.5, 0.2]),
        (three_on_screen, [1, 1, 1, 1, 0.3]),
        (Learnt(), [0.5] * 5),
        (PowerLaw(), [1, 1 / 2, 1, 1 / 2, 1 / 4]),
        (PowerLaw(2.0), [1, 1 / 4, 1, 1 / 4, 1 / 16]),
        (PowerLaw(0), [1] * 5),
        (ByPosition.relative([2.0, 1.0, np.nan, 4.0]), [0.5, 0.25, 0.5, 0.25, 1]),
        (ByPosition.relative([1.0, 2.0, 0.5, 0.1]), [0.5, 1, 0.5, 1, 0.05]),
    ],
)
def test_models_by_hand(model, expected):
    values = propensities(LOG, model)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_attach_writes_the_column_that_others_read():
    log = attach(LOG, [0.8, 0.4, 0.2, 0.1])
    np.testing.assert_allclose(log.columns["propensity"], [0.8, 0.4, 0.8, 0.4, 0.1])
    assert LOG.columns["propensity"][0] == 1
    assert ultr.evaluation.overlap(log, "propensity").smallest == pytest.approx(0.1)


def test_a_log_without_positions_counts_places():
    bare = ultr.ClickLog(LOG.offsets, {"item": LOG.columns["item"]})
    np.testing.assert_allclose(propensities(bare, PowerLaw()), [1, 1 / 2, 1, 1 / 2, 1 / 3])


def test_many_pages_go_block_by_block():
    n = 20_000
    log = ultr.ClickLog(np.arange(n + 1) * 2, {"item": np.zeros(2 * n, dtype=int), "position": np.tile([0, 1], n)})
    sizes = []

    def watched(batch):
        sizes.append(len(batch))
        return PowerLaw()(batch)

    np.testing.assert_array_equal(propensities(log, watched), np.tile([1, 0.5], n).astype(np.float32))
    assert sizes == [8192, 8192, 3616]


def test_a_module_is_evaluated_without_gradients_and_left_as_it_was():
    module = Learnt()
    module.dropout.eval()  # a part that its owner has switched off
    propensities(LOG, module)
    assert (module.training, module.dropout.training) == (True, False)

    class Failing(Learnt):
        def forward(self, batch):
            raise PropensityError("no")

    failing = Failing()
    with pytest.raises(PropensityError):
        propensities(LOG, failing)
    assert failing.training


def test_power_law_and_by_position_agree():
    np.testing.assert_allclose(propensities(tiny_log(), PowerLaw(0.7)), propensities(tiny_log(), 1 / np.arange(1, 6) ** 0.7), rtol=1e-6)


def test_every_setting_has_an_effect():
    assert not np.allclose(propensities(LOG, PowerLaw(1.0)), propensities(LOG, PowerLaw(0.5)))
    assert not np.allclose(propensities(LOG, Column("theta")), propensities(LOG, Column("propensity")))
    assert not np.allclose(propensities(LOG, ByPosition([1, 1, 1, 1])), propensities(LOG, ByPosition([1, 1, 1, 0.5])))


def test_by_position_keeps_its_own_numbers():
    theta = np.array([1.0, 0.5])
    model = ByPosition(theta)
    theta[:] = 7
    assert model.theta.tolist() == [1.0, 0.5]
    assert repr(model) == "ByPosition([1, 0.5])"


def test_means_by_position_are_relative_to_the_first_and_weighted_by_count():
    np.testing.assert_allclose(by_position(LOG, LOG.columns["theta"]), [1, 0.5, np.nan, 0.25])
    means = by_position(LOG, LOG.columns["propensity"])
    first = (3 * 1.0 + 0.9) / 4
    np.testing.assert_allclose(means, [1, (3 * 0.6 + 0.5) / 4 / first, np.nan, 0.2 / first])


# What is wrong, and where


def test_a_zero_says_where_it_is_and_what_to_do():
    def zero_below(batch):
        return torch.where(batch.position < 1, 1.0, 0.0)

    log = tiny_log(n_pages=10)
    wrong = int((log.columns["position"] > 0).sum())
    with pytest.raises(PropensityError) as caught:
        propensities(log, zero_below)
    assert str(caught.value) == (
        f"propensity must be in (0, 1]: page 0, row 1 (position 1) has 0.0; {wrong} of {log.n_rows} rows are out of range.\n"
        "A zero means that the position was never examined: drop it from the log or give it a floor, e.g. propensity.clamp(min=1e-3)."
    )


def test_a_relative_value_says_what_to_do():
    with pytest.raises(
        PropensityError, match=r"page 1, row 2 \(position 3\) has 1.5; 1 of 5 rows are out of range.\n.*ByPosition.relative"
    ):
        propensities(LOG, lambda batch: torch.where(batch.position == 3, 1.5, 1.0))


@pytest.mark.parametrize("value", [-0.5, float("nan"), float("inf")])
def test_other_numbers_are_out_of_range_too(value):
    with pytest.raises(PropensityError, match=r"must be in \(0, 1\]: page 0, row 0"):
        propensities(LOG, lambda batch: torch.full(batch.mask.shape, value))


@pytest.mark.parametrize("value", [0.0, float("nan"), 7.0])
def test_the_padding_is_free(value):
    np.testing.assert_array_equal(propensities(LOG, lambda batch: torch.where(batch.mask, 0.5, value)), np.full(5, 0.5))


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda batch: torch.ones(3), r"\(3,\)"),
        (lambda batch: torch.ones(2, 3, 1), r"\(2, 3, 1\)"),
        (lambda batch: np.ones((2, 3)), "ndarray"),
        (lambda batch: None, "NoneType"),
    ],
)
def test_a_wrong_shape_is_named(function, got):
    with pytest.raises(PropensityError, match=rf"a tensor of shape \(2, 3\), not {got}"):
        propensities(LOG, function)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ([1.0, 0.5], "The log has position 3, but propensities are given for positions 0 to 1 only"),
        ([1.0, np.nan, 0.5, 0.0], "position 3 has 0.0; 1 of 4 positions are out of range"),
        ([1.0, 1.2, 0.5, -1.0], "position 1 has 1.2; 2 of 4 positions are out of range"),
        ([np.nan, np.nan], "position 0 has nan"),
        ([], r"one propensity a position, shape \[L\], not \(0,\)"),
        ([[1.0, 0.5]], r"not \(1, 2\)"),
        (0.5, "an array by position, a column.s name, .*not float"),
        (["high", "low"], "function of a batch, an array by position, a column's name, .*not list"),
        (object(), "not object"),
    ],
)
def test_a_wrong_model_is_named(model, message):
    with pytest.raises(PropensityError, match=message):
        propensities(LOG, model)


def test_a_nan_at_a_position_that_is_used_is_named():
    with pytest.raises(PropensityError, match=r"page 0, row 1 \(position 1\) has nan; 2 of 5"):
        propensities(LOG, [1.0, np.nan, 0.5, 0.1])


def test_a_missing_column_is_named():
    with pytest.raises(LogError, match=r"needs the column 'propensty'.*Did you mean 'propensity'"):
        propensities(LOG, "propensty")


@pytest.mark.parametrize("eta", [-1.0, float("inf"), float("nan")])
def test_an_impossible_eta_is_refused(eta):
    with pytest.raises(PropensityError, match="eta must be a finite number of at least 0"):
        PowerLaw(eta)


@pytest.mark.parametrize("values", [[0.0, 0.0], [-1.0, 2.0], [[1.0]], []])
def test_impossible_relative_values_are_refused(values):
    with pytest.raises(PropensityError):
        ByPosition.relative(values)


def test_functions_and_modules_are_themselves():
    module = Learnt()
    assert as_propensity(three_on_screen) is three_on_screen
    assert as_propensity(module) is module
    assert as_propensity("theta") == Column("theta")
    assert as_propensity([1.0, 0.5])(Batch(LOG.take(np.array([0])))).tolist() == [[1.0, 0.5]]


def test_an_estimator_takes_all_of_them():
    log, training = tiny_log(), ultr.Training(steps=3)
    curve = 1 / np.arange(1, 6) ** 0.7
    for model in (curve, list(curve), "propensity", PowerLaw(0.7), ByPosition.relative(3 * curve)):
        np.testing.assert_allclose(IPS(propensity=model, training=training).fit(log).propensity, curve, rtol=1e-6)
    np.testing.assert_allclose(IPS(propensity=three_on_screen, training=training).fit(log).propensity, [1, 1, 1, 0.3, 0.3], rtol=1e-6)


def test_position_based_click_models_are_propensities():
    log = tiny_log()
    theta = [0.9, 0.7, 0.5, 0.3, 0.2]
    np.testing.assert_allclose(propensities(log, ultr.click_models.PositionBased(theta)), propensities(log, theta))
    fitted = ultr.click_models.fit(ultr.click_models.PositionBased, log, max_iter=20_000)
    np.testing.assert_allclose(propensities(log, fitted), propensities(log, ByPosition.relative(fitted.propensity)))
    with pytest.raises(LogError, match=r"The propensity needs the column 'theta'.*such as Harvested"):
        propensities(log, "theta")


def test_what_is_no_log_in_memory_is_refused():
    with pytest.raises(LogError, match="A ClickLog is needed, not DataFrame"):
        attach(pd.DataFrame({"item": [0]}), [0.5])
