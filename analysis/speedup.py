"""How much faster: ratios of the baseline's cost to the arm's, paired by seed, and what they are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.frames import Data, is_diverged, is_final
from analysis.matching import Matching
from analysis.statistics import geometric_mean_interval, largest_ratio

COLUMNS = [
    "group", "arm", "baseline", "quantity", "value", "low", "high", "n", "reached", "baseline_reached", "planned",
    "noise", "verdict", "target", "runs",
]  # fmt: skip
SPLIT_COLUMNS = ["group", "arm", "baseline", "n", "total", "updates", "throughput", "growth", "rest", "runs"]
WITHIN_NOISE, NOT_REACHED, NOISE_UNKNOWN, REFUSED = "within noise", "not reached", "noise unknown", "refused"
#: A speedup of pairs whose seconds may not be compared.
_NOT_COMPARED = {"value": math.nan, "low": math.nan, "high": math.nan, "n": 0, "planned": 0, "verdict": REFUSED}


@dataclass(frozen=True)
class Quantity:
    """Something a run costs; less is better.

    Attributes:
        label: for people.
        cost: from ``runs`` to one number a run.
        noise_of: a cost that runs of equal work share but for noise; None if the cost is a count.
    """

    label: str
    cost: Callable[[pd.DataFrame], pd.Series]
    noise_of: Callable[[pd.DataFrame], pd.Series] | None


def _sum_of(*columns: str) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda runs: runs[list(columns)].sum(axis=1, skipna=False)


def _timed(label: str, *columns: str) -> Quantity:
    return Quantity(label, _sum_of(*columns), _sum_of(*columns))


#: Speedups by what is compared. ``total`` is training and growth, without tests; the main number.
QUANTITIES: Mapping[str, Quantity] = {
    "total": _timed("total", "elapsed_seconds"),
    "total_with_test": _timed("with tests", "elapsed_seconds", "test_seconds"),
    "forward": _timed("forward", "forward_seconds"),
    "backward": _timed("backward", "backward_seconds"),
    "updates": Quantity("updates", _sum_of("updates"), None),
}
#: Costs up to the first epoch whose test accuracy is at least the target. Seeds get there at different epochs, so
#: that the noise of their seconds is that of the whole training.
TO_TARGET: Mapping[str, Quantity] = {
    "seconds_to_target": Quantity("seconds", _sum_of("seconds_to_target"), _sum_of("elapsed_seconds")),
    "samples_to_target": Quantity("samples", _sum_of("samples_to_target"), None),
}


def targets(data: Data, matching: Matching, margin_points: float = 1.0) -> dict[str, float]:
    """Return by group the median of the baseline's final test accuracies minus the margin, as a fraction."""
    found = {}
    for group, baseline in matching.baselines.items():
        runs = data.done[(data.done.group == group) & (data.done.arm == baseline)]
        runs = runs[~runs.index.isin(matching.excluded)]
        if len(runs):
            found[group] = float(runs.groupby("seed").final_test_accuracy.mean().median()) - margin_points / 100
    return found


def to_target(data: Data, target_by_group: Mapping[str, float]) -> pd.DataFrame:
    """Return ``seconds_to_target`` and ``samples_to_target`` by run; infinite where the target was not reached.

    Seconds are those of training and growth. A run whose group has no target has NaN; one that did not finish has
    NaN too, but for a diverged one, which did not reach it.
    """
    target = data.runs.group.map(target_by_group)
    columns = ["run", "epoch", "test_accuracy", "elapsed_seconds", "samples"]
    epochs = data.epochs[columns].sort_values("epoch", kind="stable")
    wanted = target.reindex(epochs.run.astype(object)).to_numpy(dtype=float)
    reached = epochs[epochs.test_accuracy.to_numpy(dtype=float) >= wanted]
    first = reached.drop_duplicates("run").set_index("run")
    first.index = first.index.astype(object)
    costs = first[["elapsed_seconds", "samples"]].reindex(data.runs.index).astype(float)
    costs.columns = pd.Index(["seconds_to_target", "samples_to_target"])
    diverged = [is_diverged(state, cause) for state, cause in zip(data.runs.state, data.runs.cause, strict=True)]
    ended = is_final(data.runs) | pd.Series(diverged, index=data.runs.index, dtype=bool)
    costs.loc[ended & costs.samples_to_target.isna()] = math.inf
    costs.loc[~(ended & target.notna())] = math.nan
    return costs


def performance_profile(data: Data, matching: Matching, target_by_group: Mapping[str, float]) -> pd.DataFrame:
    """Return by arm how often it reached the target within a factor of the fastest arm's seconds.

    The profile of Dolan and Moré over the groups and seeds of all pairs: columns ``arm``, ``factor`` (1 is as fast as
    the fastest) and ``share`` (of the arm's groups and seeds). A target that was not reached took infinitely long and
    counts in the share's denominator, so that an arm that never reached it has no row.
    """
    seconds = data.runs[["group", "seed", "arm"]].join(to_target(data, target_by_group).seconds_to_target)
    seconds = seconds[seconds.index.isin({*matching.pairs.run, *matching.pairs.baseline_run})]
    costs = seconds.dropna().groupby(["group", "seed", "arm"], sort=False).seconds_to_target.mean()
    factors = (costs / costs.groupby(["group", "seed"]).transform("min")).rename("factor").reset_index()
    factors["factor"] = factors.factor.fillna(math.inf)  # nobody reached it: infinity by infinity
    counts = factors.groupby("arm").factor.size()
    reached = factors[np.isfinite(factors.factor)].sort_values(["arm", "factor"], kind="stable")
    reached = reached.assign(share=(reached.groupby("arm").cumcount() + 1) / reached.arm.map(counts))
    return reached[["arm", "factor", "share"]].drop_duplicates(["arm", "factor"], keep="last").reset_index(drop=True)


