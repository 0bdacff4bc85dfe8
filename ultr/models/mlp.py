"""The multi-layer ranker of the DLA paper and its successors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ultr.data.checks import within
from ultr.errors import ConfigError


@dataclass(frozen=True)
class MLP:
    """Fully connected layers with ELU and a linear output.

    Args:
        hidden: Width of each hidden layer, at least one.
        layer_norm: Normalise the input of every layer, as ULTRA does.
        dropout: Share of hidden units dropped in training, in [0, 1).

    Raises:
        ConfigError: a setting is out of range.

    Source:
        Ai et al. (2018), SIGIR, section 5 (512-256-128, ELU). doi:10.1145/3209978.3209986; layer normalisation: Tran et al. (2021),
        "ULTRA: an unbiased learning to rank algorithm toolbox", CIKM. doi:10.1145/3459637.3482037

    Differs:
        No activation on the output: an ELU there, as in the paper's code, keeps scores above -1.
    """

    hidden: tuple[int, ...] = (512, 256, 128)
    layer_norm: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not self.hidden or any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in self.hidden):
            raise ConfigError(
                f"MLP: hidden must be one or more layer widths of at least 1, not {self.hidden!r}; Linear() has no hidden layer."
            )
        if not within(self.dropout, "[0, 1)"):
            raise ConfigError(f"MLP: dropout must be in [0, 1), not {self.dropout!r}.")

    def build(self, n_features: int) -> nn.Module:
        """Return the network for F features."""
        return _MLPNetwork(n_features, self)


class _MLPNetwork(nn.Module):
    itemwise = True

    def __init__(self, n_features: int, settings: MLP) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_features
        for hidden in settings.hidden:
            layers += [nn.LayerNorm(width)] if settings.layer_norm else []
            layers += [nn.Linear(width, hidden), nn.ELU(), nn.Dropout(settings.dropout)]
            width = hidden
        layers += [nn.LayerNorm(width)] if settings.layer_norm else []
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        return self.layers(features).squeeze(-1)
