"""Conversions and attributions from a table or a published file through a config: fit, apply, and what is wrong said in one line."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ultr
from ultr.cli import main
from ultr.config import read_config

TABLE = """
[data]
type = "ultr:read_table"
path = "PATH"
columns = {page = "request", item = "ad", click = "clicked", conversion = "bought"}
"""
FIELDS = 'fields = {type = "ultr.data.fields:Fields", categorical = {item = "vocabulary", user = 20}, dense = ["price"]}'
TRAINING = 'training = {type = "ultr:Training", steps = 6, batch_pages = 64, check_every = 3}'
ESMM = f"""
[estimator]
type = "ultr.estimators.conversion.esmm:ESMM"
towers = []
{FIELDS}
{TRAINING}
"""
MOAE = f"""
[estimators.moae]
type = "ultr.estimators.multi_attribution.moae:MoAE"
main = "last"
auxiliary = ["linear"]
{FIELDS}
{TRAINING}
"""


def impressions(n: int = 200) -> pd.DataFrame:
    """Every other impression is clicked, and every fourth converts."""
    i = np.arange(n)
    frame = {"request": i, "ad": [f"ad{k % 5}" for k in i], "user": i % 9, "price": i % 7 / 2, "clicked": i % 2, "bought": (i % 4 == 1) * 1}
    return pd.DataFrame(frame).assign(last=lambda f: f["bought"] * 1.0, linear=lambda f: f["bought"] / 2)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working directory of its own with the table in three formats, and a search path that is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    impressions().to_csv("conversions.csv", index=False)
    impressions().to_csv("conversions.tsv.gz", sep="\t", index=False)
    impressions().to_parquet("conversions.parquet")


def config(*sections: str, path: str = "conversions.csv") -> str:
    Path("c.toml").write_text("\n".join(sections).replace("PATH", path))
    return "c.toml"


@pytest.fixture
def run(capsys):
    """Run a command in this process and return its standard output."""

    def run_command(*argv: str) -> str:
        capsys.readouterr()
        status = main(argv)
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return run_command


@pytest.fixture
def refused(capsys):
    """Run a command that must refuse its input in one line, with status 2 and no traceback, and return the line."""

    def run_command(*argv: str) -> str:
        capsys.readouterr()
        status = main(argv)
        out, err = capsys.readouterr()
        assert (status, out, "Traceback" in err) == (2, "", False)
        assert err.startswith("ultr: ")
        assert err.count("\n") == 1
        return err

    return run_command


# Describe and compare


def test_a_description_says_what_every_conversion_estimator_would_refuse(run, refused):
    assert "every conversion estimator can be fitted" in run("describe", config(TABLE))
    for bought in ({0: 1}, {1: 3}, dict.fromkeys(range(200), 0)):
        frame = impressions()
        frame.loc[list(bought), "bought"] = list(bought.values())
        frame.to_csv("wrong.csv", index=False)
        c = config(TABLE, ESMM, path="wrong.csv")
        described, why = run("describe", c), refused("fit", c, "--out", "fitted")
        assert f"No conversion estimator can be fitted: {why.removeprefix('ultr: ').replace('ESMM', 'a conversion estimator')}" in described
        assert "Nothing is missing" not in described


JUDGED = """
[metrics.clicked]
type = "ultr.metrics:Predicted"
score = "auc"
rows = "clicked"
[metrics.by_device]
type = "ultr.metrics:Predicted"
score = "group_auc"
predicted = "predicted_click_and_conversion"
groups = "device"
[metrics.clicks]
type = "ultr.metrics:Predicted"
score = "log_loss"
label = "click"
[run]
seeds = 2
workers = 1
out = "compared"
"""
TEST = TABLE.replace("[data]", "[test]").replace("PATH", "test.csv")
ESTIMATORS = ESMM.replace("[estimator]", "[estimators.esmm]") + ESMM.replace("[estimator]", "[estimators.naive]").replace(
    "esmm:ESMM", "naive_cvr:NaiveCVR"
)


def test_conversions_are_compared_on_a_table_of_their_own(run):
    device = np.array(["ios", None, "web"], dtype=object)[np.arange(200) % 3]
    impressions().assign(device=device, position=0).to_csv("test.csv", index=False)
    out = run("compare", config(TABLE, TEST, ESTIMATORS, JUDGED))
    assert re.search(r"\nby_device\nesmm ", out)
    table = pd.read_parquet("compared/table.parquet")
    assert np.isfinite(table["mean"]).all()
    assert len(table) == 6


@pytest.mark.parametrize(
    "sections, message",
    [
        ((TABLE, ESTIMATORS, JUDGED + "test = 0.3"), "[data] is a log of impressions: give [test] a log of its own, such as a table"),
        ((TABLE, ESTIMATORS, JUDGED), "There is nothing to test on: give [test] a log of its own"),
        ((TABLE, TEST, ESTIMATORS, JUDGED.replace('"click"', '"conv"')), "lacks. Did you mean 'conversion'? It has: item"),
        ((TABLE, TEST, ESTIMATORS), "Predictions are judged by ultr.metrics:Predicted, against one of these columns."),
        ((TABLE, TEST, ESTIMATORS, JUDGED.replace("seeds = 2", "seeds = [1180591620717411303424]")), "seeds must be below 2^63"),
        ((TABLE, TEST, ESTIMATORS, JUDGED.replace("seeds = 2", "seeds = 1180591620717411303424")), "seeds must be a sequence of integers"),
        ((TABLE, TEST, ESTIMATORS, JUDGED.replace('"device"', '["device"]')), "[metrics.by_device] Predicted: groups must be text"),
    ],
)  # fmt: skip
def test_a_comparison_of_conversions_says_what_it_needs(refused, sections, message):
    impressions().to_csv("test.csv", index=False)
    assert message in refused("compare", config(*sections))


# Fit and apply


@pytest.mark.parametrize("path", ["conversions.csv", "conversions.tsv", "conversions.parquet"])
def test_a_conversion_estimator_is_fitted_and_applied(run, path):
    c = config(TABLE, ESMM, path=path)
    out = run("fit", c, "--out", "fitted")
    assert "ESMM: fitted on 200 pages with seed 0" in out
    assert "Written to fitted: model, history.csv" in out
    log = ultr.read_table(path, {"page": "request", "item": "ad", "click": "clicked", "conversion": "bought"})
    applied = ultr.load("fitted/model").apply(log)
    click, conversion, both = (applied.columns[f"predicted_{name}"] for name in ("click", "conversion", "click_and_conversion"))
    np.testing.assert_allclose(both, click * conversion)
    assert ((both > 0) & (both < np.minimum(click, conversion))).all()
    assert applied.columns["conversion"].tolist() == impressions()["bought"].tolist()


def test_the_three_formats_of_a_table_give_the_same_fit(run):
    for path in ("conversions.csv", "conversions.tsv", "conversions.parquet"):
        run("fit", config(TABLE, ESMM, path=path), "--out", path.replace(".", "_"))
    histories = [Path(folder, "history.csv").read_text() for folder in ("conversions_csv", "conversions_tsv", "conversions_parquet")]
    assert histories[0] == histories[1] == histories[2]


def test_the_config_fits_what_python_fits(run):
    run("fit", config(TABLE, ESMM), "--out", "fitted")
    log = ultr.read_table("conversions.csv", {"page": "request", "item": "ad", "click": "clicked", "conversion": "bought"})
    estimator = ultr.config.build(read_config("c.toml").table("estimator", "the test"), "estimator", call=True)
    pd.testing.assert_frame_equal(estimator.fit(log, seed=0).predict(log), ultr.load("fitted/model").predict(log))
    assert estimator.fields == ultr.data.fields.Fields(categorical={"item": "vocabulary", "user": 20}, dense=("price",))


def test_conversions_are_scored(run):
    c = config(TABLE, ESMM)
    run("fit", c, "--out", "fitted")
    run("score", "fitted", c, "--out", "scores.csv")
    scores = pd.read_csv("scores.csv")
    assert list(scores["item"]) == list(impressions()["ad"])
    assert len(scores) == 200


def test_a_multi_attribution_estimator_is_fitted_and_applied(run):
    assert "MoAE: fitted on 200 pages" in run("fit", config(TABLE, MOAE), "--out", "fitted")
    log = ultr.read_table("conversions.csv", {"page": "request", "item": "ad"})
    applied = ultr.load("fitted/model").apply(log)
    for rule in ("last", "linear"):
        assert ((applied.columns[f"predicted_{rule}"] > 0) & (applied.columns[f"predicted_{rule}"] < 1)).all()


def test_published_files_are_read_by_a_config(run):
    names = ["timestamp", "uid", "campaign", "conversion", "conversion_timestamp", "conversion_id", "attribution", "click", "click_pos"]
    names += ["click_nb", "cost", "cpo", "time_since_last_click", *(f"cat{i}" for i in range(1, 10))]
    n, clicked = 60, np.arange(60) % 2
    criteo = pd.DataFrame({name: np.arange(n) % 5 for name in names}).assign(timestamp=np.arange(n), click=clicked, attribution=0)
    converted = (np.arange(n) % 4 == 1) * 1
    criteo = criteo.assign(conversion=converted, conversion_id=np.where(converted, np.arange(n), -1), conversion_timestamp=99)
    criteo.to_csv("criteo.tsv", sep="\t", index=False)
    data = '[data]\ntype = "ultr.data.criteo_attribution:load_criteo_impressions"\npath = "criteo.tsv"\n'
    assert "fitted on 60 pages" in run("fit", config(data, ESMM.replace('"price"', '"cost"')), "--out", "fitted")
    clicks = impressions().rename(columns={"ad": "ad_feat0", "user": "user_id"})
    for day in range(2):
        clicks.to_parquet(f"train-0{day}.parquet")
    data = """
        [data]
        type = "ultr.data.mac:load_mac"
        path = "train-*.parquet"
        fields = ["price"]
        credits = ["last", "linear"]
    """
    assert "MoAE: fitted on 400 pages" in run("fit", config(data, MOAE), "--out", "attributed")


# One wrong input of each kind


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("clicked", 2, r"conversions.csv: click must be 0 or 1 .*: line 5, page 3 has 2"),
        ("bought", 7, "conversion must be 0 or 1: page 3, row 0 has 7"),
        ("bought", None, "conversion must be 0 or 1: page 3, row 0 has nan"),
        ("price", "dear", "price must be a number: page 3, row 0 has 'dear'"),
        ("price", np.inf, "price must be finite or missing: page 3, row 0 has inf"),
        ("ad", None, "column 'item' must not be missing: line 5"),
        ("request", 0, "Lines of a page must be adjacent"),
    ],
)
def test_a_wrong_value_of_a_table_is_named(refused, column, value, message):
    frame = impressions().astype(object)
    frame.loc[3, column] = value
    frame.to_csv("conversions.csv", index=False)
    said = refused("fit", config(TABLE, ESMM), "--out", "fitted")

    assert re.search(message, said), said
    assert not Path("fitted").exists()


def test_a_conversion_without_a_click_or_no_conversion_at_all_is_refused(refused):
    frame = impressions()
    frame.assign(bought=frame["clicked"] == 0).astype({"bought": int}).to_csv("conversions.csv", index=False)
    assert "a conversion needs a click: page 0, row 0 has 1; 100 of 200" in refused("fit", config(TABLE, ESMM))
    frame.assign(bought=0).to_csv("conversions.csv", index=False)
    assert "ESMM has nothing to learn from: conversion is 0 on all 200 rows" in refused("fit", config(TABLE, ESMM))


def test_a_credit_out_of_range_is_refused(refused):
    impressions().assign(linear=1.5).to_csv("conversions.csv", index=False)
    assert "linear must be a credit in [0, 1]: page 0, row 0 has 1.5" in refused("fit", config(TABLE, MOAE))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("conversions.csv", "conversion.csv", "[data] There is no conversion.csv"),
        ("conversions.csv", "conversions.xls", "[data] There is no conversions.xls"),
        ('"bought"', '"boughts"', "columns names 'boughts', which the file lacks. Did you mean 'bought'?"),
        (', conversion = "bought"', "", "ESMM needs the column 'conversion', which the log lacks"),
        (', item = "ad"', "", "Which column is the item?"),
        ('["price"]', '["prise"]', "ESMM needs the row or page column 'prise', which the log lacks. Did you mean 'price'?"),
        ('["price"]', '"price"', "[estimator.fields] Fields: dense must be a list, not 'price'"),
        ('item = "vocabulary"', 'item = "words"', "[estimator.fields] Fields: "),
        ("user = 20", "user = 0", "[estimator.fields] Fields: 'user' needs a number of buckets of 1 to"),
        ("user = 20", "price = 20", "[estimator.fields] Fields: 'price' is named twice"),
        (", dense", ", dens", "[estimator.fields] Fields has no setting 'dens'. Did you mean 'dense'?"),
        ("fields:Fields", "fields:Feilds", "[estimator.fields] ultr.data.fields has no 'Feilds'. Did you mean 'Fields'?"),
        (FIELDS, "", "[estimator] ESMM needs the setting fields"),
        (FIELDS, "fields = {categorical = {user = 3}}", "[estimator] ESMM: fields must be Fields"),
        ("towers = []", "towers = [0]", "[estimator] ESMM: towers are hidden layer widths of at least 1"),
        ("towers = []", "tower = []", "[estimator] ESMM has no setting 'tower'. Did you mean 'towers'?"),
        ("esmm:ESMM", "esm:ESMM", "ultr.estimators.conversion.esm"),
        ("steps = 6", "steps = 0", "[estimator.training] Training: steps must be"),
    ],
)
def test_a_wrong_setting_of_a_config_is_named(refused, old, new, message):
    c = config(TABLE, ESMM)
    text = Path(c).read_text()
    assert old in text
    Path(c).write_text(text.replace(old, new))
    assert message in refused("fit", c, "--out", "fitted")


def test_truncated_tables_are_refused(refused):
    whole = Path("conversions.parquet").read_bytes()
    Path("conversions.parquet").write_bytes(whole[: len(whole) // 2])
    assert "conversions.parquet cannot be read as Parquet" in refused("fit", config(TABLE, ESMM, path="conversions.parquet"))
    text = Path("conversions.csv").read_text()
    Path("conversions.csv").write_text(text[: text.rstrip().rindex(",")])
    assert "conversions.csv, line 201: the last line has no line end and 7 of 8 fields" in refused("fit", config(TABLE, ESMM))


def test_a_table_without_a_field_cannot_be_scored(run, refused):
    run("fit", config(TABLE, ESMM), "--out", "fitted")
    impressions().drop(columns="price").to_csv("conversions.csv", index=False)
    said = refused("score", "fitted", config(TABLE), "--out", "scores.csv")
    assert "ESMM needs the row or page column 'price', which the log lacks" in said
    assert not Path("scores.csv").exists()


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        ('type = "ultr.data.mac:load_mac"\npath = "none-*.parquet"', "There is no none-*.parquet"),
        ('type = "ultr.data.mac:load_mac"\npath = "conversions.parquet"', "conversions.parquet has no column 'user_id'"),
        ('type = "ultr.data.criteo_attribution:load_criteo_impressions"\npath = "conversions.tsv"', "has no column 'timestamp'"),
        (
            'type = "ultr.data.ali_ccp:load_ali_ccp"\nskeleton = "conversions.csv"\ncommon_features = "conversions.csv"',
            "conversions.csv, line 1: 8 fields where sample_id, click, purchase",
        ),
    ],
)
def test_a_wrong_published_file_is_named(refused, reader, message):
    assert message in refused("fit", config(f"[data]\n{reader}", ESMM), "--out", "fitted")
