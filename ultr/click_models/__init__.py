"""Click models: one law a file, and each one scores, samples and knows what was examined."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ClickModel": "base",
        "PositionBased": "position_based",
    },
)
