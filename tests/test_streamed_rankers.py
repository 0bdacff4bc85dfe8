"""Estimators that read a long log anew, and those that load one: exact where it has to be, and no column is read that is not needed."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import nn

import simulators
import ultr
from ultr import ParquetLog, Training
from ultr.click_models import Cascade, SimplifiedDynamicBayesian, TrustBias
from ultr.data.fields import Fields
from ultr.data.log import ClickLog
from ultr.data.source import Chunked, LogSource
from ultr.data.writer import write_log
from ultr.errors import LogError, UltrWarning
from ultr.estimators import (
    BISER,
    BPR,
    CJMF,
    DCMT,
    ESMM,
    UBPR,
    WMF,
    AffineCorrection,
    CascadeIPS,
    DoublyRobust,
    ExpoMF,
    MMoE,
    MostPopular,
    MultiIPW,
    NaiveCVR,
    Oracle,
    PairDebias,
    PolicyAware,
    RelMF,
    TwoTower,
    UnbiasedLambdaMART,
)
from ultr.estimators.ranking import oracle
from ultr.models.factor_fitting import factor_training
from ultr.models.weighted_clicks import WeightedClicks
from ultr.training.feedback import listed_pairs, read_feedback
from ultr.training.labelled import MASS, TARGET

DATA = ultr.synthetic_ranking(60, range(5, 9), 6, seed=0)
POLICY = simulators.SwapPairs(simulators.LinearPolicy(0.5), 0.5)
LOG = simulators.simulate_clicks(DATA, policy=POLICY, n_pages=6_000, cutoff=6, seed=0)
GRADED = ClickLog(LOG.offsets, {name: LOG.columns[name] for name in ("item", "grade")}, LOG.page_columns, LOG.items)
SHORT = Training(steps=40, check_every=20, batch_pages=64)
STREAMED = dataclasses.replace(SHORT, shuffle_rows=6_000)  # about a sixth of the log
TRUST = TrustBias([1.0, 0.8, 0.6, 0.5, 0.4, 0.3], [0.95] * 6, [0.3, 0.2, 0.1, 0.1, 0.05, 0.05])


class Head(nn.Module):
    """A bias tower that reads a column of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(()))

    def forward(self, batch) -> torch.Tensor:
        return self.slope * batch.column("propensity")


WEIGHTED = {
    "cascade": CascadeIPS(),
    "cascade, marginal": CascadeIPS(click_model=SimplifiedDynamicBayesian, given_clicks=False, clip=3, normalise="first"),
    "affine": AffineCorrection(click_model=TRUST),
    "affine, clipped": AffineCorrection(click_model=TRUST, clip=2.0, normalise="first", loss="pairwise"),
    "affine, plain": AffineCorrection(click_model=TRUST, normalise=None),
    "affine, fitted": AffineCorrection(),
}
ESTIMATORS = {"oracle": Oracle(), **WEIGHTED}
COUNTED = {"two towers": TwoTower(), "two towers, added": TwoTower(combine="additive", dropout=0.2), "own head": TwoTower(head=Head())}

pytestmark = pytest.mark.filterwarnings("ignore::ultr.errors.UltrWarning")  # rows that were hardly examined, fits cut short


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory) -> ParquetLog:
    path = tmp_path_factory.mktemp("logs") / "log"
    write_log(LOG, path, pages_per_group=300)
    return ParquetLog.open(path)


def trained(estimator, training: Training):
    return dataclasses.replace(estimator, training=training)


@pytest.mark.parametrize("name", {**ESTIMATORS, **COUNTED, "pairs": PairDebias()})
def test_a_short_log_on_disk_gives_the_ranker_of_memory_bit_for_bit(name, on_disk):
    estimator = trained({**ESTIMATORS, **COUNTED, "pairs": PairDebias()}[name], SHORT)
    from_disk, from_memory = (estimator.fit(source, seed=3) for source in (on_disk, LOG))
    assert np.array_equal(from_disk.score_log(LOG), from_memory.score_log(LOG))
    assert from_disk.propensity is None or np.array_equal(from_disk.propensity, from_memory.propensity, equal_nan=True)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_streamed_fit_is_reproducible_and_as_good_as_one_in_memory(name, on_disk):
    long = dataclasses.replace(STREAMED, steps=400)
    streamed, again = (trained(ESTIMATORS[name], long).fit(on_disk, seed=3) for _ in range(2))
    assert np.array_equal(streamed.score_log(LOG), again.score_log(LOG))
    memory = [trained(ESTIMATORS[name], dataclasses.replace(SHORT, steps=400)).fit(LOG, seed=seed) for seed in (3, 4)]
    scores = [ranker.score_log(LOG) for ranker in memory]
    assert not np.array_equal(streamed.score_log(LOG), scores[0])  # it was streamed
    far = np.corrcoef(scores)[0, 1]  # two seeds in memory: other queries are held out
    assert np.corrcoef(streamed.score_log(LOG), scores[0])[0, 1] > 1 - 3 * (1 - far)
    if streamed.propensity is not None:
        np.testing.assert_allclose(streamed.propensity, memory[0].propensity, rtol=1e-6)


