"""MAC: clicks with credits by several rules; days in the order of time, values by their vocabularies."""

import json

import numpy as np
import pandas as pd
import pytest

from ultr.data.fields import Fields
from ultr.data.mac import CREDITS, FIELDS, load_mac
from ultr.errors import ConfigError, FileError
from ultr.estimators.multi_attribution.moae import MoAE
from ultr.training.settings import Training


def day(n=4, start=0, **changed):
    """Return n clicks with all columns of a file, those that are no flat columns too."""
    columns = {name: [f"{name}:{(start + i) % 3}" for i in range(n)] for name in ("user_id", *FIELDS)}
    columns |= {"first": [0.0, 1, 0, 0], "last": [0.0, 0, 1, 0], "linear": [0.0, 0.25, 0.75, 0], "mta": [0.0, 0.5, 0.5, 0]}
    columns |= {"ad_feat0_seq": [["x", "y"]] * n, "mm_feat0_seq": [[0.5, 0.25]] * n}
    return pd.DataFrame({name: values[:n] for name, values in columns.items()}).assign(**changed)


def vocabularies(folder):
    folder.mkdir(exist_ok=True)
    for name in ("user_id", *FIELDS):
        (folder / f"{name}.json").write_text(json.dumps({f"{name}:{i}": 10 + i for i in range(3)}))
    return folder


@pytest.fixture
def file(tmp_path):
    day().to_parquet(tmp_path / "train-00.parquet", row_group_size=3)
    return tmp_path / "train-00.parquet"


def test_a_file_with_its_vocabularies_by_hand(tmp_path, file):
    log = load_mac(file, vocabularies(tmp_path / "vocabs"))
    assert log.lengths.tolist() == [1, 1, 1, 1]
    assert set(log.columns) == {"item", "click", *CREDITS, *FIELDS}
    assert len(FIELDS) == 16
    assert log.columns["ad_feat3"].tolist() == [10, 11, 12, 10]
    assert log.columns["ad_feat3"].dtype == np.int32
    assert log.columns["linear"].tolist() == [0, 0.25, 0.75, 0]
    assert log.columns["click"].tolist() == [1, 1, 1, 1]
    assert log.page_columns["user"].tolist() == [10, 11, 12, 10]
    assert log.items.ids[log.columns["item"]].tolist() == [10, 11, 12, 10]


def test_values_stay_as_they_are_without_vocabularies(file):
    log = load_mac(file, fields=("ad_feat1",), credits=("last",))
    assert set(log.columns) == {"item", "click", "last", "ad_feat1"}
    assert log.columns["ad_feat1"].tolist() == ["ad_feat1:0", "ad_feat1:1", "ad_feat1:2", "ad_feat1:0"]
    assert log.items.ids.tolist() == ["ad_feat0:0", "ad_feat0:1", "ad_feat0:2"]


def test_days_are_read_in_the_order_of_time(tmp_path):
    for number, text in ((10, "late"), (2, "early"), (1, "first")):
        day(2, ad_feat1=text).to_parquet(tmp_path / f"train-{number}.parquet")
    for path in (tmp_path, tmp_path / "train-*.parquet"):
        log = load_mac(path, fields=("ad_feat1",))
        assert log.columns["ad_feat1"].tolist() == ["first", "first", "early", "early", "late", "late"]


def test_whole_numbers_have_vocabularies_too_and_values_may_be_missing(tmp_path):
    day(ad_feat1=pd.array([5, None, 6, 5], dtype="Int64")).to_parquet(tmp_path / "a.parquet")
    folder = vocabularies(tmp_path / "vocabs")
    (folder / "ad_feat1.json").write_text('{"5": 1, "6": 0}')
    np.testing.assert_array_equal(load_mac(tmp_path / "a.parquet", folder).columns["ad_feat1"], [1, np.nan, 0, 1])


