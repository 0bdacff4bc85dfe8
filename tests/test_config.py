"""The strict TOML config: what values stand for, and what each mistake is told."""

import functools
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import ArrayLike

import ultr
from ultr.config import Run, build, read_config
from ultr.errors import ConfigError, FileError
from ultr.estimators import DLA, IPS
from ultr.hints import fits, takes_none, takes_text_only
from ultr.metrics import NDCG

MINE = """
from dataclasses import dataclass
from typing import Mapping, Sequence

def three_on_screen(batch):
    return batch

def on_screen(batch, fold=3, light=0.3):
    return batch, fold, light

def two_needed(batch, fold):
    return batch, fold

def no_arguments_needed(eta=1.0):
    return ("called", eta)

def texts(column: str, columns: Mapping[str, str] = {}, names: Sequence[str] = (), path: "str | None" = None):
    return column, columns, names, path

def anything(value):
    return value

class Box:
    def __init__(self, value=None):
        self.value = value

    @classmethod
    def of(cls, value):
        return cls(value)

@dataclass(frozen=True)
class Strict:
    size: int

    def __post_init__(self):
        if self.size > 3:
            raise ValueError("size is above 3.")
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, with the module `mine_for_config` in it, and a search path that is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mine_for_config", raising=False)
    (tmp_path / "mine_for_config.py").write_text(MINE)
    return tmp_path


def config(text: str):
    Path("c.toml").write_text(textwrap.dedent(text))
    return read_config("c.toml")


def mine(name: str, **settings: object) -> dict[str, object]:
    return {"type": f"mine_for_config:{name}", **settings}


# What values stand for


def test_a_table_with_type_is_called_with_its_other_keys_at_any_depth():
    value = {"type": "ultr.estimators:DLA", "max_weight": 7, "training": {"type": "ultr:Training", "steps": 3}}
    built = build(value, "estimators.dla", call=True)
    assert isinstance(built, DLA)
    assert (built.max_weight, built.training) == (7, ultr.Training(steps=3))


def test_a_string_module_name_is_the_object_itself_and_names_may_be_dotted():
    mine_for_config = __import__("mine_for_config")
    assert build("mine_for_config:three_on_screen", "x") is mine_for_config.three_on_screen
    assert build("ultr:load_svmrank", "x") is ultr.load_svmrank  # through the lazy attributes
    assert build(mine("Box.of", value=3), "x", call=True).value == 3


@pytest.mark.parametrize("text", ["C:/data/log", "a b:c", "12:30", "http://x", ":name", "module:", "a:b:c", "with: space", "plain"])
def test_other_text_with_a_colon_stays_text(text):
    assert build(mine("anything", value=text), "x", call=True) == text


def test_settings_that_take_text_only_never_become_objects():
    settings = {"column": "json:dumps", "columns": {"click": "json:dumps", "type": "json:dumps"}, "names": ["json:dumps"], "path": "a:b"}
    column, columns, names, path = build(mine("texts", **settings), "x", call=True)
    assert (column, columns, names, path) == tuple(settings.values())


def test_a_function_without_its_first_argument_is_bound():
    three_on_screen = build("mine_for_config:three_on_screen", "x")
    assert build(mine("three_on_screen"), "x") is three_on_screen
    bound = build(mine("on_screen", fold=5), "x")
    assert isinstance(bound, functools.partial)
    assert bound("batch") == ("batch", 5, 0.3)
    estimator = build({"type": "ultr.estimators:IPS", "propensity": mine("on_screen", light=0.5)}, "estimators.ips", call=True)
    assert isinstance(estimator, IPS)
    assert estimator.propensity("batch") == ("batch", 3, 0.5)


def test_a_function_that_needs_nothing_is_called():
    assert build(mine("no_arguments_needed"), "x") == ("called", 1.0)


def test_more_than_the_first_argument_missing_is_an_error_that_names_the_others_only():
    with pytest.raises(ConfigError, match=r"^\[x\] two_needed needs the setting fold\.$"):
        build(mine("two_needed"), "x")


def test_where_a_call_is_due_nothing_is_bound():
    with pytest.raises(ConfigError, match=r"^\[data\] load_svmrank needs the setting path\.$"):
        build({"type": "ultr:load_svmrank"}, "data", call=True)


def test_from_and_to_are_a_range_with_both_ends():
    assert build({"from": 10, "to": 12}, "x") == range(10, 13)
    assert build({"from": "a", "to": "b"}, "x") == {"from": "a", "to": "b"}
    with pytest.raises(ConfigError, match="nothing lies between"):
        build({"from": 3, "to": 2}, "x")


def test_none_is_none_where_a_setting_may_be_none_and_text_elsewhere():
    assert build({"type": "ultr.metrics:NDCG", "k": "none"}, "x", call=True) == NDCG(k=None)
    assert build({"type": "ultr.estimators:IPS", "normalise": "none"}, "x", call=True).normalise is None
    assert build(mine("anything", value="none"), "x", call=True) == "none"


def test_lists_are_built_entry_by_entry():
    built = build([mine("Box", value=1), "mine_for_config:Box", 2.5], "x")
    assert (built[0].value, built[1].__name__, built[2]) == (1, "Box", 2.5)


# What mistakes are told


def test_the_message_of_the_style_guide():
    with pytest.raises(ConfigError) as error:
        build({"type": "ultr.estimators:IPS", "clp": 3}, "estimators.ips", call=True)
    assert str(error.value).startswith(
        "[estimators.ips] IPS has no setting 'clp'. Did you mean 'clip'? Settings: propensity, clip, normalise, model, training, label"
    )


@pytest.mark.parametrize(
    "value, message",
    [
        ({"type": "ultr.estimators:DAL"}, r"\[e\] ultr\.estimators has no 'DAL'\. Did you mean 'DLA'\?"),
        ({"type": "ultr.estimator:DLA"}, r"\[e\] There is no module 'ultr\.estimator'.* Did you mean 'ultr\.estimators'\?"),
        ({"type": "mine_for_confg:Box"}, r"\[e\] There is no module 'mine_for_confg'.* Did you mean 'mine_for_config'\?"),
        ({"type": "mine_for_config:Bx"}, r"\[e\] mine_for_config \(.*mine_for_config\.py\) has no 'Bx'\. Did you mean 'Box'\?"),
        ({"type": "ultr:ParquetLog.opn"}, r"\[e\] ultr:ParquetLog has no 'opn'\. Did you mean 'open'\?"),
        ({"type": "DLA"}, r"\[e\] type must be \"module:name\", such as .*, not 'DLA'\."),
        ({"type": 3}, r"\[e\] type must be \"module:name\", such as .*, not 3\."),
        ({"type": "ultr:__version__"}, r"\[e\] type names '.*', which cannot be called"),
        ({"steps": 3}, r"\[e\] needs type = \"module:name\""),
        ("ultr.estimators:DLA", r"\[e\] needs type = \"module:name\""),
        ({"type": "ultr:Training", "steps": "many"}, r"\[e\] Training: steps must be a whole number, not 'many'\."),
        ({"type": "ultr:Training", "steps": True}, r"\[e\] Training: steps must be a whole number, not True\."),
        ({"type": "ultr:Training", "steps": 0}, r"\[e\] Training: steps must be .* at least 1, not 0\."),
        ({"type": "ultr:Training", "optimizer": "sgd"}, r"\[e\] Training: optimizer must be 'adam' or 'adagrad', not 'sgd'\."),
        ({"type": "ultr:Training", "patience": "no"}, r"\[e\] Training: patience must be a whole number or \"none\", not 'no'\."),
        ({"type": "ultr.estimators:DLA", "training": {"steps": 3}}, r"\[e\] DLA: training must be Training \(a table with type\), not"),
        ({"type": "ultr.estimators:DLA", "training": {"type": "ultr:Training", "stps": 3}}, r"\[e\.training\] Training has no .* 'stps'"),
        ({"type": "ultr:read_table", "path": "a.csv", "features": "bm25"}, r"\[e\] read_table: features must be a list, not 'bm25'\."),
        ({"type": "ultr:read_table", "path": ["a"]}, r"\[e\] read_table: path must be text or a path, not \['a'\]\."),
        ({"type": "mine_for_config:Strict", "size": 4}, r"\[e\] Strict: size is above 3\."),
        ({"type": "mine_for_config:Strict"}, r"\[e\] Strict needs the setting size\."),
        ({"type": "ultr:synthetic_ranking", "n_queries": 3, "n_items": 2, "n_features": 2, "seed": -1}, r"\[e\] .*seed must be .* -1\."),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(value, message):
    with pytest.raises(ConfigError, match=f"^{message}") as error:
        build(value, "e", call=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("x = 1 / 0", r"/.*mine_broken\.py, line 1: ZeroDivisionError: division by zero\."),
        ("def f(:", r"/.*mine_broken\.py, line 1: invalid syntax"),
        ("import no_such_module_at_all", "it needs 'no_such_module_at_all', which is missing"),
    ],
)
def test_a_module_that_cannot_be_imported_says_where_it_failed(place, text, message):
    (place / "mine_broken.py").write_text(text)
    with pytest.raises(ConfigError, match=rf"^\[x\] module 'mine_broken' cannot be imported: {message}"):
        build("mine_broken:f", "x")


@pytest.mark.parametrize(
    "text, message",
    [
        ("[data\ntype = 1", r"c\.toml is no valid TOML: .*line 1, column 6"),
        ("[data]\ntype = yes", r"c\.toml is no valid TOML: .*line 2, column 8"),
        ("[estimatrs.x]", r"unknown section \[estimatrs\]\. Did you mean 'estimators'\? Sections: data, test, "),
        ("seeds = 3", "unknown key 'seeds' outside of any section"),
        ("run = 3", r"run must be a section, \[run\], not 3"),
        ("[estimators]\ntype = 'ultr.estimators:DLA'", r"\[estimators\] holds tables only, but 'type' is none: write \[estimators\.NAME\]"),
    ],
)
def test_the_outline_is_checked_when_a_config_is_read(text, message):
    with pytest.raises(ConfigError, match=message) as error:
        config(text)
    assert "\n" not in str(error.value)


def test_a_missing_config_names_the_nearest_file_and_a_folder_is_none(place):
    config("[run]")
    with pytest.raises(FileError, match=r"There is no config cc\.toml\. Did you mean 'c\.toml'\?"):
        read_config("cc.toml")
    with pytest.raises(ConfigError, match="it is a folder"):
        read_config(place)


def test_modules_beside_the_config_are_found(place):
    (place / "inner").mkdir()
    (place / "inner" / "mine_beside_config.py").write_text("VALUE = 4")
    (place / "inner" / "c.toml").write_text("[run]")
    read_config("inner/c.toml")
    assert build("mine_beside_config:VALUE", "x") == 4


# [run]


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "bseline = 'x'",
            r"^\[run\] has no setting 'bseline'\. Did you mean 'baseline'\? Settings: seeds, baseline, workers, clicks, test",
        ),
        ("seeds = 'ten'", r"^\[run\]: seeds must be a whole number or a list, not 'ten'\."),
        ("seeds = ['a']", r"^\[run\]: seeds must be a whole number or a list, not \['a'\]\."),
        ("seeds = 0", r"^\[run\] seeds must be at least 1, not 0\."),
        ("seeds = []", r"^\[run\] seeds must be one or more whole numbers of at least 0, or how many, not \[\]\."),
        ("seeds = [3, -1]", r"^\[run\] seeds must be one or more whole numbers of at least 0, or how many, not \[3, -1\]\."),
        ("workers = 0", r"^\[run\] workers must be at least 1, not 0\."),
        ("clicks = 'varying'", r"^\[run\]: clicks must be 'vary' or 'fixed', not 'varying'\."),
        ("test = 1.5", r"^\[run\] test is a share .* in \(0, 1\), not 1\.5\."),
        ("judge_logged = 'yes'", r"^\[run\]: judge_logged must be true or false, not 'yes'\."),
    ],
)
def test_mistakes_in_run(text, message):
    with pytest.raises(ConfigError, match=message):
        config(f"[run]\n{text}").run()


@pytest.mark.parametrize("text, seeds", [("3", [0, 1, 2]), ("[4, 7]", [4, 7]), ("{from = 5, to = 6}", [5, 6])])
def test_seeds_are_a_number_a_list_or_a_range(text, seeds):
    assert list(config(f"[run]\nseeds = {text}").run().seed_list) == seeds


def test_run_has_defaults():
    assert config("").run() == Run()


# What parameters say that they take


@dataclass
class Settings:
    size: int = 3


@pytest.mark.parametrize(
    "value, hint, expected",
    [
        (3, float, True), (True, float, False), (2.5, int, False), (3, int | None, True), (None, int | None, True), (None, int, False),
        ("a", str | Path, True), (3, str | Path, False), ("a", Literal["a", "b"], True), ("c", Literal["a", "b"], False),
        ([1, 2], tuple[int, ...], True), ([1, "a"], tuple[int, ...], False), (3, tuple[int, ...], False),
        ([1.5], float | list[float], True),
        ({"a": "b"}, Mapping[str, str], True), ({"a": 3}, Mapping[str, str], False), ("a", Callable[[int], int], False),
        ([0.5], np.ndarray, True), ([0.5], ArrayLike, True), (0.5, Any, True), (0.5, "unevaluated", True), (0.5, Settings, False),
        (Settings(), int, True), (range(3), int | Sequence[int], True),
    ],
)  # fmt: skip
def test_values_that_fit_and_values_that_do_not(value, hint, expected):
    assert fits(value, hint) is expected


@pytest.mark.parametrize(
    "hint, text_only, none",
    [
        (str, True, False), (str | None, True, True), (str | Path, True, False), (Sequence[str], True, False), (Literal["a"], True, False),
        (Mapping[str, str] | None, True, True), (Mapping[str, object], False, False), (int | None, False, True), (Any, False, False),
        (Callable[[int], int] | str, False, False), (np.ndarray | str | None, False, True),
    ],
)  # fmt: skip
def test_what_takes_text_only_and_what_takes_none(hint, text_only, none):
    assert takes_text_only(hint) is text_only
    assert takes_none(hint) is none
