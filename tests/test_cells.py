"""Cells: sums of rows that a likelihood of clicks cannot tell apart, and the running sums that follow a network."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

import ultr
from ultr.data.padded import offsets_of
from ultr.models.running_sums import RunningSums
from ultr.testing import tiny_log
from ultr.training.batch import Batch
from ultr.training.cells import CLICKS, SHOWN, cells_of, counted_rows
from ultr.training.labels import labels_of
from ultr.training.split import validation_pages

LOG = tiny_log()


def cells(log):
    return cells_of(counted_rows(log, labels_of(log, "click", "test")))


def repeated(seed=0, n_pages=900):
    """Many pages of few orders, clicks drawn anew."""
    rng = np.random.default_rng(seed)
    log = tiny_log(rows=3, n_pages=60, seed=2).take(rng.integers(60, size=n_pages))
    log = log.with_columns(click=(rng.random(log.n_rows) < log.columns["relevance"] * log.columns["propensity"]).astype(np.int8))
    return ultr.ClickLog(log.offsets, log.columns, {"query": log.page_columns["query"]}, log.items)


def same(first, second):
    np.testing.assert_array_equal(first.offsets, second.offsets)
    np.testing.assert_array_equal(first.page_columns["query"], second.page_columns["query"])
    for name in first.columns:
        np.testing.assert_array_equal(first.columns[name], second.columns[name])


def test_cells_are_what_a_group_by_gives():
    frame = LOG.to_frame().assign(shown=1)
    frame["item"] = LOG.columns["item"]
    expected = frame.groupby(["query", "item", "position"], as_index=False)[["shown", "click"]].sum()
    found = cells(LOG)
    table = pd.DataFrame({"query": np.repeat(found.page_columns["query"], found.lengths), **found.columns})
    table = table.sort_values(["query", "item", "position"], ignore_index=True)
    for name, other in (("query", "query"), ("item", "item"), ("position", "position"), (SHOWN, "shown"), (CLICKS, "click")):
        np.testing.assert_array_equal(table[name], expected[other])
    assert len(found) == len(np.unique(LOG.page_columns["query"]))
    assert found.counts.max() == 1


def test_order_of_pages_compression_and_rows_do_not_matter():
    log = repeated()
    shuffled = log.take(np.random.default_rng(1).permutation(len(log)))
    same(cells(log), cells(shuffled))
    same(cells(log), cells(log.compress()))
    turned = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(log.offsets[:-1], log.offsets[1:], strict=True)])
    same(cells(log), cells(dataclasses.replace(log, columns={name: values[turned] for name, values in log.columns.items()})))


def test_their_number_does_not_grow_with_the_log():
    assert cells(repeated(n_pages=20_000)).n_rows == cells(repeated(n_pages=4_000)).n_rows


def test_an_item_of_two_queries_has_cells_in_both():
    columns = {"item": np.array([0, 1, 0, 0]), "position": np.array([0, 1, 0, 0]), "click": np.array([1, 0, 0, 1])}
    log = ultr.ClickLog([0, 2, 3, 4], columns, {"query": np.array(["a", "b", "b"])}, ultr.Items(np.eye(2)))
    found = cells(log)
    by_query = {
        query: found.columns[CLICKS][a:b].tolist()
        for query, a, b in zip(found.page_columns["query"], found.offsets, found.offsets[1:], strict=False)
    }
    assert by_query == {"a": [1, 0], "b": [1]}


@pytest.mark.parametrize("seed", range(5))
def test_the_same_queries_are_held_out(seed):
    counted = counted_rows(LOG, LOG.columns["click"])
    pages = counted.page_columns["query"][validation_pages(counted, 0.3, seed)]
    merged = cells(LOG)
    assert set(pages) == set(merged.page_columns["query"][validation_pages(merged, 0.3, seed)])


def test_counted_rows_stand_for_what_the_pages_stood_for():
    log = repeated()
    merged = log.compress()
    full, compressed = counted_rows(log, log.columns["click"]), counted_rows(merged, labels_of(merged, "click", "test"))
    for name in (SHOWN, CLICKS):
        assert full.columns[name].sum() == compressed.columns[name].sum()
    np.testing.assert_array_equal(compressed.columns[CLICKS], merged.columns["click"][np.repeat(merged.lengths > 0, merged.lengths)])
    assert "count" not in compressed.page_columns
    assert counted_rows(LOG, LOG.columns["click"]).lengths.min() > 0
    assert 0 in LOG.lengths


# Running sums


def batch_of(position, lengths):
    offsets = offsets_of(np.array(lengths))
    return Batch(ultr.ClickLog(offsets, {"item": np.zeros(offsets[-1], dtype=int), "position": np.array(position)}))


def test_running_sums_by_hand():
    batch = batch_of([0, 1, 0], [2, 1])
    sums = RunningSums(1, 3, share=0.5)
    values = torch.tensor([[1.0, 2.0], [4.0, 99.0]])  # 99 stands in the padding
    np.testing.assert_array_equal(sums.add(batch, values), [[5, 2, 0]])
    rate = 2**-0.6
    np.testing.assert_allclose(sums.add(batch, 3 * values), [[5 + rate * 10, 2 + rate * 4, 0]])
    for step in (3, 4, 5):
        before = sums.sums.clone()
        rate = max(0.5, step**-0.6)  # above one half at step 3, below from step 4 on
        np.testing.assert_allclose(sums.add(batch, 0 * values), (1 - rate) * before)


def test_one_batch_of_all_pages_replaces_the_sums():
    batch = batch_of([0, 1], [2])
    sums = RunningSums(2, 2, share=1.0)
    for step in range(5):
        values = torch.tensor([[step + 1.0, 2.0]])
        np.testing.assert_allclose(sums.add(batch, values, 2 * values), [[step + 1, 2], [2 * step + 2, 4]])
