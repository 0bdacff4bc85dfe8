"""Every session metric against a slow twin by hand, on random sessions: pages as lists of (document, label, length)."""

from itertools import product
from math import exp, isnan, log, log2, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import zeta
from session_logs import ROW, SESSION, SESSIONS, cut, log_of, relevant

from ultr.metrics.credit import credited
from ultr.metrics.expected_session_ndcg import ExpectedSessionNDCG
from ultr.metrics.normalised_session_dcg import NormalisedSessionDCG
from ultr.metrics.num import NUM
from ultr.metrics.recency_session_dcg import RecencySessionDCG
from ultr.metrics.recency_session_rbp import RecencySessionRBP
from ultr.metrics.session_dcg import SessionDCG
from ultr.metrics.session_inst import SessionINST
from ultr.metrics.session_rbp import SessionRBP
from ultr.metrics.umeasure import UMeasure

# The twins


def credit_places(session, enhance):
    """Where each relevant document pays: page and row."""
    places = {}
    for document in relevant(session):
        shown = [(m, n) for m, page in enumerate(session) for n, row in enumerate(page) if row[0] == document and (enhance or row[1] > 0)]
        places[document] = shown[0]
    return places


def umeasure(metric, session, gains=None, places=None):
    gains = relevant(session) if gains is None else gains
    places = credit_places(session, metric.enhance) if places is None else places
    pays = {place: document for document, place in places.items()}
    offset = total = 0.0
    for m, page in enumerate(session):
        offset += metric.reformulation if m else 0
        hits = [n for n, row in enumerate(page) if row[1] > 0 or (m, n) in pays]
        depth = hits[-1] + 1 if metric.depth == "last" and hits else len(page)
        for n, (document, _, length) in enumerate(page[:depth]):
            offset += metric.snippet
            if (m, n) in pays:
                offset += metric.document if isnan(length) else length
                total += gains[document] * max(0.0, 1 - offset / metric.horizon)
    return total


def best_session(metric, gains, lengths):
    order = sorted(gains, key=lambda document: -gains[document] / (metric.snippet + lengths[document]))
    offset = total = 0.0
    for document in order:
        offset += metric.snippet + lengths[document]
        total += gains[document] * max(0.0, 1 - offset / metric.horizon)
    return total


def num(metric, session):
    gains, places = relevant(session), credit_places(session, metric.enhance)
    read = {document: session[m][n][2] for document, (m, n) in places.items()}
    lengths = {document: metric.document if isnan(length) else length for document, length in read.items()}
    utility, best = umeasure(metric, session), best_session(metric, gains, lengths)
    return utility / max(best, utility) if best > 0 or utility > 0 else 0.0


def weights(metric, m, n):
    """Weight of the rank n of query m, both from 1."""
    b, q = metric.base, metric.query_base
    if getattr(metric, "form", "jarvelin") == "kanoulas":
        return 1 / (log(m + q - 1, q) * log(n + b - 1, b))
    return 1 / ((1 + log(m, q)) * (1 + log(n, b)))


def dcg_gain(metric, label):
    return 2**label - 1 if getattr(metric, "form", "jarvelin") == "kanoulas" else label


def places_of(session):
    return [(m, n, row) for m, page in enumerate(session, 1) for n, row in enumerate(page, 1)]


def session_dcg(metric, session):
    return sum(weights(metric, m, n) * dcg_gain(metric, row[1]) for m, n, row in places_of(session))


def recency_session_dcg(metric, session):
    return sum(exp(-metric.decay * (len(session) - m)) * weights(metric, m, n) * row[1] for m, n, row in places_of(session))


def normalised_session_dcg(metric, session):
    best = sorted(relevant(session).values(), reverse=True)
    if not best:
        return nan
    paid, value = set(), 0.0
    for m, n, (document, label, _) in places_of(session):
        once = (m, document) if metric.ideal == "repeat" else document
        if label > 0 and once not in paid:
            paid.add(once)
            value += weights(metric, m, n) * dcg_gain(metric, label)
    if metric.ideal == "repeat":
        ideal = sum(weights(metric, m, n) * dcg_gain(metric, best[n - 1]) for m, n, _ in places_of(session) if n <= len(best))
    else:
        places = sorted((weights(metric, m, n) for m, n, _ in places_of(session)), reverse=True)
        ideal = sum(weight * dcg_gain(metric, label) for weight, label in zip(places, best, strict=False))
    return value / ideal


