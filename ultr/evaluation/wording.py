"""Numbers and sentences of tables and reports: as many digits as the interval deserves, and no jargon."""

from __future__ import annotations

import math
from collections.abc import Sequence


def decimals(scale: float) -> int:
    """Digits after the point that show `scale` (a spread or half an interval) with two significant digits; 4 where it is unknown."""
    if not math.isfinite(scale) or scale <= 0:
        return 4
    return min(8, max(0, 1 - math.floor(math.log10(scale))))


def shared_decimals(scales: Sequence[float]) -> int:
    """Digits for a column of numbers: two significant digits of the median scale."""
    known = sorted(scale for scale in scales if math.isfinite(scale) and scale > 0)
    return decimals(known[len(known) // 2]) if known else 4


def number(value: float, digits: int, sign: bool = False) -> str:
    """Write a number with a true minus; a dash where it is not known."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


def interval(low: float, high: float, digits: int, sign: bool = False) -> str:
    """Write an interval as [a, b]; a dash where it is not known."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "–"
    return f"[{number(low, digits, sign)}, {number(high, digits, sign)}]"


def listing(words: Sequence[str]) -> str:
    """Join words as in a sentence: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plural(n: int, word: str) -> str:
    """Count things: 1 query, 2 queries, 1,000 seeds."""
    if n == 1:
        return f"1 {word}"
    return f"{n:,} {word[:-1] + 'ies' if word.endswith('y') else word + 's'}"


def runs(seeds: Sequence[int]) -> str:
    """Write seeds in rising order as runs: 0–4, 7."""
    ordered = sorted(seeds)
    pieces: list[list[int]] = []
    for seed in ordered:
        if pieces and seed == pieces[-1][-1] + 1:
            pieces[-1].append(seed)
        else:
            pieces.append([seed])
    return ", ".join(str(piece[0]) if len(piece) == 1 else f"{piece[0]}–{piece[-1]}" for piece in pieces)


def verdict(low: float, high: float, higher_is_better: bool) -> str:
    """Read an interval of a difference: better, worse, or no telling."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "unknown"
    if low > 0 or high < 0:
        return "better" if (low > 0) == higher_is_better else "worse"
    return "no clear difference"
