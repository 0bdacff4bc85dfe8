"""What every fitted object that a loop has trained can tell about its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from ultr.data.fields import FieldEncoder, Fields
    from ultr.training.minimise import Curve


class Trained:
    """A fitted object with learning curves."""

    curve: Curve

    @property
    def history(self) -> pd.DataFrame:
        """Learning curves: columns step, split ("train" or "validation") and loss."""
        return self.curve.frame()

    @property
    def best_step(self) -> int:
        """The step whose weights were kept."""
        return self.curve.best_step


class TrainedOnFields(Trained):
    """A fitted object that reads fields."""

    encoder: FieldEncoder

    @property
    def fields(self) -> Fields:
        """Which columns it reads."""
        return self.encoder.fields
