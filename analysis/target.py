"""Time to the target: which runs reach it, when, and whether an arm reaches it sooner. What never does is censored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from adabatch.terminal import counted
from analysis.bands import FEWEST_SEEDS, MOST_POINTS, evenly, mean_band
from analysis.cells import p_text
from analysis.frames import Data, among, has_failed, is_final, is_results_only
from analysis.intervals import Interval, coefficient_of_variation, paired_interval
from analysis.matching import Matching
from analysis.quality import Measure
from analysis.replicates import curve_ids, distinct_runs, replicate_ids
from analysis.speedup import NOT_MEASURED, REFUSED
from analysis.time_to_target import LogRank, Reached, log_rank, median_seconds, profile_score, share
from analysis.verdicts import LEVEL, UNDECIDED, Claim, Verdict, adjust, speed_verdict

COLUMNS = [
    "group", "arm", "baseline", "target", "is_declared", "reached", "n", "reached_low", "reached_high",
    "baseline_reached", "baseline_n", "median_seconds", "baseline_median_seconds", "median_samples", "value", "low",
    "high", "pairs", "noise", "p_value", "decision", "verdict", "adjusted", "runs",
]  # fmt: skip
#: Verdicts by the log-rank test, where not all runs reached the target.
SOONER, LATER, NOT_REACHED = "sooner", "later", "not reached"
#: The fewest pairs, and the fewest runs of each arm, of which a permutation test can be significant: all n pairs agree
#: by chance with probability 2 / 2**n, all runs of one arm are sooner with 2 / C(2 n, n).
_FEWEST_PAIRS, _FEWEST_RUNS = 6, 4


@dataclass(frozen=True)
class Targets:
    """By group what counts as reached.

    Attributes:
        by_group: in the unit in which the quality is stored, such as a fraction.
        is_declared: whether the sweep, or the caller, declared it; else it is derived from the baseline.
    """

    by_group: Mapping[str, float]
    is_declared: bool


def derived_targets(data: Data, matching: Matching, measure: Measure, curves: Mapping[str, int]) -> Targets:
    """Return by group the baseline's median final quality, made worse by the margin."""
    found = {}
    sign = 1 if measure.quality.higher_is_better else -1
    done = data.done[["group", "arm", "seed", f"final_{measure.column}"]]
    for group, baseline in matching.baselines.items():
        runs = done[(done.group == group) & (done.arm == baseline)]
        runs = runs[among(runs.index, matching.counted)]
        if len(runs):
            by_replicate = runs.groupby(replicate_ids(curves, runs))
            median = float(by_replicate[f"final_{measure.column}"].mean().median())
            found[group] = median - sign * measure.quality.margin / measure.scale
    return Targets(found, is_declared=False)


def to_target(data: Data, targets: Targets, measure: Measure) -> pd.DataFrame:
    """Return ``seconds_to_target`` and ``samples_to_target`` by run; infinite where the target was not reached.

    Seconds are those of training and growth until the end of the first epoch whose quality is at least as good. A run
    that failed by itself did not reach it; of one that is still running, or was stopped from outside, it is NaN unless
    it has reached the target already; of one of which only the end is known, it is NaN.
    """
    target = data.runs.group.map(dict(targets.by_group))
    epochs = data.followed[["run", "epoch", measure.column, "elapsed_seconds", "samples"]]
    epochs = epochs.sort_values("epoch", kind="stable")
    wanted = target.reindex(epochs.run.astype(object)).to_numpy(dtype=float)
    sign = 1 if measure.quality.higher_is_better else -1
    is_there = sign * epochs[measure.column].to_numpy(dtype=float) >= sign * wanted
    first = epochs[is_there].drop_duplicates("run").set_index("run")
    first.index = first.index.astype(object)
    costs = first[["elapsed_seconds", "samples"]].reindex(data.runs.index).astype(float)
    costs.columns = pd.Index(["seconds_to_target", "samples_to_target"])
    failed = [has_failed(state, damage) for state, damage in zip(data.runs.state, data.runs.damage, strict=True)]
    ended = is_final(data.runs) | pd.Series(failed, index=data.runs.index, dtype=bool)
    costs.loc[ended & costs.samples_to_target.isna()] = math.inf
    costs.loc[data.runs.damage.notna() | target.isna() | is_results_only(data.runs)] = math.nan
    return costs


