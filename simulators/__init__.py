"""Simulators dig the holes with a known mechanism and keep the truth beside the click."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ClickSource": "click_source",
        "Conversions": "conversions",
        "FittedPolicy": "fitted",
        "FixedOrder": "fitted",
        "FoundPerEffort": "session_user",
        "GradedRelevance": "relevance",
        "Journeys": "journeys",
        "LinearPolicy": "policies",
        "MissingNotAtRandom": "exposure",
        "NeedMet": "session_user",
        "NeedMetLessEffort": "session_user",
        "Outcomes": "session_user",
        "PlackettLuce": "policies",
        "RandomPolicy": "policies",
        "RatingsWorld": "ratings_world",
        "Searcher": "session_user",
        "SwapPairs": "policies",
        "TotalGain": "session_user",
        "eye_tracking_examination": "clicks",
        "simulate_clicks": "clicks",
        "simulate_sessions": "sessions",
    },
    rooms=("noise",),
)