@pytest.mark.parametrize("name", COUNTED)
def test_rows_that_are_counted_piece_by_piece_give_the_ranker_of_memory(name, on_disk):
    from_disk, from_memory = (trained(COUNTED[name], STREAMED).fit(source, seed=3) for source in (on_disk, LOG))
    np.testing.assert_array_equal(from_disk.score_log(LOG), from_memory.score_log(LOG))
    np.testing.assert_allclose(from_disk.propensity, from_memory.propensity, rtol=1e-12)


@pytest.mark.parametrize("name", WEIGHTED)
def test_every_row_has_the_target_that_it_has_in_memory(name, monkeypatch):
    """The mean weight is that of the whole log, whatever piece the row is read with."""
    seen: list[LogSource] = []
    fit_weighted = WeightedClicks.fit_weighted

    def noted(self, source, seed, *, negative=False):
        seen.append(source)
        return fit_weighted(self, source, seed, negative=negative)

    monkeypatch.setattr(WeightedClicks, "fit_weighted", noted)
    quick = dataclasses.replace(STREAMED, steps=2, check_every=1)
    for source in (LOG, Chunked(LOG, 500)):
        trained(WEIGHTED[name], quick).fit(source, seed=0)
    memory, pieces = seen
    assert len(list(pieces.chunks())) == 12
    for column in (TARGET, MASS):
        found = np.concatenate([chunk.columns[column] for chunk in pieces.chunks()])
        np.testing.assert_allclose(found, memory.columns[column], rtol=1e-9)


def test_the_gain_of_a_grade_is_relative_to_the_largest_of_the_log(monkeypatch):
    seen: list[LogSource] = []
    monkeypatch.setattr(oracle, "fit_ranker", lambda source, *_, **__: seen.append(source))
    highest = np.maximum.reduceat(GRADED.columns["grade"], GRADED.offsets[:-1])
    log = GRADED.take(np.argsort(highest, kind="stable"))  # pages with high grades last, in pieces of their own
    for source in (log, Chunked(log, 300)):
        Oracle(training=STREAMED).fit(source)
    grade = log.columns["grade"]
    for source in seen:
        found = np.concatenate([chunk.columns[TARGET] for chunk in source.chunks()])
        np.testing.assert_allclose(found, (2.0**grade - 1) / (2.0 ** grade.max() - 1), rtol=1e-12)
    assert next(iter(seen[1].chunks())).columns["grade"].max() < grade.max()  # by its own largest this piece had other gains


def test_what_a_streamed_log_lacks_is_said(on_disk):
    with pytest.raises(LogError, match=r"Oracle needs the column 'relevance' or 'grade'.*item, position, click"):
        Oracle(training=STREAMED).fit(on_disk.project(["position", "click", "query"]))
    nothing = GRADED.with_columns(grade=np.zeros(GRADED.n_rows))
    with pytest.raises(LogError, match="nothing to learn from"):
        Oracle(training=STREAMED).fit(Chunked(nothing, 100))
    for estimator in (CascadeIPS, AffineCorrection):
        with pytest.raises(LogError, match="purchase"):
            estimator(training=STREAMED, label="purchase").fit(on_disk)


def test_a_click_where_nobody_looked_is_refused_in_a_streamed_log_too():
    law = ultr.click_models.fit(Cascade, LOG)  # nobody looks on after a click, but pages have several
    for source in (LOG, Chunked(LOG, 100)):
        with pytest.raises(LogError, match="a row with click above 0 must have been examined"):
            CascadeIPS(click_model=law, training=STREAMED).fit(source)


def test_the_share_of_hardly_examined_rows_is_that_of_the_whole_log():
    page = LOG.page_of_row()
    before = np.cumsum(LOG.columns["click"]) - LOG.columns["click"]
    log = LOG.with_columns(click=LOG.columns["click"] * (before == before[LOG.offsets[:-1]][page]))  # the first of each page
    law = ultr.click_models.fit(Cascade, log)
    said = []
    for source in (log, Chunked(log, 500)):
        with pytest.warns(UltrWarning) as caught:
            CascadeIPS(click_model=law, training=STREAMED).fit(source)
        said += [str(warning.message) for warning in caught if "can hardly have been examined" in str(warning.message)]
    assert len(said) == 2
    assert said[0] == said[1]


# What is loaded


