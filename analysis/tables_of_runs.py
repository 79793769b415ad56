"""The tables of what was run: cost, what was refused or did not end, and what the numbers were made of."""

from __future__ import annotations

from typing import Any

import pandas as pd

from adabatch.terminal import counted, number_text
from analysis.cells import seeds_text, time_text
from analysis.comparison import Comparison
from analysis.frames import is_final, shown_state, tuples
from analysis.names import plain_arm
from analysis.order import arm_names
from analysis.table import GROUP, Table, make_table

#: Of more runs that have the same state for the same reason, the first seeds are named.
_MOST_SEEDS = 20


def cost_table(comparison: Comparison) -> Table:
    """Return what every arm cost, failed and lost work included."""
    columns = [GROUP, "arm", "runs", "device time", "of it unfinished"]
    rows = []
    places = {arm: place for place, arm in enumerate(arm_names(comparison.data))}
    for row in sorted(tuples(comparison.cost), key=lambda row: places[plain_arm(row.arm)]):
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
        rows.append([*words[:3], seeds_text(table.seed, _MOST_SEEDS), *words[3:]])
    notes = [
        "These pairs differ in more than their schedule. Where it refuses all, they are in no number; where it refuses "
        "speed, the key can change nothing but the time, and they are in no speed. --allow KEY lets them in, marked."
    ]
    return make_table("refused", "Refused comparisons", columns, rows, notes)


def unfinished_table(comparison: Comparison) -> Table:
    """Return the runs that are not done and the seeds without a counterpart, one row for all with the same reason."""
    columns = [GROUP, "arm", "seeds", "state", "cause"]
    runs = comparison.data.runs
    runs = runs[~is_final(runs)]
    runs = runs.assign(state=shown_state(runs))
    seeds: dict[tuple[str, ...], list[Any]] = {}
    for row in tuples(runs):
        reason = str(row.state), "" if pd.isna(row.cause) else str(row.cause)
        seeds.setdefault((str(row.group), str(row.arm), *reason), []).append(row.seed)
    known = {(group, arm, str(seed)) for (group, arm, *_), of_arm in seeds.items() for seed in of_arm}
    for row in tuples(comparison.matching.unpaired):
        if (str(row.group), str(row.arm), str(row.seed)) not in known:
            reason = f"no pair with {row.baseline}", str(row.reason)
            seeds.setdefault((str(row.group), str(row.arm), *reason), []).append(row.seed)
    rows = [[*key[:2], seeds_text(of_arm, _MOST_SEEDS), *key[2:]] for key, of_arm in seeds.items()]
    return make_table("unfinished", "Runs without a number", columns, rows)


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