def session_rbp(metric, session, decay=0.0):
    w = (metric.p - metric.b * metric.p) / (1 - metric.b * metric.p)
    recency = [exp(-decay * (len(session) - m)) for m in range(1, len(session) + 1)]
    terms = (recency[m - 1] * w ** (m - 1) * (metric.b * metric.p) ** (n - 1) * row[1] for m, n, row in places_of(session))
    return (1 - metric.p) * sum(terms)


def recency_session_rbp(metric, session):
    return session_rbp(metric, session, metric.decay)


def expected_session_ndcg(metric, session):
    """Sum over all ways to read: how many pages, and how many rows of each."""
    gain = (lambda label: 2**label - 1) if metric.gain == "exponential" else float
    best = sorted((gain(label) for label in relevant(session).values()), reverse=True)
    if not best:
        return nan
    down, value = metric.down, 0.0
    for queries in range(1, len(session) + 1):
        ends = metric.reformulate ** (queries - 1) * (1 if queries == len(session) else 1 - metric.reformulate)
        pages = session[:queries]
        for depths in product(*(range(1, len(page) + 1) if page else [0] for page in pages)):
            chance = ends
            for page, depth in zip(pages, depths, strict=True):
                chance *= down ** (depth - 1) * (1 if depth == len(page) else 1 - down) if page else 1
            seen = [row for page, depth in zip(pages, depths, strict=True) for row in page[:depth]]
            paid, dcg = set(), 0.0
            for i, (document, label, _) in enumerate(seen, 1):
                if label > 0 and document not in paid:
                    paid.add(document)
                    dcg += gain(label) / log2(i + 1)
            ideal = sum(g / log2(i + 1) for i, g in enumerate(best[: len(seen)], 1))
            value += chance * dcg / ideal if seen else 0.0
    return value


def session_inst(metric, session):
    """Row after row, 2,000 of them a page, and what a user who goes on for ever would still look at."""
    found, reached, gained, looked, t = 0.0, 1.0, 0.0, 0.0, metric.target
    for m, page in enumerate(session, 1):
        left = max(t - found, 0.0)
        gains = [float(row[1] >= metric.threshold) for row in page] + [0.0] * 2000
        look = 1.0
        for i, gain in enumerate(gains, 1):
            gained, looked = gained + reached * look * gain, looked + reached * look
            found, left = found + look * gain, left - gain
            x = i + t + left
            if i < len(gains):
                look *= (1 - 1 / x) ** 2
        looked += reached * look * (x - 1) ** 2 * zeta(2, x)
        reached *= (1 - 1 / (m + t + max(t - found, 0.0))) ** 2
    return gained / looked


TWINS = [
    (NUM(label="grade"), num),
    (NUM(2, 3, 7, 40, "last", label="grade"), num),
    (NUM(depth="last", enhance=False, label="grade", k=2), num),
    (NUM(horizon=20, enhance=False, reformulation=0, label="grade"), num),
    (UMeasure(label="grade"), umeasure),
    (UMeasure(2, 3, 7, 40, "last", False, label="grade"), umeasure),
    (UMeasure(depth="last", label="grade", k=3), umeasure),
    (SessionDCG(label="grade"), session_dcg),
    (SessionDCG(3, 2, "kanoulas", label="grade", k=2), session_dcg),
    (NormalisedSessionDCG(label="grade"), normalised_session_dcg),
    (NormalisedSessionDCG(3, 2, "kanoulas", label="grade", k=3), normalised_session_dcg),
    (NormalisedSessionDCG(ideal="slots", label="grade"), normalised_session_dcg),
    (NormalisedSessionDCG(3, 2, "kanoulas", "slots", label="grade"), normalised_session_dcg),
    (SessionRBP(label="grade"), session_rbp),
    (SessionRBP(0.6, 0.9, label="grade", k=3), session_rbp),
    (SessionRBP(0.6, 0, label="grade"), session_rbp),
    (RecencySessionDCG(label="grade"), recency_session_dcg),
    (RecencySessionDCG(2, 3, 2, label="grade", k=2), recency_session_dcg),
    (RecencySessionRBP(label="grade"), recency_session_rbp),
    (RecencySessionRBP(0.5, 0.7, 0.1, label="grade", k=2), recency_session_rbp),
    (ExpectedSessionNDCG(label="grade"), expected_session_ndcg),
    (ExpectedSessionNDCG(0.3, 0.9, "linear", label="grade", k=3), expected_session_ndcg),
    (ExpectedSessionNDCG(1, 1, label="grade"), expected_session_ndcg),
    (ExpectedSessionNDCG(0, 0, label="grade"), expected_session_ndcg),
]


