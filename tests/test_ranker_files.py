"""Saved rankers: what comes back, what is on disk, and every way in which a folder can be wrong."""

import json
import os
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import ultr
from ultr.errors import ConfigError, FileError, LogError
from ultr.estimators import DLA, IPS, Naive
from ultr.models import MLP
from ultr.testing import tiny_log

LOG = tiny_log()
QUICK = ultr.Training(steps=8, batch_pages=64, check_every=4)


class Network(nn.Module):
    def __init__(self, n_features, scale):
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.zeros(n_features)), scale

    def forward(self, features, mask):
        return self.scale * torch.tanh(features @ self.weight)


@dataclass(frozen=True)
class Mine:
    """A user's own settings; `type` is a name that the file must not stumble over."""

    type: str = "plain"
    scale: float = 2.0
    widths: tuple[int, ...] = (3, 4)
    made: int = field(default=7, init=False)

    def build(self, n_features):
        return Network(n_features, self.scale)


@dataclass(frozen=True)
class Unsaveable(Mine):
    function: object = print


@dataclass
class NoModel:
    """A dataclass without build."""

    def __post_init__(self):
        raise AssertionError("loading must not call this")


def called(*arguments, **settings):
    raise AssertionError("loading must not call this")


class Outer:
    @dataclass(frozen=True)
    class Inner(Mine):
        pass


def fit(model=None, log=LOG):
    return IPS(model=model or MLP((4,)), training=QUICK).fit(log)


@pytest.fixture
def saved(tmp_path):
    """A folder with a model, its header, and a function that changes the header."""
    fitted = fit()
    fitted.save(tmp_path / "model")
    header = json.loads((tmp_path / "model" / "model.json").read_text())

    def change(**values):
        (tmp_path / "model" / "model.json").write_text(json.dumps({**header, **values}))

    return SimpleNamespace(path=tmp_path / "model", header=header, change=change, fitted=fitted)


# There and back


def test_everything_comes_back(tmp_path):
    fitted = DLA(model=MLP((4, 3), dropout=0.1), training=replace(QUICK, weight_decay=(0.1, 0.0))).fit(LOG)
    fitted.save(tmp_path / "deep" / "model")
    loaded = ultr.load(tmp_path / "deep" / "model")
    np.testing.assert_array_equal(loaded.score_log(LOG), fitted.score_log(LOG))
    np.testing.assert_array_equal(loaded.propensity, fitted.propensity)
    assert loaded.curve == fitted.curve
    assert loaded.history.equals(fitted.history)
    assert (loaded.model, loaded.estimator, loaded.feature_names) == (MLP((4, 3), dropout=0.1), "DLA", None)
    assert not loaded.scorer.training
    loaded.save(tmp_path / "again")
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "deep" / "model" / name).read_bytes()


def test_unknown_positions_and_names_come_back(tmp_path):
    log = ultr.ClickLog(LOG.offsets, LOG.columns, LOG.page_columns, ultr.Items(LOG.items.features, names=("a", "b", "c")))
    log = log.with_columns(position=LOG.columns["position"] * 2)
    fitted = IPS(training=QUICK).fit(log)
    fitted.save(str(tmp_path / "model"))
    loaded = ultr.load(str(tmp_path / "model"))
    assert np.isnan(loaded.propensity).tolist() == [False, True, False, True, False, True, False, True, False]
    assert loaded.feature_names == ("a", "b", "c")
    with pytest.raises(LogError, match="It wants: a, b, c"):
        loaded.score_log(ultr.ClickLog(LOG.offsets, LOG.columns, {}, ultr.Items(LOG.items.features, names=("c", "b", "a"))))


def test_a_users_settings_come_back(tmp_path):
    fitted = fit(Mine(type="other", scale=3.0))
    fitted.save(tmp_path / "model")
    loaded = ultr.load(tmp_path / "model")
    assert loaded.model == Mine(type="other", scale=3.0)
    np.testing.assert_array_equal(loaded.score_log(LOG), fitted.score_log(LOG))