def test_credits_are_kept_as_they_are(tmp_path):
    day(mta=[-0.5, 0, 2, 0]).to_parquet(tmp_path / "a.parquet")
    assert load_mac(tmp_path / "a.parquet").columns["mta"].tolist() == [-0.5, 0, 2, 0]


def test_other_columns_may_be_item_and_user(tmp_path, file):
    log = load_mac(file, fields=("ad_feat1",), item="ad_feat2", user="user_feat0")
    assert log.items.ids.tolist() == ["ad_feat2:0", "ad_feat2:1", "ad_feat2:2"]
    assert log.page_columns["user"][0] == "user_feat0:0"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mta": [0, 0, 0, np.inf]}, r"a.parquet, row 3: the credit 'mta' must be a finite number, not inf; 1 of 2 rows from row 2"),
        ({"last": [0, None, 0, 0]}, r"a.parquet, row 1: the credit 'last' must be a finite number, not (None|nan)"),
        ({"first": "yes"}, r"a.parquet: the credit 'first' must be a number, not (large_)?string"),
        ({"ad_feat1": ["ad_feat1:0", "ad_feat1:1", "ad_feat1:2", "new"]}, r"row 3: ad_feat1 new is not in the vocabulary ad_feat1.json"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_row(tmp_path, changed, message):
    day(**changed).to_parquet(tmp_path / "a.parquet", row_group_size=2)
    with pytest.raises(FileError, match=message):
        load_mac(tmp_path / "a.parquet", vocabularies(tmp_path / "vocabs"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"ad_feat1.json is no JSON"),
        ("[1]", r"ad_feat1.json must be an object, value -> number"),
        ("{}", r"ad_feat1.json must be an object, value -> number"),
        ('{"a": "b"}', r"ad_feat1.json: 'a' must have a whole number in 0..2147483647, not 'b'"),
        ('{"a": true}', r"'a' must have a whole number"),
        (None, r"There is no file .*ad_feat1.json"),
    ],
)
def test_a_wrong_vocabulary_is_named(tmp_path, file, text, message):
    folder = vocabularies(tmp_path / "vocabs")
    (folder / "ad_feat1.json").unlink()
    if text is not None:
        (folder / "ad_feat1.json").write_text(text)
    with pytest.raises(FileError, match=message):
        load_mac(file, folder)


def test_wrong_files_are_named(tmp_path, file):
    with pytest.raises(FileError, match="The path of a file or folder is needed"):
        load_mac(file, 3)
    with pytest.raises(FileError, match=r"There is no file .*train-01.parquet"):
        load_mac(tmp_path / "train-01.parquet")
    with pytest.raises(ConfigError, match=r"no file matches .*test-\*.parquet"):
        load_mac(tmp_path / "test-*.parquet")
    day().drop(columns="mta").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(FileError, match=r"b.parquet has no column 'mta'. .*It has: "):
        load_mac(tmp_path / "b.parquet")
    day(0).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(FileError, match=r"c.parquet has no rows"):
        load_mac(tmp_path / "c.parquet")
    (tmp_path / "d.parquet").write_bytes(file.read_bytes()[:-20])
    with pytest.raises(FileError, match=r"d.parquet cannot be read as Parquet"):
        load_mac(tmp_path / "d.parquet")


@pytest.mark.parametrize("settings", [{"fields": "ad_feat1"}, {"fields": ()}, {"credits": ("click",)}, {"credits": [1]}])
def test_wrong_settings_are_named(file, settings):
    with pytest.raises(ConfigError, match=f"load_mac: {next(iter(settings))} "):
        load_mac(file, **settings)


def test_an_estimator_reads_credits_and_fields(tmp_path, file):
    log = load_mac(file, vocabularies(tmp_path / "vocabs"))
    settings = {"main": "last", "auxiliary": ("first", "linear", "mta"), "fields": Fields(categorical={"ad_feat1": "vocabulary"})}
    fitted = MoAE(**settings, training=Training(steps=2, validation=0)).fit(log)
    assert list(fitted.predict(log).columns) == ["last", "first", "linear", "mta"]
