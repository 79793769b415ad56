"""The tables of speedups: with their verdicts, by part, by cause, and over all cells."""

from __future__ import annotations

from typing import Any

from adabatch.terminal import counted, noun_for, number_text
from analysis.cells import NONE, noise_text, plain, ratio_interval, times, verdict_text
from analysis.comparison import Comparison
from analysis.frames import tuples
from analysis.names import plain_arm
from analysis.quality import quality_decisions
from analysis.remarks import mark_notes
from analysis.speedup import EXACT, NOT_MEASURED, QUANTITIES
from analysis.table import GROUP, Table, make_table
from analysis.verdicts import BETTER, EQUIVALENT, NOT_WORSE, UNDECIDED, WORSE

#: Quality decisions beside which a speedup stands without a mark.
_EQUAL_QUALITY = (BETTER, EQUIVALENT, NOT_WORSE)


def speedup_table(comparison: Comparison) -> Table:
    """Return seconds of the baseline divided by the arm's, with the arm's quality beside them."""
    columns = [GROUP, "arm", "against", "speedup", "95 % CI", "verdict", "pairs", "noise"]
    qualities = quality_decisions(comparison.quality)
    rows = []
    for row in tuples(comparison.totals):
        key = (row.group, row.arm, row.baseline)
        cells = [*key, speedup_text(row, qualities.get(key), comparison), ratio_interval(row.low, row.high)]
        rows.append([*cells, verdict_text(row), number_text(row.n), noise_text(row.noise)])
    effect = f"{100 * comparison.smallest_effect:g} %"
    notes = [
        "Seconds of training and growth (compiling and tuning for larger batches), without tests, of the baseline "
        "divided by the arm's own, so more than 1 is faster; geometric mean over seeds with Student's interval of the "
        f"logarithms. The verdict compares the interval with {effect}, the smallest effect worth naming.",
        "noise: coefficient of variation of repeats of equal work.",
        *mark_notes(comparison.matching),
    ]
    return make_table("speedup", "Speedup", columns, rows, notes)


def parts_table(comparison: Comparison) -> Table:
    """Return the speedups by part, each with its interval and verdict; parts that nobody measured are named below."""
    columns = [GROUP, "arm", "against", "part", "speedup", "95 % CI", "verdict", "pairs"]
    rows = []
    parts = comparison.speedup[comparison.speedup.quantity != "total"]
    measured = set(parts.quantity[parts.decision != NOT_MEASURED])
    for row in tuples(parts[parts.quantity.isin(measured)]):
        ends = "" if row.decision == EXACT else ratio_interval(row.low, row.high)
        cells = [row.group, row.arm, row.baseline, QUANTITIES[row.quantity].label, times(row.value), ends]
        rows.append([*cells, verdict_text(row), number_text(row.n)])
    notes = ["with tests: training, growth and tests; updates: optimizer steps, a count without noise."]
    missing = [QUANTITIES[name].label for name in dict.fromkeys(parts.quantity) if name not in measured]
    notes += [f"Not measured in any run: {', '.join(missing)}."] if missing else []
    return make_table("parts", "Speedup by part", columns, rows, notes)


def split_table(comparison: Comparison) -> Table:
    """Return the factors whose product is the total speedup."""
    columns = [GROUP, "arm", "against", "total", "fewer updates", "throughput", "growth", "rest"]
    rows = [
        [row.group, row.arm, row.baseline, *map(times, (row.total, row.updates, row.throughput, row.growth, row.rest))]
        for row in tuples(comparison.split)
        if row.n
    ]
    notes = [
        "total = fewer updates x throughput x growth x rest. fewer updates: fewer optimizer steps; throughput: forward "
        "and backward per sample; growth: compiling and tuning for larger batches; rest: data and all else.",
    ]
    return make_table("split", "What the speedup is made of", columns, rows, notes)


def overall_table(comparison: Comparison) -> Table:
    """Return each arm's speedup over all cells."""
    columns = ["arm", "cells", "speedup", "95 % CI", "interquartile mean", "profile score"]
    rows = [
        [row.arm, number_text(row.cells), overall_text(row, comparison), ratio_interval(row.low, row.high),
         times(row.interquartile_mean), plain(row.profile_score)]
        for row in tuples(comparison.overall)
    ]  # fmt: skip
    notes = [
        "speedup: geometric mean over cells, each counting once, with the interval of other cells like these; "
        "interquartile mean: of the middle half of all pairs; profile score: area under the performance profile of the "
        "time to the target up to four times the fastest, from 0 to 1. Copies of a run count once. None of these takes "
        "the quality into account: a speedup is marked with the cells in which it is worse or undecided.",
    ]
    return make_table("overall", "Over all cells", columns, rows, notes)


def speedup_text(row: Any, quality: Any, comparison: Comparison) -> str:
    """Return a speedup, marked in the cell unless the arm's quality is known to be no worse."""
    text = times(row.value)
    if quality is None or text == NONE or quality.decision in _EQUAL_QUALITY:
        return text
    unit = comparison.measure.quality.unit
    if quality.decision == WORSE:
        return f"{text}, at {_amount(abs(quality.difference), unit)} less"
    if quality.decision == UNDECIDED:
        return f"{text}, {comparison.measure.quality.name} undecided"
    return f"{text}, {comparison.measure.quality.name}: {quality.verdict}"


def overall_text(row: Any, comparison: Comparison) -> str:
    """Return a speedup over all cells, marked with the cells in which the arm's quality is not known to be no worse."""
    baselines = comparison.matching.baselines
    qualities = [
        quality
        for quality in quality_decisions(comparison.quality).values()
        if plain_arm(quality.arm) == row.arm and quality.baseline == baselines.get(quality.group)
    ]
    text = times(row.speedup)
    name, unit = comparison.measure.quality.name, comparison.measure.quality.unit
    worse = [abs(quality.difference) for quality in qualities if quality.decision == WORSE]
    undecided = [quality for quality in qualities if quality.decision == UNDECIDED]
    unknown = [quality for quality in qualities if quality.decision not in (*_EQUAL_QUALITY, WORSE, UNDECIDED)]
    marks = [f"at up to {_amount(max(worse), unit)} less in {len(worse)}"] if worse else []
    marks += [f"{name} undecided in {len(undecided)}"] if undecided else []
    marks += [f"{name} without a verdict in {len(unknown)}"] if unknown else []
    return f"{', '.join([text, *marks])} of {counted(len(qualities), 'cell')}" if marks else text


def _amount(value: float, unit: str) -> str:
    """Return a difference without its sign, such as ``37.4 points``."""
    return f"{value:.3g} {noun_for(value, unit)}" if unit else f"{value:.3g}"
