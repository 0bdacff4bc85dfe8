"""Propensity models, one a file. Any function of a batch is one too."""

from ultr._lazy import attach as lazy_attach  # the room has an `attach` of its own

__getattr__, __dir__, __all__ = lazy_attach(
    __name__,
    {
        "ByPosition": "by_position",
        "Column": "column",
        "Harvested": "harvested",
        "Logistic": "logistic",
        "NaiveBayes": "naive_bayes",
        "Popularity": "popularity",
        "PowerLaw": "power_law",
        "PropensityModel": "evaluate",
        "Randomised": "randomised",
        "Tower": "tower",
        "as_propensity": "evaluate",
        "attach": "evaluate",
        "propensities": "evaluate",
    },
)
