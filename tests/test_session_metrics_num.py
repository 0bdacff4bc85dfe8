"""What is known of NUM and the U-measure for all sessions: bounds, invariances, and what raises or lowers them."""

from math import inf

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from session_logs import SESSION, log_of, relevant

from ultr.metrics.num import NUM
from ultr.metrics.sketch import sketch
from ultr.metrics.umeasure import UMeasure

many = settings(max_examples=200, deadline=None)
CLICKED = st.lists(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 0, 1])), max_size=4), min_size=1, max_size=4)
EQUAL = st.lists(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 0, 1, 2])), max_size=4), min_size=1, max_size=4)
DEPTH = st.sampled_from(["full", "last"])
HORIZON = st.sampled_from([20, 100, 1e9])


def num(session, **settings):
    return NUM(**{"label": "grade", **settings})(log_of([session]))[0]


def longest_offset(session, metric):
    rows = [row for page in session for row in page]
    return len(rows) * (metric.snippet + metric.document) + metric.reformulation * (len(session) - 1)


# 1. Bounds


@given(session=SESSION, depth=DEPTH, horizon=HORIZON, enhance=st.booleans())
@many
def test_num_lies_between_0_and_1(session, depth, horizon, enhance):
    assert 0 <= num(session, depth=depth, horizon=horizon, enhance=enhance) <= 1


@given(session=EQUAL, horizon=HORIZON, enhance=st.booleans())
@many
def test_for_equal_lengths_the_best_session_needs_no_help_from_the_actual_one(session, horizon, enhance):
    """The bound is proved then, not enforced: the utility of the best session is taken alone."""
    gains = sorted(relevant(session).values(), reverse=True)
    best = sum(gain * max(0, 1 - 5 * k / horizon) for k, gain in enumerate(gains, 1))
    utility = UMeasure(horizon=horizon, enhance=enhance, label="grade")(log_of([session]))[0]
    assert utility <= best + 1e-12
    if best > 0:
        assert num(session, horizon=horizon, enhance=enhance) == pytest.approx(utility / best)


# 2. When NUM is 1


@given(session=EQUAL)
@many
def test_num_is_1_just_for_the_best_order_within_one_query(session):
    metric = NUM(label="grade", horizon=1e4)
    assume(relevant(session) and longest_offset(session, metric) < metric.horizon)
    gains, rows = relevant(session), [(m, row) for m, page in enumerate(session) for row in page]
    first = {}
    for i, (_, (document, _)) in enumerate(rows):
        first.setdefault(document, i)
    places = sorted(first[document] for document in gains)
    labels = [gains[rows[place][1][0]] for place in places]
    perfect = places == list(range(len(places))) and labels == sorted(labels, reverse=True) and rows[places[-1]][0] == 0
    value = metric(log_of([session]))[0]
    assert (value >= 1 - 1e-12) == perfect


# 3. One query


@given(page=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 0, 1])), max_size=6), r=st.integers(0, 20), depth=DEPTH)
@many
def test_a_session_of_one_query_has_no_use_for_the_cost_of_reformulation(page, r, depth):
    assert num([page], reformulation=r, depth=depth) == num([page], depth=depth)


# 4. Useless queries

USELESS = [(97, 0), (98, 0)]


@given(session=EQUAL, horizon=HORIZON, depth=DEPTH)
@many
def test_a_useless_query_before_all_others_lowers_num(session, horizon, depth):
    before, after = num([USELESS, *session], horizon=horizon, depth=depth), num(session, horizon=horizon, depth=depth)
    assert before <= after
    if relevant(session) and longest_offset([USELESS, *session], NUM()) < horizon and horizon < 1e9:
        assert before < after


@given(session=EQUAL, horizon=HORIZON, depth=DEPTH)
@many
def test_a_useless_query_after_the_last_relevant_document_changes_nothing(session, horizon, depth):
    assert num([*session, USELESS], horizon=horizon, depth=depth) == pytest.approx(num(session, horizon=horizon, depth=depth), rel=1e-12)


# 5. Reformulations


@given(session=EQUAL, horizon=HORIZON, depth=DEPTH, r=st.tuples(st.integers(0, 20), st.integers(0, 20)))
@many
def test_num_never_rises_with_the_cost_of_reformulation(session, horizon, depth, r):
    cheap, dear = (num(session, horizon=horizon, depth=depth, reformulation=cost) for cost in sorted(r))
    assert dear <= cheap + 1e-12


@given(session=EQUAL)
@many
def test_free_reformulations_make_one_list_of_all_queries(session):
    joined = [[row for page in session for row in page]]
    assert num(session, reformulation=0) == num(joined)


# 6. Invariances


