"""Estimators, one method a file: frozen settings with `fit(log, seed=)` that returns a fitted object."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ClickModelRanker": "ranking.click_model",
        "DLA": "ranking.dla",
        "IPS": "ranking.ips",
        "Naive": "ranking.naive",
        "Oracle": "ranking.oracle",
        "UnbiasedLambdaMART": "ranking.unbiased_lambdamart",
    },
)
