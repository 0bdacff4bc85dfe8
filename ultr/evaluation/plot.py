"""Figures of a comparison: paired differences, propensity curves, learning curves. No pyplot, no setting leaks out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

import matplotlib
import numpy as np
from matplotlib.figure import Figure, FigureBase
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ultr.evaluation.panel import Panel
    from ultr.evaluation.result import ComparisonResult

INK, GRID, QUIET = "#1b1f24", "#d5d9df", "#8b929c"  # the report swaps the first two for the page's own colours
_STYLES = (("o", "-"), ("s", (0, (5, 1.5))), ("^", (0, (1.5, 1.5))), ("D", (0, (6, 2, 1, 2))))  # marker and line of further estimators
COLOURS = ("#2f7fd1", "#e07b1f", "#1f9d74", "#b9559b", "#8a6fd1", "#c94f4f", "#6b9a1f", "#1f9fb0")
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "ultr",
    "text.color": INK,
    "xtick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
}
_T = TypeVar("_T")


class Drawing(Figure):
    """A figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        styled(lambda: self.savefig(file, format="png", dpi=120))
        return file.getvalue()


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure of the report with its words: a heading, a caption, and a description for those who cannot see it."""

    key: str
    caption: str
    description: str
    figure: Figure


def styled(draw: Callable[[], _T]) -> _T:
    """Run `draw` under the house style and leave matplotlib's settings as they were."""
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        return draw()


def colours(result: ComparisonResult) -> dict[str, str]:
    """Give every estimator its colour, grey for the baseline."""
    others = [name for name in result.estimators if name != result.baseline]
    return {result.baseline: QUIET, **{name: COLOURS[i % len(COLOURS)] for i, name in enumerate(others)}}


def overview(result: ComparisonResult) -> Figure:
    """Draw everything into one figure; `ComparisonResult.plot` documents it."""
    return styled(lambda: _overview(result))


def _overview(result: ComparisonResult) -> Figure:
    parts = (
        [_Part(len(result.panels), _forest_height(result), partial(_draw_all_differences, result))] if len(result.estimators) > 1 else []
    )
    if len(result.curves) or result.truth is not None:
        parts.append(_Part(1, 3.4, lambda axes: draw_propensities(axes[0], result)))
    if len(result.histories):
        parts.append(_learning_part(result))
    if not parts:
        parts.append(_Part(len(result.panels), 1.6, partial(_draw_all_means, result)))
    heights = [part.rows * part.height for part in parts]
    figure = _figure(sum(heights))
    for part, place in zip(parts, np.ravel(figure.subfigures(len(parts), squeeze=False, height_ratios=heights)), strict=True):
        part.fill(place)
    return figure


def difference_picture(result: ComparisonResult) -> Picture:
    """Draw the paired differences of all metrics and test sets."""
    part = _Part(len(result.panels), _forest_height(result), partial(_draw_all_differences, result))
    caption = (
        f"Estimator minus {result.baseline}. Small dots: one seed each. Thick bar: 95% interval over seeds (these queries). "
        "Thin bar: 95% interval over seeds and queries. Where a bar misses the line at 0, the difference is more than chance."
    )
    description = f"Forest plot of the paired differences to {result.baseline}; the table below has its numbers."
    return Picture("differences", caption, description, styled(part.alone))


def propensity_picture(result: ComparisonResult) -> Picture:
    """Draw the propensity curves against the truth."""
    part = _Part(1, 3.8, lambda axes: draw_propensities(axes[0], result))
    truth = " Dashed: the truth." if result.truth is not None else ""
    caption = (
        f"Probability that a rank is examined, relative to rank 1, on a logarithmic scale. Line: mean over seeds; band: all seeds.{truth}"
    )
    return Picture("propensity", caption, "Propensity curves by rank; the table below has their numbers.", styled(part.alone))