def time_to_target(
    data: Data,
    matching: Matching,
    targets: Targets,
    measure: Measure,
    smallest_effect: float,
    curves: Mapping[str, int],
) -> pd.DataFrame:
    """Return one row an arm and baseline: how many runs reached the target, when, and whether sooner.

    ``reached`` of ``n`` counted runs did, with Wilson's interval of the share; ``median_seconds`` is infinite if fewer
    than half did. Where every run of at least two pairs reached it, ``value`` is the speedup to the target with its
    interval, and the verdict is that of a speed. Else it follows from the log-rank test (``p_value``, by permutation,
    within seeds where they are paired). ``noise`` is the coefficient of variation of just these times.

    Args:
        curves: see `analysis.replicates.curve_ids`.
    """
    runs = data.runs[["group", "arm", "seed", "elapsed_seconds"]].join(to_target(data, targets, measure))
    counted = runs[among(runs.index, matching.counted - matching.untimed) & runs.seconds_to_target.notna()]
    counted = distinct_runs(curves, counted)
    rows: list[dict[str, Any]] = []
    verdicts: dict[bool, list[tuple[dict[str, Any], Verdict]]] = {}
    for (group, arm, baseline), pairs in matching.pairs.groupby(["group", "arm", "baseline"], sort=False):
        if group in targets.by_group:
            cell = counted[counted.group == group]
            row: dict[str, Any] = {"group": group, "arm": arm, "baseline": baseline, "is_declared": targets.is_declared}
            row["target"] = targets.by_group[str(group)]
            rows.append(row)
            verdict, is_ratio = _compare(row, cell, pairs, smallest_effect)
            if verdict is not None:
                verdicts.setdefault(is_ratio, []).append((row, verdict))
    for judged in verdicts.values():
        for (row, _), adjusted in zip(judged, adjust([verdict for _, verdict in judged]), strict=True):
            row["adjusted"] = adjusted.text
    return pd.DataFrame(rows, columns=COLUMNS)


def _compare(
    row: dict[str, Any], cell: pd.DataFrame, pairs: pd.DataFrame, smallest_effect: float
) -> tuple[Verdict | None, bool]:
    """Fill in a row; return what several comparisons may change, and whether it is a verdict on a ratio."""
    own, base = cell[cell.arm == row["arm"]], cell[cell.arm == row["baseline"]]
    mine, theirs = _reached(own), _reached(base)
    row |= {
        "reached": mine.k,
        "n": mine.n,
        "reached_low": mine.low,
        "reached_high": mine.high,
        "baseline_reached": theirs.k,
        "baseline_n": theirs.n,
        "median_seconds": median_seconds(own.seconds_to_target.to_numpy()),
        "baseline_median_seconds": median_seconds(base.seconds_to_target.to_numpy()),
        "median_samples": median_seconds(own.samples_to_target.to_numpy()),
        "noise": _noise(cell),
        "runs": sorted({*own.index, *base.index}),
    }
    used = pairs[among(pairs.run, own.index) & among(pairs.baseline_run, base.index) & pairs.is_timed]
    all_reached = mine.k == mine.n and theirs.k == theirs.n
    ratio = _paired_ratio(cell, used) if all_reached else paired_interval([])
    row |= {"value": math.exp(ratio.value), "low": math.exp(ratio.low), "high": math.exp(ratio.high), "pairs": ratio.n}
    test, blocks = _log_rank(own, base, used)
    row["p_value"] = test.p_value
    if not mine.n:
        word = NOT_MEASURED if pairs.is_timed.any() else REFUSED
        row |= {"decision": word, "verdict": word}
        return None, False
    if not mine.k:
        row |= {"decision": NOT_REACHED, "verdict": NOT_REACHED}
        return None, False
    verdict = speed_verdict(ratio, smallest_effect) if ratio.n else _log_rank_verdict(test, blocks, mine.n)
    row |= {"decision": verdict.decision, "verdict": verdict.text}
    return verdict, bool(ratio.n)


def _log_rank_verdict(test: LogRank, is_paired: bool, n: int) -> Verdict:
    """Return what the log-rank test allows to say: ``sooner`` or ``later``, each one-sided at 2.5 %."""
    claims = tuple(
        Claim(name, f"{name} (log-rank {p_text(test.p_value)})", test.p_value / 2 if is_seen else 1 - test.p_value / 2)
        for name, is_seen in ((SOONER, test.excess > 0), (LATER, test.excess < 0))
    )
    allowed = next((claim for claim in claims if claim.p_value < LEVEL), None)
    if allowed is not None:
        return Verdict(allowed.name, allowed.text, claims)
    fewest = _FEWEST_PAIRS if is_paired else _FEWEST_RUNS
    reason = f": at least {counted(fewest, 'seed')}" if n < fewest else f" (log-rank p = {test.p_value:.2f})"
    return Verdict(UNDECIDED, UNDECIDED + ("" if math.isnan(test.p_value) and n >= fewest else reason), claims)


