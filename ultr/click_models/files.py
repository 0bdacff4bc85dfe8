"""Fitted click models on disk: a folder of model.json and model.safetensors. Nothing is ever unpickled."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ultr.click_models.mixture import Mixture
from ultr.click_models.rates import Rates
from ultr.data.counts import PairParts, Pairs
from ultr.data.model_folder import damaged, digest_of, plain_ids, write_model
from ultr.errors import FileError, UltrError

if TYPE_CHECKING:
    from ultr.click_models.base import ClickModel
    from ultr.click_models.fitted import FittedClickModel


def save_click_model(fitted: FittedClickModel, path: str | Path) -> None:
    """Write a fitted click model; `FittedClickModel.save` documents it."""
    from safetensors.numpy import save

    pairs, keys = fitted.rates.pairs.parts(), np.asarray(fitted.rates.keys, dtype=np.int64)
    arrays = {"attraction": fitted.attractions, "pair_query": pairs.query, "pair_item": pairs.item, "keys": keys}
    arrays |= {"log_likelihoods": fitted.log_likelihoods, "objectives": fitted.objectives}
    arrays |= {} if fitted.satisfactions is None else {"satisfaction": fitted.satisfactions}
    arrays |= {} if fitted.propensity is None else {"propensity": fitted.propensity}
    content = save({name: np.ascontiguousarray(values) for name, values in arrays.items()})
    header = {
        "kind": "click model",
        "law": _described(fitted.model),
        "rates_by": list(fitted.rates.by),
        "n_rates": len(fitted.rates),
        "query_column": fitted.rates.pairs.query_column,
        "queries": plain_ids("queries", pairs.queries),
        "items": None if pairs.items is None else plain_ids("items", pairs.items),
        "prior": list(fitted.prior),
        "converged": bool(fitted.converged),
        "n_rows": float(fitted.n_rows),
        "digest": digest_of(content),
    }
    write_model(path, header, lambda folder: (folder / "model.safetensors").write_bytes(content))


def load_click_model(folder: Path, header: dict) -> FittedClickModel:
    """Rebuild a fitted click model from what stands in its folder."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from ultr.click_models.fitted import FittedClickModel

    try:
        content = (folder / "model.safetensors").read_bytes()
        if digest_of(content) != header["digest"]:
            raise FileError(f"{folder / 'model.safetensors'} is not what was saved; the file is damaged: restore it, or fit again.")
        arrays = load(content)
        items = None if header["items"] is None else np.array(header["items"], dtype=object)
        parts = PairParts(np.array(header["queries"], dtype=object), items, arrays["pair_query"], arrays["pair_item"])
        pairs = Pairs.of(header["query_column"], parts)
        return FittedClickModel(
            model=_law(header["law"]),
            rates=Rates.of(tuple(header["rates_by"]), pairs, arrays["keys"], header["n_rates"]),
            attractions=arrays["attraction"],
            satisfactions=arrays.get("satisfaction"),
            prior=(header["prior"][0], header["prior"][1]),
            log_likelihoods=arrays["log_likelihoods"],
            objectives=arrays["objectives"],
            converged=header["converged"],
            n_rows=header["n_rows"],
            propensity=arrays.get("propensity"),
        )
    except UltrError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OSError, SafetensorError) as error:
        raise damaged(folder, error) from error


def _described(law: ClickModel) -> dict[str, object]:
    """Return a law's name and parameters for JSON."""
    if isinstance(law, Mixture):
        return {"name": "Mixture", "models": [_described(model) for model in law.models], "weights": law.weights.tolist()}
    return {"name": type(law).__name__, **{f.name: np.asarray(getattr(law, f.name)).tolist() for f in fields(law)}}  # type: ignore[arg-type]


def _law(description: dict) -> ClickModel:
    """Undo `_described`; only the laws of this room are ever made."""
    from ultr import click_models

    settings = dict(description)
    name = settings.pop("name")
    if name not in click_models.__all__:
        raise FileError(f"The law {name!r} of a saved click model is not known. Known: {', '.join(click_models.__all__)}.")
    if name == "Mixture":
        settings["models"] = [_law(model) for model in settings["models"]]
    return getattr(click_models, name)(**settings)
