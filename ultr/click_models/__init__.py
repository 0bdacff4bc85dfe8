"""Click models: one law a file, and each one scores, samples and knows what was examined."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Cascade": "cascade",
        "ClickChain": "click_chain",
        "ClickModel": "base",
        "DependentClick": "dependent_click",
        "DynamicBayesian": "dynamic_bayesian",
        "GlobalRate": "click_through",
        "ItemRankRate": "click_through",
        "ItemRate": "click_through",
        "Mixture": "mixture",
        "PositionBased": "position_based",
        "RankRate": "click_through",
        "SimplifiedDynamicBayesian": "simplified_dynamic_bayesian",
        "TrustBias": "trust_bias",
        "UserBrowsing": "user_browsing",
        "fit": "fitting",
    },
)
