"""The quality of every arm after its last epoch, and its difference to the baseline's, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from adabatch.terminal import counted
from analysis.correctness import sampling_deviation
from analysis.frames import Data, among, has_failed, is_final, tuples
from analysis.intervals import Interval, paired_interval
from analysis.matching import Matching
from analysis.replicates import replicate_ids, seed_components
from analysis.verdicts import TEST_ACCURACY, Quality, Verdict, adjust, quality_verdict

COLUMNS = [
    "group", "arm", "baseline", "n", "seeds", "independent", "planned", "failed", "missing", "baseline_failed",
    "final_mean", "final_sd", "best_mean", "best_sd", "top5_mean", "top5_sd", "difference", "low", "high", "pairs",
    "replicates", "sampling_sd", "decision", "verdict", "adjusted", "seeds_needed", "test_samples",
    "test_samples_needed", "runs",
]  # fmt: skip
#: Columns of ``runs`` besides those of the measure.
_NEEDED = ("group", "arm", "seed", "state", "damage")
#: Decisions besides those of `analysis.verdicts.quality_verdict`: some runs of the arm, or of the baseline, failed, so
#: that a mean over the others says nothing about it; all pairs were refused; no seed has a usable pair.
FAILED_ARM, FAILED_BASELINE, REFUSED, NO_PAIR = "failed", "baseline failed", "refused", "no pair"
WITHOUT_PAIR = (FAILED_ARM, FAILED_BASELINE, REFUSED, NO_PAIR)


@dataclass(frozen=True)
class Measure:
    """How runs are judged, and where it stands in the frames.

    Attributes:
        quality: name, unit, margin and direction.
        column: of ``epochs``; ``runs`` has it as ``final_COLUMN``.
        scale: from the stored value to the unit.
        num_samples_key: of the config: samples that the quality is a mean over, each 0 or 1; None if it is another
            kind of number.
    """

    quality: Quality = TEST_ACCURACY
    column: str = "test_accuracy"
    scale: float = 100.0
    num_samples_key: str | None = "dataset.num_test_samples"

    def with_margin(self, margin: float) -> Measure:
        """Return the measure with another margin, in the quality's unit."""
        return replace(self, quality=replace(self.quality, margin=margin))

    @property
    def shown(self) -> dict[str, str]:
        """The columns of ``runs`` whose means are shown, by the name of the mean."""
        return {"final": f"final_{self.column}", "best": f"best_{self.column}", "top5": "final_test_top5_accuracy"}

    @property
    def columns(self) -> tuple[str | None, ...]:
        """The columns of ``runs`` by which they are judged; some may be missing there."""
        return (*self.shown.values(), self.num_samples_key)

    def resolution(self, runs: pd.DataFrame) -> float | None:
        """Return the least step between two values of the quality, in its unit; 0 if there is none, None if unknown.

        Of runs with different test sets it is the coarsest.
        """
        if self.num_samples_key is None:
            return 0.0
        if self.num_samples_key not in runs:
            return None
        counts = pd.to_numeric(runs[self.num_samples_key], errors="coerce").dropna()
        return self.scale / float(counts.min()) if len(counts) and counts.min() > 0 else None


def quality_by_arm(data: Data, matching: Matching, measure: Measure, curves: Mapping[str, int]) -> pd.DataFrame:
    """Return one row an arm and baseline, by group, its baseline first.

    ``final_mean`` and others are as stored, over the arm's done runs that were checked: ``n`` of ``planned``, of which
    ``failed`` by themselves and ``missing`` have no result (preempted, lost, still running); the rest was refused. Of
    their ``seeds``, those with identical curves are copies of one run: a mean is over the ``independent`` ones.
    ``best`` is the best epoch's, selected on the test set and optimistically biased.
    ``difference`` is arm - baseline over ``pairs`` seeds in the quality's unit with its 95 % interval; seeds whose runs
    have identical curves count as one of ``replicates``. ``sampling_sd`` is the standard error of that difference over
    other test sets of the size, paired by sample. ``decision`` and ``verdict`` (in words) follow from the interval;
    ``adjusted`` is the verdict with Holm's correction over all rows. ``seeds_needed`` would decide; where the test set
    of ``test_samples`` is too small, it is infinite, and with ``test_samples_needed`` more seeds would. The baseline's
    own row has none of these. ``runs`` lists the run directories that the row is made of.

    Args:
        curves: see `analysis.replicates.curve_ids`.
    """
    rows, verdicts = [], []
    runs = data.runs[[name for name in data.runs if name in (*_NEEDED, *measure.columns)]]
    by_arm: dict[Any, pd.DataFrame] = dict(list(runs.groupby(["group", "arm"], sort=False)))
    for group, arm in sorted(by_arm, key=lambda key: (key[0], matching.baselines.get(key[0]) != key[1])):
        table = by_arm[group, arm]
        for baseline in _baselines_of(matching, str(group), str(arm)):
            against = by_arm.get((group, baseline), table.iloc[:0])
            row, verdict = _row(matching, str(group), str(arm), table, baseline, against, measure, curves)
            rows.append(row)
            verdicts.append(verdict)
    _add_adjusted(rows, verdicts)
    return pd.DataFrame(rows, columns=COLUMNS)


