"""Settings that estimators of several attributions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from ultr.data.checks import within
from ultr.data.fields import Fields
from ultr.errors import ConfigError
from ultr.imports import nearest
from ultr.models.conversion_fitting import check_towers, conversion_training
from ultr.training.gradients import Gradient
from ultr.training.settings import Training

CARTESIAN = "cartesian"  # name of the joint view


@dataclass(frozen=True, kw_only=True)
class AttributionSettings:
    """What every estimator of several attributions has.

    Args:
        main: Row column of the credit to predict, in [0, 1]: what one attribution rule gives the row's touch.
        auxiliary: Row columns of credits by other rules, which teach the parts that the views share; () learns the main one alone.
        fields: Which columns of the log describe a touch.
        labels: "soft" takes credits as they are: predictions are mean credits. "binary" takes credit above 0 for 1: predictions are
            P(any credit).
        cartesian: Add a view with a class for each combination of views that give any credit.
        auxiliary_weight: Weight of the loss of every auxiliary view, at least 0; or name -> weight ("cartesian" is the joint one).
        gradient: How gradients of the views are added: "sum", "pcgrad" or "gcs"; see `ultr.training.gradients.joined`. Experts and towers
            that stand side by side count one by one; the embeddings that a batch looks up count as one tensor, touch by touch, so that
            nothing is said about rows of the table that several touches share.
        experts: Experts of a kind, at least 1, where the network has several.
        expert: Width of an expert, at least 1.
        tower: Widths of the layers above it.
        parameters: Number of parameters, embeddings apart, that the widths are scaled to come near, so that models compare; None keeps
            the widths.
        training: Settings of the loop (weight decay 1e-5 by default: the .01 of `ultr.Training` is too strong where labels are rare);
            `batch_pages` counts touches, `validation` is a share of the pages, on which the main loss is
            watched. Weight decay multiplies half the summed squares of the weights (not the biases), and of a touch's embeddings.

    Raises:
        ConfigError: a setting has an impossible value.
    """

    main: str
    auxiliary: Sequence[str] = ()
    fields: Fields
    labels: Literal["soft", "binary"] = "soft"
    cartesian: bool = False
    auxiliary_weight: float | Mapping[str, float] = 0.3
    gradient: Gradient = "sum"
    experts: int = 2
    expert: int = 64
    tower: Sequence[int] = (32, 16)
    parameters: int | None = None
    training: Training = field(default_factory=conversion_training)

    def __post_init__(self) -> None:
        by = type(self).__name__
        if not isinstance(self.auxiliary, (str, list, tuple)):
            raise ConfigError(f"{by}: auxiliary is a list of column names, () for none, not {self.auxiliary!r}.")
        object.__setattr__(self, "auxiliary", (self.auxiliary,) if isinstance(self.auxiliary, str) else tuple(self.auxiliary))
        views = (self.main, *self.auxiliary)
        object.__setattr__(self, "tower", check_towers(by, self.fields, self.tower, self.training, views))
        doubled = sorted({name for name in views if views.count(name) > 1})
        if doubled:
            raise ConfigError(f"{by}: {', '.join(map(repr, doubled))} is named twice among main and auxiliary.")
        if self.labels not in ("soft", "binary"):
            raise ConfigError(f"{by}: labels must be 'soft' or 'binary', not {self.labels!r}.")
        if self.gradient not in get_args(Gradient):
            raise ConfigError(f"{by}: gradient must be one of {', '.join(get_args(Gradient))}, not {self.gradient!r}.")
        for name in ("cartesian", *(["detach"] if hasattr(self, "detach") else [])):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{by}: {name} must be True or False, not {getattr(self, name)!r}.")
        if not all(isinstance(name, str) for name in views):
            raise ConfigError(f"{by}: main and auxiliary are names of columns, not {views!r}.")
        if self.cartesian and CARTESIAN in views:
            raise ConfigError(f"{by}: {CARTESIAN!r} is the name of the joint view: call the column of credit something else.")
        if self.cartesian and not self.auxiliary:
            raise ConfigError(f"{by}: cartesian joins the views of main and auxiliary, but there is no auxiliary one.")
        if self.cartesian and len(views) > 10:
            raise ConfigError(f"{by}: cartesian would need 2^{len(views)} classes: at most 10 views.")
        for name in ("experts", "expert", *(["parameters"] if self.parameters is not None else [])):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{by}: {name} must be a whole number of at least 1, not {value!r}.")
        self.weights()

    @property
    def views(self) -> tuple[str, ...]:
        """Names of all views, the main one first and the joint one last."""
        return (self.main, *self.auxiliary, *([CARTESIAN] if self.cartesian else []))

    def weights(self) -> tuple[float, ...]:
        """Weight of each auxiliary view, the joint one last.

        Raises:
            ConfigError: one is negative, or of a view that there is not.
        """
        by, names = type(self).__name__, self.views[1:]
        given = self.auxiliary_weight if isinstance(self.auxiliary_weight, Mapping) else dict.fromkeys(names, self.auxiliary_weight)
        for name, weight in given.items():
            if name not in names:
                raise ConfigError(f"{by}: auxiliary_weight names {name!r}, which is no auxiliary view.{nearest(name, names)}")
            if not within(weight, "[0, inf)"):
                raise ConfigError(f"{by}: auxiliary_weight must be at least 0, not {weight!r}.")
        missing = [name for name in names if name not in given]
        if missing:
            raise ConfigError(f"{by}: auxiliary_weight has no weight of {', '.join(map(repr, missing))}.")
        return tuple(float(given[name]) for name in names)
