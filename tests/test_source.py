"""Logs in pieces: whole sessions, the same pieces each time, nothing lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultr import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.source import Chunked, LogSource, gather
from ultr.errors import LogError

LENGTHS = st.lists(st.integers(1, 4), max_size=8)  # pages a session


def log_of(pages_per_session: list[int]) -> ClickLog:
    sessions = np.repeat(np.arange(len(pages_per_session)), pages_per_session)
    lengths = np.arange(len(sessions)) % 3
    return ClickLog(offsets_of(lengths), {"item": np.arange(lengths.sum())}, {"session": sessions})


def test_a_log_is_a_source_and_so_is_a_log_in_pieces():
    log = log_of([2, 1])
    assert isinstance(log, LogSource)
    assert isinstance(Chunked(log), LogSource)
    assert not isinstance([log], LogSource)
    assert list(log.chunks()) == [log]


@settings(deadline=None, max_examples=100)
@given(sessions=LENGTHS, pages=st.integers(1, 9))
def test_pieces_cover_the_log_in_order_and_cut_no_session(sessions, pages):
    log = log_of(sessions)
    source = Chunked(log, pages)
    chunks = list(source.chunks())
    joined = gather(source)
    np.testing.assert_array_equal(joined.offsets, log.offsets)
    np.testing.assert_array_equal(joined.columns["item"], log.columns["item"])
    np.testing.assert_array_equal(joined.page_columns["session"], log.page_columns["session"])
    assert sum(len(chunk.sessions) for chunk in chunks) == len(sessions)  # a cut session would count twice
    for chunk in chunks[:-1]:
        assert pages <= len(chunk) < pages + max(sessions)
    assert [chunk.columns["item"].tolist() for chunk in source.chunks()] == [chunk.columns["item"].tolist() for chunk in chunks]


def test_without_sessions_pieces_have_the_size_asked_for():
    log = ClickLog(np.arange(11), {"item": np.arange(10)})
    assert [len(chunk) for chunk in Chunked(log, 4).chunks()] == [4, 4, 2]


@settings(deadline=None, max_examples=50)
@given(sessions=LENGTHS, n=st.integers(1, 5))
def test_shards_of_a_log_in_pieces_are_the_shards_of_the_log(sessions, n):
    log = log_of(sessions)
    for ours, plain in zip(Chunked(log, 2).shards(n), log.shards(n), strict=True):
        np.testing.assert_array_equal(gather(ours).columns["item"], plain.columns["item"])


def test_gather_returns_a_log_as_it_is():
    log = log_of([1])
    assert gather(log) is log


def test_an_empty_log_is_one_empty_piece():
    log = log_of([])
    assert [len(chunk) for chunk in Chunked(log).chunks()] == [0]
    assert len(gather(Chunked(log))) == 0


@pytest.mark.parametrize("pages", [0, -3])
def test_pieces_have_a_size(pages):
    with pytest.raises(LogError, match=f"1 or more pages, not {pages}"):
        Chunked(log_of([1]), pages)
