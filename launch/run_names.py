"""Runs of a sweep by arm, swept values and seed, so that a table names each once and fits a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LEVEL = re.compile(r",(?=[A-Za-z_][\w.@/]*=)")
_SEED = re.compile(r"seed_(\d+)")


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
    keys = list(dict.fromkeys(key for _, levels in parts for key in levels))
    columns = {"data and network": [path.parent.parent.name for path in run_dirs]}
    columns |= {key: [levels.get(key, "") for _, levels in parts] for key in keys}
    same = {name: values[0] for name, values in columns.items() if len(set(values)) == 1}
    shared = [value if name == "data and network" else f"{name}={value}" for name, value in same.items()]
    columns = {short_name(name, keys): values for name, values in columns.items() if name not in same}
    columns["arm"] = [arm for arm, _ in parts]
    columns["seed"] = [seed[1] for seed in seeds if seed]
    cells = [list(row) for row in zip(*columns.values(), strict=True)]
    return RunNames(list(columns), cells, ", ".join(shared))


def short_name(key: str, keys: Sequence[str]) -> str:
    """Return the last word of a dotted key, or all of it where another key ends alike."""
    last = key.rpartition(".")[2]
    return key if any(other != key and other.rpartition(".")[2] == last for other in keys) else last
