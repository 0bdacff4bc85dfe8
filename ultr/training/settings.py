"""Training: how long, how fast and on what a network is trained, apart from what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ultr.data.checks import within
from ultr.errors import ConfigError

Optimizer = Literal["adam", "adagrad"]
Schedule = Literal["linear", "constant"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Settings of the training loop.

    Args:
        steps: Optimiser steps at most, at least 1.
        batch_pages: Pages a step, at least 1; an epoch is cut into batches of equal size up to one page.
        optimizer: "adam", or "adagrad" (initial accumulator 0.1, as in TensorFlow, which the DLA paper's code used).
        learning_rate: Step size at the start, above 0.
        schedule: "linear" lets the learning rate fall to 0 at the last step; "constant" keeps it.
        weight_decay: L2 penalty on the scoring network (half of it times the squared weights is added to the loss), at least 0; or several
            values, of which the one with the best validation loss is taken. The loss is divided by the mean label mass of a page, so one
            value means the same for clicks, weighted clicks and grades.
        gradient_clip: Largest gradient norm of a network, above 0; None does not clip.
        validation: Share of the queries held out for early stopping, in [0, 1); 0 trains for all steps and keeps the last weights.
        check_every: Steps between two looks at the validation pages, at least 1.
        patience: Looks without a better validation loss before training stops; None takes all steps, so that the falling learning rate
            settles before the best weights are chosen. The best weights are kept either way.
        shuffle_rows: Rows that are in memory at once, at least 1, where a log on disk is trained on: an epoch reads them in random order,
            buffer by buffer of whole row groups (65,536 pages): give it several. A log with no more rows is loaded. Watched are at most
            131,072 held-out pages of a log that is not.
        device: Where tensors live: "cpu", "cuda", ...
        precision: "float32", or "bfloat16" for the forward pass of the network (weights and losses stay float32).

    Raises:
        ConfigError: a setting is out of range; the message names it.
    """

    steps: int = 1000
    batch_pages: int = 256
    optimizer: Optimizer = "adam"
    learning_rate: float = 0.02
    schedule: Schedule = "linear"
    weight_decay: float | tuple[float, ...] = 0.01
    gradient_clip: float | None = 5.0
    validation: float = 0.2
    check_every: int = 50
    patience: int | None = None
    shuffle_rows: int = 1 << 22
    device: str = "cpu"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", str(self.device))  # a torch.device is spelled alike
        for name in ("steps", "batch_pages", "check_every", "patience", "shuffle_rows"):
            value = getattr(self, name)
            if (value is not None or name != "patience") and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"Training: {name} must be a whole number of at least 1, not {value!r}.")
        if isinstance(self.weight_decay, list):
            object.__setattr__(self, "weight_decay", tuple(self.weight_decay))
        if not self.weight_decays or not all(within(value, "[0, inf)") for value in self.weight_decays):
            raise ConfigError(f"Training: weight_decay must be at least 0, or several such values, not {self.weight_decay!r}.")
        for name in ("learning_rate", "gradient_clip"):
            value = getattr(self, name)
            if not (value is None and name == "gradient_clip") and not within(value, "(0, inf)"):
                raise ConfigError(f"Training: {name} must be above 0, not {value!r}.")
        if not within(self.validation, "[0, 1)"):
            raise ConfigError(f"Training: validation is a share of the queries in [0, 1), not {self.validation!r}.")
        if len(self.weight_decays) > 1 and self.validation == 0:
            raise ConfigError("Training: choosing a weight_decay needs held-out queries: set validation above 0, or give one value.")
        for name, choices in (("optimizer", Optimizer), ("schedule", Schedule), ("precision", Precision)):
            if getattr(self, name) not in get_args(choices):
                raise ConfigError(f"Training: {name} must be one of {', '.join(get_args(choices))}, not {getattr(self, name)!r}.")

    @property
    def weight_decays(self) -> tuple[float, ...]:
        """The values of weight decay to try, at least one."""
        return self.weight_decay if isinstance(self.weight_decay, tuple) else (self.weight_decay,)

    def usable_device(self) -> str:
        """Return `device`, or raise ConfigError where tensors cannot live there."""
        import torch

        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"Training: device {self.device!r} cannot be used here: {str(error).splitlines()[0]}") from error
        return self.device
