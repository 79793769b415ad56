"""All that tables, the report and the dashboard show, computed once from the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from adabatch.errors import ConfigError
from adabatch.fields import require
from analysis.accuracy import accuracy
from analysis.frames import Data
from analysis.matching import Matching, match
from analysis.speedup import speedup, split, targets


@dataclass(frozen=True)
class Comparison:
    """Arms against their baselines.

    Attributes:
        accuracy: see `analysis.accuracy.accuracy`.
        speedup: see `analysis.speedup.speedup`.
        split: see `analysis.speedup.split`.
        matching: the pairs behind them, and what was refused.
        targets: by group the accuracy that counts as reached, as a fraction.
        margin_points: how much worse still counts as equal.
    """

    data: Data
    accuracy: pd.DataFrame
    speedup: pd.DataFrame
    split: pd.DataFrame
    matching: Matching
    targets: dict[str, float]
    margin_points: float

    def _repr_html_(self) -> str:
        from analysis.formats import to_html
        from analysis.tables import make_tables

        return to_html(make_tables(self))


def compare(
    data: Data,
    *,
    allow: Sequence[str] = (),
    baseline: str | None = None,
    target: float | None = None,
    margin_points: float = 1.0,
) -> Comparison:
    """Compare every arm with its baselines.

    Args:
        allow: keys in which the runs of a pair may differ; see `analysis.matching.match`.
        baseline: an arm that goes before the sweep's own baseline.
        target: test accuracy as a fraction; by default the baseline's median final one minus the margin.
        margin_points: in percentage points.

    Raises:
        ConfigError: for a value out of range, or an unknown arm.

    Example:
        >>> comparison = analysis.compare(analysis.load("runs/demo"))
        >>> comparison.speedup.query("quantity == 'total'")[["arm", "value", "low", "high", "verdict"]]
    """
    require(target is None or 0 < target <= 1, "the target accuracy", target, "a fraction between 0 and 1, like 0.925")
    require(0 < margin_points < 100, "the margin", margin_points, "between 0 and 100 percentage points")
    if baseline is not None and baseline not in set(data.runs.arm):
        raise ConfigError(f"the baseline is {baseline}; it must be one of {', '.join(sorted(set(data.runs.arm)))}.")
    matching = match(data, allow, baseline)
    goals = targets(data, matching, margin_points)
    if target is not None:
        goals = dict.fromkeys(data.runs.group, target)
    return Comparison(
        data=data,
        accuracy=accuracy(data, matching, margin_points),
        speedup=speedup(data, matching, goals),
        split=split(data, matching),
        matching=matching,
        targets=goals,
        margin_points=margin_points,
    )