def test_loading_leaves_the_generators_as_they_were(saved):
    before = torch.get_rng_state()
    ultr.load(saved.path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_is_replaced_and_nothing_else_is(saved, tmp_path):
    other = fit(Mine())
    other.save(saved.path)
    assert ultr.load(saved.path).model == Mine()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep me")
    with pytest.raises(FileError, match="exists and is no model: nothing was written"):
        other.save(tmp_path / "notes")
    assert sorted(os.listdir(tmp_path)) == ["model", "notes"]  # no temporary folder is left
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep me"


# What is on disk


def test_the_folder_holds_json_and_safetensors_and_no_pickle(saved):
    assert sorted(os.listdir(saved.path)) == ["model.json", "model.safetensors"]
    weights = (saved.path / "model.safetensors").read_bytes()
    length = int.from_bytes(weights[:8], "little")
    assert set(json.loads(weights[8 : 8 + length])) >= {"mean", "scale"}
    assert saved.header["version"] == 1
    for file in saved.path.iterdir():
        data = file.read_bytes()
        assert b"pickle" not in data
        assert not data.startswith((b"\x80", b"PK"))


# What cannot be saved


@dataclass(frozen=True)
class Local(Mine):
    pass


def test_what_could_not_be_rebuilt_is_not_saved(tmp_path):
    @dataclass(frozen=True)
    class Local(Mine):
        pass

    for model, message in (
        (Network(3, 1.0), "its model Network is not a dataclass"),
        (Local(), "Local is not a dataclass with build.* in an importable module"),
        (Outer.Inner(), "Inner is not a dataclass with build.* in an importable module"),
        (Unsaveable(), "the setting 'function' of its model Unsaveable is no number, string or tuple"),
    ):
        with pytest.raises(ConfigError, match=message):
            fit(model).save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


# What is wrong with a folder


def test_there_is_no_model(tmp_path):
    with pytest.raises(FileError, match=r"holds no model: .*missing"):
        ultr.load(tmp_path / "nothing")
    (tmp_path / "model.json").write_text(json.dumps({"format": "something else", "version": 1}))
    with pytest.raises(FileError, match="is not a model of ultr"):
        ultr.load(tmp_path)
    (tmp_path / "model.json").write_text("[1, 2]")
    with pytest.raises(FileError, match="is not a model of ultr"):
        ultr.load(tmp_path)


@pytest.mark.parametrize("version", [2, 99])
def test_a_newer_version_is_refused(saved, version):
    saved.change(version=version)
    with pytest.raises(FileError, match=rf"newer version of ultr \(format {version}; this one reads up to 1\)"):
        ultr.load(saved.path)


def test_an_unknown_kind_is_refused(saved):
    saved.change(kind="forest")
    with pytest.raises(FileError, match="unknown kind of model 'forest'"):
        ultr.load(saved.path)


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.99])
def test_truncated_json_is_named(saved, keep):
    file = saved.path / "model.json"
    text = file.read_text()
    file.write_text(text[: int(keep if keep == 1 else keep * len(text))])
    with pytest.raises(FileError, match=r"model\.json is no valid JSON"):
        ultr.load(saved.path)


@pytest.mark.parametrize("keep", [0, 4, 0.3, 0.9, 0.999])
def test_truncated_weights_are_named(saved, keep):
    file = saved.path / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data) if keep < 1 else keep)])
    with pytest.raises(FileError, match=r"damaged model|is damaged"):
        ultr.load(saved.path)


@pytest.mark.parametrize("key", ["model", "n_features", "curve", "propensity", "feature_names", "estimator"])
def test_a_header_without_a_key_is_damaged(saved, key):
    del saved.header[key]
    saved.change()
    with pytest.raises(FileError, match=f"damaged model .*{key}"):
        ultr.load(saved.path)


@pytest.mark.parametrize("n_features", [2, 4, -1, "three"])
def test_weights_that_do_not_fit_are_named(saved, n_features):
    saved.change(n_features=n_features)
    with pytest.raises(FileError, match=r"damaged model|is damaged"):
        ultr.load(saved.path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("builtins:print", "is no model settings class"),
        ("os:system", "is no model settings class"),
        (f"{__name__}:called", "is no model settings class"),
        (f"{__name__}:NoModel", "is no model settings class"),
        (f"{__name__}:Network", "is no model settings class"),
        (f"{__name__}:Missing", "cannot be imported"),
        ("no_such_module_at_all:Model", "cannot be imported"),
        ("", "cannot be imported|damaged"),
    ],
)
def test_loading_calls_nothing_but_model_settings(saved, kind, message):
    saved.change(model={"type": kind, "settings": {}})
    with pytest.raises(FileError, match=message):
        ultr.load(saved.path)


def test_settings_that_the_class_does_not_know_are_damage(saved):
    saved.change(model={"type": "ultr.models.mlp:MLP", "settings": {"depth": 3}})
    with pytest.raises(FileError, match="depth"):
        ultr.load(saved.path)
    saved.change(model={"type": "ultr.models.mlp:MLP", "settings": {"hidden": []}})
    with pytest.raises(ValueError, match="hidden must be"):
        ultr.load(saved.path)


def test_naive_has_no_propensity_to_save(tmp_path):
    Naive(training=QUICK).fit(LOG).save(tmp_path / "model")
    assert ultr.load(tmp_path / "model").propensity is None


def test_one_flipped_byte_in_the_weights_is_noticed(tmp_path):
    path = tmp_path / "model"
    Naive(training=ultr.Training(steps=2)).fit(tiny_log(), seed=0).save(path)
    weights = bytearray((path / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (path / "model.safetensors").write_bytes(weights)
    with pytest.raises(FileError, match=r"model\.safetensors is not what was saved.*fit again"):
        ultr.load(path)


def test_half_a_model_says_which_file_is_missing(tmp_path):
    path = tmp_path / "model"
    Naive(training=ultr.Training(steps=2)).fit(tiny_log(), seed=0).save(path)
    (path / "model.safetensors").unlink()
    with pytest.raises(FileError, match=r"model\.safetensors is missing"):
        ultr.load(path)


def test_a_ranker_says_what_to_call_where_it_is_given_the_wrong_thing():
    log = tiny_log()
    ranker = Naive(training=ultr.Training(steps=2)).fit(log, seed=0)
    with pytest.raises(LogError, match="score_log"):
        ranker.score(log)
    with pytest.raises(LogError, match="from_frame"):
        Naive().fit(log.to_frame(), seed=0)
