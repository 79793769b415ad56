"""What pictures are made of: runs, their comparison, and how arms look and are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from analysis.comparison import Comparison
from analysis.figures.arm_styles import ArmStyle, styles_of
from analysis.frames import Data
from analysis.names import cell_and_levels, plain_arm, short_keys
from analysis.order import arm_names, ordered_groups


@dataclass(frozen=True)
class Source:
    """What a picture's builder gets.

    Attributes:
        data: the runs that are drawn.
        comparison: None where arms are not compared yet, as on the dashboard of a sweep that has just begun.
        styles: by plain name of an arm; those that are drawn, in the order in which they are drawn.
        labels: by plain name of an arm what it is called, if not by its name.
    """

    data: Data
    comparison: Comparison | None
    styles: Mapping[str, ArmStyle]
    labels: Mapping[str, str] = field(default_factory=dict)

    def arms(self, group: str) -> list[str]:
        """Return the names of a group's arms, as the frames have them, in the order of `styles`."""
        present = self.data.runs.arm[self.data.runs.group == group].unique()
        by_plain_name: dict[str, list[str]] = {}
        for arm in sorted(map(str, present)):
            by_plain_name.setdefault(plain_arm(arm), []).append(arm)
        return [arm for name in self.styles for arm in by_plain_name.get(name, ())]

    def is_drawn(self, arm: object) -> bool:
        """Return whether an arm is among those that are drawn."""
        return plain_arm(arm) in self.styles

    def drawn(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a frame whose ``arm`` is drawn."""
        return frame[pd.Series([self.is_drawn(arm) for arm in frame.arm], index=frame.index, dtype=bool)]

    def style(self, arm: object) -> ArmStyle:
        """Return how an arm looks, by its plain name or by that of the frames."""
        return self.styles[plain_arm(arm)]

    def label(self, arm: object) -> str:
        """Return what an arm is called: without the swept values of its group, which are said once."""
        return self.labels.get(plain_arm(arm), plain_arm(arm))


def source_of(
    runs: Comparison | Data, arms: Sequence[str] | None = None, labels: Mapping[str, str] | None = None
) -> Source:
    """Return what pictures of a comparison are made of: the finished runs that are in numbers. Of a `Data` it is all.

    Styles are those among all runs, also of those that are not drawn.

    Args:
        arms: plain names of the arms to draw, in this order; all by default.
        labels: by plain name what an arm is called.
    """
    everything = runs.data if isinstance(runs, Comparison) else runs
    styles = styles_of(arm_names(everything))
    chosen = styles if arms is None else {arm: styles[arm] for arm in arms}
    drawn = runs.counted if isinstance(runs, Comparison) else runs
    return Source(drawn, runs if isinstance(runs, Comparison) else None, chosen, dict(labels or {}))


def groups(data: Data) -> list[str]:
    """Return the groups (data set, network, other swept values), each a figure of its own, in the order of tables."""
    return ordered_groups(map(str, data.runs.group.unique()))


def level_names(names: Sequence[str]) -> dict[str, str]:
    """Return by group what tells it from the others: its swept values, and its cell where there are several.

    A value reads "weight decay = 0.0005".
    """
    parts = {name: cell_and_levels(name) for name in names}
    has_one_cell = len({cell for cell, _ in parts.values()}) == 1
    short = short_keys(key for _, levels in parts.values() for key in levels)
    found = {}
    for name, (cell, levels) in parts.items():
        said = [f"{short[key].replace('_', ' ')} = {value}" for key, value in levels.items()]
        found[name] = ", ".join(said if said and has_one_cell else [cell, *said])
    return found


def of_group(frame: pd.DataFrame, group: str) -> pd.DataFrame:
    """Return the rows of a frame that are of one group."""
    return frame[frame.group == group]
