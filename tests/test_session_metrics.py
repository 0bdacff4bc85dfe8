"""Session metrics: what they need, refuse and ignore, and how sessions are found in a log."""

import pickle
import warnings
from dataclasses import fields, replace
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from session_logs import SESSIONS, log_of

import ultr
from ultr.data import Chunked
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, LogError, UltrWarning
from ultr.metrics import RBP
from ultr.metrics.credit import credited
from ultr.metrics.expected_session_ndcg import ExpectedSessionNDCG
from ultr.metrics.inst import INST
from ultr.metrics.normalised_session_dcg import NormalisedSessionDCG
from ultr.metrics.num import NUM
from ultr.metrics.recency_session_dcg import RecencySessionDCG
from ultr.metrics.recency_session_rbp import RecencySessionRBP
from ultr.metrics.session_dcg import SessionDCG
from ultr.metrics.session_inst import SessionINST
from ultr.metrics.session_rbp import SessionRBP
from ultr.metrics.sketch import sketch
from ultr.metrics.umeasure import UMeasure
from ultr.testing import check_metric, tiny_log

RATIOS = (NormalisedSessionDCG, ExpectedSessionNDCG)  # NaN without a relevant document
BY_DOCUMENT = (NUM, UMeasure, *RATIOS)  # a document pays once
BY_ROW = (SessionDCG, SessionRBP, RecencySessionDCG, RecencySessionRBP, SessionINST)
ALL = (*BY_DOCUMENT, *BY_ROW)
every = pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)


def value(metric, *sessions):
    return metric(sketch(*sessions)).tolist()


# The contract


@every
def test_the_contract_with_clicks(metric):
    check_metric(metric(), tiny_log())


@every
def test_the_contract_with_grades_on_a_reranked_log(metric):
    check_metric(metric(label="grade"))


@every
def test_names(metric):
    assert (metric.per, metric.higher_is_better, metric().label) == ("session", True, "click")
    assert pickle.loads(pickle.dumps(metric(k=3))) == metric(k=3)


def test_settings_by_position():
    assert NUM(1, 4, 5, 100, "last", "pool", False, "grade") == NUM(depth="last", ideal="pool", enhance=False, label="grade")
    assert UMeasure(1, 4, 5, 100, "full", True, "click") == UMeasure()
    assert SessionDCG(2, 4, "jarvelin", "click") == SessionDCG()
    assert SessionRBP(0.8, 0.5) == SessionRBP()
    assert RecencySessionDCG(0.5) == RecencySessionDCG()
    assert RecencySessionRBP(0.8, 0.5, 0.5) == RecencySessionRBP()
    assert ExpectedSessionNDCG(0.8, 0.7) == ExpectedSessionNDCG()


CHANGED = {
    "snippet": 2,
    "document": 3,
    "reformulation": 2,
    "horizon": 50,
    "depth": "last",
    "enhance": False,
    "label": "other",
    "k": 2,
    "base": 3,
    "query_base": 2,
    "form": "kanoulas",
    "ideal": "slots",
    "p": 0.5,
    "b": 0.7,
    "decay": 0.1,
    "reformulate": 0.5,
    "down": 0.9,
    "gain": "linear",
    "target": 2,
    "threshold": 2,
}


@pytest.mark.parametrize(("metric", "setting"), [(metric, field.name) for metric in ALL for field in fields(metric)])
def test_every_setting_changes_the_result(metric, setting):
    log = sketch("x a y c=2 | y a=1 b=2 x z | c=1 a=2 d=1 y")
    log = log.with_columns(other=log.columns["grade"][::-1].copy(), grade=np.where(log.slots() == 0, 0, log.columns["grade"]))
    one, changed = metric(label="grade"), CHANGED[setting]
    if (metric, setting) == (NUM, "ideal"):
        one, changed = NUM(label="grade", k=3), "pool"
    assert one(log) != replace(one, **{setting: changed})(log)


# Sessions in a log


@every
def test_without_the_page_column_each_page_is_a_session(metric):
    log = sketch("a b* | a* | c")
    alone = ultr.ClickLog(log.offsets, log.columns)
    np.testing.assert_array_equal(metric()(alone), value(metric(), "a b*", "a*", "c"))


@every
def test_values_stand_in_the_order_of_log_sessions_and_pages_need_not_be_adjacent(metric):
    log = sketch("a b* | a* c", "c d* | x | d*")
    mixed = log.take(np.array([2, 0, 3, 1, 4]))
    assert mixed.sessions.tolist() == [1, 0]
    np.testing.assert_array_equal(metric()(mixed), metric()(log)[::-1])


