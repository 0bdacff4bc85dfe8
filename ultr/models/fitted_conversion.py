"""FittedConversion: probabilities of clicks and conversions of impressions; adds them to a log, saves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ultr.data.fields import FieldEncoder
from ultr.data.log import ClickLog
from ultr.data.model_folder import damaged, digest_of, write_model
from ultr.data.source import need_log
from ultr.errors import FileError, UltrError
from ultr.models.field_network import FieldNetwork
from ultr.models.trained import TrainedOnFields
from ultr.training.minimise import Curve
from ultr.training.seeding import seeded_torch

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1 << 16  # impressions at once


@dataclass(frozen=True, eq=False)
class FittedConversion(TrainedOnFields):
    """P(click), P(conversion | click) and their product, for every impression of a log, clicked or not.

    Args:
        network: The towers: click, conversion, and others that only training needed.
        encoder: Fields to numbers.
        towers: Hidden widths.
        curve: Learning curves.
        estimator: What fitted it, in words.
    """

    network: FieldNetwork
    encoder: FieldEncoder
    towers: tuple[int, ...]
    curve: Curve = field(default_factory=Curve)
    estimator: str = ""

    def __repr__(self) -> str:
        return f"FittedConversion({self.estimator}, fields {', '.join(self.fields.names)}, towers {self.towers})"

    def predict(self, log: ClickLog) -> pd.DataFrame:
        """Predict every row of a log.

        Args:
            log: Needs the columns of the fields only.

        Returns:
            One line a row, columns `click` = P(click), `conversion` = P(conversion | click), which stands for what would convert if it
            were clicked, and `click_and_conversion`, their product; float64.

        Raises:
            LogError: a field's column is missing, or a dense one is not finite.
        """
        import pandas as pd

        click, conversion = self._probabilities(need_log(log))
        return pd.DataFrame({"click": click, "conversion": conversion, "click_and_conversion": click * conversion})

    def apply(self, log: ClickLog) -> ClickLog:
        """Return the log with row columns `predicted_click`, `predicted_conversion` and `predicted_click_and_conversion`."""
        click, conversion = self._probabilities(need_log(log))
        return log.with_columns(predicted_click=click, predicted_conversion=conversion, predicted_click_and_conversion=click * conversion)

    def rank(self, log: ClickLog) -> ClickLog:
        """Return the log reranked by P(click and conversion); see `ClickLog.rerank`."""
        click, conversion = self._probabilities(need_log(log))
        return log.rerank(click * conversion)

    def save(self, path: str | Path) -> None:
        """Write a folder of model.json and model.safetensors; read it with `ultr.load`. Replaces a model that is there.

        Raises:
            FileError: the path is taken by something that is no model.
        """
        from safetensors.numpy import save

        content = save({name: tensor.contiguous().numpy() for name, tensor in self.network.state_dict().items()})
        curve = self.curve
        header = {
            "kind": "conversion",
            "fields": self.encoder.state(),
            "towers": list(self.towers),
            "n_towers": len(self.network.towers),
            "shared": self.network.shared,
            "estimator": self.estimator,
            "curve": [curve.train, curve.validation, curve.best_step, curve.weight_decay],
            "digest": digest_of(content),
        }
        write_model(path, header, lambda folder: (folder / "model.safetensors").write_bytes(content))

    def _probabilities(self, log: ClickLog) -> tuple[np.ndarray, np.ndarray]:
        by = self.estimator or "The model"
        codes = torch.from_numpy(self.encoder.codes(log, by))
        numbers = torch.from_numpy(self.encoder.numbers(log, by))
        out = np.empty((log.n_rows, 2))
        with torch.inference_mode():
            for start in range(0, log.n_rows, _BLOCK):
                rows = slice(start, start + _BLOCK)
                logits, _ = self.network(codes[rows].long(), numbers[rows])
                out[rows] = torch.sigmoid(logits[:, :2].double()).numpy()
        return out[:, 0], out[:, 1]


def load_conversion(folder: Path, header: dict) -> FittedConversion:
    """Rebuild a fitted conversion model from what stands in its folder."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = (folder / "model.safetensors").read_bytes()
        if digest_of(content) != header["digest"]:
            raise FileError(f"{folder / 'model.safetensors'} is not what was saved; the file is damaged: restore it, or fit again.")
        encoder, towers = FieldEncoder.from_state(header["fields"]), tuple(header["towers"])
        levels = [0.0] * header["n_towers"]
        with seeded_torch(0, "load"):
            network = FieldNetwork(encoder.sizes, encoder.lengths, encoder.n_dense, towers, levels, header["shared"])
        network.load_state_dict({name: torch.from_numpy(values) for name, values in load(content).items()})
        train, validation, best_step, weight_decay = header["curve"]
        curve = Curve([(s, v) for s, v in train], [(s, v) for s, v in validation], best_step, weight_decay)
        return FittedConversion(network.eval(), encoder, towers, curve, header["estimator"])
    except UltrError:
        raise
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise damaged(folder, error) from error
