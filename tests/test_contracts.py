"""Every part of the toolkit keeps its contract; the parts are found by walking the packages."""

import importlib
import inspect
import warnings

import numpy as np
import pytest
import torch

import ultr
from ultr import testing
from ultr.errors import ConfigError, IdentifiabilityWarning
from ultr.estimators import DLA, IPS, Naive, Oracle
from ultr.metrics import NDCG
from ultr.propensity import ByPosition, PowerLaw
from ultr.testing import check_click_model, check_estimator, check_metric, check_propensity, tiny_log

QUICK = ultr.Training(steps=12, batch_pages=64, check_every=4)
BASES = {"ClickModel"}  # abstract: nothing to construct

# Constructor arguments of the parts that cannot be made without any. A part that is missing here and needs some fails its test.
RATED = tiny_log().with_columns(rating=tiny_log().columns["grade"] + 1.0)
FIELDS = ultr.Fields(categorical={"item": "vocabulary"}, dense=("position",))
CONVERTED = tiny_log().with_columns(conversion=tiny_log().columns["click"] * (tiny_log().columns["grade"] > 1))
CREDITED = {"main": "conversion", "auxiliary": ("click",), "fields": FIELDS}
ARGUMENTS = {
    **{name: {"fields": FIELDS} for name in ("DCMT", "ESCM2", "ESMM", "MultiDR", "MultiIPW", "NaiveCVR")},
    **dict.fromkeys(("HoME", "MMoE", "MoAE", "NATAL", "PLE", "SharedBottom"), CREDITED),
    "Among": {"metric": NDCG(2), "items": np.arange(len(tiny_log().items)) % 3 > 0},
    "ByPosition": {"theta": [1.0, 0.7, 0.5, 0.3, 0.2]},
    "CWL": {"continuation": lambda rank, gain: 0.5 + 0 * gain},
    "ClickChain": {"tau_skip": 0.9, "tau_click_irrelevant": 0.6, "tau_click_relevant": 0.25},
    "DependentClick": {"continuation": [0.8, 0.5, 0.3, 0.7]},
    "DynamicBayesian": {"continuation": 0.85},
    "Mixture": {"models": [ultr.click_models.PositionBased([0.9, 0.6, 0.5, 0.2]), ultr.click_models.Cascade()], "weights": [0.6, 0.4]},
    "NaiveBayes": {"randomised": RATED},
    "Predicted": {"score": "log_loss"},
    "PositionBased": {"examination": [0.9, 0.6, 0.5, 0.2]},
    "TrustBias": {"examination": [0.9, 0.6, 0.5, 0.2], "trust_positive": [1, 1, 0.9, 0.8], "trust_negative": [0.6, 0.3, 0.2, 0.1]},
    "UserBrowsing": {"examination": [[0.9, 0, 0, 0], [0.7, 0.95, 0, 0], [0.4, 0.6, 0.8, 0], [0.2, 0.3, 0.5, 0.7]]},
}
# Logs for the parts that read more than `tiny_log()` has.
LOGS: dict[str, ultr.ClickLog] = {
    **dict.fromkeys(("DCMT", "ESCM2", "ESMM", "MultiDR", "MultiIPW", "NaiveCVR"), CONVERTED),
    **dict.fromkeys(("HoME", "MMoE", "MoAE", "NATAL", "PLE", "SharedBottom"), CONVERTED),
    **dict.fromkeys(("DoublyRobustMF", "NaiveBayes", "RatingMF"), RATED),
    **dict.fromkeys(  # which refuse clicks on a reranked log
        (
            "ExpectedSessionNDCG",
            "NUM",
            "NormalisedSessionDCG",
            "RecencySessionDCG",
            "RecencySessionRBP",
            "SessionDCG",
            "SessionINST",
            "SessionRBP",
            "UMeasure",
        ),
        tiny_log(),
    ),
    "Predicted": CONVERTED.with_columns(predicted_conversion=np.linspace(0.1, 0.9, CONVERTED.n_rows)),
    "PredictionError": RATED.with_columns(score=RATED.columns["grade"] + 0.5),
}


def parts(room):
    """The public classes of a room, all of them."""
    module = importlib.import_module(room)
    found = [getattr(module, name) for name in module.__all__]
    return [part for part in found if inspect.isclass(part) and part.__name__ not in BASES]


