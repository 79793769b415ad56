"""Time and what it cost: seconds beside device-seconds, where compared runs have different numbers of ranks."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from adabatch.terminal import number_text
from analysis.cells import ratio_interval, times
from analysis.frames import Data, tuples
from analysis.intervals import paired_interval
from analysis.matching import Matching
from analysis.table import GROUP, Table, make_table

DEVICE_COLUMNS = [
    "group", "arm", "baseline", "n", "speedup", "speedup_low", "speedup_high", "cost", "cost_low", "cost_high", "runs",
]  # fmt: skip
_NEEDED = ["elapsed_seconds", "device_seconds"]
#: Relative; ratios of equal numbers of ranks differ by rounding.
_NEGLIGIBLE = 1e-9


def device_costs(data: Data, matching: Matching) -> pd.DataFrame:
    """Return one row an arm and baseline whose runs had other numbers of ranks, on average over their training.

    ``speedup`` is the baseline's seconds over the arm's, ``cost`` the arm's device-seconds over the baseline's, both of
    training and growth: geometric means over ``n`` seeds with 95 % intervals.
    """
    runs, rows = data.runs[_NEEDED].astype(float), []
    for (group, arm, baseline), pairs in matching.pairs.groupby(["group", "arm", "baseline"], sort=False):
        pairs = pairs[pairs.is_final & pairs.is_timed]
        own, base = (runs.loc[pairs[name]].reset_index(drop=True) for name in ("run", "baseline_run"))
        speedups = (base.elapsed_seconds / own.elapsed_seconds).map(math.log)
        costs = (own.device_seconds / base.device_seconds).map(math.log)
        if not len(pairs) or not ((speedups + costs).abs() > _NEGLIGIBLE).any():
            continue
        row: dict[str, Any] = {"group": group, "arm": arm, "baseline": baseline}
        for name, logs in (("speedup", speedups), ("cost", costs)):
            by_seed = logs.groupby(pairs.seed.to_numpy()).mean().dropna()
            found = paired_interval(by_seed.to_numpy())
            row |= {name: math.exp(found.value), f"{name}_low": math.exp(found.low)}
            row |= {f"{name}_high": math.exp(found.high), "n": found.n}
        rows.append({**row, "runs": sorted({*pairs.run, *pairs.baseline_run})})
    return pd.DataFrame(rows, columns=DEVICE_COLUMNS)


def sentence(row: Any) -> str:
    """Return a row in words, such as "2.90x in time for 1.40x the device-hours"."""
    return f"{times(row.speedup)} in time for {times(row.cost)} the device-hours"


def devices_table(data: Data, matching: Matching) -> Table:
    """Return seconds and device-seconds of the arms that have other numbers of ranks than their baseline."""
    columns = [GROUP, "arm", "against", "in words", "speedup 95 % CI", "device-hours 95 % CI", "pairs"]
    rows = [_cells(row) for row in tuples(device_costs(data, matching))]
    notes = [
        "device-hours: training and growth times the ranks of each epoch, arm / baseline; less than 1x is cheaper. "
        "Waiting in a queue, and starting the processes of the next segment, are in neither."
    ]
    return make_table("devices", "Time, and what it costs in devices", columns, rows, notes)


def _cells(row: Any) -> list[str]:
    ends = (ratio_interval(row.speedup_low, row.speedup_high), ratio_interval(row.cost_low, row.cost_high))
    return [row.group, row.arm, row.baseline, sentence(row), *ends, number_text(row.n)]