@given(session=EQUAL, scale=st.sampled_from([0.25, 3, 200]), depth=DEPTH)
@many
def test_the_unit_of_costs_does_not_matter(session, scale, depth):
    other = num(session, snippet=scale, document=4 * scale, reformulation=5 * scale, horizon=100 * scale, depth=depth)
    assert other == pytest.approx(num(session, depth=depth), rel=1e-12)


@given(session=EQUAL, scale=st.sampled_from([0.25, 3, 200]))
@many
def test_the_unit_of_labels_does_not_matter(session, scale):
    scaled = [[(document, scale * label) for document, label in page] for page in session]
    assert num(scaled) == pytest.approx(num(session), rel=1e-12)


@given(session=SESSION)
@many
def test_a_far_horizon_forgives_everything(session):
    expected = float(bool(relevant(session)))
    assert num(session, horizon=inf) == expected
    assert num(session, horizon=1e12) == pytest.approx(expected, abs=1e-8)


# 7. Click-through enhancement


@given(session=CLICKED, horizon=HORIZON)
@many
def test_with_equal_gains_and_whole_pages_enhancement_never_lowers_num(session, horizon):
    assert num(session, horizon=horizon) >= num(session, horizon=horizon, enhance=False) - 1e-12


def test_with_graded_gains_enhancement_can_lower_num():
    """A document worth .1, first shown above one worth 1, delays it."""
    session = [[(0, 0), (1, 1)], [(0, 0.1)]]
    assert num(session) == pytest.approx((0.1 * 0.95 + 0.9) / (0.95 + 0.1 * 0.9))
    assert num(session, enhance=False) == pytest.approx((0.94 + 0.1 * 0.84) / (0.95 + 0.1 * 0.9))
    assert num(session) < num(session, enhance=False)


def test_read_to_the_last_click_enhancement_can_lower_num():
    """Crediting c on page 1 makes the user read down to it; else only the first row is read, and c is found on top of page 2."""
    log = sketch("a* w x y z c | c* b*")
    np.testing.assert_allclose(UMeasure(depth="last")(log), [0.95 + 0.86 + 0.75])
    np.testing.assert_allclose(UMeasure(depth="last", enhance=False)(log), [0.95 + 0.85 + 0.80])


# 8. Unequal lengths


def test_lengths_by_hand():
    """Short before long pays more than the larger gain first: the best session goes by gain per text."""
    log = sketch("b=0.9/4 a=1/40", "a=1/40 b=0.9/4")
    short_first, long_first = 0.9 * 0.95 + 0.54, 0.59 + 0.9 * 0.54
    assert short_first / long_first == pytest.approx(1.2965, abs=5e-5)
    np.testing.assert_allclose(UMeasure(label="grade")(log), [short_first, long_first])
    np.testing.assert_allclose(NUM(label="grade")(log), [1, long_first / short_first])
    assert NUM(label="grade")(log)[1].round(4) == 0.7713


@given(session=SESSION)
@many
def test_unequal_lengths_need_no_help_where_the_horizon_cuts_nothing(session):
    """Smith's rule is optimal then."""
    metric = UMeasure(label="grade", horizon=1e6)
    lengths, gains = {}, relevant(session)
    for page in session:
        for document, _, length in page:
            lengths.setdefault(document, 4 if np.isnan(length) else length)
    offset = best = 0.0
    for document in sorted(gains, key=lambda one: -gains[one] / (1 + lengths[one])):
        offset += 1 + lengths[document]
        best += gains[document] * (1 - offset / 1e6)
    assert metric(log_of([session]))[0] <= best + 1e-9


def test_where_the_horizon_cuts_the_best_session_short_the_actual_one_can_beat_its_order():
    """By gain per text b comes first, 5/7 against 1/2, and leaves nothing for a; yet a alone pays more: 1.2 of the rule's session."""
    log = sketch("a=1/1 b=5/6", "b=5/6 a=1/1")
    np.testing.assert_allclose(UMeasure(label="grade", horizon=8)(log), [1 - 2 / 8, 5 * (1 - 7 / 8)])
    np.testing.assert_allclose(NUM(label="grade", horizon=8)(log), [1, 1])


# 9. Clicks


def test_clicks_by_hand():
    np.testing.assert_allclose(NUM()(sketch("a b | c", "a* b | a* b", "a* b | b a")), [0, 1, 1])


@given(session=CLICKED)
@many
def test_a_click_on_a_document_that_was_clicked_before_changes_nothing_with_whole_pages(session):
    clicked = relevant(session)
    again = [*session, [(document, 1) for document in clicked]]
    assert num(again) == pytest.approx(num(session), rel=1e-12)
