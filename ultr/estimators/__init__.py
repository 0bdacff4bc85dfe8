"""Estimators, one method a file: frozen settings with `fit(log, seed=)` that returns a fitted object."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AffineCorrection": "ranking.affine_correction",
        "BPR": "implicit.bpr",
        "CascadeIPS": "ranking.cascade_ips",
        "ClickModelRanker": "ranking.click_model",
        "DLA": "ranking.dla",
        "DoublyRobust": "ranking.doubly_robust",
        "IPS": "ranking.ips",
        "Naive": "ranking.naive",
        "Oracle": "ranking.oracle",
        "PairDebias": "ranking.pair_debias",
        "PolicyAware": "ranking.policy_aware",
        "RelMF": "implicit.rel_mf",
        "RegressionEM": "ranking.regression_em",
        "TwoTower": "ranking.two_tower",
        "UBPR": "implicit.ubpr",
        "UnbiasedLambdaMART": "ranking.unbiased_lambdamart",
        "WMF": "implicit.wmf",
    },
)
