"""Twins: each contract check must fail on a part with one fault, and name it, and pass the part without it."""

import dataclasses
import pickle

import numpy as np
import pytest
import safetensors.numpy
import torch

import ultr
from ultr.errors import ContractError, LogError
from ultr.estimators import Naive
from ultr.metrics import NDCG
from ultr.testing import check_click_model, check_estimator, check_metric, check_propensity, tiny_log

QUICK = ultr.Training(steps=12, batch_pages=64, check_every=4)
HIDDEN = np.random.default_rng(0)


def half(batch):
    return torch.full(batch.mask.shape, 0.5)


def writes_into_the_batch(batch):
    batch.position.add_(1)
    return half(batch)


class Draws(torch.nn.Module):
    """Random in training, and in evaluation too where it should not be."""

    def forward(self, batch):
        return torch.rand(batch.mask.shape).clamp(min=0.1)


BROKEN_PROPENSITIES = {
    "returns a tensor": lambda batch: batch.position.numpy(),
    "one value a row": lambda batch: half(batch)[:, :1],
    "floating-point": lambda batch: torch.ones_like(batch.position),
    r"in \(0, 1\].* page 0, row 1 has 0": lambda batch: torch.where(batch.position == 1, 0.0, 0.5),
    "nan": lambda batch: half(batch) * torch.nan,
    "global random generator": Draws(),
    "padding or on the other pages": lambda batch: half(batch) * batch.position.float().mean().clamp(0.1, 1),
    "place in the page": lambda batch: (1 / (1.0 + torch.arange(batch.mask.shape[1]))).expand(batch.mask.shape),
    "writes into batch.position": writes_into_the_batch,
    "raised LogError": lambda batch: batch.column("colour"),
    "raised PropensityError": [1.0, 0.0],
    "positions 0 to 2 only": [1.0, 0.5, 0.2],
}


@pytest.mark.parametrize("fault", BROKEN_PROPENSITIES)
def test_a_broken_propensity_is_found(fault):
    with pytest.raises(ContractError, match=fault):
        check_propensity(BROKEN_PROPENSITIES[fault])


def test_a_propensity_that_draws_from_a_hidden_generator_is_found():
    with pytest.raises(ContractError, match="other values when it is called again"):
        check_propensity(lambda batch: half(batch) * float(HIDDEN.random()))


def test_a_propensity_module_is_left_as_it_was():
    module = torch.nn.Sequential(torch.nn.Dropout(0.5))
    module.forward = half
    check_propensity(module)
    assert module.training
    assert module[0].training


class Law(ultr.click_models.ClickModel):
    """Cascade: one click at most, every row above it is examined."""

    def conditional(self, attraction, clicks, satisfaction=None, mask=None):
        above = np.cumsum(clicks, axis=1) - clicks
        return np.where(above > 0, 0.0, attraction)


def broken_law(**methods):
    return type("Broken", (Law,), methods)()


def sees_its_own_click(self, attraction, clicks, satisfaction=None, mask=None):
    return np.asarray(attraction) * np.where(np.asarray(clicks) == 1, 1.0, 0.5)


def sees_the_click_below(self, attraction, clicks, satisfaction=None, mask=None):
    below = np.roll(np.asarray(clicks), -1, axis=1)
    below[:, -1] = 0
    return np.asarray(attraction) * (1 - 0.5 * below)


def sees_the_other_pages(self, attraction, clicks, satisfaction=None, mask=None):
    return np.asarray(attraction) * np.asarray(attraction).mean()


def above_one(self, attraction, clicks, satisfaction=None, mask=None):
    return np.asarray(attraction) + 0.5


def writes(self, attraction, clicks, satisfaction=None, mask=None):
    attraction *= 0.99
    return attraction


def marginal_of_the_conditional(self, attraction, satisfaction=None, mask=None, rng=None):
    return np.asarray(attraction) if mask is None else np.where(mask, attraction, 0)  # forgets the cascade


def likelihood_per_row(self, attraction, clicks, satisfaction=None, mask=None):
    return Law.log_likelihood(self, attraction, clicks, satisfaction, mask) / 2


def sample_without_the_law(self, attraction, rng, satisfaction=None, mask=None):
    clicks = rng.random(np.shape(attraction)) < attraction
    return (clicks if mask is None else clicks & mask).astype(np.int8)


def sample_in_the_padding(self, attraction, rng, satisfaction=None, mask=None):
    return np.where(True if mask is None else mask, Law.sample(self, attraction, rng, satisfaction, mask), 1)


def sample_from_elsewhere(self, attraction, rng, satisfaction=None, mask=None):
    return Law.sample(self, attraction, np.random.default_rng(), satisfaction, mask)


