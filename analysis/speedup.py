"""How much faster: the baseline's cost divided by the arm's, with interval and verdict, and what it is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.frames import Data, among, is_final
from analysis.intervals import Interval, coefficient_of_variation, paired_interval, speed_interval
from analysis.matching import Matching
from analysis.replicates import distinct_runs
from analysis.verdicts import Verdict, adjust, speed_verdict

COLUMNS = [
    "group", "arm", "baseline", "quantity", "value", "low", "high", "n", "is_paired", "noise", "decision", "verdict",
    "adjusted", "seeds_needed", "runs",
]  # fmt: skip
SPLIT_COLUMNS = ["group", "arm", "baseline", "n", "total", "updates", "throughput", "growth", "rest", "runs"]
#: Verdicts besides those of `analysis.verdicts.speed_verdict`: the seconds may not be compared; no run of the arm, or
#: of the baseline, measured them; counts have no noise.
REFUSED, NOT_MEASURED, EXACT = "refused", "not measured", "exact"


@dataclass(frozen=True)
class Quantity:
    """Something a run costs; less is better.

    Attributes:
        label: for people.
        columns: of ``runs``, whose sum is the cost.
        is_time: whether equal work costs differently each time; else it is a count.
    """

    label: str
    columns: tuple[str, ...]
    is_time: bool = True

    def cost(self, runs: pd.DataFrame) -> np.ndarray:
        """Return the cost by run; NaN where a part is unknown or nothing."""
        costs = runs[list(self.columns)].astype(float).sum(axis=1, skipna=False).to_numpy()
        return np.where(costs > 0, costs, math.nan)


#: Speedups by what is compared. ``total`` is training and growth, without tests; the main number.
QUANTITIES: Mapping[str, Quantity] = {
    "total": Quantity("total", ("elapsed_seconds",)),
    "total_with_test": Quantity("with tests", ("elapsed_seconds", "test_seconds")),
    "forward": Quantity("forward", ("forward_seconds",)),
    "backward": Quantity("backward", ("backward_seconds",)),
    "updates": Quantity("updates", ("updates",), is_time=False),
}

#: Columns of ``runs``; all of them would be copied time and again.
_NEEDED = dict.fromkeys(["group", "arm", *(name for quantity in QUANTITIES.values() for name in quantity.columns)])


def speedup(data: Data, matching: Matching, smallest_effect: float, curves: Mapping[str, int]) -> pd.DataFrame:
    """Return one row an arm, baseline and quantity.

    ``value`` is baseline / arm, so more than 1 is faster, with its 95 % interval. Where there are at least two pairs it
    is the geometric mean over ``n`` seeds; else, if ``is_paired`` is false, the ratio of the geometric means over all
    counted runs, with the spread of all repeats of equal work in the group. ``noise`` is the coefficient of variation
    of repeats of equal work. ``decision`` and ``verdict`` (in words) follow from the interval and the smallest effect
    worth naming; ``adjusted`` is the verdict with Holm's correction over all rows of the quantity.

    Args:
        smallest_effect: as a share.
        curves: see `analysis.replicates.curve_ids`; by them copies of runs are told from repeats.
    """
    runs = data.runs[list(_NEEDED)]
    timed = timed_runs(data, matching, curves)
    rows: list[dict[str, Any]] = []
    verdicts: dict[str, list[tuple[dict[str, Any], Verdict]]] = {}
    for (group, arm, baseline), pairs in _compared(matching):
        pairs = pairs[pairs.is_final]
        cell = timed[timed.group == group]
        used = pairs_of(cell, pairs)
        for name, quantity in QUANTITIES.items():
            row: dict[str, Any] = {"group": group, "arm": arm, "baseline": baseline, "quantity": name}
            rows.append(row)
            if not quantity.is_time:
                row |= _count_row(runs, pairs, quantity)
                continue
            if len(pairs) and not pairs.is_timed.any():
                row |= {"n": 0, "is_paired": True, "decision": REFUSED, "verdict": REFUSED, "runs": []}
                continue
            verdict = _time_row(row, cell, used, quantity, smallest_effect)
            if verdict is not None:
                verdicts.setdefault(name, []).append((row, verdict))
    for judged in verdicts.values():
        for (row, _), adjusted in zip(judged, adjust([verdict for _, verdict in judged]), strict=True):
            row["adjusted"] = adjusted.text
    return pd.DataFrame(rows, columns=COLUMNS)


def timed_runs(data: Data, matching: Matching, curves: Mapping[str, int]) -> pd.DataFrame:
    """Return the finished runs whose seconds are in numbers, without copies; of the columns only those needed.

    Args:
        curves: see `analysis.replicates.curve_ids`.
    """
    runs = data.runs[list(_NEEDED)]
    timed = runs[is_final(data.runs) & among(runs.index, matching.counted - matching.untimed)]
    return distinct_runs(curves, timed)


def pairs_of(timed: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs whose seconds may be compared and of which both runs are among `timed_runs`."""
    return pairs[among(pairs.run, timed.index) & among(pairs.baseline_run, timed.index) & pairs.is_timed]


def _compared(matching: Matching) -> list[tuple[tuple[str, str, str], pd.DataFrame]]:
    """Return the pairs by group, arm and baseline; arms of which runs count without a pair among them, without rows."""
    pairs = dict(list(matching.pairs.groupby(["group", "arm", "baseline"], sort=False)))
    alone = matching.unpaired[["group", "arm", "baseline"]].drop_duplicates().itertuples(index=False, name=None)
    none = matching.pairs.iloc[:0]
    known = {key for key in alone if key[2] == matching.baselines.get(key[0]) and key[1] != key[2]}
    return [(tuple(map(str, key)), pairs.get(key, none)) for key in [*pairs, *sorted(known - pairs.keys())]]  # type: ignore[misc]