@every
@given(sessions=SESSIONS)
@settings(max_examples=25, deadline=None)
def test_a_session_is_judged_alike_alone_in_chunks_and_in_the_whole_log(metric, sessions):
    judge, log = metric(label="grade"), log_of(sessions)
    whole = judge(log)
    np.testing.assert_array_equal([judge(log_of([session]))[0] for session in sessions], whole)
    for size in (1, 3):
        np.testing.assert_array_equal(np.concatenate([judge(chunk) for chunk in Chunked(log, size).chunks()]), whole)


@every
def test_neighbours_change_no_bit_of_large_sessions(metric):
    rng = np.random.default_rng(3)
    sessions = [
        [[(rng.integers(30), rng.choice([0, 0, 1, 0.3])) for _ in range(rng.integers(0, 15))] for _ in range(rng.integers(1, 7))]
        for _ in range(60)
    ]
    judge, log = metric(label="grade"), log_of(sessions)
    np.testing.assert_array_equal(np.concatenate([judge(chunk) for chunk in Chunked(log, 1).chunks()]), judge(log))


@every
def test_a_log_without_pages_has_no_values(metric):
    values = metric()(ultr.ClickLog([0], {"item": np.zeros(0, dtype=int), "click": np.zeros(0, dtype=int)}))
    assert (values.dtype, values.shape) == (np.float64, (0,))


@every
def test_sessions_without_a_click_and_without_a_row(metric):
    expected = [nan, nan, nan] if metric in RATIOS else [0, 0, 0]
    np.testing.assert_array_equal(metric()(sketch("a b | c", "", " | | ")), expected)


@every
def test_an_empty_page_counts_as_a_query(metric):
    first, second, useless = value(metric(), "a*", " | a*", "x | a*")
    if metric is NormalisedSessionDCG:  # no session with an empty first page is better
        assert first == second == 1 > useless
    else:
        assert first > second >= useless - 1e-12
    last, alone = value(metric(), "a* | ", "a*")
    assert last < alone if metric in (RecencySessionDCG, RecencySessionRBP, SessionINST) else last == pytest.approx(alone)


@every
def test_repeated_documents(metric):
    once, twice, other = value(metric(), "a* | x", "a* | a*", "a* | b*")
    if metric in (NUM, UMeasure, ExpectedSessionNDCG):
        assert twice == value(metric(), "a* | a")[0] == once
    elif metric is NormalisedSessionDCG:
        assert twice == 1 > once
        assert value(metric(ideal="slots"), "a* | x", "a* | a*") == [1, 1]
    else:
        assert twice == other > once


@pytest.mark.parametrize("metric", BY_DOCUMENT, ids=lambda metric: metric.__name__)
def test_a_document_twice_on_a_page_pays_once(metric):
    assert value(metric(), "a* a*") == value(metric(), "a* a")


@pytest.mark.parametrize("metric", BY_ROW, ids=lambda metric: metric.__name__)
def test_credited_labels_make_any_metric_count_a_document_once(metric):
    log = sketch("x a | a* b | b* a*")
    paid = log.with_columns(paid=credited(log))
    np.testing.assert_array_equal(metric(label="paid")(paid), metric()(sketch("x a* | a b* | b a")))


@pytest.mark.parametrize("metric", BY_DOCUMENT, ids=lambda metric: metric.__name__)
def test_an_id_is_one_document_also_where_it_has_an_item_row_for_each_query(metric):
    log = sketch("a* b c | c a* b | b* a c", "c b | b* c*")
    rows = np.arange(log.n_rows, dtype=np.int32)
    items = ultr.Items(features=np.zeros((log.n_rows, 1)), ids=log.items.ids[log.columns["item"]])
    apart = ultr.ClickLog(log.offsets, {**log.columns, "item": rows}, log.page_columns, items)
    np.testing.assert_array_equal(metric()(apart), metric()(log))
    some = ultr.ClickLog(log.offsets, {**log.columns, "item": rows + 50}, log.page_columns, ultr.Items(ids=np.r_[np.arange(50), items.ids]))
    np.testing.assert_array_equal(metric()(some), metric()(log))
    assert metric()(ultr.ClickLog(log.offsets, {**log.columns, "item": rows}, log.page_columns)).tolist() != metric()(log).tolist()