def sample_slightly_wrong(self, attraction, rng, satisfaction=None, mask=None):
    return Law.sample(self, np.asarray(attraction) * 0.9, rng, satisfaction, mask)


def counts_too_many(self, attraction, counts, rng, satisfaction=None, mask=None):
    return Law.sample_counts(self, attraction, counts, rng, satisfaction, mask) * 2


def examined_less_than_clicked(self, attraction, clicks, satisfaction=None, mask=None):
    return np.full(np.shape(attraction), 0.1)


BROKEN_LAWS = {
    r"must be in \[0, 1\]": broken_law(conditional=above_one),
    "depends on clicks at row 0 or below": broken_law(conditional=sees_its_own_click),
    "row 0 depends on clicks at row 0 or below": broken_law(conditional=sees_the_click_below),
    "other probabilities alone": broken_law(conditional=sees_the_other_pages),
    "writes into its arguments": broken_law(conditional=writes),
    "marginal is not the mean": broken_law(marginal=marginal_of_the_conditional),
    "log_likelihood is not the sum": broken_law(log_likelihood=likelihood_per_row),
    "sample: the clicks": broken_law(sample=sample_without_the_law),
    "sample draws clicks in the padding": broken_law(sample=sample_in_the_padding),
    "sample draws other clicks from an equal rng": broken_law(sample=sample_from_elsewhere),
    "have probability": broken_law(sample=sample_slightly_wrong),
    "sample_counts must draw whole numbers": broken_law(sample_counts=counts_too_many),
    "no row is clicked unseen": broken_law(examination_given=examined_less_than_clicked),
    "derives from ClickModel": lambda attraction, clicks: attraction,
}


def test_the_law_without_a_fault_passes():
    check_click_model(Law())


@pytest.mark.parametrize("fault", BROKEN_LAWS)
def test_a_broken_law_is_found(fault):
    with pytest.raises(ContractError, match=fault):
        check_click_model(BROKEN_LAWS[fault])


def test_a_law_for_fewer_positions_says_what_to_give():
    with pytest.raises(ContractError, match="Give rows="):
        check_click_model(ultr.click_models.PositionBased([0.5, 0.2]))


def first_grade(log):
    """Grade of the first row; NaN for an empty page."""
    starts = np.minimum(log.offsets[:-1], max(0, log.n_rows - 1))
    return np.where(log.lengths > 0, log.columns["grade"][starts], np.nan)


def undocumented(log):
    """The grade of the first row."""
    return np.where(first_grade(log) > 0, 1.0, np.nan)


def writes_scores(log):
    log.columns["grade"][:] = 0
    return first_grade(log)


class Labelled:
    """Clicks at the top, or NaN, though it says that it reads grades."""

    label = "grade"

    def __call__(self, log):
        return first_grade(log.with_columns(grade=log.columns["click"]))


class PerSession:
    """Number of rows of a session."""

    per = "session"

    def __call__(self, log):
        first, code = np.unique(log.page_columns["session"], return_index=True, return_inverse=True)[1:]
        return np.bincount(code, log.lengths)[np.argsort(first)]


class InOrder:
    """Number of rows of a session, by session id instead of first appearance."""

    per = "session"

    def __call__(self, log):
        return np.bincount(np.unique(log.page_columns["session"], return_inverse=True)[1], log.lengths)


class PerLog:
    """Mean grade of the log."""

    per = "log"

    def __call__(self, log):
        return log.columns["grade"].mean()


