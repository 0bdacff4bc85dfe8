"""FittedAttribution: the credit that several attribution rules would give a touch; adds it to a log, saves."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ultr.data.fields import FieldEncoder
from ultr.data.log import ClickLog
from ultr.data.model_folder import damaged, digest_of, write_model
from ultr.data.source import need_log
from ultr.errors import ConfigError, FileError, UltrError
from ultr.models.attribution_network import AttributionNetwork, Shape
from ultr.models.trained import TrainedOnFields
from ultr.training.minimise import Curve
from ultr.training.seeding import seeded_torch

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1 << 16  # touches at once


@dataclass(frozen=True, eq=False)
class FittedAttribution(TrainedOnFields):
    """Predicted credit of a touch by each rule, in (0, 1).

    Args:
        network: What predicts it.
        encoder: Fields to numbers.
        rules: Names of the views, the main one first.
        curve: Learning curves, of the loss of the main view.
        estimator: What fitted it, in words.
    """

    network: AttributionNetwork
    encoder: FieldEncoder
    rules: tuple[str, ...]
    curve: Curve = field(default_factory=Curve)
    estimator: str = ""

    def __repr__(self) -> str:
        return f"FittedAttribution({self.estimator}, {', '.join(self.rules)}; fields {', '.join(self.fields.names)})"

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters, embeddings apart."""
        return sum(p.numel() for p in self.network.dense_parameters())

    def predict(self, log: ClickLog) -> pd.DataFrame:
        """Predict every row of a log.

        Args:
            log: Needs the columns of the fields only.

        Returns:
            One line a row, a column a rule, the main one first: the mean credit (labels="soft") or P(any credit) ("binary"); float64.

        Raises:
            LogError: a field's column is missing, or a dense one is not finite.
        """
        import pandas as pd

        return pd.DataFrame(self._credit(need_log(log)), columns=list(self.rules))

    def apply(self, log: ClickLog) -> ClickLog:
        """Return the log with a row column `predicted_RULE` for each rule."""
        credit = self._credit(need_log(log))
        return log.with_columns(**{f"predicted_{name}": credit[:, v] for v, name in enumerate(self.rules)})

    def rank(self, log: ClickLog) -> ClickLog:
        """Return the log reranked by the credit of the main rule; see `ClickLog.rerank`."""
        return log.rerank(self._credit(need_log(log))[:, 0])

    def save(self, path: str | Path) -> None:
        """Write a folder of model.json and model.safetensors; read it with `ultr.load`. Replaces a model that is there.

        Raises:
            FileError: the path is taken by something that is no model.
            ConfigError: the network's class is defined where no import finds it again.
        """
        from safetensors.numpy import save

        kind = type(self.network)
        if "." in kind.__qualname__ or kind.__module__ == "__main__":
            raise ConfigError(
                f"This model cannot be saved: {kind.__qualname__} stands in no importable module, so it could not be rebuilt."
            )
        content = save({name: tensor.contiguous().numpy() for name, tensor in self.network.state_dict().items()})
        header = {
            "kind": "attribution",
            "network": f"{kind.__module__}:{kind.__qualname__}",
            "shape": asdict(self.network.shape),
            "fields": self.encoder.state(),
            "rules": list(self.rules),
            "estimator": self.estimator,
            "curve": [self.curve.train, self.curve.validation, self.curve.best_step, self.curve.weight_decay],
            "digest": digest_of(content),
        }
        write_model(path, header, lambda folder: (folder / "model.safetensors").write_bytes(content))

    def _credit(self, log: ClickLog) -> np.ndarray:
        by = self.estimator or "The model"
        codes, numbers = torch.from_numpy(self.encoder.codes(log, by)), torch.from_numpy(self.encoder.numbers(log, by))
        out = np.empty((log.n_rows, len(self.rules)))
        with torch.inference_mode():
            for start in range(0, log.n_rows, _BLOCK):
                rows = slice(start, start + _BLOCK)
                logits = self.network(codes[rows].long(), numbers[rows])[: len(self.rules)]
                out[rows] = torch.sigmoid(torch.cat(logits, dim=1).double()).numpy()
        return out


def load_attribution(folder: Path, header: dict) -> FittedAttribution:
    """Rebuild a fitted attribution model from what stands in its folder; only a subclass of AttributionNetwork is ever called."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = (folder / "model.safetensors").read_bytes()
        if digest_of(content) != header["digest"]:
            raise FileError(f"{folder / 'model.safetensors'} is not what was saved; the file is damaged: restore it, or fit again.")
        encoder = FieldEncoder.from_state(header["fields"])
        found = header["shape"]
        tuples = {name: tuple(found[name]) for name in ("sizes", "lengths", "heads", "tower")}
        shape = Shape(n_dense=found["n_dense"], experts=found["experts"], expert=found["expert"], **tuples)
        with seeded_torch(0, "load"):
            network = _network(header["network"], folder)(shape)
        network.load_state_dict({name: torch.from_numpy(values) for name, values in load(content).items()})
        train, validation, best_step, weight_decay = header["curve"]
        curve = Curve([(s, v) for s, v in train], [(s, v) for s, v in validation], best_step, weight_decay)
        return FittedAttribution(network.eval(), encoder, tuple(header["rules"]), curve, header["estimator"])
    except UltrError:
        raise
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise damaged(folder, error) from error


def _network(name: str, folder: Path) -> type[AttributionNetwork]:
    module, _, qualname = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), qualname)
    except (ImportError, AttributeError, ValueError) as error:
        raise FileError(f"{folder}: the network's class {name} cannot be imported ({error}). Put its module on the path.") from error
    if not (isinstance(kind, type) and issubclass(kind, AttributionNetwork)):
        raise FileError(f"{folder}: {name} is no AttributionNetwork.")
    return kind
