"""What a comparison judges by: what the caller gave, else what the sweep declared, else a default."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from adabatch.fields import require
from analysis.frames import Data
from analysis.verdicts import SMALLEST_EFFECT, TEST_ACCURACY


@dataclass(frozen=True)
class Criteria:
    """What arms are judged by.

    Attributes:
        target: test accuracy to reach, as a fraction; None to derive it from the baseline.
        margin: how much worse is still acceptable, in percentage points.
        smallest_effect: the smallest speedup worth naming, as a share.
        remarks: what a reader must know of the choice, as sentences.

    Raises:
        ConfigError: for a value out of range.
    """

    target: float | None = None
    margin: float = TEST_ACCURACY.margin
    smallest_effect: float = SMALLEST_EFFECT
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        target, effect = self.target, self.smallest_effect
        fraction = "a fraction between 0 and 1, like 0.925"
        require(target is None or 0 < target <= 1, "the target accuracy", target, fraction)
        require(0 < self.margin < 100, "the margin", self.margin, "between 0 and 100 percentage points")
        require(0 <= effect < 1, "the smallest effect", effect, "a share of at least 0 and less than 1, like 0.02")


def choose_criteria(data: Data, target: float | None, margin: float | None, smallest_effect: float | None) -> Criteria:
    """Return what is given, else what all sweeps of the runs declared alike, else the default."""
    given = {"target": target, "margin": margin, "smallest_effect": smallest_effect}
    declared = {name: _declared(data, name) for name, value in given.items() if value is None}
    agreed = {name: values[0] for name, values in declared.items() if len(values) == 1}
    known = {name: value for name, value in given.items() if value is not None}
    return Criteria(**known, **agreed, remarks=tuple(_disagreements(declared)))


def _declared(data: Data, name: str) -> list[float]:
    """Return the different values that the sweeps of the runs declared."""
    if name not in data.runs:
        return []
    return sorted(map(float, pd.to_numeric(data.runs[name], errors="coerce").dropna().unique()))


def _disagreements(declared: dict[str, list[float]]) -> Iterator[str]:
    for name, values in declared.items():
        if len(values) > 1:
            listed = ", ".join(f"{value:g}" for value in values)
            option = "--" + name.replace("_", "-")
            yield f"the runs declared different values of {name} ({listed}), so none of them is used; give {option}"
