"""From pages to tensors: every cell by hand on a ragged log, and the order of the batches."""

import numpy as np
import pytest
import torch

import ultr
from ultr.errors import LogError
from ultr.random import generator
from ultr.training import Batch, PageBatches


def log(**more):
    """Three pages: two rows, none, three rows; four items with two features."""
    columns = {
        "item": np.array([3, 0, 2, 1, 3], dtype=np.int32),
        "position": np.array([0, 2, 1, 3, 4], dtype=np.int32),
        "click": np.array([1, 0, 0, 1, 0], dtype=np.int8),
        "propensity": np.array([1.0, 0.5, 0.7, 0.4, 0.3]),
        "seen": np.array([True, False, True, True, False]),
        "colour": np.array(["red", "blue", "red", "red", "blue"], dtype=object),
        **more,
    }
    pages = {"query": np.array([7, 8, 7]), "device": np.array(["phone", "desk", "phone"]), "age": np.array([0.5, 1.5, 2.5])}
    return ultr.ClickLog(np.array([0, 2, 2, 5]), columns, pages, ultr.Items(np.arange(8.0).reshape(4, 2)))


def shown(batch, tensor):
    """The rows of each page, without the padding."""
    return [values[mask].tolist() for values, mask in zip(tensor, batch.mask, strict=True)]


def test_cells_by_hand():
    batch = Batch(log())
    assert len(batch) == 3
    assert batch.mask.tolist() == [[True, True, False], [False] * 3, [True] * 3]  # the padding stands at the end
    assert shown(batch, batch.item) == [[3, 0], [], [2, 1, 3]]
    assert shown(batch, batch.position) == [[0, 2], [], [1, 3, 4]]
    assert shown(batch, batch.column("click")) == [[1, 0], [], [0, 1, 0]]
    np.testing.assert_allclose(shown(batch, batch.column("propensity"))[2], [0.7, 0.4, 0.3])
    assert shown(batch, batch.features) == [[[6, 7], [0, 1]], [], [[4, 5], [2, 3], [6, 7]]]
    assert batch.page("query").tolist() == [7, 8, 7]
    assert batch.page("age").tolist() == [0.5, 1.5, 2.5]


def test_some_pages_in_the_order_given():
    batch = Batch(log(), np.array([2, 0]))
    assert shown(batch, batch.item) == [[2, 1, 3], [3, 0]]
    assert batch.page("age").tolist() == [2.5, 0.5]
    assert Batch(log(), np.array([0])).mask.shape == (1, 2)  # as wide as the longest page of the batch


def test_every_tensor_has_the_shape_of_the_batch_and_a_plain_type():
    batch = Batch(log())
    assert batch.mask.dtype == torch.bool
    kinds = {"item": torch.int64, "position": torch.int64, "click": torch.int64, "seen": torch.int64, "propensity": torch.float32}
    for name, kind in kinds.items():
        assert (batch.column(name).shape, batch.column(name).dtype) == ((3, 3), kind)
    assert (batch.features.shape, batch.features.dtype) == ((3, 3, 2), torch.float32)
    assert (batch.page("query").dtype, batch.page("age").dtype) == (torch.int64, torch.float32)


def test_without_positions_the_place_in_the_page_counts():
    bare = ultr.ClickLog(log().offsets, {"item": log().columns["item"]})
    batch = Batch(bare)
    assert shown(batch, batch.position) == [[0, 1], [], [0, 1, 2]]
    assert batch.features is None


def test_batches_of_empty_pages_and_of_none():
    for pages in ([1], []):
        batch = Batch(log(), np.array(pages, dtype=np.int64))
        assert batch.mask.shape == batch.item.shape == (len(pages), 0)
        assert batch.features.shape == (len(pages), 0, 2)
        assert batch.column("click").shape == (len(pages), 0)


def test_features_that_are_kept_elsewhere_are_used():
    batch = Batch(log(), features=torch.arange(4.0)[:, None])
    assert shown(batch, batch.features[..., 0]) == [[3, 0], [], [2, 1, 3]]


def test_tensors_are_made_once():
    batch = Batch(log())
    assert batch.features is batch.features
    assert batch.mask is batch.mask


def test_tensors_are_copies():
    source = log()
    batch = Batch(source)
    for name in ("click", "propensity"):
        batch.column(name).zero_()
    batch.features.zero_()
    assert source.columns["click"].sum() == 2
    assert source.items.features.sum() == 28


def test_the_device_is_used():
    batch = Batch(log(), device="meta")
    assert {t.device.type for t in (batch.mask, batch.item, batch.position, batch.features, batch.page("query"))} == {"meta"}


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda batch: batch.column("clik"), "needs the column 'clik'.* Did you mean 'click'"),
        (lambda batch: batch.page("quer"), "needs the page column 'quer'.* Did you mean 'query'"),
        (lambda batch: batch.column("colour"), "column 'colour' holds object, but a batch needs numbers"),
        (lambda batch: batch.page("device"), "column 'device' holds <U5, but a batch needs numbers"),
    ],
)
def test_what_is_not_there_or_no_number_is_named(use, message):
    with pytest.raises(LogError, match=message):
        use(Batch(log()))


def test_features_are_asked_for_by_name():
    source = log()
    without = ultr.ClickLog(source.offsets, source.columns, source.page_columns, ultr.Items(ids=np.arange(4)))
    with pytest.raises(LogError, match="DLA needs items with features"):
        Batch(without).features_for("DLA")


# Batches


def many(n_pages):
    return ultr.ClickLog(np.arange(n_pages + 1), {"item": np.arange(n_pages)})


def epoch(batches):
    return [(batch.item[:, 0].tolist(), weights.tolist()) for batch, weights in batches]


def test_an_epoch_holds_every_page_once_with_its_weight():
    pages = np.array([1, 3, 5, 7, 9, 11, 13])
    batches = PageBatches(many(20), pages, pages / 2, 3, generator(0), "cpu")
    parts = epoch(batches)
    assert sorted(len(items) for items, _ in parts) == [2, 2, 3]  # as equal as can be, rather than 3, 3, 1
    assert len(batches) == 3
    assert sorted(item for items, _ in parts for item in items) == pages.tolist()
    assert all(weight == item / 2 for items, weights in parts for item, weight in zip(items, weights, strict=True))


def test_epochs_have_new_orders_that_the_seed_decides():
    def three(seed):
        batches = PageBatches(many(20), np.arange(20), np.ones(20), 4, generator(seed), "cpu")
        return [epoch(batches) for _ in range(3)]

    first, second, third = three(0)
    assert first != second != third
    assert three(0) == [first, second, third]
    assert three(1)[0] != first


def test_one_batch_that_holds_all_pages_keeps_their_order():
    batches = PageBatches(many(5), np.arange(5), np.ones(5), 5, generator(0), "cpu")
    assert [items for items, _ in epoch(batches)] == [[0, 1, 2, 3, 4]]
