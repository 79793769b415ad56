"""Numbers as table cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from adabatch.terminal import duration, listed

#: The end of an interval beyond these is not shown in full: with two seeds it may reach from 1e-9 to 1e9.
_LEAST_END, _MOST_END = 0.01, 1000.0
#: Stands for a number that does not exist.
NONE = "–"


def percent(mean: float, deviation: float = math.nan) -> str:
    """Return a fraction in percent with its spread."""
    if math.isnan(mean):
        return NONE
    return f"{100 * mean:.2f}" + ("" if math.isnan(deviation) else f" ± {100 * deviation:.2f}")


def signed(value: float) -> str:
    """Return a number with its sign and two decimals; what rounds to nothing has no minus."""
    return NONE if math.isnan(value) else f"{round(value, 2) + 0.0:+.2f}"


def plain(value: float) -> str:
    """Return a number with two decimals."""
    return NONE if math.isnan(value) else f"{value:.2f}"


def time_text(seconds: float) -> str:
    """Return a duration; ``never`` for an infinite one."""
    if math.isnan(seconds):
        return NONE
    return "never" if math.isinf(seconds) else duration(seconds)


def times(value: float) -> str:
    """Return a speedup."""
    if math.isnan(value):
        return NONE
    return f"{value:,.0f}x" if value > _MOST_END else f"{value:.2f}x"


def times_end(value: float) -> str:
    """Return an end of a speedup's interval: ``<0.01x`` and ``>1,000x`` for what lies beyond."""
    return f"{_ratio_end(value)}x"


def ratio_interval(low: float, high: float) -> str:
    """Return the ends of the interval of a speedup, or of another ratio, such as ``0.42 to >1,000``."""
    return interval(low, high, _ratio_end)


def _ratio_end(value: float) -> str:
    if value > _MOST_END:
        return f">{_MOST_END:,.0f}"
    return plain(value) if round(value, 2) >= _LEAST_END else f"<{_LEAST_END}"


def interval(low: float, high: float, shown: Callable[[float], str] = plain) -> str:
    """Return the ends of an interval."""
    return NONE if math.isnan(low) else f"{shown(low)} to {shown(high)}"


def p_text(p_value: float) -> str:
    """Return a p value, of which 0.000 would say too much: ``p = 0.031``, ``p < 0.001``."""
    return "p < 0.001" if p_value < 0.0005 else f"p = {p_value:.3f}"


def noise_text(noise: float) -> str:
    """Return a coefficient of variation in percent."""
    return "unknown" if math.isnan(noise) else f"{100 * noise:.1f} %"


def seeds_text(seeds: Iterable[Any], most: int) -> str:
    """Return seeds in the order of their numbers; of many the first ones, and how many others there are."""
    known = sorted(int(seed) for seed in seeds if not pd.isna(seed))
    return listed([str(seed) for seed in known], most)


def verdict_text(row: Any) -> str:
    """Return a row's verdict, with what it rests on and what several comparisons make of it.

    Args:
        row: with ``verdict``, ``adjusted`` and, for speeds, ``is_paired``.
    """
    text = "" if pd.isna(row.verdict) else str(row.verdict)
    if getattr(row, "is_paired", True) is False and not math.isnan(row.low):
        text += " (unpaired, assumes equal spread)"
    if isinstance(row.adjusted, str) and row.adjusted != row.verdict:
        text += f"; with Holm: {row.adjusted}"
    return text
