"""What holds over all cells of a sweep, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from analysis.frames import Data, is_final
from analysis.intervals import overall
from analysis.matching import Matching
from analysis.names import plain_arm
from analysis.order import arm_names
from analysis.quality import Measure
from analysis.speedup import pairs_of, timed_runs
from analysis.target import Targets, performance_profile

OVERALL_COLUMNS = ["arm", "cells", "speedup", "low", "high", "interquartile_mean", "profile_score"]
COST_COLUMNS = ["group", "arm", "runs", "device_hours", "unfinished_hours"]


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
