"""From pages to tensors, losses and weights as pure functions, and the one loop that steps an optimiser."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {"Batch": "batch", "PageBatches": "batch", "Training": "settings"},
    rooms=("labels", "losses", "seeding", "split", "weights"),
)
