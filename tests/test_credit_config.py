"""[credit] in a config: columns of credit by attribution rules, for a fit and for a comparison."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ultr
from ultr.attribution import LastTouch, TimeDecay
from ultr.cli import main
from ultr.commands.sources import open_data
from ultr.config import read_config
from ultr.errors import ConfigError

DATA = """
[data]
type = "ultr:read_table"
path = "touches.csv"
columns = {page = "journey", item = "channel"}
"""
CREDIT = """
[credit]
last = {type = "ultr.attribution:LastTouch"}
decay = {type = "ultr.attribution:TimeDecay", half_life = 2}
"""
MOAE = """
[estimators.moae]
type = "ultr.estimators:MoAE"
main = "last"
auxiliary = ["decay"]
fields = {type = "ultr:Fields", categorical = {item = "vocabulary"}}
training = {type = "ultr:Training", steps = 6, batch_pages = 64, check_every = 3}
"""
JUDGED = """
[metrics.auc]
type = "ultr.metrics:Predicted"
score = "auc"
label = "last"
predicted = "predicted_last"
[run]
seeds = 2
workers = 1
out = "compared"
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working directory of its own with 60 journeys of three touches, every other of which converts."""
    monkeypatch.chdir(tmp_path)
    touch = np.arange(180)
    columns = {"journey": touch // 3, "channel": [f"c{k % 5}" for k in touch], "time": touch % 3, "converted": (touch // 3) % 2}
    pd.DataFrame(columns).to_csv("touches.csv", index=False)


def config(*sections: str) -> Path:
    Path("c.toml").write_text("\n".join(sections))
    return Path("c.toml")


def test_a_config_adds_the_credits_that_python_adds():
    log = open_data(read_config(config(DATA, CREDIT)))
    plain = ultr.read_table("touches.csv", {"page": "journey", "item": "channel"})
    assert list(log.columns) == [*plain.columns, "last", "decay"]
    np.testing.assert_array_equal(log.columns["last"], LastTouch().credit(plain))
    np.testing.assert_array_equal(log.columns["decay"], TimeDecay(half_life=2).credit(plain))


def test_several_attributions_are_fitted_and_compared_from_a_table_of_touches(capsys):
    assert main(["fit", str(config(DATA, CREDIT, MOAE)), "--out", "fitted"]) == 0
    assert ultr.load("fitted/model").rules == ("last", "decay")
    test = DATA.replace("[data]", "[test]")
    assert main(["compare", str(config(DATA, test, CREDIT, MOAE, JUDGED))]) == 0
    assert np.isfinite(pd.read_parquet("compared/table.parquet")["mean"]).all()
    capsys.readouterr()


GRADED = '[data]\ntype = "ultr:synthetic_ranking"\nn_queries = 3\nn_items = 2\nn_features = 2'


@pytest.mark.parametrize(
    "sections, message",
    [
        ((GRADED, CREDIT), r"\[data\] is a graded set: leave \[credit\] out"),
        ((DATA, '[credit]\nlast = {type = "ultr.metrics:NDCG"}'), r"\[credit.last\] NDCG is no attribution rule"),
        (
            (DATA, '[credit]\ntime = {type = "ultr.attribution:LastTouch"}'),
            r"\[credit.time\] the log of \[data\] has a column 'time' already",
        ),
        ((DATA, '[credit]\nlast = "ultr.attribution:LastTouch"'), r"\[credit\] holds tables only, but 'last' is none"),
    ],
)
def test_what_gives_no_credit_is_refused(sections, message):
    with pytest.raises(ConfigError, match=message):
        open_data(read_config(config(*sections)))
