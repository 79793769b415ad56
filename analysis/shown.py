"""A comparison as a notebook shows it."""

from __future__ import annotations

from typing import Any

from analysis.comparison import Comparison
from analysis.comparison import compare as compare_frames
from analysis.formats import to_html
from analysis.frames import Data
from analysis.tables import make_tables


class ShownComparison(Comparison):
    """A comparison that a notebook shows as its tables."""

    def _repr_html_(self) -> str:
        return to_html(make_tables(self))


def compare(data: Data, **options: Any) -> Comparison:
    """Compare every arm with its baselines; see `analysis.comparison.compare` for options and errors.

    Example:
        >>> comparison = analysis.compare(analysis.load("runs/demo"))
        >>> comparison.speedup.query("quantity == 'total'")[["arm", "value", "low", "high", "verdict"]]
    """
    return ShownComparison(**vars(compare_frames(data, **options)))