def _time_row(
    row: dict[str, Any], cell: pd.DataFrame, pairs: pd.DataFrame, quantity: Quantity, smallest_effect: float
) -> Verdict | None:
    """Fill in the row of a time, and return its verdict; None if it was not measured."""
    logs = pd.Series(np.log(quantity.cost(cell)), index=cell.index)
    groups = [logs[cell.arm == arm].to_numpy() for arm in cell.arm.unique()]
    own, base = (logs[cell.arm == row[name]] for name in ("arm", "baseline"))
    if any(len(known) and known.isna().all() for known in (own, base)):
        row |= {"n": 0, "is_paired": True, "decision": NOT_MEASURED, "verdict": NOT_MEASURED, "runs": []}
        return None
    ratios = pd.Series(
        logs.reindex(pairs.baseline_run).to_numpy() - logs.reindex(pairs.run).to_numpy(), index=pairs.seed.to_numpy()
    )
    estimate = speed_interval(ratios.groupby(level=0).mean().to_numpy(), base.to_numpy(), own.to_numpy(), groups)
    verdict = speed_verdict(estimate, smallest_effect)
    row |= _estimate(estimate)
    row |= {"noise": coefficient_of_variation(groups), "decision": verdict.decision, "verdict": verdict.text}
    row |= {"seeds_needed": verdict.seeds_needed}
    row["runs"] = sorted({*pairs.run, *pairs.baseline_run} if estimate.is_paired else {*own.index, *base.index})
    return verdict


def _estimate(interval: Interval[float]) -> dict[str, Any]:
    ends = {"value": math.exp(interval.value), "low": math.exp(interval.low), "high": math.exp(interval.high)}
    return {**ends, "n": interval.n, "is_paired": interval.is_paired}


def _count_row(runs: pd.DataFrame, pairs: pd.DataFrame, quantity: Quantity) -> dict[str, Any]:
    """Return the row of a count, which is the same for all seeds, and exact."""
    ratios = np.log(quantity.cost(runs.loc[pairs.baseline_run]) / quantity.cost(runs.loc[pairs.run]))
    by_seed = pd.Series(ratios, index=pairs.seed.to_numpy(), dtype=float).groupby(level=0).mean()
    traced = sorted({*pairs.run, *pairs.baseline_run})
    if len(by_seed) and np.ptp(by_seed) == 0:
        value = math.exp(by_seed.iloc[0])
        ends = dict.fromkeys(("value", "low", "high"), value)
        return {**ends, "n": len(by_seed), "is_paired": True, "decision": EXACT, "verdict": EXACT, "runs": traced}
    return {**_estimate(paired_interval(by_seed.to_numpy())), "runs": traced, "verdict": ""}


def split(data: Data, matching: Matching) -> pd.DataFrame:
    """Return what the total speedup is made of: factors that multiply to ``total``, geometric means over seeds.

    From the baseline's seconds one part after another is replaced by the arm's, each factor being the ratio of the
    sums before and after: first the number of updates (``updates``, at the baseline's seconds per optimizer step),
    then forward and backward per sample (``throughput``), then compiling and tuning for new shapes (``growth``),
    then all that is left (``rest``: data, seconds per optimizer step, samples that were dropped). The order matters
    where several parts change much; it is the same for all arms.
    """
    rows = []
    runs = data.runs[list(_PARTS)]
    for (group, arm, baseline), pairs in matching.pairs.groupby(["group", "arm", "baseline"], sort=False):
        pairs = pairs[pairs.is_final & pairs.is_timed]
        if not len(pairs):
            continue
        factors = _factors(runs.loc[pairs.run], runs.loc[pairs.baseline_run])
        by_seed = factors.map(math.log).groupby(pairs.seed.to_numpy()).mean()
        means = by_seed.mean().map(math.exp).to_dict()
        traced = sorted({*pairs.run, *pairs.baseline_run})
        rows.append(
            {"group": group, "arm": arm, "baseline": baseline, "n": len(by_seed.dropna()), **means, "runs": traced}
        )
    return pd.DataFrame(rows, columns=SPLIT_COLUMNS)


_PARTS = ("updates", "samples", *(f"{part}_seconds" for part in ("forward", "backward", "update", "growth", "elapsed")))


def _factors(arm: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Return one row a pair; see `split`."""
    arm, baseline = arm.reset_index(drop=True), baseline.reset_index(drop=True)
    steps = baseline.update_seconds * arm.updates / baseline.updates
    compute = (arm.forward_seconds + arm.backward_seconds) / arm.samples * baseline.samples
    baseline_compute = baseline.forward_seconds + baseline.backward_seconds
    start = baseline.elapsed_seconds
    fewer = start - baseline.update_seconds + steps
    denser = fewer - baseline_compute + compute
    grown = denser - baseline.growth_seconds + arm.growth_seconds
    end = arm.elapsed_seconds
    factors = {
        "total": start / end,
        "updates": start / fewer,
        "throughput": fewer / denser,
        "growth": denser / grown,
        "rest": grown / end,
    }
    frame = pd.DataFrame(factors).astype(float)
    possible = (frame > 0).all(axis=1) & (frame < math.inf).all(axis=1)
    return frame[possible].reindex(frame.index)  # foreign logs can hold spans that do not add up
