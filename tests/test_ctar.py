"""Context-driven term adoption rate: by hand, its facts, and frames against single sessions."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultr.errors import ConfigError, LogError
from ultr.metrics.term_adoption import ctar, ctar_table, words

TEXT = st.lists(st.sampled_from(["cats", "eat", "fish", "price", "sea", "boats"]), max_size=4).map(" ".join)
SESSION = st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=2)), min_size=1, max_size=5)


def test_half_of_the_new_words_were_read():
    assert ctar(["cats", "cats fish price"], [["cats eat fish"], None]).tolist() == pytest.approx([np.nan, 0.5], nan_ok=True)


def test_evidence_accumulates_or_is_that_of_the_last_step():
    queries, evidence = ["cats", "cats food", "cats price fish"], ["fish and price", "food, price!", "never read"]
    assert ctar(queries, evidence)[2] == 1
    assert ctar(queries, evidence, scope="last")[2] == 0.5
    assert ctar(queries, evidence)[1] == 0


def test_a_word_that_comes_back_is_new_or_not():
    queries, evidence = ["cats fish", "dogs", "cats price"], ["price", None, None]
    assert ctar(queries, evidence)[2] == 0.5  # cats, price
    assert ctar(queries, evidence, new="all")[2] == 1  # price


def test_without_a_new_word_there_is_no_rate():
    assert np.isnan(ctar(["cats fish", "fish", "Fish CATS"], ["a", "b", "c"], new="all")).all()
    assert ctar([], []).shape == (0,)


def test_words_are_case_folded_and_without_punctuation():
    assert words("Straße, CAT's 42-eyed") == ["strasse", "cat", "s", "42", "eyed"]
    assert ctar(["a", "STRASSE"], ["Straße", None])[1] == 1
    assert ctar(["a", "cat"], ["cats", None])[1] == 0  # no stemming
    assert ctar(["a", "cat"], ["cats", None], terms=lambda text: [word[:3] for word in text.split()])[1] == 1


@given(SESSION)
def test_last_is_never_above_accumulated_and_both_are_shares(session):
    queries, evidence = [query for query, _ in session], [found for _, found in session]
    for new in ("previous", "all"):
        accumulated, last = (ctar(queries, evidence, scope=scope, new=new) for scope in ("accumulated", "last"))
        known = ~np.isnan(accumulated)
        np.testing.assert_array_equal(known, ~np.isnan(last))
        assert (last[known] <= accumulated[known]).all()
        assert ((accumulated[known] >= 0) & (accumulated[known] <= 1)).all()
        assert np.isnan(accumulated[0])


@given(SESSION)
def test_by_the_definition(session):
    queries, evidence = [set(query.split()) for query, _ in session], [set(" ".join(found).split()) for _, found in session]
    for step, found in enumerate(ctar([query for query, _ in session], [texts for _, texts in session])[1:], 1):
        fresh, read = queries[step] - queries[step - 1], set().union(*evidence[:step])
        assert found == pytest.approx(len(fresh & read) / len(fresh) if fresh else np.nan, nan_ok=True)


@given(st.lists(SESSION, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_a_table_holds_every_session_whatever_stands_between_its_lines(sessions, random):
    lines = [(number, step, query, found) for number, session in enumerate(sessions) for step, (query, found) in enumerate(session)]
    places = [number for number, *_ in lines]
    random.shuffle(places)
    queues = {number: iter([line for line in lines if line[0] == number]) for number in set(places)}
    frame = pd.DataFrame([next(queues[number]) for number in places], columns=["session", "step", "query", "evidence"])
    table = ctar_table(frame, scope="last")
    assert table["step"].tolist() == frame["step"].tolist()
    for number, session in enumerate(sessions):
        expected = ctar([query for query, _ in session], [found for _, found in session], scope="last")
        np.testing.assert_array_equal(table.ctar[table.session == number], expected)


def test_counts_give_both_means():
    frame = pd.DataFrame(
        {
            "who": ["u", "u", "v", "v"],
            "q": ["a", "a b c d", "x", "x y"],
            "found": ["b", np.nan, "y", None],
        },
        index=[5, 6, 7, 8],
    )
    table = ctar_table(frame, session="who", query="q", evidence="found")
    assert table[["new_terms", "adopted"]].to_numpy().tolist() == [[0, 0], [3, 1], [0, 0], [1, 1]]
    assert table.index.tolist() == [5, 6, 7, 8]
    assert table.adopted.sum() / table.new_terms.sum() == 2 / 4
    assert table.ctar.mean() == pytest.approx((1 / 3 + 1) / 2)


@pytest.mark.parametrize(
    "call, error, words_of_it",
    [
        (lambda: ctar(["a"], []), LogError, "1 queries and 0"),
        (lambda: ctar(["a", None], ["b", None]), LogError, "query at step 1"),
        (lambda: ctar(["a", "b"], [3, None]), LogError, "evidence at step 0"),
        (lambda: ctar(["a", "b"], [[3], None]), LogError, "holds 3"),
        (lambda: ctar(["a"], ["b"], scope="lst"), ConfigError, "Did you mean 'last'"),
        (lambda: ctar(["a"], ["b"], new="some"), ConfigError, "new must be one of previous, all"),
        (lambda: ctar_table(pd.DataFrame({"session": [1], "query": ["a"]})), LogError, "needs the column 'evidence'"),
        (lambda: ctar_table(pd.DataFrame({"session": [None], "query": ["a"], "evidence": ["b"]})), LogError, "must not be missing: line 0"),
        (lambda: ctar_table(pd.DataFrame({"session": [1, 1], "query": ["a", 2], "evidence": "b"})), LogError, "step 1 of session 1"),
    ],
)
def test_what_is_no_session_is_refused(call, error, words_of_it):
    with pytest.raises(error, match=words_of_it):
        call()


def test_arrays_of_texts_and_one_text_alone():
    frame = pd.DataFrame({"session": [1, 1], "query": ["cats", "cats a"], "evidence": [np.array(["a", "b"]), None]})
    lists = frame.assign(evidence=[["a", "b"], None])
    pd.testing.assert_frame_equal(ctar_table(frame), ctar_table(lists))
    with pytest.raises(ConfigError, match="queries and evidence are lists"):
        ctar("cats", "cats")
