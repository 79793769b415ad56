"""In which order groups and arms stand: the same in tables, legends and pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable

from analysis.frames import Data
from analysis.names import cell_and_levels, plain_arm


def ordered_groups(names: Iterable[str]) -> list[str]:
    """Return each group once: cells in the order in which they appear first, and of each the swept values by size."""
    parts = {name: cell_and_levels(name) for name in dict.fromkeys(names)}
    cells = {cell: place for place, cell in enumerate(dict.fromkeys(cell for cell, _ in parts.values()))}
    return sorted(parts, key=lambda name: (cells[parts[name][0]], [*map(_size, parts[name][1].items())]))


def ordered_values(values: Iterable[str]) -> list[str]:
    """Return each value of a swept key once: numbers by size, then words."""
    return sorted(set(values), key=lambda value: _size(("", value)))


def _size(level: tuple[str, str]) -> tuple[str, float, str]:
    key, value = level
    try:
        return key, float(value), value
    except ValueError:
        return key, math.inf, value


def arm_names(data: Data) -> list[str]:
    """Return the plain names of the arms: baselines, then the others by name."""
    baselines = [plain_arm(arm) for arm in data.runs.baseline.dropna()]
    known = {plain_arm(arm) for arm in data.runs.arm}
    return [arm for arm in dict.fromkeys([*baselines, *sorted(known)]) if arm in known]