def learning_picture(result: ComparisonResult) -> Picture:
    """Draw the learning curves, an estimator a panel."""
    caption = (
        "Loss over the steps of every fit, each estimator on its own scale, with two axes where an estimator watches another loss on "
        "held-out pages than it minimises. Pale: training pages. Strong: held-out pages. Dot: the step "
        "whose weights were kept. A held-out curve that turns up again shows over-fitting, which early stopping cuts off."
    )
    description = f"Learning curves of {', '.join(dict.fromkeys(result.histories['estimator']))}."
    return Picture("learning", caption, description, styled(_learning_part(result).alone))


def draw_differences(axes: Axes, result: ComparisonResult, panel: Panel) -> None:
    """Draw the paired differences of one metric on one test set, an estimator a line."""
    paired = result.paired
    lines = paired[(paired["test"] == panel.test) & (paired["metric"] == panel.metric)]
    names, palette = list(result.estimators), colours(result)
    axes.axvline(0, color=INK, linewidth=1)
    for y, line in enumerate(lines.to_dict("records")):
        name = str(line["estimator"])
        table = panel.differences(names.index(name), names.index(result.baseline))
        seeds = table.mean(axis=1) if table.shape[1] else np.array([])
        axes.scatter(seeds, np.full(len(seeds), y - 0.24), s=9, color=palette[name], alpha=0.55, linewidths=0)
        axes.plot([line["two_way_low"], line["two_way_high"]], [y, y], color=palette[name], linewidth=1.3)
        axes.plot([line["low"], line["high"]], [y, y], color=palette[name], linewidth=5, alpha=0.45, solid_capstyle="butt")
        axes.scatter([line["difference"]], [y], s=30, color=palette[name], zorder=3)
    axes.set_yticks(range(len(lines)), [str(name) for name in lines["estimator"]])
    axes.set_ylim(len(lines) - 0.45, -0.65)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_title(panel.title(len(result.tests) > 1))
    axes.set_xlabel(f"difference to {result.baseline}" + ("" if panel.higher_is_better else " (lower is better)"))


