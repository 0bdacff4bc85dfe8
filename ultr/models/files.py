"""Fitted models on disk: a folder of model.json and model.safetensors (trees: model.txt). Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ultr.data.checks import need_path
from ultr.data.model_folder import damaged, digest_of, read_header, write_model
from ultr.errors import ConfigError, FileError, UltrError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ultr.click_models.fitted import FittedClickModel
    from ultr.models.factors import FittedFactors
    from ultr.models.fitted import FittedRanker
    from ultr.models.fitted_attribution import FittedAttribution
    from ultr.models.fitted_conversion import FittedConversion
    from ultr.models.network import Model
    from ultr.models.ranker import NeuralRanker
    from ultr.models.tree_ranker import TreeRanker
    from ultr.training.minimise import Curve

    Fitted = FittedRanker | FittedClickModel | FittedFactors | FittedConversion | FittedAttribution
    Loader = Callable[[Path, dict], Fitted]


def load(path: str | Path) -> Fitted:
    """Read what a fitted object's `save` has written.

    Loading imports the module that defines the model's settings and builds the network from them; it runs nothing else.

    Args:
        path: The folder.

    Raises:
        FileError: there is no model, it is damaged, or a newer version of ultr wrote it.
    """
    folder = need_path(path)
    header = read_header(folder)
    kinds: dict[str, Loader] = {
        "neural ranker": load_ranker,
        "tree ranker": load_trees,
        "click model": load_clicks,
        "factors": load_factors,
        "conversion": load_conversion,
        "attribution": load_attribution,
    }
    if header.get("kind") not in kinds:
        raise FileError(f"{folder / 'model.json'}: unknown kind of model {header.get('kind')!r}. Known: {', '.join(kinds)}.")
    return kinds[header["kind"]](folder, header)


def save_ranker(ranker: NeuralRanker, path: str | Path) -> None:
    """Write a ranker; `NeuralRanker.save` documents it."""
    from safetensors.numpy import save

    header = {"kind": "neural ranker", "model": describe_model(ranker.model), **describe_fit(ranker)}
    weights = save({name: tensor.detach().cpu().contiguous().numpy() for name, tensor in ranker.scorer.state_dict().items()})
    header["digest"] = digest_of(weights)
    write_model(path, header, lambda folder: (folder / "model.safetensors").write_bytes(weights))


def describe_fit(ranker: FittedRanker) -> dict[str, object]:
    """Return what the header of every ranker says about its fit, for JSON."""
    propensity, curve = ranker.propensity, ranker.curve
    return {
        "n_features": ranker.n_features,
        "feature_names": ranker.feature_names,
        "estimator": ranker.estimator,
        "propensity": None if propensity is None else [None if np.isnan(p) else float(p) for p in propensity],
        "curve": {
            "train": curve.train,
            "validation": curve.validation,
            "best_step": curve.best_step,
            "weight_decay": curve.weight_decay,
        },
    }


def read_fit(header: dict) -> tuple[Curve, np.ndarray | None, tuple[str, ...] | None, str]:
    """Undo `describe_fit`: curve, propensity, feature names, estimator."""
    from ultr.training.minimise import Curve

    curve, propensity, names = header["curve"], header["propensity"], header["feature_names"]
    train, validation = ([(step, loss) for step, loss in curve[split]] for split in ("train", "validation"))
    return (
        Curve(train, validation, curve["best_step"], curve["weight_decay"]),
        None if propensity is None else np.array([np.nan if p is None else p for p in propensity]),
        tuple(names) if names else None,
        header["estimator"],
    )


def load_ranker(folder: Path, header: dict) -> NeuralRanker:
    """Rebuild a neural ranker from its settings and weights."""
    import torch
    from safetensors import SafetensorError
    from safetensors.numpy import load as read_weights

    from ultr.models.network import Scorer
    from ultr.models.ranker import NeuralRanker
    from ultr.training.seeding import seeded_torch

    try:
        model = build_model(header["model"], folder)
        weights = (folder / "model.safetensors").read_bytes()
        if digest_of(weights) != header["digest"]:
            raise FileError(f"{folder / 'model.safetensors'} is not what was saved; the file is damaged: restore it, or fit again.")
        state = read_weights(weights)
        n_features = header["n_features"]
        with seeded_torch(0, "load"):
            scorer = Scorer(model.build(n_features), np.zeros((1, n_features), dtype=np.float32))
        scorer.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()})
        return NeuralRanker(scorer.eval(), model, *read_fit(header))
    except UltrError:
        raise
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise damaged(folder, error) from error


def load_trees(folder: Path, header: dict) -> TreeRanker:
    """Rebuild a tree ranker from LightGBM's own file."""
    from ultr.models.tree_ranker import TreeRanker

    try:
        text = (folder / "model.txt").read_text(encoding="utf-8")
        if digest_of(text.encode()) != header["digest"]:  # LightGBM may end the process over a damaged file
            raise FileError(f"{folder / 'model.txt'} is not what was saved; the file is damaged, or was edited: restore it, or fit again.")
        return TreeRanker(text, header["threads"], *read_fit(header))
    except UltrError:
        raise
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise damaged(folder, error) from error


def load_clicks(folder: Path, header: dict) -> FittedClickModel:
    """Rebuild a fitted click model."""
    from ultr.click_models.files import load_click_model

    return load_click_model(folder, header)


def load_factors(folder: Path, header: dict) -> FittedFactors:
    """Rebuild fitted factors."""
    from ultr.models import factor_files

    return factor_files.load_factors(folder, header)


def load_conversion(folder: Path, header: dict) -> FittedConversion:
    """Rebuild a fitted conversion model."""
    from ultr.models import fitted_conversion

    return fitted_conversion.load_conversion(folder, header)


def load_attribution(folder: Path, header: dict) -> FittedAttribution:
    """Rebuild a fitted multi-attribution model."""
    from ultr.models import fitted_attribution

    return fitted_attribution.load_attribution(folder, header)


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
