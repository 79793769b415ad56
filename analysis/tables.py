"""The tables that people read: verdicts first, then what they are made of, and what stands beside them."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from adabatch.terminal import listed, number_text
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
)
from analysis.comparison import Comparison
from analysis.devices import devices_table
from analysis.forecast_tables import forecast_table, graphs_table
from analysis.frames import tuples
from analysis.quality import FAILED_ARM, REFUSED, WITHOUT_PAIR, quality_decisions
from analysis.remarks import mark_notes
from analysis.speedup import NOT_MEASURED
from analysis.speedup import REFUSED as REFUSED_SPEED
from analysis.speedup_tables import overall_table, parts_table, speedup_table, speedup_text, split_table
from analysis.table import GROUP, Table, make_table
from analysis.tables_of_runs import batch_ranges, cost_table, refused_table, unfinished_table


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
    totals = _by_arm(comparison.totals)
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
    return f"{REFUSED}: {listed(keys, 2)}" if keys else REFUSED


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
        *mark_notes(comparison.matching),
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


def _by_arm(frame: pd.DataFrame) -> dict[tuple[str, str, str], Any]:
    return {(row.group, row.arm, row.baseline): row for row in tuples(frame)}
