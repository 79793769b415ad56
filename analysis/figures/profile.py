"""The performance profile: how often an arm reached the target within a factor of the fastest arm's time."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from analysis.bands import FEWEST_SEEDS
from analysis.figures.curves import shown
from analysis.figures.kinds import Kind
from analysis.figures.marks import Axis, Line, Picture, nothing
from analysis.figures.parallel import COINCIDE, side_by_side
from analysis.figures.source import Source
from analysis.frames import Data
from analysis.names import plain_arm
from analysis.target import performance_profile

_TITLE = "Time to the target, all data sets, networks and seeds"
_NAME = "time_to_target_profile"


def profile(source: Source, group: str | None = None) -> Picture:
    """Return the performance profile of the time to the target, over all groups.

    Up and to the left is better; an arm's height at the right end is how often it reached the target at all.
    """
    comparison = source.comparison
    assert comparison is not None
    # The cells of a grid are groups of their own; an arm is one line over all of them.
    runs = comparison.data.runs
    data = Data(runs.assign(arm=[plain_arm(arm) for arm in runs.arm]), comparison.data.epochs)
    frame = performance_profile(data, comparison.matching, comparison.targets, comparison.measure)
    frame = source.drawn(frame)
    if not len(frame):
        return nothing(_NAME, _TITLE, "No pair of runs was timed up to a target.")
    said = _notes(frame)
    frame = frame[frame.factor.notna()]
    end = max(2.0, 1.1 * frame.factor.max()) if len(frame) else 2.0
    lines = [_line(frame[frame.arm == arm], end, source, arm) for arm in source.styles if (frame.arm == arm).any()]
    beside = side_by_side(lines, is_log=False)
    if any(line.drawn_y for line in beside):
        said.append(COINCIDE)
    x = Axis("time to the target / that of the fastest arm", low=1.0, suffix="x")
    drawn = [value for line in beside for value in line.places[1]]
    y = Axis("share that reached it, %", low=min([0.0, *drawn]) - 2, high=max([100.0, *drawn]) + 2)
    return Picture(_NAME, _TITLE, x, y, tuple(beside), tuple(said))


def _line(frame: pd.DataFrame, end: float, source: Source, arm: str) -> Line:
    share, low, high = (_steps(100 * frame[name]) for name in ("share", "low", "high"))
    has_band = frame.low.notna().any() and low != high
    return Line(
        [1.0, *shown(frame.factor), end],
        share,
        source.label(arm),
        source.style(arm),
        low if has_band else (),
        high if has_band else (),
        "after",
    )


def _steps(percents: Iterable[float]) -> list[float]:
    """Return the heights of a profile from a factor of 1, before the first step, to the right end."""
    heights = shown(percents)
    return [0.0, *heights, heights[-1] if heights else 0.0]


def _notes(frame: pd.DataFrame) -> list[str]:
    fewest, most = int(frame.n.min()), int(frame.n.max())
    found = [f"n = {most if fewest == most else f'{fewest} to {most}'} groups x seeds an arm"]
    if frame.low.notna().any():
        found[0] += "; band: 95 % bootstrap interval, by group"
    if frame.low.isna().any():
        found.append(f"no band where a group has fewer than {FEWEST_SEEDS} seeds")
    return found


KINDS = (Kind(_NAME, _TITLE, profile, is_per_group=False, needs_comparison=True),)
