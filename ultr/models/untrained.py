"""A warning where a fit has come to nothing."""

from __future__ import annotations

import warnings

import numpy as np

from ultr.errors import UltrWarning
from ultr.training.minimise import Curve
from ultr.training.settings import Training

_ALIKE = 1e-4  # spread of logits below which predictions are called constant
SAMPLE = 4096  # rows that are looked at


def warn_untrained(by: str, curve: Curve, training: Training, logits: np.ndarray) -> None:
    """Warn where no step was better than the start on held-out rows, or where predictions are the same for all rows.

    Args:
        by: Name of the estimator.
        curve: Of its training.
        training: Settings of the loop.
        logits: Main predictions of some training rows, shape [n].
    """
    if curve.validation and curve.best_step == 0 and training.steps:
        warnings.warn(
            f"{by}: no step had a lower held-out loss than the weights before training, which were kept. Look at `history`: with little"
            " data lower learning_rate, look more often (check_every), or raise weight_decay a little.",
            UltrWarning,
            stacklevel=3,
        )
    elif len(logits) > 1 and float(np.std(logits)) < _ALIKE:
        strong = f"weight_decay={curve.weight_decay:g} may be too strong where labels are rare (try 1e-5)"
        why = strong if curve.weight_decay else "no field may tell rows apart"
        warnings.warn(
            f"{by}: predictions hardly differ from row to row. {why}, or {training.steps} steps too few.",
            UltrWarning,
            stacklevel=3,
        )
