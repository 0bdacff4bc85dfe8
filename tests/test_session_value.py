"""A session metric of an order that was not shown: by hand, unbiased with the truth, refused where it cannot be told."""

import numpy as np
import pytest
import scipy.stats

import simulators
import ultr
from simulators.sessions import simulate_sessions
from ultr.click_models import Cascade, DynamicBayesian, PositionBased, fit
from ultr.errors import ConfigError, LogError, PropensityError
from ultr.evaluation import session_value
from ultr.metrics import (
    NDCG,
    NUM,
    ExpectedSessionNDCG,
    NormalisedSessionDCG,
    RecencySessionDCG,
    SessionDCG,
    SessionRBP,
)
from ultr.metrics.sketch import sketch

DATA = ultr.synthetic_ranking(60, 8, 5, seed=1)
LAW = PositionBased(0.8 ** np.arange(8))
LOG = simulate_sessions(DATA, policy=simulators.RandomPolicy(), click_model=LAW, n_sessions=3000, cutoff=8, seed=3)
SCORES = DATA.features[LOG.columns["item"], 0]
FALSE_ALARM = 1e-5
LINEAR = (SessionDCG(), SessionRBP())


def truth(metric, log=LOG, scores=SCORES):
    """The expected metric of relevance on the new order: a sum of labels times weights is linear in them."""
    return type(metric)(label="relevance")(log.rerank(scores))


def test_judgements_by_hand():
    log = sketch("a b=1 | c=2", "x y")
    found = session_value(log, [0, 1, 0, 0, 1], SessionDCG(label="grade"))
    np.testing.assert_allclose(found.sessions, [1 + 2 * 2 / 3, 0])
    assert found.value == pytest.approx((1 + 4 / 3) / 2)
    num = session_value(log, [0, 1, 0, 0, 1], NUM(label="grade"))
    np.testing.assert_array_equal(num.sessions, NUM(label="grade")(log.rerank(np.array([0, 1, 0, 0, 1]))))
    assert num.undefined == 0
    assert num.overlap is None
    nan = session_value(log, np.zeros(5), NormalisedSessionDCG(label="grade"))
    assert nan.undefined == 1
    assert not np.isnan(nan.value)


def test_weighted_clicks_by_hand():
    """a was clicked at propensity .5 and moves to rank 2: 2 * 1/2; c at .25 in the second query, 4 * 2/3."""
    log = sketch("a* b | c*").with_columns(p=np.array([0.5, 0.2, 0.25]))
    found = session_value(log, [0, 1, 0], SessionDCG(), "ips", propensity="p")
    assert found.value == pytest.approx(1 + 4 * 2 / 3)
    assert session_value(log, [0, 1, 0], SessionDCG(), "ips", propensity="p", clip=2).value == pytest.approx(1 + 2 * 2 / 3)
    assert found.overlap.effective_sample_size == pytest.approx((2 + 4) ** 2 / (4 + 16))


@pytest.mark.parametrize("metric", LINEAR)
def test_ips_is_unbiased_and_naive_clicks_are_not(metric):
    """Errors of 3,000 sessions, Student's t. Given what came before, weighted clicks have the mean of the relevance, page after page."""
    errors = session_value(LOG, SCORES, metric, "ips").sessions - truth(metric)
    bound = scipy.stats.t.isf(FALSE_ALARM / 2, df=len(errors) - 1)
    assert abs(errors.mean()) < bound * errors.std(ddof=1) / np.sqrt(len(errors))
    naive = session_value(LOG, SCORES, metric, "ips", propensity=np.ones(8)).sessions - truth(metric)
    assert abs(naive.mean()) > bound * naive.std(ddof=1) / np.sqrt(len(naive))


def test_recency_is_refused_because_weighted_clicks_are_biased_for_it():
    """Users who stop because they clicked: the last page, which counts most, has more clicks than its relevance says."""
    with pytest.raises(ConfigError, match="biased RecencySessionDCG"):
        session_value(LOG, SCORES, RecencySessionDCG(), "ips")
    log = LOG.with_columns(weighted=LOG.columns["click"] / LOG.columns["propensity"]).rerank(SCORES)
    errors = RecencySessionDCG(label="weighted")(log) - RecencySessionDCG(label="relevance")(log)
    assert errors.mean() > scipy.stats.t.isf(FALSE_ALARM / 2, df=len(errors) - 1) * errors.std(ddof=1) / np.sqrt(len(errors))


def test_a_click_model_draws_the_clicks_of_the_new_order():
    """With the true law the mean is that of P(click) on the new order; it is not that of the old one."""
    found = session_value(LOG, SCORES, SessionDCG(), "click_model", click_model=LAW, draws=30)
    new, old = (log.with_columns(chance=log.columns["relevance"] * 0.8 ** log.slots()) for log in (LOG.rerank(SCORES), LOG))
    bound = scipy.stats.t.isf(FALSE_ALARM / 2, df=len(found.sessions) - 1)
    for log, hit in ((new, True), (old, False)):
        errors = found.sessions - SessionDCG(label="chance")(log)
        assert (abs(errors.mean()) < bound * errors.std(ddof=1) / np.sqrt(len(errors))) == hit


