"""The only loop that steps an optimiser. It knows no log: batches are whatever the loss understands, with a weight for each page."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from ultr.errors import ConfigError, ContractError
from ultr.training import ranks
from ultr.training.lazy_adam import LazyAdam
from ultr.training.settings import Training

if TYPE_CHECKING:
    import pandas as pd

B = TypeVar("B")


@dataclass(frozen=True)
class Curve:
    """Losses over the steps of one training run, the step whose weights were kept, and the weight decay they were found with."""

    train: list[tuple[int, float]] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0
    weight_decay: float = 0.0

    def frame(self) -> pd.DataFrame:
        """Return the curves as a table: columns step, split ("train" or "validation") and loss."""
        import pandas as pd

        rows = [(step, split, loss) for split in ("train", "validation") for step, loss in getattr(self, split)]
        return pd.DataFrame(rows, columns=["step", "split", "loss"])

    @property
    def best(self) -> float:
        """The validation loss at the step whose weights were kept; infinite where nothing was held out."""
        return dict(self.validation).get(self.best_step, math.inf)


def minimise(
    networks: Sequence[nn.Module],
    batches: Iterable[tuple[B, Tensor]],
    loss: Callable[[B], Tensor | tuple[Tensor, Tensor]],
    validate: Callable[[], float] | None,
    training: Training,
) -> Curve:
    """Train networks in place and leave them with the best weights seen on validation.

    Args:
        networks: Modules to train. Weight decay applies to the first, gradient clipping to each on its own. Embeddings made with
            sparse=True move only in the rows that a batch looks up, and do not decay.
        batches: Re-iterable of (batch, weights [B]); every iteration is an epoch.
        loss: Maps a batch to one value a page, shape [B]; the step minimises the mean of value times weight. Of a pair (minimised,
            watched) the second goes into the learning curve, for losses that mean something else on every step.
        validate: Returns the validation loss; None where nothing is held out, then the last weights are kept.
        training: Settings; of several weight decays the one with the best validation loss wins.

    Returns:
        The learning curves. Step 0 is before the first step; a training value is the mean since the one before.

    Raises:
        ContractError: the loss has the wrong shape or is not finite, or there is no batch.
        ConfigError: there are several weight decays and nothing is held out.
    """
    if validate is None and len(training.weight_decays) > 1:
        raise ConfigError("Choosing a weight_decay needs held-out queries with a positive label; there are none. Give one value.")
    start, best, best_weights = _weights(networks), None, []
    for weight_decay in training.weight_decays:
        _restore(networks, start)
        curve = _descend(networks, batches, loss, validate, training, weight_decay)
        if best is None or curve.best < best.best:
            best, best_weights = curve, _weights(networks)
    _restore(networks, best_weights)
    return best or Curve()


def _descend(
    networks: Sequence[nn.Module],
    batches: Iterable[tuple[B, Tensor]],
    loss: Callable[[B], Tensor | tuple[Tensor, Tensor]],
    validate: Callable[[], float] | None,
    training: Training,
    weight_decay: float,
) -> Curve:
    """Run the steps for one weight decay; `minimise` documents the rest."""
    optimizers = _optimizers(networks, training, weight_decay)
    train: list[tuple[int, float]] = []
    validation: list[tuple[int, float]] = []
    best, best_step, best_weights = math.inf, 0, _weights(networks)
    recent: list[Tensor] = []
    for step, (batch, weight) in enumerate(_endless(batches)):
        if step % training.check_every == 0 or step == training.steps:
            if recent:
                train.append((step, _finite(float(torch.stack(recent).mean()), "loss", step, training)))
                recent = []
            if validate is not None:
                validation.append((step, _finite(validate(), "validation loss", step, training)))
                if validation[-1][1] < best:
                    best, best_step, best_weights = validation[-1][1], step, _weights(networks)
            late = training.patience is not None and step - best_step >= training.patience * training.check_every
            if step == training.steps or (validate is not None and late):
                break
        recent.append(_step(networks, optimizers, loss, batch, weight, training, 1 - step / training.steps))
    if validate is None:
        return Curve(train, validation, training.steps, weight_decay)
    _restore(networks, best_weights)
    return Curve(train, validation, best_step, weight_decay)


def _step(
    networks: Sequence[nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    loss: Callable[[B], Tensor | tuple[Tensor, Tensor]],
    batch: B,
    weight: Tensor,
    training: Training,
    remaining: float,
) -> Tensor:
    """Take one optimiser step and return what is watched, averaged over the batch before the step."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * (remaining if training.schedule == "linear" else 1)
        optimizer.zero_grad(set_to_none=True)
    with torch.autocast(torch.device(training.device).type, torch.bfloat16, enabled=training.precision == "bfloat16"):
        found = loss(batch)
    value, watched = found if isinstance(found, tuple) else (found, found)
    if value.shape != weight.shape:
        raise ContractError(f"A loss returns one value a page, shape {tuple(weight.shape)}, not {tuple(value.shape)}.")
    total = (value * weight).mean()
    total.backward()
    ranks.average_gradients(networks)
    if training.gradient_clip is not None:
        for network in networks:
            _clip(network, training.gradient_clip)
    with torch.sparse.check_sparse_tensor_invariants(enable=False):  # said, since torch warns where it is left to it
        for optimizer in optimizers:
            optimizer.step()
    return (watched.detach() * weight).mean()


def _clip(network: nn.Module, largest: float) -> None:
    """Scale a network's gradients down to the largest norm; torch's own function knows no sparse ones."""
    for table in _sparse_tables(network):
        table.grad = None if table.grad is None else table.grad.coalesce()
    found = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    gradients = [gradient.values() if gradient.is_sparse else gradient for gradient in found]
    factor = (largest / (nn.utils.get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.to(gradient.device))


def _optimizers(networks: Sequence[nn.Module], training: Training, weight_decay: float) -> list[torch.optim.Optimizer]:
    tables = [table for network in networks for table in _sparse_tables(network)]
    groups = []
    for i, network in enumerate(networks):
        dense = [parameter for parameter in network.parameters() if not any(parameter is table for table in tables)]
        groups.append({"params": dense, "weight_decay": weight_decay if i == 0 else 0.0})
    rate = training.learning_rate
    if training.optimizer == "adagrad":
        sparse = [{"params": tables, "weight_decay": 0.0}] if tables else []
        return [torch.optim.Adagrad([*groups, *sparse], lr=rate, initial_accumulator_value=0.1)]
    return [torch.optim.Adam(groups, lr=rate), *([LazyAdam(tables, lr=rate)] if tables else [])]


def _sparse_tables(network: nn.Module) -> list[Tensor]:
    return [module.weight for module in network.modules() if isinstance(module, nn.Embedding) and module.sparse]


def _endless(batches: Iterable[B]) -> Iterator[B]:
    while True:
        batch = None
        for batch in batches:
            yield batch
        if batch is None:
            raise ContractError("There is no batch to train on: batches must be re-iterable and not empty.")


def _weights(networks: Sequence[nn.Module]) -> list[dict[str, Tensor]]:
    return [copy.deepcopy(network.state_dict()) for network in networks]


def _restore(networks: Sequence[nn.Module], weights: list[dict[str, Tensor]]) -> None:
    for network, state in zip(networks, weights, strict=True):
        network.load_state_dict(state)


def _finite(value: float, what: str, step: int, training: Training) -> float:
    if not math.isfinite(value):
        raise ContractError(
            f"The {what} stopped being finite within {training.check_every} steps before step {step}: lower learning_rate"
            f" ({training.learning_rate}), clip the weights, or look for extreme features."
        )
    return value
