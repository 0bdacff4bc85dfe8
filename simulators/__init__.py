"""Simulators dig the holes with a known mechanism and keep the truth beside the click."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Conversions": "conversions",
        "FittedPolicy": "fitted",
        "FixedOrder": "fitted",
        "GradedRelevance": "relevance",
        "Journeys": "journeys",
        "LinearPolicy": "policies",
        "MissingNotAtRandom": "exposure",
        "PlackettLuce": "policies",
        "RandomPolicy": "policies",
        "RatingsWorld": "ratings_world",
        "SwapPairs": "policies",
        "eye_tracking_examination": "clicks",
        "simulate_clicks": "clicks",
    },
    rooms=("noise",),
)