def speedup(data: Data, matching: Matching, target_by_group: Mapping[str, float]) -> pd.DataFrame:
    """Return one row an arm, baseline and quantity.

    ``value`` is the geometric mean over ``n`` seeds of baseline / arm, so more than 1 is faster, with Student's 95 %
    interval of the logarithms. ``noise`` is by which factor runs of equal work (an arm's seeds, repeats) differ;
    ``verdict`` says "within noise" where the speedup is no larger. If one run of a pair did not reach the target,
    ``value`` is NaN and ``verdict`` "not reached"; ``reached`` of ``planned`` arm's runs did, ``baseline_reached`` of
    the baseline's.
    """
    runs = data.runs.join(to_target(data, target_by_group))
    rows = []
    for (group, arm, baseline), pairs in matching.pairs.groupby(["group", "arm", "baseline"], sort=False):
        key = {"group": group, "arm": arm, "baseline": baseline}
        traced = sorted({*pairs.run, *pairs.baseline_run})
        for name, quantity in {**QUANTITIES, **TO_TARGET}.items():
            used = pairs if name in TO_TARGET else pairs[~pairs.diverged.astype(bool)]
            used = used[used.is_timed.astype(bool)] if quantity.noise_of else used
            row = {**key, "quantity": name, "target": target_by_group.get(str(group), math.nan), "runs": traced}
            is_refused = len(pairs) and not len(used) and not pairs.is_timed.any()
            rows.append({**row, **(_NOT_COMPARED if is_refused else _judge(runs, used, quantity))})
    return pd.DataFrame(rows, columns=COLUMNS)


def _judge(runs: pd.DataFrame, pairs: pd.DataFrame, quantity: Quantity) -> dict[str, object]:
    own = quantity.cost(runs.loc[pairs.run]).to_numpy()
    base = quantity.cost(runs.loc[pairs.baseline_run]).to_numpy()
    row: dict[str, object] = {
        "planned": len(pairs),
        "reached": int(np.isfinite(own).sum()),
        "baseline_reached": int(np.isfinite(base).sum()),
    }
    if np.isinf(own).any() or np.isinf(base).any():
        return {**row, "value": math.nan, "low": math.nan, "high": math.nan, "n": 0, "verdict": NOT_REACHED}
    logarithms = pd.Series(np.log(ratio(base, own)), index=pairs.seed.to_numpy(), dtype=float)
    estimate = geometric_mean_interval(np.exp(logarithms.groupby(level=0).mean()))
    noise, verdict = 1.0, ""
    if quantity.noise_of is not None and estimate.n:
        noise = noise_floor(*(quantity.noise_of(runs.loc[used]).to_numpy() for used in (pairs.run, pairs.baseline_run)))
        verdict = NOISE_UNKNOWN if math.isnan(noise) else ""
        verdict = WITHIN_NOISE if max(estimate.value, 1 / estimate.value) <= noise else verdict
    values = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}
    return {**row, **values, "noise": noise, "verdict": verdict}


def ratio(baseline: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """Return baseline / arm; NaN where either is not positive, for nothing takes no time."""
    usable = (baseline > 0) & (arm > 0)
    return np.divide(baseline, arm, out=np.full(len(arm), math.nan), where=usable)


def noise_floor(*arms: np.ndarray) -> float:
    """Return the largest factor by which runs of equal work differ, over arms; NaN where none was repeated.

    Seeds of one arm do the same updates on batches of the same sizes, so their seconds differ by noise alone.
    """
    factors = [largest_ratio(values) for values in arms]
    known = [factor for factor in factors if not math.isnan(factor)]
    return max(known, default=math.nan)


def split(data: Data, matching: Matching) -> pd.DataFrame:
    """Return what the total speedup is made of: factors that multiply to ``total``, geometric means over seeds.

    From the baseline's seconds one part after another is replaced by the arm's, each factor being the ratio of the
    sums before and after: first the number of updates (``updates``, at the baseline's seconds per optimizer step),
    then forward and backward per sample (``throughput``), then compiling and tuning for new shapes (``growth``),
    then all that is left (``rest``: data, seconds per optimizer step, samples that were dropped). The order matters
    where several parts change much; it is the same for all arms.
    """
    rows = []
    for (group, arm, baseline), pairs in matching.pairs.groupby(["group", "arm", "baseline"], sort=False):
        pairs = pairs[~pairs.diverged.astype(bool) & pairs.is_timed.astype(bool)]
        if not len(pairs):
            continue
        factors = _factors(data.runs.loc[pairs.run], data.runs.loc[pairs.baseline_run])
        by_seed = factors.map(math.log).groupby(pairs.seed.to_numpy()).mean()
        means = by_seed.mean().map(math.exp).to_dict()
        traced = sorted({*pairs.run, *pairs.baseline_run})
        rows.append(
            {"group": group, "arm": arm, "baseline": baseline, "n": len(by_seed.dropna()), **means, "runs": traced}
        )
    return pd.DataFrame(rows, columns=SPLIT_COLUMNS)


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
