"""Lay text out in columns for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_RANKS = 12  # ranks a line


def aligned(lines: Sequence[Sequence[str]], numbers: bool = False) -> str:
    """Pad the cells of lines to columns: the first to the left, the others to the right where they are numbers."""
    width = max(map(len, lines), default=0)
    full = [[*line, *([""] * (width - len(line)))] for line in lines]
    widths = [max(len(line[i]) for line in full) for i in range(width)]
    return "\n".join(
        "  ".join(cell.rjust(n) if numbers and i else cell.ljust(n) for i, (cell, n) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in full
    )


def by_rank(curves: dict[str, np.ndarray]) -> str:
    """Lay values by position out, one line a name, with ranks above and a dash where there is none; long ones in several blocks."""
    width = max(map(len, curves.values()), default=0)
    blocks = []
    for start in range(0, width, _RANKS):
        lines = [["rank", *(str(position + 1) for position in range(start, min(width, start + _RANKS)))]]
        for name, values in curves.items():
            lines.append([name, *("-" if np.isnan(value) else f"{value:.3f}" for value in values[start : start + _RANKS])])
        blocks.append(aligned(lines, numbers=True))
    return "\n".join(blocks)
