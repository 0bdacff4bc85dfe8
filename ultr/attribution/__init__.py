"""Who gets the credit for a conversion: one rule a file, each maps a log of journeys to a share for every touch."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AttributionRule": "rule",
        "FirstTouch": "first_touch",
        "Hazard": "hazard",
        "Journeys": "journeys",
        "LastTouch": "last_touch",
        "Linear": "linear",
        "MarkovRemoval": "markov_removal",
        "Shapley": "shapley",
        "TimeDecay": "time_decay",
        "UShaped": "u_shaped",
        "channel_credit": "table",
        "shapley_values": "subsets",
    },
)