def _baselines_of(matching: Matching, group: str, arm: str) -> list[str | None]:
    """Return the arms that an arm stands against, the sweep's baseline first; None alone for that itself."""
    pairs = matching.pairs
    found = pairs[(pairs.group == group) & (pairs.arm == arm)].baseline.unique()
    main = matching.baselines.get(group)
    named: Sequence[str] = [*found] or ([] if main in (None, arm) else [str(main)])
    return sorted(named, key=lambda name: name != main) or [None]


def _row(
    matching: Matching,
    group: str,
    arm: str,
    table: pd.DataFrame,
    baseline: str | None,
    against: pd.DataFrame,
    measure: Measure,
    curves: Mapping[str, int],
) -> tuple[dict[str, Any], Verdict | None]:
    """Return an arm's row, and its verdict; ``table`` has the arm's runs, ``against`` the baseline's."""
    failed = _num_failed(table)
    done = table[is_final(table) & among(table.index, matching.counted)]
    planned = len(table)
    replicates = replicate_ids(curves, done)
    row: dict[str, Any] = {
        "group": group,
        "arm": arm,
        "baseline": baseline,
        "n": len(done),
        "seeds": done.seed.nunique(),
        "independent": replicates.nunique(),
        "planned": planned,
        "failed": failed,
        "missing": planned - failed - int(is_final(table).sum()),
        "runs": list(done.index),
        **_means(done, replicates, measure),
    }
    if baseline is None:
        return row, None
    pairs = matching.pairs
    pairs = pairs[(pairs.group == group) & (pairs.arm == arm) & (pairs.baseline == baseline)]
    differences, num_replicates = _paired_differences(pd.concat([table, against]), pairs, measure, curves)
    difference = paired_interval(differences, measure.resolution(table))
    row |= {"difference": difference.value, "low": difference.low, "high": difference.high}
    row |= {"pairs": pairs[pairs.is_final].seed.nunique(), "replicates": num_replicates}
    row["baseline_failed"] = _num_failed(against)
    row["sampling_sd"] = measure.scale * sampling_deviation(pairs[pairs.is_final])
    return row, _judge(row, matching, difference, measure)


def _num_failed(runs: pd.DataFrame) -> int:
    return sum(has_failed(state, damage) for state, damage in zip(runs.state, runs.damage, strict=True))


def _means(done: pd.DataFrame, replicates: pd.Series, measure: Measure) -> dict[str, float]:
    means = {}
    by_replicate = done.groupby(replicates)[list(measure.shown.values())].mean()
    for name, column in measure.shown.items():
        values = by_replicate[column].dropna()
        means[f"{name}_mean"] = float(values.mean()) if len(values) else math.nan
        means[f"{name}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return means


def _paired_differences(
    runs: pd.DataFrame, pairs: pd.DataFrame, measure: Measure, curves: Mapping[str, int]
) -> tuple[np.ndarray, int]:
    """Return final quality minus the baseline's in the quality's unit, one a replicate, and how many those are.

    Repeats of a seed are averaged, and so are seeds whose runs have identical curves: copies of one run.
    """
    pairs = pairs[pairs.is_final]
    final = runs[f"final_{measure.column}"]
    differences = measure.scale * (final.loc[pairs.run].to_numpy() - final.loc[pairs.baseline_run].to_numpy())
    component = seed_components(curves, pairs)
    by_replicate = pd.Series(differences, index=component, dtype=float).groupby(level=0).mean()
    return by_replicate.to_numpy(), len(by_replicate)


def _judge(row: dict[str, Any], matching: Matching, difference: Interval[float], measure: Measure) -> Verdict | None:
    """Set the row's decision and verdict; return what several comparisons may change, None if nothing."""
    verdict = quality_verdict(difference, measure.quality)
    row |= {"decision": verdict.decision, "verdict": verdict.text, "seeds_needed": verdict.seeds_needed}
    row["test_samples"] = round(measure.scale / difference.resolution) if difference.resolution else None
    row["test_samples_needed"] = _samples_needed(verdict, measure)
    if row["failed"]:
        row |= {"decision": FAILED_ARM, "verdict": f"failed in {row['failed']} of {counted(row['planned'], 'run')}"}
        return None
    if row["baseline_failed"]:
        runs = counted(row["baseline_failed"], "run")
        row |= {"decision": FAILED_BASELINE, "verdict": f"the baseline failed in {runs}"}
        return None
    if not row["pairs"]:
        refused = matching.refused
        is_refused = bool(((refused.group == row["group"]) & (refused.arm == row["arm"])).any())
        row |= dict.fromkeys(("decision", "verdict"), REFUSED if is_refused else NO_PAIR)
        return None
    return verdict


def _samples_needed(verdict: Verdict, measure: Measure) -> float | None:
    """Return how many test samples have the resolution that a verdict needs; infinite if no number has."""
    needed = verdict.resolution_needed
    if needed is None:
        return None
    return math.ceil(measure.scale / needed) if needed else math.inf


def _add_adjusted(rows: list[dict[str, Any]], verdicts: list[Verdict | None]) -> None:
    """Add each verdict with Holm's correction over all of them."""
    judged = [(row, verdict) for row, verdict in zip(rows, verdicts, strict=True) if verdict is not None]
    for (row, _), adjusted in zip(judged, adjust([verdict for _, verdict in judged]), strict=True):
        row["adjusted"] = adjusted.text


def quality_decisions(frame: pd.DataFrame) -> dict[tuple[str, str, str], Any]:
    """Return the rows of `quality_by_arm` by group, arm and baseline."""
    return {(row.group, row.arm, row.baseline): row for row in tuples(frame) if isinstance(row.baseline, str)}
