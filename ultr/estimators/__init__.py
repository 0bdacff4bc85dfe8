"""Estimators, one method a file: frozen settings with `fit(log, seed=)` that returns a fitted object."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AffineCorrection": "ranking.affine_correction",
        "BISER": "implicit.biser",
        "BPR": "implicit.bpr",
        "CJMF": "implicit.cjmf",
        "CascadeIPS": "ranking.cascade_ips",
        "ClickModelRanker": "ranking.click_model",
        "DLA": "ranking.dla",
        "DoublyRobust": "ranking.doubly_robust",
        "DoublyRobustMF": "implicit.doubly_robust_mf",
        "ExpoMF": "implicit.expo_mf",
        "IPS": "ranking.ips",
        "MostPopular": "implicit.most_popular",
        "Naive": "ranking.naive",
        "Oracle": "ranking.oracle",
        "PairDebias": "ranking.pair_debias",
        "PolicyAware": "ranking.policy_aware",
        "RandomOrder": "implicit.random_order",
        "RatingMF": "implicit.rating_mf",
        "RelMF": "implicit.rel_mf",
        "RegressionEM": "ranking.regression_em",
        "TwoTower": "ranking.two_tower",
        "UBPR": "implicit.ubpr",
        "UnbiasedLambdaMART": "ranking.unbiased_lambdamart",
        "WMF": "implicit.wmf",
    },
)
