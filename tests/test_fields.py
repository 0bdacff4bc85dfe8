"""Fields: what becomes of values, known, unknown and missing; the encoder as JSON; the network's tables and towers by hand."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis.strategies import characters, integers, lists, one_of, text

from ultr.data.fields import FIRST, MISSING, UNKNOWN, FieldEncoder, Fields, hashed_values
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.errors import ConfigError, LogError
from ultr.models.field_network import FieldNetwork, FieldTables
from ultr.random import generator


def log_of(page_columns=None, items=None, **columns):
    """One row a page."""
    n = len(next(iter(columns.values())))
    columns = {"item": np.zeros(n, dtype=int), **{name: np.asarray(values) for name, values in columns.items()}}
    return ClickLog(np.arange(n + 1), columns, page_columns or {}, items)


def codes(fields, train, log):
    return fields.fit(train).codes(log)[:, 0].tolist()


# Categorical fields


def test_a_vocabulary_gives_each_value_seen_often_enough_a_row_and_all_others_one():
    fields = Fields(categorical={"ad": "vocabulary"}, min_count=2)
    train = log_of(ad=[7, 7, 7, 9, 9, 4])
    encoder = fields.fit(train)
    assert encoder.sizes == (FIRST + 2,)
    seven, nine = encoder.codes(log_of(ad=[7, 9]))[:, 0]
    assert {seven, nine} == {FIRST, FIRST + 1}
    assert codes(fields, train, log_of(ad=[7, 9, 4, 5])) == [seven, nine, UNKNOWN, UNKNOWN]
    assert Fields(categorical={"ad": "vocabulary"}, min_count=1).fit(train).sizes == (FIRST + 3,)


def test_missing_values_have_a_row_of_their_own():
    fields = Fields(categorical={"ad": "vocabulary"}, min_count=1)
    texts = log_of(ad=np.array(["a", None, "b", np.nan, "nan"], dtype=object))
    found = codes(fields, texts, texts)
    assert found[1] == found[3] == MISSING
    assert MISSING not in {found[0], found[2], found[4]}
    assert codes(fields, log_of(ad=[1.0, np.nan]), log_of(ad=[np.nan, 1.0, 2.0])) == [MISSING, FIRST, UNKNOWN]
    times = np.array(["2026-01-01", "NaT"], dtype="datetime64[ns]")
    assert codes(fields, log_of(ad=times), log_of(ad=times)) == [FIRST, MISSING]
    assert codes(fields, log_of(ad=times), log_of(ad=times.astype("datetime64[s]"))) == [FIRST, MISSING]
    hashed = Fields(categorical={"ad": 5})
    assert codes(hashed, texts, texts)[1] == MISSING
    assert min(codes(hashed, texts, log_of(ad=np.array(["zz", "yy"], dtype=object)))) >= FIRST


VALUES = one_of(integers(-(2**62), 2**62), text(characters(codec="utf-8", exclude_characters="\0"), max_size=3))  # NumPy drops a last zero


@given(lists(VALUES, min_size=1, max_size=8))
def test_a_value_hashes_the_same_whatever_stands_beside_it(values):
    alone = [int(hashed_values(np.array([value], dtype=object))[0][0]) for value in values]
    assert hashed_values(np.array(values, dtype=object))[0].tolist() == alone
    for value, one in zip(values, alone, strict=True):
        assert int(hashed_values(np.array([value]))[0][0]) == one  # as an array of integers, or of text
        if isinstance(value, int) and abs(value) < 2**53:
            assert int(hashed_values(np.array([float(value), np.nan]))[0][0]) == one


def test_the_text_5_is_not_the_number_5():
    assert hashed_values(np.array(["5"]))[0] != hashed_values(np.array([5]))[0]


def test_hashes_are_the_same_in_every_run():
    """Frozen: written down once, since a saved model relies on it."""
    fields = Fields(categorical={"ad": 1000})
    log = log_of(ad=np.array([0, 1, 2.5, "a", "bc"], dtype=object))
    assert codes(fields, log, log) == [57, 160, 619, 148, 933]


def test_buckets_are_evenly_filled():
    """Chi-square over 50 buckets of 20,000 values; false alarm 1e-5."""
    import scipy.stats

    log = log_of(ad=np.arange(20_000))
    counts = np.bincount(Fields(categorical={"ad": 50}).fit(log).codes(log)[:, 0], minlength=52)[FIRST:]
    assert scipy.stats.chisquare(counts).pvalue > 1e-5
    twin = np.bincount(np.arange(20_000) * 2 % 50, minlength=50)  # a bad hash
    assert scipy.stats.chisquare(twin).pvalue < 1e-5


def test_the_order_of_the_log_does_not_matter():
    rng = generator(0, "fields")
    ads, price = rng.integers(9, size=200), rng.normal(size=200)
    price[::7] = np.nan
    fields, order = Fields(categorical={"ad": "vocabulary"}, dense=("price",)), rng.permutation(200)
    first, second = fields.fit(log_of(ad=ads, price=price)), fields.fit(log_of(ad=ads[order], price=price[order]))
    assert first.state() == second.state()


# Which column


def test_page_columns_hold_for_every_row_and_items_are_read_by_id():
    items = Items(ids=np.array(["x", "y"]))
    log = ClickLog(np.array([0, 2, 3]), {"item": np.array([0, 1, 1])}, {"user": np.array([5, 6])}, items)
    fields = Fields(categorical={"user": "vocabulary", "item": "vocabulary"}, min_count=1)
    found = fields.fit(log).codes(log)
    assert found[0, 0] == found[1, 0] != found[2, 0]
    swapped = ClickLog(np.array([0, 2, 3]), {"item": np.array([1, 0, 0])}, {"user": np.array([5, 6])}, Items(ids=np.array(["y", "x"])))
    np.testing.assert_array_equal(fields.fit(log).codes(swapped), found)


def test_a_missing_column_is_named():
    with pytest.raises(LogError, match=r"Fields needs the row or page column 'user', which the log lacks. Did you mean 'users'"):
        Fields(categorical={"user": 5}).fit(log_of(users=[1])).codes(log_of(users=[1]))
    with pytest.raises(LogError, match="price"):
        Fields(dense=("price",)).fit(log_of(cost=[1.0]))


# Dense fields


def test_dense_fields_are_standardised_and_a_missing_value_is_the_mean_with_an_indicator():
    encoder = Fields(dense=("price", "age")).fit(log_of(price=[1.0, 3.0, np.nan], age=[2, 2, 5]))
    found = encoder.numbers(log_of(price=[1.0, np.nan, 4.0], age=[3.0, np.nan, 3.0]))
    sd = np.sqrt(2)
    np.testing.assert_allclose(found, [[-1, 0, 0], [0, 1, 0], [2, 0, 0]], atol=1e-6)  # price, its indicator, age
    assert encoder.scales["age"].sd == pytest.approx(sd)
    assert encoder.n_dense == 3


def test_constant_and_empty_columns_are_harmless():
    encoder = Fields(dense=("one", "none")).fit(log_of(one=[2.0, 2.0], none=[np.nan, np.nan]))
    np.testing.assert_array_equal(encoder.numbers(log_of(one=[2.0], none=[7.0])), [[0, 7, 0]])


def test_objects_that_spell_numbers_are_numbers():
    log = log_of(price=np.array([1, None, "3"], dtype=object))
    np.testing.assert_allclose(Fields(dense=("price",)).fit(log).numbers(log), [[-1, 0], [0, 1], [1, 0]])


@pytest.mark.parametrize(
    "values, message",
    [
        ([1.0, np.inf, 2.0], "price must be finite or missing: page 1, row 0 has inf; 1 of 3 is wrong"),
        (["a", "1", "b"], "price must be a"),
        ([1.0, -1e300, 2.0], "price reaches from -1e\\+300 to 2, too far to standardise"),
    ],
)
def test_dense_fields_refuse_what_is_no_number(values, message):
    with pytest.raises(LogError, match=message):
        Fields(dense=("price",)).fit(log_of(price=values))


# Settings


@pytest.mark.parametrize(
    "settings, message",
    [
        ({}, "name at least one column"),
        ({"categorical": ["user"]}, "maps names"),
        ({"categorical": {"user": 0}}, "'user' needs a number of buckets of 1 to"),
        ({"categorical": {"user": "words"}}, "not 'words'"),
        ({"categorical": {"user": True}}, "not True"),
        ({"categorical": {"user": 10**10}}, "1 to 2147483645, or"),
        ({"dense": "price"}, r"write dense=\('price',\)"),
        ({"categorical": {"a": 3}, "dense": ["a"]}, "'a' is named twice"),
        ({"dense": ["a", "a"]}, "'a' is named twice"),
        ({"categorical": {"a": 3}, "embedding": 0}, "length of at least 1, not 0"),
        ({"categorical": {"a": 3}, "embedding": {"b": 3}}, "needs the categorical field 'b'"),
        ({"categorical": {"a": 3}, "min_count": 0}, "min_count"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises((ConfigError, LogError), match=message):
        Fields(**settings)


def test_fields_cannot_be_changed_from_outside():
    given_fields = {"a": 3}
    fields = Fields(categorical=given_fields)
    given_fields["b"] = 4
    assert fields.names == ("a",)


def test_the_encoder_survives_json():
    log = log_of(ad=np.array(["a", "b", "a", None], dtype=object), user=[1, 2, 3, 1], price=[0.1, np.nan, 3.0, 4.0])
    encoder = Fields(categorical={"ad": "vocabulary", "user": 7}, dense=("price",), embedding={"user": 3}, min_count=1).fit(log)
    back = FieldEncoder.from_state(json.loads(json.dumps(encoder.state())))
    assert back.fields == encoder.fields
    assert (back.sizes, back.lengths, back.n_dense) == (encoder.sizes, encoder.lengths, encoder.n_dense) == ((4, 9), (16, 3), 2)
    np.testing.assert_array_equal(back.codes(log), encoder.codes(log))
    np.testing.assert_array_equal(back.numbers(log), encoder.numbers(log))


def test_a_frame_with_pandas_types_is_read():
    frame = pd.DataFrame({"page": [0, 1, 2], "item": [1, 1, 1], "ad": pd.Categorical(["a", "b", None]), "price": [1.0, 2.0, 3.0]})
    log = ClickLog.from_frame(frame)
    fields = Fields(categorical={"ad": "vocabulary"}, dense=("price",), min_count=1)
    assert sorted(codes(fields, log, log)) == [MISSING, FIRST, FIRST + 1]


# Tables and towers


def test_fields_of_one_length_share_a_table_and_are_looked_up_by_their_own_rows():
    tables = FieldTables([3, 4, 5], [2, 6, 2])
    assert {name: tuple(table.weight.shape) for name, table in tables.tables.items()} == {"2": (8, 2), "6": (4, 6)}
    rows = torch.tensor([[2, 3, 4], [0, 0, 0]])
    two, six = tables.tables["2"].weight, tables.tables["6"].weight
    np.testing.assert_array_equal(tables(rows)[0, 0].detach(), torch.cat([two[2], two[3 + 4], six[3]]).detach())
    np.testing.assert_array_equal(tables(rows)[1, 0].detach(), torch.cat([two[0], two[3], six[0]]).detach())


def test_gradients_are_sparse():
    tables = FieldTables([1000], [4])
    tables(torch.tensor([[3], [3], [9]])).sum().backward()
    gradient = tables.tables["4"].weight.grad
    assert gradient.is_sparse
    assert gradient.coalesce().indices().tolist() == [[3, 9]]


def test_rows_without_a_training_impression_get_the_average_row():
    tables = FieldTables([4, 3], [2, 2])
    before = tables.tables["2"].weight.detach().clone()
    tables.fill(np.array([[2, 1], [2, 1], [3, 1]]))
    after = tables.tables["2"].weight.detach()
    mean = (2 * before[2] + before[3]) / 3
    np.testing.assert_allclose(after[:2], torch.stack([mean, mean]), rtol=1e-6)
    np.testing.assert_array_equal(after[2:4], before[2:4])
    np.testing.assert_allclose(after[4:], before[5].expand(3, 2), rtol=1e-6)


def test_a_linear_tower_is_a_weight_a_value_and_a_weight_a_number():
    network = FieldNetwork([3, 4], [16, 16], 2, (), [0.5, -1.0], shared=True)
    with torch.no_grad():
        network.embedding.tables["1"].weight.copy_(torch.arange(14.0).reshape(7, 2))
        network.towers[1].weight.copy_(torch.tensor([[10.0, 100.0]]))
        network.towers[1].bias.fill_(3.0)
    logits, embedded = network(torch.tensor([[2, 1]]), torch.tensor([[1.0, 2.0]]))
    assert logits.tolist() == [[4 + 8 + 0.5, 5 + 9 + 10 + 200 + 3 - 1]]
    assert embedded.tolist() == [[[4, 8], [5, 9]]]


@pytest.mark.parametrize("shared", [True, False])
def test_towers_share_embeddings_only_if_told_to(shared):
    network = FieldNetwork([6], [4], 1, (8,), [0.0, 0.0], shared=shared)
    logits, _ = network(torch.tensor([[2], [3]]), torch.zeros(2, 1))
    logits[:, 0].sum().backward()
    gradient = network.embedding.tables["4"].weight.grad.coalesce().values()
    assert gradient.shape == (2, 4 if shared else 8)
    if not shared:
        assert (gradient[:, :4] != 0).any()
        assert (gradient[:, 4:] == 0).all()


def test_each_tower_of_unshared_embeddings_reads_its_own():
    network = FieldNetwork([6, 5], [4, 3], 0, (8,), [0.0, 0.0, 0.0], shared=False)
    rows = torch.tensor([[2, 4]])
    looked_up = network.embedding(rows)
    four, three = (network.embedding.tables[name].weight[row].reshape(3, -1) for name, row in (("4", 2), ("3", 4)))
    np.testing.assert_array_equal(looked_up[0].detach(), torch.cat([three, four], 1).detach())  # shorter ones first


def test_a_constant_number_stays_itself_whatever_rounding_leaves():
    for value in (0.1, 0.3, 1e6 + 0.1):
        log = ClickLog(np.arange(1001), {"item": np.zeros(1000, dtype=int), "price": np.full(1000, value)})
        encoder = Fields(dense=("price",)).fit(log)
        np.testing.assert_allclose(encoder.numbers(log), 0, atol=1e-9)
        other = log.with_columns(price=np.full(1000, value + 0.1))
        np.testing.assert_allclose(encoder.numbers(other), 0.1, rtol=1e-3)


def test_numbers_of_numpy_can_be_saved():
    state = (
        Fields(categorical={"item": np.int64(5)}, min_count=np.int64(2)).fit(ClickLog(np.array([0, 1]), {"item": np.array([0])})).state()
    )
    assert json.loads(json.dumps(state))["categorical"] == {"item": 5}
