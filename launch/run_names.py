"""Runs of a sweep by arm, swept values and seed, so that a table names each once and fits a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adabatch.terminal import listed

_LEVEL = re.compile(r",(?=[A-Za-z_][\w.@/]*=)")
_SEED = re.compile(r"seed_(\d+)")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


@dataclass(frozen=True)
class RunNames:
    """The names of runs in columns.

    Attributes:
        headers: of the columns in which the runs differ, and always ``arm`` and ``seed``.
        cells: one list a run.
        shared: what all runs have in common, for a heading.
    """

    headers: list[str]
    cells: list[list[str]]
    shared: str

    @property
    def order(self) -> list[int]:
        """The places of the runs by the first column, then by the second and so on; numbers by size."""
        return sorted(range(len(self.cells)), key=lambda place: [_size(cell) for cell in self.cells[place]])


def _size(cell: str) -> tuple[float, str]:
    try:
        return float(cell), cell
    except ValueError:
        return math.inf, cell


def without_repeats(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return rows of names in which what repeats the row above is blank, but for the last column."""
    found = []
    for place, row in enumerate(rows):
        above = rows[place - 1] if place else []
        same = next((column for column, pair in enumerate(zip(row, above, strict=False)) if pair[0] != pair[1]), 0)
        same = min(same if above else 0, len(row) - 1)
        found.append([*[""] * same, *row[same:]])
    return found


def arm_of(run_dir: Path) -> str | None:
    """Return the arm's folder of a run CELL/ARM/seed_N."""
    return run_dir.parent.name if _SEED.fullmatch(run_dir.name) else None


def natural_order(name: str) -> list[str | float]:
    """Return what sorts names by the numbers in them: ``width=8`` before ``width=16``, ``seed_2`` before ``10``."""
    return [float(part) if place % 2 else part for place, part in enumerate(_NUMBER.split(name))]


def arm_and_levels(folder: str) -> tuple[str, dict[str, str]]:
    """Return the arm of a folder ``growing,optimizer.momentum=0.9``, and the swept values."""
    arm, *levels = _LEVEL.split(folder)
    return arm, {key: value for key, _, value in (level.partition("=") for level in levels)}


def run_names(run_dirs: Sequence[Path]) -> RunNames | None:
    """Return the names of a sweep's runs in columns; None if one is not CELL/ARM/seed_N."""
    seeds = [_SEED.fullmatch(path.name) for path in run_dirs]
    if not run_dirs or not all(seeds):
        return None
    parts = [arm_and_levels(path.parent.name) for path in run_dirs]
    keys = sorted({key for _, levels in parts for key in levels})
    columns = {"data and network": [path.parent.parent.name for path in run_dirs]}
    columns |= {key: [levels.get(key, "") for _, levels in parts] for key in keys}
    same = {name: values[0] for name, values in columns.items() if len(set(values)) == 1}
    shared = [value if name == "data and network" else f"{name}={value}" for name, value in same.items()]
    columns = {short_name(name, keys): values for name, values in columns.items() if name not in same}
    columns["arm"] = [arm for arm, _ in parts]
    columns["seed"] = [seed[1] for seed in seeds if seed]
    cells = [list(row) for row in zip(*columns.values(), strict=True)]
    return RunNames(list(columns), cells, ", ".join(shared))


def points_text(folders: Sequence[str], among: Sequence[str], most: int) -> str:
    """Return the grid points of some arms' folders: the swept values that tell them from others.

    Args:
        among: the folders of all arms.
        most: of more points, so many are named.
    """
    levels, all_levels = ([arm_and_levels(folder)[1] for folder in some] for some in (folders, among))
    keys = list(dict.fromkeys(key for one in all_levels for key in one))
    differ = [key for key in keys if len({one.get(key) for one in all_levels}) > 1] or keys
    points = [", ".join(f"{short_name(key, keys)}={one[key]}" for key in differ if key in one) for one in levels]
    return listed(points, most, "; ")


def short_name(key: str, keys: Sequence[str]) -> str:
    """Return the last word of a dotted key, or all of it where another key ends alike."""
    last = key.rpartition(".")[2]
    return key if any(other != key and other.rpartition(".")[2] == last for other in keys) else last
