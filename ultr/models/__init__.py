"""Scoring networks as small settings with `build(n_features)`, and the fitted ranker that holds one."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Linear": "linear",
        "MLP": "mlp",
        "NeuralRanker": "ranker",
        "PositionLogits": "positions",
        "SetTransformer": "set_transformer",
        "WeightedClicks": "weighted_clicks",
        "fit_ranker": "fitting",
        "load": "files",
    },
)
