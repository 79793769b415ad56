"""What was predicted before the runs started, beside what they took."""

from __future__ import annotations

import math

from adabatch.terminal import number_text
from analysis.cells import time_text, times
from analysis.comparison import Comparison
from analysis.frames import tuples
from analysis.table import GROUP, Table, make_table


def forecast_table(comparison: Comparison) -> Table:
    """Return what was predicted before the runs started beside what they took."""
    runs = comparison.data.done
    runs = runs[runs.forecast_seconds.notna()].astype({"forecast_seconds": float})
    arms = runs.groupby(["group", "arm", "baseline"], sort=False, dropna=False).agg(
        runs=("seed", "size"), predicted=("forecast_seconds", "mean"), took=("elapsed_seconds", "mean")
    )
    totals = comparison.speedup[comparison.speedup.quantity == "total"]
    measured = {(row.group, row.arm, row.baseline): row.value for row in tuples(totals)}
    predicted = {(row.group, row.arm): row.predicted for row in tuples(arms.reset_index())}
    columns = [GROUP, "arm", "runs", "predicted", "took", "off", "predicted speedup", "measured speedup"]
    rows = []
    for row in tuples(arms.reset_index()):
        cells = [row.group, row.arm, number_text(row.runs), time_text(row.predicted), time_text(row.took)]
        cells.append(f"{100 * (row.predicted / row.took - 1):+.0f} %")
        if row.arm == row.baseline:
            rows.append([*cells, "baseline", ""])
        else:
            forecast = predicted.get((row.group, row.baseline), math.nan) / row.predicted
            rows.append([*cells, times(forecast), times(measured.get((row.group, row.arm, row.baseline), math.nan))])
    notes = [
        "predicted: training and growth of one run, from micro-batches that were timed before the first run started; "
        "took: the mean over finished runs."
    ]
    return make_table("forecast", "Forecast", columns, rows, notes)


def graphs_table(comparison: Comparison) -> Table:
    """Return what was predicted without CUDA graphs and with them, which take launches out of the speedup."""
    runs = comparison.data.done
    runs = runs[runs.forecast_counterpart_seconds.notna() & runs.forecast_seconds.notna()]
    used = runs.forecast_uses_graphs.astype(bool)
    runs = runs.assign(
        without=runs.forecast_seconds.where(~used, runs.forecast_counterpart_seconds).astype(float),
        replayed=runs.forecast_seconds.where(used, runs.forecast_counterpart_seconds).astype(float),
    )
    arms = runs.groupby(["group", "arm", "baseline"], sort=False, dropna=False)[["without", "replayed"]].mean()
    predicted = {(row.group, row.arm): row for row in tuples(arms.reset_index())}
    columns = [GROUP, "arm", "without graphs", "with graphs", "speedup without", "speedup with"]
    rows = []
    for row in predicted.values():
        cells = [row.group, row.arm, time_text(row.without), time_text(row.replayed)]
        baseline = predicted.get((row.group, row.baseline))
        if row.arm == row.baseline:
            cells += ["baseline", ""]
        elif baseline is None:
            cells += [times(math.nan)] * 2
        else:
            cells += [times(baseline.without / row.without), times(baseline.replayed / row.replayed)]
        rows.append(cells)
    notes = [
        "Predicted as in the table above. CUDA graphs save the time to launch kernels, which a larger batch saves too: "
        "what a speedup loses by them was launches, not computation."
    ]
    return make_table("forecast_graphs", "Forecast without and with CUDA graphs", columns, rows, notes)