def make(part):
    """An instance; estimators train for a few steps only."""
    arguments = dict(ARGUMENTS.get(part.__name__, {}))
    if "training" in inspect.signature(part).parameters:
        arguments["training"] = QUICK
    try:
        return part(**arguments)
    except TypeError as error:
        pytest.fail(f"{part.__name__} cannot be made: {error}. Add its arguments to ARGUMENTS.")


@pytest.mark.parametrize("part", parts("ultr.estimators"))
def test_estimators(part):
    check_estimator(make(part), LOGS.get(part.__name__))


@pytest.mark.parametrize("part", parts("ultr.metrics"))
def test_metrics(part):
    check_metric(make(part), LOGS.get(part.__name__))


@pytest.mark.parametrize("part", [part for part in parts("ultr.metrics") if "ties" in inspect.signature(part).parameters])
def test_metrics_in_expectation_over_ties(part):
    check_metric(part(ties="expected"))


@pytest.mark.parametrize("part", parts("ultr.propensity"))
def test_propensities(part):
    model, log = make(part), LOGS.get(part.__name__)
    if hasattr(model, "fit"):
        model = model.fit(tiny_log(n_pages=1000) if log is None else log)
    check_propensity(model, log)


@pytest.mark.parametrize("part", parts("ultr.click_models"))
def test_click_models(part):
    check_click_model(make(part))


def test_walking_finds_what_is_there():
    assert {"Naive", "IPS", "DLA", "Oracle"} <= {part.__name__ for part in parts("ultr.estimators")}
    assert {"NDCG", "RBP"} <= {part.__name__ for part in parts("ultr.metrics")}
    assert all(inspect.isabstract(getattr(ultr.click_models, name)) for name in BASES)


@pytest.mark.parametrize("loss", ["softmax", "pairwise", "lambdarank", "pointwise"])
def test_estimators_with_every_loss(loss):
    check_estimator(Naive(loss=loss, training=QUICK))


def test_estimators_with_other_settings():
    check_estimator(IPS(propensity=PowerLaw(0.7), clip=3.0, normalise="first", model=ultr.models.MLP((8,)), training=QUICK))
    check_estimator(DLA(head=ultr.models.PositionLogits(5), model=SetNetwork(), training=QUICK))


def test_a_log_of_ones_own_can_be_given():
    log = tiny_log(rows=3, n_pages=60, seed=4)
    check_propensity([1.0, 0.5, 0.2], log)
    check_estimator(IPS(propensity=[1.0, 0.5, 0.2], training=QUICK), log)
    check_metric(NDCG(2, label="relevance"), log)
    check_click_model(ultr.click_models.PositionBased([0.5, 0.2]), rows=2)


class SetNetwork(torch.nn.Module):
    """A network in which the rows of a page see one another."""

    def __init__(self):
        super().__init__()
        self.own, self.others = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)

    def forward(self, features, mask):
        mean = (features * mask[..., None]).sum(1, keepdim=True) / mask.sum(1).clamp(min=1)[:, None, None]
        return (self.own(features) + torch.tanh(self.others(mean) * self.own(features))).squeeze(-1)


def test_the_tiny_log_identifies_its_propensities_and_has_no_special_page():
    log = tiny_log()
    assert ultr.diagnostics.identifiability(log).identified
    assert 0 in log.lengths
    assert log.lengths.max() == 5
    assert (np.add.reduceat(log.columns["click"], log.offsets[:-1][log.lengths > 0]) == 0).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error", IdentifiabilityWarning)
        DLA(training=QUICK).fit(log)


def test_every_check_lists_what_it_checks():
    for name in testing.__all__:
        if name.startswith("check_"):
            assert "    1. " in getattr(testing, name).__doc__ or "\n1. " in inspect.getdoc(getattr(testing, name))


def test_estimators_refuse_impossible_settings_when_they_are_made():
    for make_one in (lambda: Naive(loss="soft"), lambda: Oracle(loss="soft"), lambda: IPS(loss="soft"), lambda: DLA(max_weight=0.5)):
        with pytest.raises(ConfigError):
            make_one()
    assert ByPosition([1.0]).theta.tolist() == [1.0]