def _reached(runs: pd.DataFrame) -> Reached:
    return share(int(np.isfinite(runs.seconds_to_target).sum()), len(runs))


def _noise(cell: pd.DataFrame) -> float:
    times = cell[np.isfinite(cell.seconds_to_target)]
    return coefficient_of_variation([np.log(group.to_numpy()) for _, group in times.groupby("arm").seconds_to_target])


def _log_rank(own: pd.DataFrame, base: pd.DataFrame, pairs: pd.DataFrame) -> tuple[LogRank, bool]:
    """Return the test within seeds if all runs are paired, else over all runs; and whether it is within seeds."""
    is_paired = len(pairs) > 1 and set(pairs.run) == set(own.index) and set(pairs.baseline_run) == set(base.index)
    blocks = (own.seed.tolist(), base.seed.tolist()) if is_paired else (None, None)
    return log_rank(own.seconds_to_target.to_numpy(), base.seconds_to_target.to_numpy(), *blocks), is_paired


def _paired_ratio(cell: pd.DataFrame, pairs: pd.DataFrame) -> Interval[float]:
    """Return the interval of the log speedup to the target; NaN ends unless every run of the pairs reached it."""
    times = cell.seconds_to_target
    own, base = times.reindex(pairs.run).to_numpy(), times.reindex(pairs.baseline_run).to_numpy()
    if not len(pairs) or not (np.isfinite(own).all() and np.isfinite(base).all()):
        return paired_interval([])
    ratios = pd.Series(np.log(base / own), index=pairs.seed.to_numpy()).groupby(level=0).mean()
    return paired_interval(ratios.to_numpy())


def performance_profile(data: Data, matching: Matching, targets: Targets, measure: Measure) -> pd.DataFrame:
    """Return by arm how often it reached the target within a factor of the fastest arm's seconds.

    The profile of Dolan and Moré (Mathematical Programming 91, 2002) over the groups and seeds of all pairs: columns
    ``arm``, ``factor`` (1 is as fast as the fastest), ``share`` (of the arm's ``n`` groups and seeds), ``low`` and
    ``high`` (the ends of `analysis.bands.mean_band`, seeds drawn within groups; NaN if a group has too few) and
    ``score`` (of the arm; see `analysis.time_to_target.profile_score`). Seeds of which an arm has identical curves
    count as one. A target that was not reached took infinitely long and counts in the share's denominator, so that an
    arm that never reached it has a row without a share. An arm has at most `analysis.bands.MOST_POINTS` rows.
    """
    timed = matching.pairs[matching.pairs.is_timed]
    runs = data.runs[among(data.runs.index, {*timed.run, *timed.baseline_run})]
    curves = curve_ids(data.select_runs(set(runs.index)), measure.column)
    seconds = runs[["group", "arm"]].join(to_target(data, targets, measure).seconds_to_target)
    seconds["replicate"] = replicate_ids(curves, runs, within=("group",))
    costs = seconds.dropna().groupby(["group", "replicate", "arm"], sort=False).seconds_to_target.mean()
    factors = (costs / costs.groupby(["group", "replicate"]).transform("min")).rename("factor").reset_index()
    factors["factor"] = factors.factor.fillna(math.inf)  # nobody reached it: infinity by infinity
    columns = ["arm", "factor", "share", "low", "high", "n", "score"]
    parts = [_profile_of(str(arm), cells) for arm, cells in factors.groupby("arm", sort=False)]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _profile_of(arm: str, cells: pd.DataFrame) -> pd.DataFrame:
    """Return one arm's rows of the profile.

    Args:
        cells: ``factor`` and ``group``, a row a replicate.
    """
    values = cells.factor.to_numpy()
    steps = np.unique(values[np.isfinite(values)])
    steps = evenly(steps, MOST_POINTS) if len(steps) else np.array([math.nan])
    is_within = (values <= steps[:, np.newaxis]).astype(float)
    low = high = np.full(len(steps), math.nan)
    if cells.group.value_counts().min() >= FEWEST_SEEDS:
        low, high = mean_band(is_within, cells.group.factorize()[0])
    row = {"arm": arm, "factor": steps, "share": is_within.mean(axis=1), "low": low, "high": high}
    return pd.DataFrame({**row, "n": len(cells), "score": profile_score(values)})
