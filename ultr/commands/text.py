"""Lay text out in columns for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def aligned(lines: Sequence[Sequence[str]], numbers: bool = False) -> str:
    """Pad the cells of lines to columns: the first to the left, the others to the right where they are numbers."""
    width = max(map(len, lines), default=0)
    full = [[*line, *([""] * (width - len(line)))] for line in lines]
    widths = [max(len(line[i]) for line in full) for i in range(width)]
    return "\n".join(
        "  ".join(cell.rjust(n) if numbers and i else cell.ljust(n) for i, (cell, n) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in full
    )


def by_rank(curves: dict[str, np.ndarray], digits: int = 3) -> str:
    """Lay values by position out, one line a name, with ranks above; a dash where there is none."""
    width = max(map(len, curves.values()), default=0)
    lines = [["rank", *(str(position + 1) for position in range(width))]]
    for name, values in curves.items():
        lines.append([name, *("-" if np.isnan(value) else f"{value:.{digits}f}" for value in values)])
    return aligned(lines, numbers=True)
