"""Fitted models on disk: a folder of model.json and model.safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ultr.errors import ConfigError, FileError, UltrError

if TYPE_CHECKING:
    from ultr.models.network import Model
    from ultr.models.ranker import NeuralRanker

VERSION = 1
_FORMAT = "ultr model"


def load(path: str | Path) -> NeuralRanker:
    """Read what a fitted object's `save` has written.

    Loading imports the module that defines the model's settings and builds the network from them; it runs nothing else.

    Args:
        path: The folder.

    Raises:
        FileError: there is no model, it is damaged, or a newer version of ultr wrote it.
    """
    folder = Path(path)
    header = _header(folder)
    kinds = {"neural ranker": load_ranker}
    if header.get("kind") not in kinds:
        raise FileError(f"{folder / 'model.json'}: unknown kind of model {header.get('kind')!r}. Known: {', '.join(kinds)}.")
    return kinds[header["kind"]](folder, header)


def _header(folder: Path) -> dict:
    file = folder / "model.json"
    if not file.is_file():
        raise FileError(f"{folder} holds no model: {file} is missing. Give the folder that `save` or `ultr fit` wrote.")
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{file} is no valid JSON ({error}); the file is damaged.") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise FileError(f"{file} is not a model of ultr.")
    version = header.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise FileError(f"{file} was written by a newer version of ultr (format {version}; this one reads up to {VERSION}). Upgrade ultr.")
    return header


def save_ranker(ranker: NeuralRanker, path: str | Path) -> None:
    """Write a ranker; `NeuralRanker.save` documents it. The folder appears whole or not at all."""
    from safetensors.numpy import save_file

    folder = Path(path)
    if folder.exists() and not (folder / "model.json").is_file():
        raise FileError(f"{folder} exists and is no model: nothing was written. Give another path.")
    header = {
        "format": _FORMAT,
        "version": VERSION,
        "kind": "neural ranker",
        "model": describe_model(ranker.model),
        "n_features": len(ranker.scorer.mean),
        "feature_names": ranker.feature_names,
        "estimator": ranker.estimator,
        "propensity": None if ranker.propensity is None else [None if np.isnan(p) else float(p) for p in ranker.propensity],
        "curve": {
            "train": ranker.curve.train,
            "validation": ranker.curve.validation,
            "best_step": ranker.curve.best_step,
            "weight_decay": ranker.curve.weight_decay,
        },
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_file(
            {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in ranker.scorer.state_dict().items()},
            temporary / "model.safetensors",
        )
        (temporary / "model.json").write_text(json.dumps(header, indent=1), encoding="utf-8")
        temporary.chmod(0o755)
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            os.rename(folder, old / "old")
            os.rename(temporary, folder)
            shutil.rmtree(old)
        else:
            os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_ranker(folder: Path, header: dict) -> NeuralRanker:
    """Rebuild a neural ranker from its settings and weights."""
    import torch
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from ultr.models.network import Scorer
    from ultr.models.ranker import NeuralRanker
    from ultr.training.minimise import Curve
    from ultr.training.seeding import seeded_torch

    try:
        model = build_model(header["model"], folder)
        state = load_file(folder / "model.safetensors")
        n_features = header["n_features"]
        with seeded_torch(0, "load"):
            scorer = Scorer(model.build(n_features), np.zeros((1, n_features), dtype=np.float32))
        scorer.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()})
        curve = header["curve"]
        propensity = header["propensity"]
        return NeuralRanker(
            scorer.eval(),
            model,
            Curve(
                [tuple(point) for point in curve["train"]],
                [tuple(point) for point in curve["validation"]],
                curve["best_step"],
                curve["weight_decay"],
            ),
            None if propensity is None else np.array([np.nan if p is None else p for p in propensity]),
            tuple(header["feature_names"]) if header["feature_names"] else None,
            header["estimator"],
        )
    except UltrError:
        raise
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise FileError(f"{folder} holds a damaged model ({type(error).__name__}: {str(error).splitlines()[0]}).") from error


def describe_model(model: object) -> dict[str, object]:
    """Return {"type": "module:name", "settings": {name: value, ...}} of model settings, for JSON.

    Raises:
        ConfigError: the model is a module, is defined where no import finds it again, or has settings that JSON cannot hold.
    """
    kind = type(model)
    if not dataclasses.is_dataclass(model) or "." in kind.__qualname__ or kind.__module__ == "__main__":
        raise ConfigError(
            f"This ranker cannot be saved: its model {kind.__name__} is not a dataclass with build(n_features) in an importable module,"
            " so it could not be rebuilt. Wrap the network in one (see ultr/models/mlp.py)."
        )
    settings = {f.name: getattr(model, f.name) for f in dataclasses.fields(model) if f.init}
    for name, value in settings.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"This ranker cannot be saved: the setting {name!r} of its model {kind.__name__} is no number, string or tuple: {value!r}."
            ) from error
    return {"type": f"{kind.__module__}:{kind.__qualname__}", "settings": settings}


def build_model(description: dict, folder: Path) -> Model:
    """Undo `describe_model`; only a dataclass with `build` is ever called.

    Raises:
        FileError: the settings' class cannot be imported, or is no model.
    """
    module, _, name = str(description["type"]).partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise FileError(
            f"{folder}: the model's class {description['type']} cannot be imported ({error}). Put its module on the path."
        ) from error
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind) and hasattr(kind, "build")):
        raise FileError(f"{folder}: {description['type']} is no model settings class (a dataclass with build).")
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in description["settings"].items()}
    return cast("Model", kind(**settings))
