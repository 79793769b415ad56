"""Forest plots: what each arm gains in time and in quality, with its interval and what would count as a gain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from adabatch.terminal import counted
from analysis.cells import signed, times, times_end
from analysis.figures.effect_frames import quality_effects, speed_effects, target_effects
from analysis.figures.kinds import Kind
from analysis.figures.marks import Axis, Interval, Mark, Picture, Rule, nothing
from analysis.figures.source import Source, level_names
from analysis.frames import tuples
from analysis.names import plain_arm
from analysis.speedup_tables import overall_text
from analysis.verdicts import UNDECIDED, Quality, speed_decisions

_NOTHING = "No arm has a baseline to be compared with; --baseline ARM names one."


def speedup_forest(source: Source, group: str | None = None) -> Picture:
    """Return the speedup of each arm with its interval, and what is too small to be worth naming."""
    assert source.comparison is not None
    rows = _rows(source, speed_effects(source.comparison), group)
    overall = [] if group is not None else tuples(source.comparison.overall)
    return _speeds(source, "speedup", "Speedup", rows, overall)


def target_forest(source: Source, group: str | None = None) -> Picture:
    """Return the speedup of each arm to the target quality."""
    assert source.comparison is not None
    rows = _rows(source, target_effects(source.comparison), group)
    return _speeds(source, "speedup_to_target", "Speedup to the target", rows, [])


def _speeds(source: Source, name: str, title: str, rows: Sequence[Any], overall: Sequence[Any]) -> Picture:
    comparison = source.comparison
    assert comparison is not None
    if not rows:
        return nothing(name, title, _NOTHING)
    table = _Table(source, rows)
    marks: list[Mark] = []
    for row in rows:
        said = _joined(f"{'' if math.isnan(row.value) else times(row.value)} {row.verdict}{_star(row)}", row.remark)
        marks.append(_interval(source, table, row, said.strip(), times_end))
    overall = [row for row in overall if source.is_drawn(row.arm)]
    if overall:
        table.add_heading(f"over all {counted(max(int(row.cells) for row in overall), 'cell')}")
    for row in overall:
        marks.append(_over_all(source, table.add(source.label(row.arm)), row))
    effect = comparison.smallest_effect
    rules: list[Mark] = [Rule(1.0, "x", "as fast", dash="solid")]
    if effect:
        rules.insert(0, Rule(1 / (1 + effect), "x", f"within {100 * effect:g} %", end=1 + effect))
    notes = ["Baseline's time / arm's time, geometric mean over seeds with its 95 % interval: right of 1x is faster."]
    if any(not math.isnan(row.value) and not row.is_decided for row in rows):
        beside = f", or beside a {comparison.measure.quality.name} that is not known to be no worse"
        notes.append(f"Hollow: undecided{beside if any(row.remark for row in rows) else ''}.")
    notes += _notes(rows)
    x = Axis("speedup", "log2", suffix="x")
    return Picture(name, title, x, table.axis(), (*rules, *marks), tuple(notes))


def quality_forest(source: Source, group: str | None = None) -> Picture:
    """Return the difference of each arm in quality to the baseline with its interval, and the margin."""
    comparison = source.comparison
    assert comparison is not None
    quality = comparison.measure.quality
    name, title = "quality_difference", f"Difference in {quality.name}"
    rows = _rows(source, quality_effects(comparison), group)
    if not rows:
        return nothing(name, title, _NOTHING)
    table = _Table(source, rows)
    marks: list[Mark] = []
    for row in rows:
        said = f"{'' if math.isnan(row.value) else signed(row.value)} {row.verdict}{_star(row)}".strip()
        marks.append(_interval(source, table, row, said, signed))
    better, worse = ("right", "left") if quality.higher_is_better else ("left", "right")
    notes = [
        f"Arm - baseline, paired by seed, with its 95 % interval: to the {better} is better. An arm is not worse if "
        f"its whole interval lies on this side of the margin at the {worse}."
    ]
    if any(not math.isnan(row.value) and not row.is_decided for row in rows):
        notes.append("Hollow: undecided.")
    notes += _notes(rows)
    unit = f", {quality.unit}s" if quality.unit else ""
    x = Axis(f"{quality.name}, arm minus baseline{unit}")
    return Picture(name, title, x, table.axis(), (*_margin_rules(quality), *marks), tuple(notes))


def _margin_rules(quality: Quality) -> list[Mark]:
    """Return the line of no difference and those of the margin; the one that must not be crossed is named."""
    sign = -1 if quality.higher_is_better else 1
    return [
        Rule(sign * quality.margin, "x", f"margin {quality.margin_text}"),
        Rule(0.0, "x", dash="solid"),
        Rule(-sign * quality.margin, "x", dash="dot"),
    ]


def _rows(source: Source, frame: pd.DataFrame, group: str | None) -> list[Any]:
    """Return the drawn rows of a frame in the order of the table of verdicts, or by group in that of the asked arms."""
    assert source.comparison is not None
    by_key = {(row.group, row.arm, row.baseline): row for row in tuples(frame) if source.is_drawn(row.arm)}
    rows = [by_key[key] for key in source.comparison.compared if key in by_key and group in (None, key[0])]
    groups = list(dict.fromkeys(row.group for row in rows))
    arms = list(source.styles)
    return sorted(rows, key=lambda row: (groups.index(row.group), arms.index(plain_arm(row.arm))))


class _Table:
    """The rows of a forest plot: a heading for each group, if there are several, and below it the arms."""

    def __init__(self, source: Source, rows: Sequence[Any]) -> None:
        self._names: list[str] = []
        self._headings: set[int] = set()
        self._places: dict[tuple[str, str, str], int] = {}
        self._build(source, rows)

    def _build(self, source: Source, rows: Sequence[Any]) -> None:
        shown = list(dict.fromkeys(row.group for row in rows))
        levels = level_names(shown)
        several = {(row.group, row.arm) for row in rows if sum(_same_arm(row, other) for other in rows) > 1}
        heading = ""
        for row in rows:
            if len(shown) > 1 and row.group != heading:
                heading = row.group
                self.add_heading(levels[heading])
            against = f" against {source.label(row.baseline)}" if (row.group, row.arm) in several else ""
            self._places[row.group, row.arm, row.baseline] = self.add(source.label(row.arm) + against)

    def add_heading(self, name: str) -> None:
        self._headings.add(self.add(name))

    def add(self, name: str) -> int:
        self._names.append(name)
        return len(self._names) - 1

    def place(self, row: Any) -> int:
        return self._places[row.group, row.arm, row.baseline]

    def axis(self) -> Axis:
        return Axis("", "categories", tuple(self._names), frozenset(self._headings))


def _same_arm(one: Any, other: Any) -> bool:
    return (one.group, one.arm) == (other.group, other.arm)


def _interval(source: Source, table: _Table, row: Any, text: str, shown: Callable[[float], str]) -> Interval:
    ends = "no interval" if math.isnan(row.low) else f"95 % interval {shown(row.low)} to {shown(row.high)}"
    seeds = f"{counted(row.n, 'pair')} of seeds"
    adjusted = [f"with Holm's correction: {row.adjusted}"] if _star(row) else []
    hover = "<br>".join([text, *([] if math.isnan(row.value) else [ends, seeds]), *adjusted])
    return Interval(
        row.value, table.place(row), row.low, row.high, "", source.style(row.arm), text, bool(row.is_decided), hover
    )


def _over_all(source: Source, place: int, row: Any) -> Interval:
    """Return the speedup of an arm over all cells, hollow where its table marks it, or the interval decides nothing."""
    comparison = source.comparison
    assert comparison is not None
    text = overall_text(row, comparison)
    low, high = (math.log(end) if end else -math.inf for end in (row.low, row.high))  # a very low end is rounded to 0
    decision = str(speed_decisions(low, high, comparison.smallest_effect))
    counts = decision != UNDECIDED and text == times(row.speedup)
    ends = "no interval" if math.isnan(row.low) else f"95 % interval {times_end(row.low)} to {times_end(row.high)}"
    hover = f"geometric mean over {counted(int(row.cells), 'cell')}: {text}<br>{ends}"
    return Interval(row.speedup, place, row.low, row.high, "", source.style(row.arm), text, counts, hover)


def _star(row: Any) -> str:
    return "*" if isinstance(row.adjusted, str) and _first_word(row.adjusted) != _first_word(row.verdict) else ""


def _first_word(text: str) -> str:
    return text.split(" ")[0].rstrip(":")


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _notes(rows: Sequence[Any]) -> list[str]:
    notes = []
    if any(math.isnan(row.low) and not math.isnan(row.value) for row in rows):
        notes.append("A point without an interval rests on one pair of seeds.")
    if any(_star(row) for row in rows):
        notes.append("* undecided once all comparisons are taken together (Holm's correction).")
    return notes


KINDS = (
    Kind("speedup", "Speedup", speedup_forest, is_per_group=False, needs_comparison=True),
    Kind("speedup_to_target", "Speedup to the target", target_forest, is_per_group=False, needs_comparison=True),
    Kind("quality_difference", "Difference in quality", quality_forest, is_per_group=False, needs_comparison=True),
)
