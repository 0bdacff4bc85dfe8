"""A ranker whose rows see one another: self-attention over the page."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from ultr.data.checks import within
from ultr.errors import ConfigError


@dataclass(frozen=True)
class SetTransformer:
    """Self-attention over the rows of a page, without positions: a row's score depends on the page's other rows, but not on their order.

    It scores whole pages. The same item scores differently in other company, so a page that is cut differently (ten rows for training,
    a hundred for scoring) is another page. Where relevance depends on the item alone, an `MLP` says the same for less.

    Args:
        width: Width of a row's representation, at least 1; a multiple of `heads`.
        heads: Attention heads of a layer, at least 1.
        layers: Blocks of attention and feed-forward network, at least 1.
        feedforward: Hidden width of the feed-forward networks, at least 1.
        dropout: Share of each block's contribution dropped in training, in [0, 1).

    Raises:
        ConfigError: a setting is out of range.

    Source:
        Pang et al. (2020), SetRank: learning a permutation-invariant ranking model for information retrieval, SIGIR.
        doi:10.1145/3397271.3401104; Pobrotyn et al. (2020), Context-aware learning to rank with self-attention. arXiv:2005.10084; blocks:
        Vaswani et al. (2017), Attention is all you need, NeurIPS. Reconstructed from their descriptions.

    Differs:
        Layers are normalised before, not after, each attention and feed-forward network (Xiong et al. 2020, arXiv:2002.04745), which
        trains without a warm-up. No ordinal embeddings of an initial ranking, which would make the score depend on the old order, and no
        induced set attention: pages are short.
    """

    width: int = 64
    heads: int = 2
    layers: int = 2
    feedforward: int = 128
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "heads", "layers", "feedforward"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"SetTransformer: {name} must be a whole number of at least 1, not {value!r}.")
        if self.width % self.heads:
            raise ConfigError(f"SetTransformer: width must be a multiple of heads, but {self.width} is none of {self.heads}.")
        if not within(self.dropout, "[0, 1)"):
            raise ConfigError(f"SetTransformer: dropout must be in [0, 1), not {self.dropout!r}.")

    def build(self, n_features: int) -> nn.Module:
        """Return the network for F features."""
        return _SetNetwork(n_features, self)


class _SetNetwork(nn.Module):
    itemwise = False

    def __init__(self, n_features: int, settings: SetTransformer) -> None:
        super().__init__()
        self.embed = nn.Linear(n_features, settings.width)
        self.blocks = nn.ModuleList([_Block(settings) for _ in range(settings.layers)])
        self.score = nn.Sequential(nn.LayerNorm(settings.width), nn.Linear(settings.width, 1))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        rows = self.embed(features.masked_fill(~mask[..., None], 0.0))  # what stands in the padding may be no number
        seen = mask | ~mask.any(-1, keepdim=True)  # a page without rows attends to its padding: a soft-max over nothing is NaN
        for block in self.blocks:
            rows = block(rows, seen)
        return self.score(rows).squeeze(-1)


class _Block(nn.Module):
    def __init__(self, settings: SetTransformer) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.before_attention, self.before_feedforward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, settings.feedforward), nn.Linear(settings.feedforward, width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, rows: Tensor, seen: Tensor) -> Tensor:
        rows = rows + self.dropout(self._attend(self.before_attention(rows), seen))
        return rows + self.dropout(self.narrow(relu(self.widen(self.before_feedforward(rows)))))

    def _attend(self, rows: Tensor, seen: Tensor) -> Tensor:
        """Return what each row [B, L, width] takes from the rows of its page that are seen [B, L]."""
        parts = self.query_key_value(rows).unflatten(-1, (3, self.heads, -1))  # [B, L, 3, heads, width / heads]
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        taken = scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None, :])
        return self.join(taken.transpose(1, 2).flatten(-2))
