"""Fitted factors on disk: a folder of model.json and model.safetensors. Nothing is ever unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ultr.data.model_folder import damaged, digest_of, plain_ids, write_model
from ultr.errors import FileError, UltrError
from ultr.models.factors import FittedFactors
from ultr.training.minimise import Curve


def save_factors(fitted: FittedFactors, path: str | Path) -> None:
    """Write fitted factors; `FittedFactors.save` documents it."""
    from safetensors.numpy import save

    content = save({"user": np.ascontiguousarray(fitted.user), "item": np.ascontiguousarray(fitted.item)})
    header = {
        "kind": "factors",
        "users": plain_ids("users", fitted.users),
        "items": None if fitted.items is None else plain_ids("items", fitted.items),
        "bias": fitted.bias,
        "estimator": fitted.estimator,
        "probability": fitted.probability,
        "curve": {"train": fitted.curve.train, "validation": fitted.curve.validation, "best_step": fitted.curve.best_step},
        "digest": digest_of(content),
    }
    write_model(path, header, lambda folder: (folder / "model.safetensors").write_bytes(content))


def load_factors(folder: Path, header: dict) -> FittedFactors:
    """Rebuild fitted factors from what stands in their folder."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = (folder / "model.safetensors").read_bytes()
        if digest_of(content) != header["digest"]:
            raise FileError(f"{folder / 'model.safetensors'} is not what was saved; the file is damaged: restore it, or fit again.")
        arrays, curve = load(content), header["curve"]
        train, validation = ([(step, loss) for step, loss in curve[split]] for split in ("train", "validation"))
        return FittedFactors(
            users=np.array(header["users"]),
            items=None if header["items"] is None else np.array(header["items"]),
            user=arrays["user"],
            item=arrays["item"],
            bias=header["bias"],
            curve=Curve(train, validation, curve["best_step"]),
            estimator=header["estimator"],
            probability=header["probability"],
        )
    except UltrError:
        raise
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise damaged(folder, error) from error
