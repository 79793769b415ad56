"""What holds over all cells of a sweep, what it cost, and what a reader must know of the runs as a whole."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping

import numpy as np
import pandas as pd

from adabatch.terminal import counted
from analysis.frames import Data, among, has_failed, is_final
from analysis.intervals import drift, outliers, overall
from analysis.matching import Matching
from analysis.names import arm_in, plain_arm
from analysis.order import arm_names
from analysis.quality import Measure
from analysis.speedup import pairs_of, timed_runs
from analysis.target import Targets, performance_profile

OVERALL_COLUMNS = ["arm", "cells", "speedup", "low", "high", "interquartile_mean", "profile_score"]
COST_COLUMNS = ["group", "arm", "runs", "device_hours", "unfinished_hours"]
_LEVEL = 0.05
_LISTED = 20


def overall_speedup(
    data: Data, matching: Matching, targets: Targets, measure: Measure, curves: Mapping[str, int]
) -> pd.DataFrame:
    """Return one row an arm against the sweeps' baselines, over all cells; empty if there is one cell.

    ``speedup`` is the geometric mean over cells, each counting once, with Student's 95 % interval over the cells'
    means; ``interquartile_mean`` that of the middle half of all pairs; ``profile_score`` see
    `analysis.target.performance_profile`. Pairs are those of `analysis.speedup.speedup`: without copies, and repeats of
    a seed are averaged.
    """
    timed = timed_runs(data, matching, curves)
    pairs = pairs_of(timed, matching.pairs[matching.pairs.is_final])
    pairs = pairs[pairs.baseline == pairs.group.map(matching.baselines)]
    if pairs.group.nunique() < 2:
        return pd.DataFrame(columns=OVERALL_COLUMNS)
    seconds = timed.elapsed_seconds.astype(float)
    ratios = np.log(seconds.reindex(pairs.baseline_run).to_numpy() / seconds.reindex(pairs.run).to_numpy())
    pairs = (
        pairs.assign(ratio=ratios)
        .groupby(["group", "arm", "seed"], sort=False, dropna=False)
        .ratio.mean()
        .reset_index()
    )
    pairs["arm"] = [plain_arm(arm) for arm in pairs.arm]
    scores = performance_profile(data, matching, targets, measure).groupby("arm").score.first()
    rows = []
    for arm, table in pairs.groupby("arm", sort=False):
        by_cell: dict[Hashable, np.ndarray] = {
            str(group): cell.ratio.to_numpy() for group, cell in table.groupby("group")
        }
        found = overall(by_cell)
        ends = (math.exp(part) for part in (found.mean.value, found.mean.low, found.mean.high))
        score = scores[scores.index.map(plain_arm) == arm].mean()
        rows.append([arm, found.num_cells, *ends, math.exp(found.interquartile_mean), float(score)])
    return pd.DataFrame(rows, columns=OVERALL_COLUMNS)


def cost(data: Data) -> pd.DataFrame:
    """Return device-hours by group and arm: of all runs, and of those that have no final number.

    A run's hours are its wall-clock seconds, tests and saving included, and the work of killed segments that no
    checkpoint held, times its ranks (on average over its training where their number grew); of a run that recorded no
    wall-clock seconds, those of its finished epochs.
    """
    runs = data.runs
    epochs_seconds = runs[["elapsed_seconds", "test_seconds", "save_seconds"]].astype(float).sum(axis=1)
    wall = pd.to_numeric(runs.wall_seconds, errors="coerce").fillna(epochs_seconds)
    lost = pd.to_numeric(runs.lost_seconds, errors="coerce").fillna(0.0)
    average = runs.device_seconds.astype(float) / runs.elapsed_seconds.astype(float)
    ranks = pd.to_numeric(runs.world_size, errors="coerce").fillna(average).fillna(1.0)
    hours = (wall + lost) * ranks / 3600
    unfinished = hours.where(~is_final(runs), lost * ranks / 3600)
    table = pd.DataFrame({"group": runs.group, "arm": runs.arm, "hours": hours, "unfinished": unfinished})
    by_arm = table.groupby(["group", "arm"], sort=False)
    frame = by_arm.agg(runs=("hours", "size"), device_hours=("hours", "sum"), unfinished_hours=("unfinished", "sum"))
    places = {arm: place for place, arm in enumerate(arm_names(data))}
    by_place = frame.reset_index().sort_values(
        "arm", key=lambda arms: arms.map(plain_arm).map(places), kind="stable", ignore_index=True
    )
    return by_place[COST_COLUMNS]


def remarks(data: Data, matching: Matching, measure: Measure) -> Iterator[str]:
    """Yield sentences on drift, outliers, an unfinished sweep and test sets of unknown size; nothing is removed."""
    counted = data.runs[is_final(data.runs) & among(data.runs.index, matching.counted - matching.untimed)]
    for group, cell in counted.groupby("group", sort=False):
        logs = np.log(cell.elapsed_seconds.astype(float).to_numpy())
        yield from _drift_remark(str(group), cell, logs)
        yield from _outlier_remark(str(group), cell, logs)
    yield from _interim_remark(data)
    yield from _resolution_remark(data, matching, measure)
    yield from _quick_remark(data)


def _drift_remark(group: str, cell: pd.DataFrame, logs: np.ndarray) -> Iterator[str]:
    starts = pd.to_datetime(cell.started_at, utc=True, errors="coerce", format="ISO8601")
    times = (starts - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype=float)
    same_host = cell.host.nunique(dropna=False) == 1
    found = drift(times, logs, cell.arm.tolist(), None if same_host else cell.host.astype(str).tolist())
    if found.p_value < _LEVEL:
        percent = 100 * math.expm1(found.change.value)
        span = f"{found.hours:.2g} h" if found.hours >= 1 else f"{60 * found.hours:.2g} min"
        yield (
            f"{group}: the seconds of equal work changed by {percent:+.1f} % within {span} "
            f"(p = {found.p_value:.3f}): the machine may have drifted"
        )


def _outlier_remark(group: str, cell: pd.DataFrame, logs: np.ndarray) -> Iterator[str]:
    medians = pd.Series(logs).groupby(cell.arm.to_numpy()).transform("median").to_numpy()
    for run in cell.index[outliers(logs - medians)]:
        arm = arm_in(group, str(cell.arm[run]))
        yield f"{group}: the seconds of {arm}, seed {cell.seed[run]}, are an outlier; they are counted"


def _interim_remark(data: Data) -> Iterator[str]:
    """Yield that the seeds which a sweep declared are not all done."""
    if "num_planned_runs" not in data.runs:
        return
    for sweep, runs in data.runs.groupby("sweep", sort=False):
        planned = pd.to_numeric(runs.num_planned_runs, errors="coerce").max()
        done = int(is_final(runs).sum())
        ended = done + sum(map(has_failed, runs.state))
        if planned > ended:
            of = "the declared run is not" if planned == 1 else f"{done} of the {planned:,.0f} declared runs are"
            yield f"{sweep}: interim, {of} done; verdicts may still change"


def _resolution_remark(data: Data, matching: Matching, measure: Measure) -> Iterator[str]:
    """Yield where intervals may be narrower than one test sample, since it is unknown how many there are."""
    key = measure.num_samples_key
    if key is None:
        return
    runs = data.runs.loc[list(dict.fromkeys(matching.pairs[matching.pairs.is_final].run))]
    groups = [str(group) for group, cell in runs.groupby("group", sort=False) if measure.resolution(cell) is None]
    if groups:
        listed = ", ".join(groups[:_LISTED]) + (f" and {len(groups) - _LISTED} more" if len(groups) > _LISTED else "")
        yield (
            f"{listed}: the number of test samples is unknown ({key}), so the intervals of {measure.quality.name} are "
            "not kept at least as wide as one sample, and equal differences decide nothing; import-csv is told it by "
            f"--set {key}=N, adabatch.record by num_test_samples=N"
        )


def _quick_remark(data: Data) -> Iterator[str]:
    quick = data.runs.reindex(columns=["quick"]).quick.eq(True)
    if quick.any():
        names = ", ".join(sorted(data.runs[quick].sweep.dropna().astype(str).unique())) or counted(
            int(quick.sum()), "run"
        )
        yield f"{names}: a quick look at few samples and epochs, which proves nothing"