@dataclasses.dataclass(frozen=True, eq=False)
class Watched:
    """A log in pieces that can leave columns out, and notes which ones are read."""

    log: ClickLog
    read: set[str]

    @property
    def column_names(self) -> tuple[str, ...]:
        return (*self.log.columns, *self.log.page_columns)

    def project(self, columns: Sequence[str]) -> "Watched":
        log, kept = self.log, {"item", *columns}
        rows, pages = ({name: values for name, values in part.items() if name in kept} for part in (log.columns, log.page_columns))
        return Watched(ClickLog(log.offsets, rows, pages, log.items), self.read)

    def chunks(self) -> Iterator[ClickLog]:
        self.read.update(self.column_names)
        yield from Chunked(self.log, 50).chunks()

    def shards(self, n: int) -> Sequence[LogSource]:
        raise NotImplementedError


QUICK = Training(steps=12, batch_pages=128, check_every=4, learning_rate=0.02)
IMPRESSIONS = simulators.Conversions(1500, interaction=0.5, n_users=30, n_ads=8, conversion_rate=0.4, seed=0).log(seed=0)
JOURNEYS = simulators.Journeys(300, seed=1, n_ads=30, base=-2.5).log(seed=2)
FACTORS = dataclasses.replace(factor_training(), steps=4, check_every=2)
FEEDBACK = ClickLog(LOG.offsets, {name: LOG.columns[name] for name in ("item", "click")}, {"user": LOG.page_columns["query"]}, LOG.items)
FIELDS = Fields(categorical={"ad": "vocabulary"}, dense=("x",), embedding=4)
TOUCHES = Fields(categorical={"ad": "vocabulary", "segment": 20}, embedding=4)
CONVERSIONS = {"click", "conversion", "ad", "x"}
LOADING = {
    "PairDebias": (PairDebias(training=SHORT), LOG, {"click", "position", "query"}),
    **{kind.__name__: (kind(training=SHORT, propensity="shown"), LOG, {"click", "shown"}) for kind in (PolicyAware, DoublyRobust)},
    "trees": (UnbiasedLambdaMART(rounds=3), LOG, {"click", "position", "query"}),
    **{kind.__name__: (kind(factors=2, training=FACTORS), FEEDBACK, {"click", "user"}) for kind in (BPR, WMF, CJMF, BISER)},
    "ExpoMF": (ExpoMF(factors=2, max_iter=2), FEEDBACK, {"click", "user"}),
    "MostPopular": (MostPopular(), FEEDBACK, {"click", "user"}),
    **{kind.__name__: (kind(factors=2, training=FACTORS, propensity="shown"), FEEDBACK, {"click", "shown"}) for kind in (RelMF, UBPR)},
    **{kind.__name__: (kind(fields=FIELDS, training=QUICK), IMPRESSIONS, CONVERSIONS) for kind in (NaiveCVR, ESMM, MultiIPW, DCMT)},
    "propensity": (MultiIPW(fields=FIELDS, training=QUICK, propensity="shown"), IMPRESSIONS, {*CONVERSIONS, "shown"}),
    "MMoE": (
        MMoE(main="last", auxiliary=("first",), fields=TOUCHES, expert=8, tower=(4,), training=QUICK),
        JOURNEYS,
        {"last", "first", "ad", "segment"},
    ),
}


@pytest.mark.parametrize("name", LOADING)
def test_a_log_that_is_loaded_is_loaded_without_the_columns_that_nobody_reads(name):
    estimator, log, needed = LOADING[name]
    log = log.with_columns(junk=np.arange(log.n_rows), shown=np.full(log.n_rows, 0.5))
    watched = Watched(log, set())
    fitted, expected = estimator.fit(watched, seed=0), estimator.fit(log, seed=0)
    assert "junk" not in watched.read
    assert ("shown" in watched.read) == (name in ("propensity", "PolicyAware", "DoublyRobust", "RelMF", "UBPR"))
    assert needed <= watched.read
    left, right = (found.apply(log) for found in (fitted, expected))
    for column in set(left.columns) - set(log.columns):
        assert np.array_equal(left.columns[column], right.columns[column])


@pytest.mark.parametrize("read", [read_feedback, listed_pairs])
def test_feedback_is_loaded_with_the_columns_that_its_caller_names(read):
    rows = {name: LOG.columns[name] for name in ("item", "click", "propensity")}
    log = ClickLog(LOG.offsets, {**rows, "junk": np.arange(LOG.n_rows)}, {"user": LOG.page_columns["query"]}, LOG.items)
    for reads, expected in (
        ((), {"item", "click", "user"}),
        (("propensity",), {"item", "click", "user", "propensity"}),
        (None, {*Watched(log, set()).column_names}),
    ):
        watched = Watched(log, set())
        loaded, feedback = read(watched, "click", "test", reads=reads)
        assert watched.read == expected
        assert {*loaded.columns, *loaded.page_columns} == expected
        assert np.array_equal(feedback.label, read(log, "click", "test")[1].label)
