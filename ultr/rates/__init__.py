"""Click rates from few impressions: shrink them towards a target, and know without the truth how well that worked."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ShrunkRates": "shrinkage",
        "leave_one_trial_out_risk": "risk",
        "shrink": "shrinkage",
        "unbiased_risk": "risk",
        "unbiased_risk_of_difference": "risk",
    },
)