def test_a_fitted_click_model_values_num_of_a_new_order_near_the_true_law():
    """Both orders get the values that the true law gives them, to within .02, and differ by more than that."""
    fitted = fit(PositionBased, LOG)
    best = LOG.columns["grade"].astype(float)
    for scores in (best, -best):
        learnt, true = (session_value(LOG, scores, NUM(), "click_model", click_model=model).value for model in (fitted, LAW))
        assert learnt == pytest.approx(true, abs=0.02)
    gap = [session_value(LOG, scores, NUM(), "click_model", click_model=fitted).value for scores in (best, -best)]
    assert gap[0] > gap[1] + 0.02


def test_draws_depend_on_the_seed_alone():
    log = LOG.take(np.arange(50))
    one, two, other = (
        session_value(log, SCORES[: log.n_rows], NUM(), "click_model", click_model=LAW, draws=2, seed=seed).sessions for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_laws_that_read_satisfaction_and_metrics_without_a_value():
    log = LOG.take(np.arange(50)).with_columns(satisfaction=np.full(LOG.take(np.arange(50)).n_rows, 0.5))
    model = DynamicBayesian(0.9)
    found = session_value(log, SCORES[: log.n_rows], ExpectedSessionNDCG(), "click_model", click_model=model, draws=3)
    assert 0 < found.value < 1
    nothing = log.with_columns(relevance=np.zeros(log.n_rows))
    empty = session_value(nothing, SCORES[: log.n_rows], ExpectedSessionNDCG(), "click_model", click_model=Cascade(), draws=2)
    assert empty.undefined == len(log.sessions)
    assert np.isnan(empty.value)


def test_a_ranker_scores_the_log_and_the_value_says_what_it_is():
    class Ranker:
        def score_log(self, log):
            return SCORES

    found = session_value(LOG, Ranker(), SessionDCG(), "ips")
    assert found.value == session_value(LOG, SCORES, SessionDCG(), "ips").value
    assert repr(found).startswith("SessionValue(SessionDCG ")
    assert "clicks worth" in repr(found)
    narrow = session_value(LOG, SCORES, SessionDCG(), "ips", level=0.5).interval
    assert narrow.half_width < found.interval.half_width


@pytest.mark.parametrize(
    ("metric", "settings", "message"),
    [
        (NUM(), {}, "old clicks cannot judge a new order"),
        (NUM(), {"method": "ips"}, "biased NUM"),
        (SessionDCG(form="kanoulas"), {"method": "ips"}, "biased SessionDCG"),
        (SessionDCG(label="grade"), {"method": "ips"}, "is for metrics of clicks"),
        (NUM(label="grade"), {"method": "click_model", "click_model": LAW}, "is for metrics of clicks"),
        (NUM(), {"method": "click_model"}, "needs click_model="),
        (NUM(label="grade"), {"click_model": LAW}, "click_model= goes with"),
        (NUM(), {"method": "click_model", "click_model": 3}, "must be a fitted click model"),
        (NUM(), {"method": "click_model", "click_model": LAW, "draws": 0}, "draws must be"),
        (NDCG(), {}, "session metrics"),
        (NUM(), {"method": "clickmodel"}, "click_model"),
    ],
)
def test_what_cannot_be_told_is_refused(metric, settings, message):
    with pytest.raises(ConfigError, match=message):
        session_value(LOG, SCORES, metric, **settings)


def test_old_clicks_on_a_new_order_stay_refused():
    with pytest.raises(LogError, match="cannot judge a new one"):
        NUM()(LOG.rerank(SCORES))


def test_wrong_inputs():
    with pytest.raises(LogError, match="one number a row"):
        session_value(LOG, SCORES[1:], SessionDCG(), "ips")
    with pytest.raises(PropensityError, match="clip"):
        session_value(LOG, SCORES, SessionDCG(), "ips", clip=0.5)
    with pytest.raises(LogError, match="propensity"):
        session_value(sketch("a*"), [1], SessionDCG(), "ips")
    with pytest.raises(LogError, match="A graded set becomes one"):
        session_value(DATA, SCORES, SessionDCG(), "ips")
    compressed = simulators.simulate_clicks(DATA, policy=simulators.LinearPolicy(), n_pages=500, cutoff=8, click_model=LAW, compressed=True)
    for settings in ({"method": "ips"}, {"method": "click_model", "click_model": LAW}):
        with pytest.raises(LogError, match="stand for several"):
            session_value(compressed, np.zeros(compressed.n_rows), SessionDCG(), **settings)