@pytest.mark.parametrize("metric", BY_DOCUMENT, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("name", [lambda item: item + 2**62, lambda item: item - 5, lambda item: np.array([f"d{i}" for i in item])])
def test_items_may_be_called_anything(metric, name):
    log = sketch("a b* | c a* | b a", "c | b* c*")
    renamed = ultr.ClickLog(log.offsets, {**log.columns, "item": name(log.columns["item"].astype(np.int64))}, log.page_columns)
    np.testing.assert_array_equal(metric()(renamed), metric()(log))


@every
def test_rows_below_the_cutoff_do_not_count(metric):
    np.testing.assert_array_equal(metric(k=2)(sketch("a b* c* d | b a* c*")), metric()(sketch("a b* | b a*")))
    np.testing.assert_array_equal(metric(k=9)(sketch("a b* c* d | b a* c*")), metric()(sketch("a b* c* d | b a* c*")))


@every
def test_grades_judge_a_new_order(metric):
    log = sketch("a=2 b | c=1 a=2")
    ranked = log.rerank([0, 1, 0, 1])
    np.testing.assert_array_equal(metric(label="grade")(ranked), metric(label="grade")(sketch("b a=2 | a=2 c=1")))


def test_a_document_in_two_queries_has_its_highest_grade():
    assert value(NUM(label="grade"), "a=1 | a=3") == [1]
    assert value(UMeasure(label="grade"), "a=1 | a=3") == pytest.approx([3 * 0.95])
    assert value(UMeasure(label="grade", enhance=False), "a | a=3") == pytest.approx([3 * (1 - (1 + 5 + 1 + 4) / 100)])


# Lengths


def test_a_length_replaces_the_document_where_it_is_known():
    assert value(UMeasure(), "a*/40 b*", "a* b*/0", "a/9 b*") == pytest.approx([0.59 + 0.54, 0.95 + 0.94, 0.94])
    log = sketch("a* b*").with_columns(length=np.array([40, 4]))
    np.testing.assert_allclose(UMeasure()(log), [0.59 + 0.54])


def test_a_document_has_the_length_of_the_row_where_it_is_read():
    assert value(UMeasure(), "a/10 | a*/40") == pytest.approx([0.89])
    assert value(UMeasure(enhance=False), "a/10 | a*/40") == pytest.approx([1 - (1 + 5 + 1 + 40) / 100])


@pytest.mark.parametrize("bad", [-1.0, inf])
def test_impossible_lengths_are_refused_where_they_stand(bad):
    log = sketch("a", "b c").take(np.array([1, 0])).with_columns(length=np.array([1, bad, nan]))
    with pytest.raises(LogError, match=rf"NUM needs lengths of 0 or more, NaN where unknown: page 0, row 1 has {bad}; 1 of 3 is wrong"):
        NUM()(log)


# Links to the query metrics


def test_a_session_of_one_page_is_a_query():
    log = sketch("a=1 b c=1 d", "x", "a b=1")
    np.testing.assert_allclose(SessionRBP(0.6, 1, label="grade")(log), RBP(0.6)(log))
    np.testing.assert_allclose(SessionINST(2, label="grade")(log), INST(2)(log))
    np.testing.assert_allclose(SessionRBP(0.6, 1, label="grade")(sketch("a b=1 | c=1")), RBP(0.6)(sketch("a b=1")))


def test_all_weights_of_session_rbp_sum_to_1():
    for p, b in ((0.8, 0.5), (0.6, 0.9), (0.5, 0)):
        log = ultr.ClickLog(offsets_of(np.full(150, 150)), {"item": np.arange(22500), "click": np.ones(22500)}, {"session": np.zeros(150)})
        np.testing.assert_allclose(SessionRBP(p, b)(log), [1], rtol=1e-12)


def test_no_decay_forgets_nothing():
    log = sketch("a b* | a* | | c*")
    np.testing.assert_array_equal(RecencySessionDCG(0)(log), SessionDCG()(log))
    np.testing.assert_array_equal(RecencySessionRBP(decay=0)(log), SessionRBP()(log))


@given(sessions=SESSIONS)
@settings(max_examples=50, deadline=None)
def test_ratios_lie_between_0_and_1(sessions):
    log = log_of(sessions)
    ratios = [
        NormalisedSessionDCG(form=form, ideal=ideal, label="grade") for form in ("jarvelin", "kanoulas") for ideal in ("repeat", "slots")
    ]
    for metric in (*ratios, ExpectedSessionNDCG(label="grade")):
        values = metric(log)
        assert ((values >= 0) & (values <= 1 + 1e-12) | np.isnan(values)).all()


# Errors


@every
def test_clicks_on_another_order_are_refused_with_the_reason(metric):
    log = sketch("a b*", "c* d | e f g*")
    rule = (
        rf"^{metric.__name__} judges by clicks, so position must increase within a page: clicks on the order shown cannot judge a new one"
    )
    message = rf"{rule}: page 2, row 1 has 0; 1 of 7 is wrong\. .*label=\"grade\""
    with pytest.raises(LogError, match=message):
        metric()(log.rerank([1, 0, 1, 0, 1, 2, 0]))
    doubled = log.with_columns(position=np.array([0, 0, 0, 1, 0, 1, 2]))
    with pytest.raises(LogError, match="page 0, row 1 has 0"):
        metric()(doubled)
    np.testing.assert_array_equal(metric()(log.rerank([1, 0, 1, 0, 2, 1, 0])), metric()(log))
    gaps = log.with_columns(position=np.array([3, 5, 0, 7, 2, 3, 9]))
    np.testing.assert_array_equal(metric()(gaps), metric()(log))
    unknown = ultr.ClickLog(log.offsets, {name: log.columns[name] for name in ("item", "click")}, log.page_columns)
    np.testing.assert_array_equal(metric()(unknown), metric()(log))


def test_positions_after_empty_pages():
    np.testing.assert_array_equal(SessionDCG()(sketch(" | a | | | b* c | ", " | d* | ")), value(SessionDCG(), " | x | | | b*", " | d*"))


@every
def test_impossible_labels_are_refused_where_they_stand(metric):
    log = sketch("a", "b c").with_columns(grade=np.array([0, 2, -1]))
    with pytest.raises(LogError, match=rf"^{metric.__name__} needs grade of 0 or more: page 1, row 1 has -1; 1 of 3 is wrong"):
        metric(label="grade")(log)
    for bad in (nan, inf):
        with pytest.raises(LogError, match=f"page 1, row 1 has {bad}"):
            metric(label="grade")(log.with_columns(grade=np.array([0, 2, bad])))
    with pytest.raises(LogError, match="click must be 0 or 1"):
        metric()(log.with_columns(click=np.array([0, 2, 0])))
    with pytest.raises(LogError, match=rf"^{metric.__name__} needs the column 'clik', which the log lacks. Did you mean 'click'"):
        metric(label="clik")(log)
    with pytest.raises(LogError, match="needs numbers in the column 'text'"):
        metric(label="text")(log.with_columns(text=np.array(["a", "b", "c"])))


@every
def test_compressed_logs_are_refused(metric):
    log = sketch("a*", "a")
    counted = ultr.ClickLog(log.offsets, log.columns, {"count": np.array([1, 2])})
    with pytest.raises(LogError, match="pages that stand for several"):
        metric()(counted)
    once = ultr.ClickLog(log.offsets, log.columns, {"count": np.array([1, 1])})
    np.testing.assert_array_equal(metric()(once), metric()(log))


def test_session_inst_takes_labels_as_gains_without_a_threshold():
    log = sketch("a=0.5 b=1").with_columns(half=np.array([0.5, 1.0]))
    assert 0 < SessionINST(threshold=None, label="half")(log)[0] < SessionINST(threshold=0.5, label="half")(log)[0]
    with pytest.raises(LogError, match=r"SessionINST\(threshold=None\) takes grade as gains, which lie in \[0, 1\]: page 0, row 1 has 3"):
        SessionINST(threshold=None, label="grade")(sketch("a=1 b=3"))


@pytest.mark.parametrize(
    ("metric", "settings", "message"),
    [
        (NUM, {"snippet": 0}, r"NUM: snippet must be in \(0, inf\), not 0"),
        (NUM, {"document": -1}, r"NUM: document must be in \[0, inf\)"),
        (UMeasure, {"reformulation": inf}, r"UMeasure: reformulation must be in \[0, inf\)"),
        (UMeasure, {"horizon": nan}, r"UMeasure: horizon must be in \(0, inf\]"),
        (NUM, {"depth": "lst"}, "NUM: depth must be one of full, last, not 'lst'. Did you mean 'last'"),
        (NUM, {"ideal": "best"}, "NUM: ideal must be one of shown, pool"),
        (NUM, {"ideal": "pool"}, 'NUM: ideal="pool" needs judgements'),
        (NUM, {"k": 0}, "NUM: k must be a whole number of at least 1"),
        (SessionDCG, {"base": 1}, "SessionDCG: base is the base of a logarithm, above 1, not 1"),
        (SessionDCG, {"query_base": 0.5}, "SessionDCG: query_base is the base"),
        (SessionDCG, {"form": "jarvlin"}, "SessionDCG: form must be one of jarvelin, kanoulas, not 'jarvlin'. Did you mean 'jarvelin'"),
        (SessionDCG, {"k": True}, "SessionDCG: k must be"),
        (NormalisedSessionDCG, {"ideal": "slot"}, "NormalisedSessionDCG: ideal must be one of repeat, slots"),
        (NormalisedSessionDCG, {"form": ""}, "NormalisedSessionDCG: form must be one of"),
        (NormalisedSessionDCG, {"base": "2"}, "NormalisedSessionDCG: base is the base"),
        (SessionRBP, {"p": 1}, r"SessionRBP: p is a probability in \(0, 1\), not 1"),
        (SessionRBP, {"b": 1.1}, r"SessionRBP: b is a probability in \[0, 1\]"),
        (RecencySessionRBP, {"b": -1}, "RecencySessionRBP: b is a probability"),
        (RecencySessionRBP, {"decay": -1}, r"RecencySessionRBP: decay must be in \[0, inf\)"),
        (RecencySessionDCG, {"decay": inf}, r"RecencySessionDCG: decay must be in \[0, inf\)"),
        (RecencySessionDCG, {"base": 1}, "RecencySessionDCG: base is the base"),
        (ExpectedSessionNDCG, {"down": 1.5}, "ExpectedSessionNDCG: down is a probability, not 1.5"),
        (ExpectedSessionNDCG, {"reformulate": nan}, "ExpectedSessionNDCG: reformulate is a probability"),
        (ExpectedSessionNDCG, {"gain": "exp"}, "ExpectedSessionNDCG: gain must be one of exponential, linear"),
        (SessionINST, {"target": 0.5}, r"SessionINST: target is the gain that the user looks for, in \[1, inf\), not 0.5"),
        (SessionINST, {"threshold": 0}, "SessionINST: threshold must be above 0, or None"),
    ],
)
def test_impossible_settings_are_refused(metric, settings, message):
    with pytest.raises(ConfigError, match=message):
        metric(**settings)


@pytest.mark.parametrize("row", ["a**", "*", "a=x", "a/", "a=1*"])
def test_a_sketch_that_cannot_be_read_is_refused(row):
    with pytest.raises(LogError, match="A sketch has rows such as"):
        sketch(f"a {row}")


def test_a_document_of_several_item_rows_is_one_whatever_the_order_of_pages():
    """Item rows 0 and 1 are both document a; in the second log the pages of the sessions interleave."""
    items = ultr.Items(ids=np.array(["a", "a", "b"], dtype=object))

    def log(session, item, click):
        return ultr.ClickLog(np.arange(4), {"item": np.array(item), "click": np.array(click)}, {"session": np.array(session)}, items)

    apart, mixed = log([0, 0, 1], [0, 1, 2], [0, 1, 1]), log([0, 1, 0], [0, 2, 1], [0, 1, 1])
    np.testing.assert_array_equal(NUM()(apart), NUM()(mixed))
    assert credited(apart).tolist() == [1, 0, 1]
    assert credited(mixed).tolist() == [1, 1, 0]


def test_a_label_that_nobody_saw_does_not_pay_at_a_row_that_was_skipped():
    log = sketch("a | x a=1")
    assert NUM(ideal="pool", label="grade", k=1, enhance=False)(log).tolist() == [0]
    assert NUM(ideal="pool", label="grade", k=1)(log)[0] > 0  # with the enhancement a was relevant when it was first shown


def test_what_is_no_log_no_label_and_no_switch():
    log = sketch("a=1 b*=0 | c=2")
    with pytest.raises(LogError, match="DataFrame"):
        NUM()(log.to_frame())
    for label in ("item", ["click"], 3):
        with pytest.raises(ConfigError, match="label must be the name of a column of labels"):
            NUM(label=label)(log)
    with pytest.raises(ConfigError, match="enhance must be True or False"):
        NUM(enhance="no")


def test_pages_that_are_not_in_the_order_of_time_are_told():
    page_columns = {"session": np.array(["b", "a", "b", "a"]), "time": np.array([3.0, 9.0, 2.0, 9.0])}
    log = ultr.ClickLog(np.arange(5), {"item": np.arange(4), "click": np.array([1, 0, 0, 1])}, page_columns)
    with pytest.warns(UltrWarning, match="time falls within 1 sessions, first at page 2: .* Sort the table by time"):
        NUM()(log)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NUM()(replace(log, page_columns={**page_columns, "time": np.array([2.0, 9.0, 3.0, 9.0])}))
