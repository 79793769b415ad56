"""The tables that people read: verdicts first, then what they are made of, and what stands beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from adabatch.terminal import counted, noun_for, number_text
from analysis.cells import (
    NONE,
    interval,
    noise_text,
    percent,
    plain,
    ratio_interval,
    signed,
    time_text,
    times,
    verdict_text,
)  # fmt: skip
from analysis.comparison import Comparison
from analysis.devices import devices_table
from analysis.forecast_tables import forecast_table, graphs_table
from analysis.frames import is_final, shown_state, tuples
from analysis.names import arm_in, cell_and_levels, plain_arm
from analysis.quality import FAILED_ARM, REFUSED, WITHOUT_PAIR, quality_decisions
from analysis.speedup import EXACT, NOT_MEASURED, QUANTITIES
from analysis.speedup import REFUSED as REFUSED_SPEED
from analysis.table import GROUP, Table, make_table
from analysis.verdicts import BETTER, EQUIVALENT, NOT_WORSE, UNDECIDED, WORSE

_LISTED = 20
#: Quality decisions beside which a speedup stands without a mark.
_EQUAL_QUALITY = (BETTER, EQUIVALENT, NOT_WORSE)


def make_tables(comparison: Comparison) -> list[Table]:
    """Return all tables of a comparison; those without a row are left out."""
    tables = [
        verdict_table(comparison),
        target_table(comparison),
        speedup_table(comparison),
        devices_table(comparison.data, comparison.matching),
        quality_table(comparison),
        parts_table(comparison),
        split_table(comparison),
        overall_table(comparison),
        forecast_table(comparison),
        graphs_table(comparison),
        cost_table(comparison),
        refused_table(comparison),
        unfinished_table(comparison),
    ]
    return [table for table in tables if table.rows]


def verdict_table(comparison: Comparison) -> Table:
    """Return what is concluded of every arm: time to the target, speed, quality."""
    name = comparison.measure.quality.name
    columns = [GROUP, "arm", "against", "to the target", "speed", name]
    targets = _by_arm(comparison.target)
    qualities = quality_decisions(comparison.quality)
    totals = _by_arm(_totals(comparison))
    rows = []
    for key in comparison.compared:
        target, quality, total = targets.get(key), qualities.get(key), totals.get(key)
        speed = _without_pair(quality, comparison) if total is None else _speed_verdict(total, quality, comparison)
        cells = [*key, "" if target is None else _with_ratio(target), speed]
        rows.append([*cells, "" if quality is None else _quality_verdict(quality)])
    notes = [
        "to the target: time of training and growth until it is reached; speed: of training and growth; "
        f"{name}: after the last epoch, arm - baseline. "
        f"A speedup counts only beside a {name} that is better, equivalent or not worse.",
        *(f"! {sentence}." for sentence in comparison.remarks),
        *comparison.registrations,
    ]
    return make_table("verdicts", "Verdicts", columns, rows, notes)


def _without_pair(quality: Any, comparison: Comparison) -> str:
    """Return why an arm without a pair has no speedup, with the keys that refuse it."""
    if quality.decision != REFUSED:
        return str(quality.verdict)
    refused = comparison.matching.refused
    own = (refused.group == quality.group) & (refused.arm == quality.arm) & (refused.baseline == quality.baseline)
    keys = list(map(str, dict.fromkeys(refused.key[own])))
    return f"{REFUSED}: {_some(keys, ', ', 2)}" if keys else REFUSED


def _with_ratio(row: Any) -> str:
    text = verdict_text(row)
    return text if math.isnan(row.value) else f"{text} ({times(row.value)})"


def _speed_verdict(row: Any, quality: Any, comparison: Comparison) -> str:
    if row.decision in (REFUSED_SPEED, NOT_MEASURED):
        return str(row.decision)
    if math.isnan(row.value) and quality is not None and quality.decision in WITHOUT_PAIR:
        return _without_pair(quality, comparison)
    return f"{verdict_text(row)} ({speedup_text(row, quality, comparison)})"


def _quality_verdict(row: Any) -> str:
    text = verdict_text(row)
    return text if math.isnan(row.difference) or row.decision == FAILED_ARM else f"{text} ({signed(row.difference)})"


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


def target_table(comparison: Comparison) -> Table:
    """Return which runs reached the target quality, when, and whether sooner than the baseline."""
    columns = [GROUP, "arm", "against", "target %", "reached", "baseline reached", "median", "baseline's median"]
    columns += ["speedup", "95 % CI", "verdict", "pairs", "noise"]
    rows = []
    for row in tuples(comparison.target):
        share = f"{row.reached:,} of {row.n:,}"
        if not math.isnan(row.reached_low):
            share += f" ({100 * row.reached_low:.0f} to {100 * row.reached_high:.0f} %)"
        cells = [row.group, row.arm, row.baseline, percent(row.target), share]
        cells += [f"{row.baseline_reached:,} of {row.baseline_n:,}", time_text(row.median_seconds)]
        cells += [time_text(row.baseline_median_seconds), times(row.value), ratio_interval(row.low, row.high)]
        rows.append([*cells, verdict_text(row), number_text(row.pairs), noise_text(row.noise)])
    derived = "derived: the baseline's median final one minus the margin"
    origin = "declared" if comparison.targets.is_declared else derived
    notes = [
        f"Time of training and growth until the first epoch at the target ({origin}), the median over runs. Runs that "
        "never reach it count as infinitely slow; reached: with Wilson's 95 % interval. Where every run reached it, "
        "the verdict is by the interval of the paired ratio, else by the log-rank test over permutations.",
    ]
    return make_table("target", "Time to the target", columns, rows, notes)


def speedup_table(comparison: Comparison) -> Table:
    """Return seconds of the baseline divided by the arm's, with the arm's quality beside them."""
    columns = [GROUP, "arm", "against", "speedup", "95 % CI", "verdict", "pairs", "noise"]
    qualities = quality_decisions(comparison.quality)
    rows = []
    for row in tuples(_totals(comparison)):
        key = (row.group, row.arm, row.baseline)
        cells = [*key, speedup_text(row, qualities.get(key), comparison), ratio_interval(row.low, row.high)]
        rows.append([*cells, verdict_text(row), number_text(row.n), noise_text(row.noise)])
    effect = f"{100 * comparison.smallest_effect:g} %"
    notes = [
        "Seconds of training and growth (compiling and tuning for larger batches), without tests, of the baseline "
        "divided by the arm's own, so more than 1 is faster; geometric mean over seeds with Student's interval of the "
        f"logarithms. The verdict compares the interval with {effect}, the smallest effect worth naming.",
        "noise: coefficient of variation of repeats of equal work.",
        *mark_notes(comparison),
    ]
    return make_table("speedup", "Speedup", columns, rows, notes)


def quality_table(comparison: Comparison) -> Table:
    """Return the quality by arm and its difference to the baseline."""
    batches = batch_ranges(comparison)
    shows_top5 = bool(comparison.quality.top5_mean.notna().any())
    shows_sampling = bool(comparison.quality.sampling_sd.notna().any())
    unit = comparison.measure.quality.unit + "s"
    columns = [GROUP, "arm", "batch", "runs", "pairs", "final %", "best %*"]
    columns += ["top-5 %"] if shows_top5 else []
    columns += ["against", unit, "95 % CI"] + (["sampling sd"] if shows_sampling else []) + ["verdict"]
    rows = []
    for row in tuples(comparison.quality):
        cells = [row.group, row.arm, batches.get((row.group, row.arm), NONE), _runs_text(row), _pairs_text(row)]
        cells += [percent(row.final_mean, row.final_sd), percent(row.best_mean)]
        cells += [percent(row.top5_mean, row.top5_sd)] if shows_top5 else []
        if not isinstance(row.baseline, str):
            is_baseline = comparison.matching.baselines.get(row.group) == row.arm
            cells += ["", "", "", *([""] if shows_sampling else [])]
            rows.append([*cells, "baseline" if is_baseline else "compared with nothing"])
            continue
        cells += [row.baseline, signed(row.difference), interval(row.low, row.high, signed)]
        rows.append([*cells, *([plain(row.sampling_sd)] if shows_sampling else []), verdict_text(row)])
    margin = comparison.measure.quality.margin_text
    notes = [
        "final: after the last epoch, mean ± standard deviation over seeds.",
        "* best epoch, selected on the test set: optimistically biased, for reference only.",
        f"{unit}: final minus the baseline's, paired by seed, with Student's interval, at least as wide as one test "
        f"sample to each side. better: above 0; equivalent: within ±{margin}; not worse: above -{margin}; worse: below "
        "it.",
        *(["sampling sd: standard error of the difference over other test sets, paired by sample; more seeds do not "
           "reduce it."] if shows_sampling else []),
        *mark_notes(comparison),
    ]  # fmt: skip
    quality = comparison.quality
    if (quality.replicates < quality.pairs).any() or (quality.independent < quality.seeds).any():
        notes.append("! Runs with identical curves are copies of one run: they count once, in means and differences.")
    return make_table("quality", comparison.measure.quality.name.capitalize(), columns, rows, notes)


def _runs_text(row: Any) -> str:
    """Return done runs of all, and what became of the others: failures are outcomes, the rest is missing data."""
    copies = f" ({row.independent:,} independent)" if row.independent < row.seeds else ""
    if row.n == row.planned:
        return f"{row.n:,}{copies}"
    refused = row.planned - row.n - row.failed - row.missing
    counts = ((row.failed, "failed"), (row.missing, "missing"), (refused, "refused"))
    others = [f"{count:,} {word}" for count, word in counts if count]
    return ", ".join([f"{row.n:,} of {row.planned:,}{copies}", *others])


def _pairs_text(row: Any) -> str:
    """Return how many pairs an arm has with its baseline, and of those the independent ones; nothing for a baseline."""
    if not isinstance(row.baseline, str):
        return ""
    pairs, replicates = int(row.pairs), int(row.replicates)
    return f"{pairs:,}" if replicates >= pairs else f"{pairs:,} ({replicates:,} independent)"


def parts_table(comparison: Comparison) -> Table:
    """Return the speedups by part, each with its interval and verdict."""
    columns = [GROUP, "arm", "against", "part", "speedup", "95 % CI", "verdict", "pairs"]
    rows = []
    for row in tuples(comparison.speedup[comparison.speedup.quantity != "total"]):
        ends = "" if row.decision == EXACT else ratio_interval(row.low, row.high)
        cells = [row.group, row.arm, row.baseline, QUANTITIES[row.quantity].label, times(row.value), ends]
        rows.append([*cells, verdict_text(row), number_text(row.n)])
    notes = ["with tests: training, growth and tests; updates: optimizer steps, a count without noise."]
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


def cost_table(comparison: Comparison) -> Table:
    """Return what every arm cost, failed and lost work included."""
    columns = [GROUP, "arm", "runs", "device time", "of it unfinished"]
    rows = []
    for row in tuples(comparison.cost):
        hours = (row.device_hours, row.unfinished_hours)
        rows.append([row.group, row.arm, number_text(row.runs), *(time_text(3600 * number) for number in hours)])
    notes = [
        "device time: wall-clock time times ranks. unfinished: runs that failed or did not end, and work of killed "
        "runs that no checkpoint held."
    ]
    return make_table("cost", "Cost", columns, rows, notes)


def refused_table(comparison: Comparison) -> Table:
    """Return the pairs that were not compared, with the key and both values."""
    columns = [GROUP, "arm", "against", "seeds", "key", "value", "baseline's value", "refuses"]
    refused = comparison.matching.refused.astype({"value": str, "baseline_value": str})
    rows = []
    keys = ["group", "arm", "baseline", "key", "value", "baseline_value", "refuses"]
    for entry, table in refused.groupby(keys, sort=False):
        words = [str(word) for word in entry]
        rows.append([*words[:3], ", ".join(map(str, table.seed)), *words[3:]])
    notes = [
        "These pairs differ in more than their schedule. Where it refuses all, they are in no number; where it refuses "
        "speed, the key can change nothing but the time, and they are in no speed. --allow KEY lets them in, marked."
    ]
    return make_table("refused", "Refused comparisons", columns, rows, notes)


def unfinished_table(comparison: Comparison) -> Table:
    """Return the runs that are not done and the seeds without a counterpart."""
    columns = [GROUP, "arm", "seed", "state", "cause"]
    runs = comparison.data.runs
    runs = runs[~is_final(runs)]
    runs = runs.assign(state=shown_state(runs))
    rows = [
        [str(row.group), str(row.arm), str(row.seed), str(row.state), "" if pd.isna(row.cause) else str(row.cause)]
        for row in tuples(runs)
    ]
    known = {(row[0], row[1], row[2]) for row in rows}
    for row in tuples(comparison.matching.unpaired):
        if (str(row.group), str(row.arm), str(row.seed)) not in known:
            rows.append([str(row.group), str(row.arm), str(row.seed), f"no pair with {row.baseline}", str(row.reason)])
    return make_table("unfinished", "Runs without a number", columns, rows)


def mark_notes(comparison: Comparison) -> Iterator[str]:
    """Yield what a reader must know of pairs, one sentence for all that share it."""
    groups_by_mark: dict[str, dict[tuple[str, str], list[str]]] = {}
    for (group, arm, baseline), sentences in comparison.matching.marks.items():
        arms = arm_in(group, arm), arm_in(group, baseline)
        for sentence in sentences:
            groups_by_mark.setdefault(sentence, {}).setdefault(arms, []).append(group)
    all_groups = list(comparison.matching.baselines)
    for sentence, pairs in groups_by_mark.items():
        texts = [f"{arm} against {base}{_where(groups, all_groups)}" for (arm, base), groups in pairs.items()]
        yield f"! {_some(texts, ', ')}: {sentence}."


def _where(groups: Sequence[str], all_groups: Sequence[str]) -> str:
    """Return in words which of several groups are meant; nothing for all of them."""
    if set(groups) >= set(all_groups):
        return ""
    return f" ({_some([_group_text(group, all_groups) for group in groups], '; ')})"


def _group_text(group: str, all_groups: Sequence[str]) -> str:
    """Return what tells a group from the others."""
    cell, levels = cell_and_levels(group)
    words = [] if levels and {cell_and_levels(other)[0] for other in all_groups} == {cell} else [cell]
    return ", ".join([*words, *(f"{key}={value}" for key, value in levels.items())])


def _some(texts: Sequence[str], between: str, most: int = _LISTED) -> str:
    more = len(texts) - most
    return between.join(texts[:most]) + (f" and {more:,} more" if more > 0 else "")


def provenance(comparison: Comparison) -> list[str]:
    """Return in sentences what the numbers were made of: runs, code, machine, versions."""
    runs = comparison.data.done
    if not len(runs):
        return ["No run is done."]
    shas = sorted({f"{sha[:8]}{'+changes' if dirty else ''}" for sha, dirty in zip(
        runs.git_sha.fillna("unknown"), runs.git_dirty.eq(True), strict=True)})  # fmt: skip
    machines = sorted({str(model) for model in runs.device_model.dropna()})
    versions = sorted({f"torch {version}" for version in runs.torch.dropna()})
    counts = ", ".join(
        f"{count:,} {state}" for state, count in shown_state(comparison.data.runs).value_counts().items()
    )
    return [
        f"{counted(len(comparison.data.runs), 'run')} ({counts}); code {', '.join(shas)}; "
        f"{', '.join(machines) or 'machine unknown'}; {', '.join(versions) or 'versions unknown'}."
    ]


def batch_ranges(comparison: Comparison) -> dict[tuple[str, str], str]:
    """Return by group and arm the batch size, or the first and the last one, of the run that got furthest."""
    by_run = comparison.data.followed.sort_values("epoch", kind="stable").groupby("run", observed=True).batch_size
    firsts, lasts = by_run.first().to_dict(), by_run.last().to_dict()
    ranges = {}
    runs = comparison.data.runs
    for row in tuples(runs.assign(is_done=is_final(runs)).sort_values(["is_done", "epochs"], kind="stable")):
        if row.Index in firsts:
            first, last = int(firsts[row.Index]), int(lasts[row.Index])
            ranges[(row.group, row.arm)] = number_text(first) if first == last else f"{first:,} to {last:,}"
    return ranges


def _totals(comparison: Comparison) -> pd.DataFrame:
    return comparison.speedup[comparison.speedup.quantity == "total"]


def _by_arm(frame: pd.DataFrame) -> dict[tuple[str, str, str], Any]:
    return {(row.group, row.arm, row.baseline): row for row in tuples(frame)}