def draw_propensities(axes: Axes, result: ComparisonResult) -> None:
    """Draw every estimator's propensity curve, mean and range over the seeds, and the truth."""
    palette = colours(result)
    low, width = 1.0, 1
    for name, curve in result.curves.groupby("estimator", sort=False):
        table = curve.pivot(index="seed", columns="position", values="propensity")
        rank, mean = table.columns.to_numpy() + 1, table.mean().to_numpy()
        axes.fill_between(rank, table.min().to_numpy(), table.max().to_numpy(), color=palette[str(name)], alpha=0.18, linewidth=0)
        style = _STYLES[list(palette).index(str(name)) // (len(COLOURS) + 1) % len(_STYLES)]  # colours come again after eight
        axes.plot(rank, mean, marker=style[0], linestyle=style[1], markersize=4, color=palette[str(name)], label=str(name))
        low, width = min(low, float(np.nanmin(table.to_numpy()))), max(width, len(rank))
    if result.truth is not None:
        rank = np.arange(1, len(result.truth) + 1)
        axes.plot(rank, result.truth, color=INK, linestyle=(0, (4, 2.5)), linewidth=1.5, label="truth", zorder=4)
        low, width = min(low, float(np.nanmin(result.truth))), max(width, len(rank))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([m * 10.0**e for e in range(-9, 3) for m in (1, 2, 5)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(bottom=low / 1.25)
    axes.xaxis.set_major_locator(MaxNLocator(min(width, 12), integer=True))
    axes.set_xlabel("rank")
    axes.set_ylabel("propensity relative to rank 1")
    axes.set_title("Propensity by rank")
    axes.legend(ncols=2)


def draw_learning(axes: Axes, result: ComparisonResult, estimator: str) -> None:
    """Draw one estimator's learning curves, a line a seed and split, the kept step as a dot."""
    colour = colours(result)[estimator]
    history = result.histories[result.histories["estimator"] == estimator]
    right = _right_axis(axes, history)
    for cell in (cell for cell in result.cells if cell.estimator == estimator and cell.history is not None):
        mine = history[history["seed"] == cell.seed]
        train, held_out = _split(mine, "train"), _split(mine, "validation")
        right.plot(train["step"], train["loss"], color=colour, alpha=0.35, linewidth=1, label="training")
        axes.plot(held_out["step"], held_out["loss"], color=colour, linewidth=1.3, label="held out")
        best = held_out[held_out["step"] == cell.best_step]
        axes.scatter(best["step"], best["loss"], s=26, color=colour, edgecolors="white", linewidths=0.8, zorder=3, label="kept")
    handles, labels = right.get_legend_handles_labels()
    if right is not axes:
        handles, labels = handles + axes.get_legend_handles_labels()[0], labels + axes.get_legend_handles_labels()[1]
    once = dict(zip(labels, handles, strict=True))  # one entry for all seeds
    axes.legend(once.values(), once.keys(), fontsize=8.5)
    axes.set_title(estimator)
    axes.set_xlabel("step")
    axes.set_ylabel("loss" if right is axes else "loss of held-out pages")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _right_axis(axes: Axes, history: pd.DataFrame) -> Axes:
    """Return a second axis for the training loss where it lives on another scale than what is watched on held-out pages."""
    train, held_out = (history[history["split"] == split]["loss"] for split in ("train", "validation"))
    gap = max(train.min() - held_out.max(), held_out.min() - train.max())
    if not gap > max(np.ptp(train), np.ptp(held_out)):
        return axes
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    right.grid(visible=False)
    right.set_ylabel("training loss")
    right.yaxis.set_major_locator(MaxNLocator(5))
    return right


def _split(history: pd.DataFrame, split: str) -> pd.DataFrame:
    return history[history["split"] == split].sort_values("step")


@dataclass(frozen=True, eq=False)
class _Part:
    """Some panels of one kind: how many, how high a row of them is in inches, and what draws them."""

    panels: int
    height: float
    draw: Callable[[Sequence[Axes]], None]

    @property
    def columns(self) -> int:
        return 1 if self.panels == 1 else 2 if self.panels in (2, 4) else 3

    @property
    def rows(self) -> int:
        return math.ceil(self.panels / self.columns)

    def fill(self, place: FigureBase) -> None:
        axes = list(place.subplots(self.rows, self.columns, squeeze=False).flat)
        for left_over in axes[self.panels :]:
            left_over.remove()
        self.draw(axes[: self.panels])

    def alone(self) -> Figure:
        figure = _figure(self.rows * self.height)
        self.fill(figure)
        return figure


def _figure(height: float) -> Drawing:
    return Drawing(figsize=(9.5, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06))


def _learning_part(result: ComparisonResult) -> _Part:
    learned = list(dict.fromkeys(result.histories["estimator"]))

    def draw(axes: Sequence[Axes]) -> None:
        for ax, name in zip(axes, learned, strict=True):
            draw_learning(ax, result, name)

    return _Part(len(learned), 2.6, draw)


def _draw_all_differences(result: ComparisonResult, axes: Sequence[Axes]) -> None:
    for ax, panel in zip(axes, result.panels, strict=True):
        draw_differences(ax, result, panel)


def _draw_all_means(result: ComparisonResult, axes: Sequence[Axes]) -> None:
    """Draw the means of a comparison of one estimator that has no curves: one dot a seed."""
    for ax, panel in zip(axes, result.panels, strict=True):
        for y, name in enumerate(result.estimators):
            values = panel.by_seed(y)
            ax.scatter(values, np.full(len(values), y), s=14, color=colours(result)[name])
        ax.set_yticks(range(len(result.estimators)), list(result.estimators))
        ax.set_title(panel.title(len(result.tests) > 1))


def _forest_height(result: ComparisonResult) -> float:
    return 0.95 + 0.42 * (len(result.estimators) - 1)
