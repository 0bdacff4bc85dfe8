"""TwoTower: one network for relevance, one for bias, fitted to the clicks together."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from scipy.special import logit
from torch import Tensor, nn

from ultr.data.checks import within
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, mapped, projected
from ultr.diagnostics import identifiability
from ultr.errors import ConfigError, IdentifiabilityWarning
from ultr.models.counted_source import counted_source
from ultr.models.examination import head_curve, head_logits, per_page
from ultr.models.fitting import fit_ranker, with_labels, with_propensity
from ultr.models.linear import Linear
from ultr.models.network import Model
from ultr.models.positions import PositionLogits
from ultr.models.ranker import NeuralRanker
from ultr.training.batch import Batch
from ultr.training.cells import CLICKS, SHOWN
from ultr.training.labelled import PAGES, loaded
from ultr.training.position_based import product_loss, sum_loss
from ultr.training.settings import Training
from ultr.training.split import held_out

Combine = Literal["multiplicative", "additive"]


@dataclass(frozen=True, kw_only=True)
class TwoTower:
    """A relevance tower f(item) and a bias tower g(position), fitted by the likelihood of the clicks; only f ranks.

    "multiplicative" is the position-based model, P(click) = sigmoid(g) sigmoid(f): `propensity` is the ratio of examinations
    sigmoid(g_k) / sigmoid(g_first), and their scale is free. "additive" is P(click) = sigmoid(g + f): `propensity` is
    exp(g_k - g_first), a ratio of the odds of a click, which is no ratio of examinations. Clicks that follow one form are misfitted
    by the other.

    Without a head of one's own, rows are summed to the distinct (query, item, position), so that a step costs the same for any number of
    pages, and a long log on disk is read piece by piece; with one, for a network that sees the whole page, or for a log without queries,
    the pages themselves are used, in memory.

    Args:
        combine: "multiplicative" or "additive".
        head: Bias tower: a module that maps a batch to one logit a row, [B, L] (copied); when None one logit a position, which starts where
            both towers together give the log's click rate.
        dropout: Share of the rows, in [0, 1), that relevance has to explain alone: there sigmoid(g) becomes 1, or g becomes 0.
        reversal: Strength, at least 0, of an adversary that predicts clicks from g; the bias tower is pushed to make that hard.
        model: Settings of the scoring network, or a torch module (copied).
        training: Settings of the loop; `batch_pages` counts queries where rows are summed. Early stopping watches the log-likelihood of
            held-out clicks under both towers.
        label: Row column of clicks, in [0, 1].

    Source:
        Multiplicative: Guo et al. (2019), "PAL", RecSys, doi:10.1145/3298689.3347033; `dropout` and `reversal`: Zhang et al. (2023),
        "Towards disentangling relevance and bias in unbiased learning to rank", KDD, arXiv:2212.13937, reconstructed from its abstract,
        from descriptions, and from the public reproduction yng87/unbiased-ltr.

    Differs:
        `dropout` takes the expectation over the rows' masks, (1 - dropout) loss(f, g) + dropout loss(f), in the place of one draw: the
        same gradient on average without its noise; the reproduction drops hidden units of the bias tower instead. The adversary is an
        affine map of g judged by the log-likelihood of the clicks; the reproduction judges it by squared error.
    """

    combine: Combine = "multiplicative"
    head: nn.Module | None = None
    dropout: float = 0.0
    reversal: float = 0.0
    model: Model | nn.Module = field(default_factory=Linear)
    training: Training = field(default_factory=Training)
    label: str = "click"

    def __post_init__(self) -> None:
        if self.combine not in get_args(Combine):
            raise ConfigError(f"TwoTower: combine must be 'multiplicative' or 'additive', not {self.combine!r}.")
        if self.head is not None and not isinstance(self.head, nn.Module):
            raise ConfigError(f"TwoTower: head must be a torch module that maps a batch to one logit a row, not {self.head!r}.")
        if not within(self.dropout, "[0, 1)"):
            raise ConfigError(f"TwoTower: dropout is a share of the rows in [0, 1), not {self.dropout!r}.")
        if not within(self.reversal, "[0, inf)"):
            raise ConfigError(f"TwoTower: reversal must be at least 0, not {self.reversal!r}.")

    def fit(self, source: LogSource, *, seed: int = 0) -> NeuralRanker:
        """Fit a ranker and its propensity curve.

        Warns:
            IdentifiabilityWarning: swaps of items over positions do not identify the propensities; the message says why.

        Raises:
            LogError: clicks, positions or item features are missing, a label is outside [0, 1], or there is no click.
            ContractError: the head returns another shape than [B, L].
        """
        read = (*PAGES, self.label) if self.head is None else None  # a head may read any column
        source = projected(loaded(source, self.training), read)
        counted = counted_source(source, self.label, "TwoTower", self.model, by_position=self.head is None)
        found = identifiability(source)
        if not found.identified:
            warnings.warn(found.explain(), IdentifiabilityWarning, stacklevel=2)
        n_positions = max(int(log.columns["position"].max(initial=-1)) + 1 for log in source.chunks())
        head = copy.deepcopy(self.head) if self.head is not None else PositionLogits(n_positions, self._start(counted))
        adversary = _Adversary()

        def objective(scores: Tensor, batch: Batch) -> Tensor:
            clicks, shown, bias = batch.column(CLICKS), batch.column(SHOWN), head_logits(head, batch)
            values = self._trained(scores, bias, clicks, shown)
            if self.reversal:
                values = values + adversary.reversed_loss(bias, clicks, shown, self.reversal)
            return per_page(values, batch)

        def criterion(scores: Tensor, batch: Batch) -> Tensor:
            return per_page(self._loss(scores, head_logits(head, batch), batch.column(CLICKS), batch.column(SHOWN)), batch)

        ranker = fit_ranker(
            with_labels(counted, counted.columns[CLICKS]),
            objective,
            by="TwoTower",
            model=self.model,
            training=self.training,
            seed=seed,
            criterion=criterion,
            heads=[head, adversary],
            keep_empty_pages=True,
            distinct=True,
        )
        split = held_out(source, self.training.validation, seed)
        trained = mapped(source, lambda log: log.select(~split(log)))
        return with_propensity(ranker, head_curve(head, trained, n_positions, torch.sigmoid if self._multiplicative else torch.exp))

    @property
    def _multiplicative(self) -> bool:
        return self.combine == "multiplicative"

    def _start(self, counted: ClickLog) -> float:
        """Logit of every position with which both towers start at the log's click rate: far from it, rare clicks teach too slowly."""
        rate = counted.columns[CLICKS].sum() / counted.columns[SHOWN].sum() * (2 if self._multiplicative else 1)
        return float(logit(np.clip(rate, 1e-6, 0.9)))

    def _loss(self, scores: Tensor, bias: Tensor, clicks: Tensor, shown: Tensor) -> Tensor:
        return (product_loss if self._multiplicative else sum_loss)(scores, bias, clicks, shown)

    def _trained(self, scores: Tensor, bias: Tensor, clicks: Tensor, shown: Tensor) -> Tensor:
        """Return the loss with the bias tower left out for a share of each row."""
        both = self._loss(scores, bias, clicks, shown)
        if not self.dropout:
            return both
        alone = sum_loss(scores, torch.zeros_like(scores), clicks, shown)
        return (1 - self.dropout) * both + self.dropout * alone


class _Adversary(nn.Module):
    """Predicts clicks from the bias tower's logit, at first as if it were the logit of a click."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.level = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def reversed_loss(self, bias: Tensor, clicks: Tensor, shown: Tensor, strength: float) -> Tensor:
        """Return a value that the adversary makes small by predicting well and the bias tower by being hard to read, shape [B, L]."""
        own = self._loss(self.slope, self.level, bias.detach(), clicks, shown)
        return own - strength * self._loss(self.slope.detach(), self.level.detach(), bias, clicks, shown)

    @staticmethod
    def _loss(slope: Tensor, level: Tensor, bias: Tensor, clicks: Tensor, shown: Tensor) -> Tensor:
        return sum_loss(slope * bias, level, clicks, shown)
