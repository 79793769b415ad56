"""Accuracy by arm: mean, spread, and the difference to the baseline paired by seed."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis.frames import Data, is_diverged, is_final
from analysis.matching import Matching
from analysis.statistics import UNDECIDED, WITHIN, WORSE, mean_interval, non_inferiority, standard_deviation

COLUMNS = [
    "group", "arm", "baseline", "n", "planned", "diverged", "final_mean", "final_sd", "best_mean", "best_sd",
    "top5_mean", "top5_sd", "difference_points", "low_points", "high_points", "pairs", "decision", "seeds_needed",
    "runs",
]  # fmt: skip
#: The decision on an arm of which some runs diverged: the mean over the others says nothing about it.
DIVERGED_ARM = "diverged"
#: No pair is left: all were refused, or no run has a usable counterpart.
REFUSED, NO_PAIR = "refused", "no pair"


def accuracy(data: Data, matching: Matching, margin_points: float = 1.0) -> pd.DataFrame:
    """Return one row an arm and baseline, by group, its baseline first.

    ``final_mean`` and others are fractions over the arm's done runs that were not refused (``n`` of ``planned``;
    ``diverged`` more ended by a non-finite loss). ``best`` is the best epoch's, chosen on the test set and therefore
    too good.
    ``difference_points`` is arm - baseline over ``pairs`` seeds, in percentage points, with its 95 % interval;
    ``decision`` is within, worse, undecided, diverged, refused or no pair, at ``margin_points``. The baseline's own
    row has NaN there.
    ``runs`` lists the run directories that the row is made of.
    """
    rows = []
    by_arm: dict[Any, pd.DataFrame] = dict(list(data.runs.groupby(["group", "arm"], sort=False)))
    for group, arm in sorted(by_arm, key=lambda key: (key[0], matching.baselines.get(key[0]) != key[1])):
        table = by_arm[group, arm]
        baselines = matching.pairs[(matching.pairs.group == group) & (matching.pairs.arm == arm)].baseline.unique()
        main = matching.baselines.get(str(group))
        named = [*baselines] or ([] if main in (None, arm) else [main])
        for baseline in sorted(named, key=lambda name: name != main) or [None]:
            rows.append(_row(data, matching, str(group), str(arm), table, baseline, margin_points))
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(
    data: Data,
    matching: Matching,
    group: str,
    arm: str,
    table: pd.DataFrame,
    baseline: str | None,
    margin_points: float,
) -> dict[str, object]:
    planned = table.seed.nunique()
    table = table[~table.index.isin(matching.excluded)]
    done = table[is_final(table)]
    by_seed = done.groupby("seed")[["final_test_accuracy", "best_test_accuracy", "final_test_top5_accuracy"]].mean()
    pairs = matching.pairs
    pairs = pairs[(pairs.group == group) & (pairs.arm == arm) & (pairs.baseline == baseline)]
    told = table if baseline is None else table[table.index.isin(pairs.run)]
    diverged = sum(is_diverged(state, cause) for state, cause in zip(told.state, told.cause, strict=True))
    row: dict[str, object] = {
        "group": group,
        "arm": arm,
        "baseline": baseline,
        "n": len(by_seed),
        "planned": planned,
        "diverged": diverged,
        "runs": list(done.index),
    }
    for name, column in zip(("final", "best", "top5"), by_seed, strict=True):
        values = by_seed[column].dropna()
        row[f"{name}_mean"] = values.mean() if len(values) else math.nan
        row[f"{name}_sd"] = standard_deviation(values)
    differences = difference_by_seed(data, pairs)
    estimate = mean_interval(differences)
    row |= {"difference_points": estimate.value, "low_points": estimate.low, "high_points": estimate.high}
    row["pairs"] = estimate.n
    verdict = non_inferiority(differences, margin_points)
    row["decision"] = DIVERGED_ARM if diverged else verdict.decision
    if baseline is None:
        row["decision"] = None
    elif not len(pairs):
        refused = matching.refused
        is_refused = ((refused.group == group) & (refused.arm == arm) & (refused.baseline == baseline)).any()
        row["decision"] = REFUSED if is_refused else NO_PAIR
    row["seeds_needed"] = verdict.seeds_needed
    return row


def difference_by_seed(data: Data, pairs: pd.DataFrame) -> pd.Series:
    """Return final accuracy minus the baseline's in percentage points by seed; repeats of a seed are averaged."""
    pairs = pairs[~pairs.diverged.astype(bool)]
    final = data.runs.final_test_accuracy
    differences = 100 * (final.loc[pairs.run].to_numpy() - final.loc[pairs.baseline_run].to_numpy())
    return pd.Series(differences, index=pairs.seed.to_numpy(), dtype=float).groupby(level=0).mean()


def decision_text(decision: str | None, seeds_needed: float | None, margin_points: float, diverged: int) -> str:
    """Return the verdict in words."""
    points = f"{margin_points:g} point" + ("" if margin_points == 1 else "s")
    if decision == WITHIN:
        return f"within {points}"
    if decision == WORSE:
        return f"worse by more than {points}"
    if decision == DIVERGED_ARM:
        return f"diverged in {diverged} run" + ("" if diverged == 1 else "s")
    if decision in (REFUSED, NO_PAIR):
        return decision
    if decision == UNDECIDED:
        return f"undecided: {_needed_text(seeds_needed)}"
    return ""


def _needed_text(seeds_needed: float | None) -> str:
    if seeds_needed is None or math.isnan(seeds_needed):
        return "at least 2 pairs of seeds needed"
    if math.isinf(seeds_needed):
        return "more than 1,000 seeds needed"
    return f"about {seeds_needed:.0f} seeds needed"
