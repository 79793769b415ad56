"""A comparison as a notebook shows it."""

from __future__ import annotations

import functools
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


@functools.wraps(compare_frames)
def compare(data: Data, **options: Any) -> ShownComparison:
    """Compare every arm with its baselines, as `analysis.comparison.compare` does."""
    return ShownComparison(**vars(compare_frames(data, **options)))
