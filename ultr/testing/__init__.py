"""Contract checks for the parts of the toolkit and for plug-ins: each raises ContractError saying in plain words what is broken."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "check_click_model": "click_model",
        "check_estimator": "estimator",
        "check_metric": "metric",
        "check_propensity": "propensity",
        "tiny_log": "tiny",
    },
)
