"""Propensity models, one a file. Any function of a batch is one too."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ByPosition": "by_position",
        "Column": "column",
        "PowerLaw": "power_law",
        "PropensityModel": "evaluate",
        "as_propensity": "evaluate",
        "attach": "evaluate",
        "propensities": "evaluate",
    },
)
