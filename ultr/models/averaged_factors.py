"""Several factor models as one: the mean of their logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ultr.models.factors import FittedFactors


def averaged(models: Sequence[FittedFactors]) -> FittedFactors:
    """Return one model whose logit of each pair is the mean over models of the same users and items; its factors stand side by side."""
    n = len(models)
    user = np.concatenate([model.user[:, :-1] for model in models] + [sum(model.user[:, -1:] for model in models) / n], axis=1)
    item = np.concatenate([model.item[:, :-1] / n for model in models] + [sum(model.item[:, -1:] for model in models) / n], axis=1)
    bias = sum(model.bias for model in models) / n
    return replace(models[0], user=user.astype(np.float32), item=item.astype(np.float32), bias=bias)