@pytest.mark.parametrize(("metric", "twin"), TWINS, ids=lambda part: getattr(part, "__name__", repr(part)))
@given(sessions=SESSIONS)
@settings(max_examples=60, deadline=None)
def test_the_plain_twin_agrees(metric, twin, sessions):
    expected = [twin(metric, cut(session, metric.k)) for session in sessions]
    np.testing.assert_allclose(metric(log_of(sessions)), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("metric", [SessionINST(label="grade"), SessionINST(3, 0.5, label="grade", k=2)], ids=repr)
@given(sessions=st.lists(SESSION, min_size=1, max_size=2))
@settings(max_examples=15, deadline=None)
def test_the_plain_twin_of_session_inst_agrees(metric, sessions):
    expected = [session_inst(metric, cut(session, metric.k)) for session in sessions]
    np.testing.assert_allclose(metric(log_of(sessions)), expected, rtol=1e-9, atol=1e-12)


def test_the_twins_are_met_on_a_large_log_too():
    """Many sessions of one shape and some large ones go other ways through the code than a few small ones."""
    rng = np.random.default_rng(0)
    sizes = [[rng.integers(0, 5) for _ in range(rng.integers(1, 6))] for _ in range(3000)] + [[70, 0, 300], [1] * 300]
    labels, lengths = [0, 0, 0, 1, 2], [nan, 2, 30]
    sessions = [[[(rng.integers(8), rng.choice(labels), rng.choice(lengths)) for _ in range(size)] for size in pages] for pages in sizes]
    log = log_of(sessions)
    for metric, twin in TWINS:
        if twin is not expected_session_ndcg:
            expected = [twin(metric, cut(session, metric.k)) for session in sessions]
            np.testing.assert_allclose(metric(log), expected, rtol=1e-10, atol=1e-12, err_msg=repr(metric))


@given(sessions=SESSIONS, enhance=st.booleans())
@settings(max_examples=60, deadline=None)
def test_credited_labels_pay_once_where_the_twin_says(sessions, enhance):
    expected = []
    for session in sessions:
        places = {place: document for document, place in credit_places(session, enhance).items()}
        best = relevant(session)
        expected += [best.get(places.get((m, n)), 0) for m, page in enumerate(session) for n in range(len(page))]
    np.testing.assert_array_equal(credited(log_of(sessions), "grade", enhance=enhance), expected)


def test_num_with_a_pool_counts_documents_that_were_not_shown():
    log = log_of([[[(0, 1, nan), (1, 2, nan)], [(2, 0, nan), (3, 1, nan)]]])
    metric = NUM(label="grade", k=1, ideal="pool")
    best = 2 * 0.95 + 0.9 + 0.85
    np.testing.assert_allclose(metric(log), [0.95 / best])
    np.testing.assert_allclose(NUM(label="grade", k=1)(log), [1.0])
    # A document judged below the cutoff of one page pays where another page shows it.
    log = log_of([[[(0, 1, nan), (1, 2, nan)], [(1, 0, nan), (3, 1, nan)]]])
    np.testing.assert_allclose(metric(log), [(0.95 + 2 * (1 - (5 + 5 + 5) / 100)) / best])


@given(session=st.lists(st.lists(ROW, min_size=1, max_size=6), min_size=1, max_size=3), k=st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_a_pool_within_the_cutoff_is_what_was_shown(session, k):
    log = log_of([session])
    pooled = NUM(label="grade", k=k, ideal="pool")(log)
    assert 0 <= pooled <= 1
    if k >= max(len(page) for page in session):
        np.testing.assert_array_equal(pooled, NUM(label="grade")(log))