BROKEN_METRICS = {
    "one value a page": lambda log: first_grade(log)[1:],
    "returns numbers": lambda log: np.full(len(log), "a"),
    "infinite": lambda log: 1 / np.zeros(len(log)) if len(log) else np.zeros(0),
    "docstring does not say": undocumented,
    "depends on the order of the others": InOrder(),
    "writes into the log": writes_scores,
    "other values when it is called again": lambda log: HIDDEN.random(len(log)),
    "global random generator": lambda log: np.random.rand(len(log)),
    "in chunks of 1 pages": lambda log: np.nan_to_num(first_grade(log)) / max(1, np.nanmax(log.columns["grade"], initial=1)),
    "other label columns": Labelled(),
    "function or an object": NDCG,
    "raised KeyError": lambda log: log.columns["colour"],
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("fault", BROKEN_METRICS)
def test_a_broken_metric_is_found(fault):
    with pytest.raises(ContractError, match=fault):
        check_metric(BROKEN_METRICS[fault])


def test_metrics_of_sessions_logs_and_plain_functions_pass():
    for metric in (PerSession(), PerLog(), first_grade):
        check_metric(metric)


def test_a_metric_with_an_unknown_unit_is_found():
    metric = PerLog()
    metric.per = "query"
    with pytest.raises(ContractError, match="'page', 'session' or 'log'"):
        check_metric(metric)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Twin:
    """An estimator around another one, with a fault."""

    fault: str = ""
    inner: object = dataclasses.field(default_factory=lambda: Naive(training=QUICK))
    network: torch.nn.Module = dataclasses.field(default_factory=lambda: torch.nn.Linear(1, 1))
    notes: list = dataclasses.field(default_factory=list)

    def fit(self, source, *, seed=0):
        if self.fault == "chunks" and not isinstance(source, ultr.ClickLog):
            source = next(iter(source.chunks()))
        if self.fault == "log":
            next(iter(source.chunks())).columns["click"][:] = 1
        if self.fault == "columns" and isinstance(source, ultr.ClickLog):
            source.columns["extra"] = source.columns["click"]
        if self.fault == "module":
            torch.nn.init.zeros_(self.network.weight)
        if self.fault == "training":
            self.network.eval()
        if self.fault == "setting":
            self.notes.append(1)
        if self.fault == "torch":
            torch.rand(1)
        if self.fault == "numpy":
            np.random.seed(seed)
        if self.fault == "accepts":
            try:
                return TwinFitted(self.inner.fit(source, seed=seed), self.fault)
            except LogError:
                return None
        if self.fault == "seed":
            seed = int(np.random.default_rng().integers(1 << 30))
        return TwinFitted(self.inner.fit(source, seed=seed), self.fault)


class TwinFitted:
    """A fitted object with a fault."""

    def __init__(self, inner, fault):
        self.inner, self.fault = inner, fault

    def apply(self, log):
        if self.fault == "nothing":
            return log
        if self.fault == "drops":
            return self.inner.apply(log.take(np.arange(len(log) - 1)))
        if self.fault == "company":
            return log.rerank(self.inner.score_log(log) / (1 + len(log)))
        if self.fault == "rewrites":
            return self.inner.apply(log).with_columns(position=np.arange(log.n_rows))
        return self.inner.apply(log)

    def save(self, path):
        self.inner.save(path)
        if self.fault == "pickle":
            (path / "extra.bin").write_bytes(pickle.dumps({}))
        if self.fault == "loses":
            ultr.load(path).scorer  # noqa: B018
            Naive(training=QUICK).fit(tiny_log(seed=9)).save(path)

    def load(self, path):
        return TwinFitted(ultr.load(path), self.fault)


BROKEN_ESTIMATORS = {
    "chunks": "the same log in chunks",
    "log": "writes into the log",
    "columns": "adds or removes columns",
    "module": "changes its setting 'network'",
    "training": "changes its setting 'network'",
    "setting": "changes its setting 'notes'",
    "torch": "torch's global random generator",
    "numpy": "NumPy's global random generator",
    "accepts": "must raise ValueError",
    "seed": "a second fit with the same seed",
    "nothing": "adds no column",
    "drops": "keep the pages",
    "company": "a page applied alone",
    "rewrites": "changes the column 'position'",
    "pickle": "writes a pickle",
    "loses": "saved and loaded",
}


def test_the_twin_without_a_fault_passes():
    check_estimator(Twin())


@pytest.mark.parametrize("fault", BROKEN_ESTIMATORS)
def test_a_broken_estimator_is_found(fault):
    twin = Twin(fault=fault, inner=Naive(training=dataclasses.replace(QUICK, validation=0), model=ultr.models.MLP((4,))))
    with pytest.raises(ContractError, match=BROKEN_ESTIMATORS[fault]):
        check_estimator(twin)


def test_settings_have_to_be_frozen_and_keyword_only():
    @dataclasses.dataclass(kw_only=True)
    class Thawed:
        def fit(self, source, *, seed=0): ...

    @dataclasses.dataclass(frozen=True)
    class ByPlace:
        alpha: float = 1.0

        def fit(self, source, *, seed=0): ...

    @dataclasses.dataclass(frozen=True)
    class SeedByPlace:
        def fit(self, source, seed=0): ...

    for estimator, message in ((Thawed(), "frozen"), (ByPlace(), "keyword-only, but alpha"), (SeedByPlace(), "seed"), (Naive, "frozen")):
        with pytest.raises(ContractError, match=message):
            check_estimator(estimator)


def test_a_pickle_is_told_from_weights_that_start_with_the_same_byte():
    from ultr.testing.estimator import _reads_as_pickle

    weights, starts = np.zeros(1, dtype=np.float32), {}
    for length in range(1, 200):  # the header's length, and with it the first byte, grows with the name
        content = safetensors.numpy.save({"w" * length: weights})
        starts[content[0]] = content
    assert 0x80 in starts
    assert not any(_reads_as_pickle(content) for content in starts.values())
    assert all(_reads_as_pickle(pickle.dumps({"weights": [1.0, 2.0]}, protocol=protocol)) for protocol in range(2, 6))
