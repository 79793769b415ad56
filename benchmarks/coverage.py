"""How often intervals hold the truth and verdicts are wrong, in simulated sweeps, by the functions that tables use."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from analysis import verdicts
from analysis.bands import mean_band
from analysis.intervals import Interval, drift, outliers, paired_intervals, unpaired_intervals
from analysis.time_to_target import log_rank
from benchmarks.simulated_sweeps import (
    MIRRORED,
    RANDOM,
    flipped_points,
    half_widths_of_rules,
    log_seconds,
    rounded_points,
)
from benchmarks.tables import Table

NUMS_SEEDS = (2, 3, 5, 10, 30)
LEAST_COVERAGE_PERCENT, MOST_FALSE_PERCENT = 93.5, 3.0
#: Claims whose errors are bounded for every paired rule.
BOUNDED_CLAIMS = (verdicts.FASTER, verdicts.SLOWER, verdicts.NOT_WORSE)
_EFFECT = math.log1p(verdicts.SMALLEST_EFFECT)
_TRUE_SPEEDUP = math.log(1.2)
_MARGIN_POINTS = 1.0
_SEED_SDS = (0.05, 0.1, 0.2, 0.3)
_NUMS_SAMPLES = (359, 10_000)
_PILOT_SEEDS = 3

#: Noise by arm, noise of blocks, drift, order of arms; whether the bounds must hold.
_PAIRED_CASES: Mapping[str, tuple[Sequence[float], float, float, str, bool]] = {
    "noise 5 %": ((0.05, 0.05), 0.0, 0.0, RANDOM, True),
    "noise 10 %": ((0.1, 0.1), 0.0, 0.0, RANDOM, True),
    "noise 5 %, blocks 20 %": ((0.05, 0.05), 0.2, 0.0, RANDOM, True),
    "noise 5 and 10 %, blocks 20 %": ((0.05, 0.1), 0.2, 0.0, RANDOM, True),
    "noise 5 %, drift 20 %, random order": ((0.05, 0.05), 0.05, math.log(1.2), RANDOM, True),
    "noise 5 %, 4 arms, drift 20 %, random order": ((0.05,) * 4, 0.05, math.log(1.2), RANDOM, True),
    "noise 5 %, drift 20 %, mirrored order": ((0.05, 0.05), 0.05, math.log(1.2), MIRRORED, True),
    "noise 1 %, drift 20 %, random order": ((0.01, 0.01), 0.01, math.log(1.2), RANDOM, False),
    "noise 1 %, drift 20 %, mirrored order": ((0.01, 0.01), 0.01, math.log(1.2), MIRRORED, True),
}
#: Runs of the two arms and of the others of the cell.
_UNPAIRED_SIZES = ((1, 1, 2), (1, 1, 3), (1, 3, 1), (2, 5, 1), (2, 2), (3, 3), (5, 5), (10, 10), (30, 30), (2, 2, 2))
_POINTS = {"rounded": rounded_points, "single samples": flipped_points}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("coverage")
    group.add_argument("--simulated-sweeps", type=int, default=20_000, metavar="N", help="sweeps of each case")
    group.add_argument("--simulation-seed", type=int, default=0, metavar="N", help="of the random numbers")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Simulate all cases, each part with random numbers of its own."""
    num_sweeps = 400 if options.quick else options.simulated_sweeps
    seed = options.simulation_seed
    values: dict[str, Any] = {"num_sweeps": num_sweeps}
    parts = (
        _paired_speed, _unpaired_speed, _paired_quality, _spread_rules, _floors, _families, _checks, _plans, _bands,
    )  # fmt: skip
    for number, part in enumerate(parts):
        values[part.__name__.strip("_")] = part(np.random.default_rng([seed, number]), num_sweeps)
    yield values


def _percent(flags: Any) -> float:
    return 100 * float(np.mean(flags))


def _shifted(interval: Interval[np.ndarray], shift: float) -> Interval[np.ndarray]:
    """Return the intervals of the same sweeps if the truth were more by the shift."""
    value, low, high = interval.value + shift, interval.low + shift, interval.high + shift
    return Interval(value, low, high, interval.n, interval.deviation, interval.degrees_of_freedom, interval.resolution)


def _covers(interval: Interval[np.ndarray]) -> float:
    return _percent((interval.low <= 0) & (interval.high >= 0))


def speed_errors(interval: Interval[np.ndarray]) -> dict[str, float]:
    """Return coverage, false claims and power in percent, from intervals of a log ratio whose truth is 0.

    Each claim is tried at its bound, where it is false and most likely.
    """

    def share_of(claim: str, truth: float) -> float:
        moved = _shifted(interval, truth)
        return _percent(verdicts.speed_decisions(moved.low, moved.high) == claim)

    return {
        "coverage": _covers(interval),
        verdicts.FASTER: share_of(verdicts.FASTER, _EFFECT),
        verdicts.SLOWER: share_of(verdicts.SLOWER, -_EFFECT),
        verdicts.EQUAL: max(share_of(verdicts.EQUAL, _EFFECT), share_of(verdicts.EQUAL, -_EFFECT)),
        "power": share_of(verdicts.FASTER, _TRUE_SPEEDUP),
    }


def quality_errors(interval: Interval[np.ndarray]) -> dict[str, float]:
    """Return coverage, false claims and power in percent, from intervals of a gain in points whose truth is 0."""

    def share_of(claims: Sequence[str], truth: float) -> float:
        moved = _shifted(interval, truth)
        return _percent(np.isin(verdicts.quality_decisions(moved.low, moved.high, _MARGIN_POINTS), claims))

    not_worse = (verdicts.NOT_WORSE, verdicts.EQUIVALENT, verdicts.BETTER)
    equivalent = (verdicts.EQUIVALENT,)
    return {
        "coverage": _covers(interval),
        verdicts.BETTER: share_of((verdicts.BETTER,), 0.0),
        verdicts.WORSE: share_of((verdicts.WORSE,), -_MARGIN_POINTS),
        verdicts.EQUIVALENT: max(share_of(equivalent, truth) for truth in (-_MARGIN_POINTS, _MARGIN_POINTS)),
        # every decision that implies it is false, too
        verdicts.NOT_WORSE: share_of(not_worse, -_MARGIN_POINTS),
        "power, not worse": share_of(not_worse, 0.0),
        "power, worse": share_of((verdicts.WORSE,), -1.5),
    }


def _paired_speed(source: np.random.Generator, num_sweeps: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for case, (noises, block_noise, slope, order, is_bounded) in _PAIRED_CASES.items():
        for n in NUMS_SEEDS:
            seconds = log_seconds(source, (num_sweeps, n), noises, block_noise, slope, order)
            errors = speed_errors(paired_intervals(seconds[:, :, 0] - seconds[:, :, 1]))
            rows.append({"case": case, "n": n, "is_bounded": is_bounded, **errors})
    for n in NUMS_SEEDS:
        errors = speed_errors(paired_intervals(_with_repeats(source, (num_sweeps, n))))
        rows.append(
            {"case": "noise 5 %, 3 repeats of the arm in every third seed", "n": n, "is_bounded": True, **errors}
        )
    return rows


def _with_repeats(source: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return differences of log seconds of which some have an arm that is the mean of three repeats."""
    seconds = log_seconds(source, shape, (0.05,) * 4, block_noise=0.2)
    differences = seconds[:, :, 0] - seconds[:, :, 1]
    differences[:, ::3] = seconds[:, ::3, 0] - seconds[:, ::3, 1:].mean(axis=2)
    return differences


def _unpaired_speed(source: np.random.Generator, num_sweeps: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for spread, factor, num_noisy in (("equal", 1.0, 0), ("the two arms twice", 2.0, 2), ("one arm twice", 2.0, 1)):
        for sizes in _UNPAIRED_SIZES:
            noises = [0.05 * (factor if place < num_noisy else 1.0) for place in range(len(sizes))]
            groups = [source.normal(0, noise, (num_sweeps, size)) for noise, size in zip(noises, sizes, strict=True)]
            errors = speed_errors(unpaired_intervals(groups[0], groups[1], groups))
            rows.append({"sizes": sizes, "spread": spread, **errors})
    return rows


def _paired_quality(source: np.random.Generator, num_sweeps: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cases = [(how, 1.0) for how in _POINTS] + [("rounded", 2.0)]
    for how, factor in cases:
        name = how if factor == 1 else f"{how}, one arm spreads twice"
        for num_samples in _NUMS_SAMPLES:
            for seed_sd in _SEED_SDS:
                for n in NUMS_SEEDS:
                    points = _POINTS[how](source, (num_sweeps, n), (factor * seed_sd, seed_sd), num_samples)
                    errors = quality_errors(paired_intervals(points, 100 / num_samples))
                    key = {"case": name, "num_samples": num_samples, "seed_sd": seed_sd, "n": n}
                    rows.append({**key, "is_bounded": True, **errors})
    return rows


def _spread_rules(source: np.random.Generator, num_sweeps: int) -> list[dict[str, Any]]:
    """Compare pairs with spreads that are pooled over the arms of a cell or moderated by them."""
    rows = []
    for spread, factors in (("equal", ()), ("the two arms twice", (0, 1)), ("one arm twice", (1,))):
        for num_arms in (3, 5):
            for n in (2, 3, 5):
                noises = [0.1 if arm in factors else 0.05 for arm in range(num_arms)]
                seconds = log_seconds(source, (num_sweeps, n), noises, block_noise=0.1)
                mean = (seconds[:, :, 0] - seconds[:, :, 1]).mean(axis=1)
                row: dict[str, Any] = {"spread": spread, "num_arms": num_arms, "n": n}
                for rule, half_width in half_widths_of_rules(seconds).items():
                    row[rule] = _percent(np.abs(mean) <= half_width)
                    row[f"{rule}, power"] = _percent(mean + _TRUE_SPEEDUP - half_width > _EFFECT)
                rows.append(row)
    return rows


def _floors(source: np.random.Generator, num_sweeps: int) -> list[dict[str, Any]]:
    """Compare the interval of ties and near ties without a floor, with a floor of the spread, and with that in use."""
    rows: list[dict[str, Any]] = []
    for n in NUMS_SEEDS:
        for seed_sd in _SEED_SDS:
            points = rounded_points(source, (num_sweeps, n), (seed_sd, seed_sd), _NUMS_SAMPLES[0])
            resolution = 100 / _NUMS_SAMPLES[0]
            without, in_use = paired_intervals(points), paired_intervals(points, resolution)
            deviation = np.maximum(without.deviation, resolution / math.sqrt(6))
            half_width = stats.t.ppf(0.975, n - 1) * deviation / math.sqrt(n)
            ends = without.value - half_width, without.value + half_width
            spread_only = Interval(without.value, *ends, n, deviation, n - 1)
            row: dict[str, Any] = {"n": n, "seed_sd": seed_sd}
            for rule, interval in (("none", without), ("spread", spread_only), ("in use", in_use)):
                errors = quality_errors(interval)
                row |= {rule: errors["coverage"], f"{rule}, false": errors[verdicts.NOT_WORSE]}
            rows.append(row)
    return rows


def _families(source: np.random.Generator, num_sweeps: int) -> list[dict[str, Any]]:
    """Count tables with at least one false claim at the bound, with and without Holm's adjustment."""
    rows = []
    for num_comparisons in (1, 2, 4, 8):
        intervals = paired_intervals(source.normal(_EFFECT, 0.05, (num_sweeps, num_comparisons, _PILOT_SEEDS)))
        p_values = verdicts.speed_p_values(intervals)[verdicts.FASTER]
        adjusted = np.apply_along_axis(verdicts.holm, 1, p_values)
        row: dict[str, Any] = {"num_comparisons": num_comparisons}
        for name, some in (("plain", p_values), ("Holm", adjusted)):
            row[name] = _percent((some < verdicts.LEVEL).any(axis=1))
        rows.append(row)
    return rows


def _checks(source: np.random.Generator, num_sweeps: int) -> list[dict[str, Any]]:
    """Count alarms of the checks and of the test of times to a target, without and with something to be found."""
    num_tries = max(50, num_sweeps // 20)

    def row(check: str, without: Callable[[], bool], found: Callable[[], bool]) -> dict[str, Any]:
        shares = [_percent([alarm() for _ in range(num_tries)]) for alarm in (without, found)]
        return {"check": check, "false alarms": shares[0], "found": shares[1]}

    rows = []
    for block_noise in (0.0, 0.1):
        for with_blocks in (False, True):
            name = f"drift, 3 arms x 5 seeds, blocks {100 * block_noise:.0f} %" + ", given" * with_blocks
            drifts = (0.0, math.log(1.2))
            rows.append(row(name, *(partial(_drift_alarm, source, size, block_noise, with_blocks) for size in drifts)))
    for n in (5, 10, 30):
        alarms = [partial(_outlier_alarm, source, n, shift) for shift in (0.0, math.log(3))]
        rows.append(row(f"outlier, {n} runs", *alarms))
    for n, with_blocks in ((3, False), (5, False), (10, False), (5, True), (10, True)):
        name = f"log-rank, {n} against {n} runs" + ", by seed" * with_blocks
        rows.append(row(name, *(partial(_log_rank_alarm, source, n, with_blocks, factor) for factor in (1.0, 2.0))))
    return rows


def _drift_alarm(source: np.random.Generator, size: float, block_noise: float, with_blocks: bool) -> bool:
    seconds = log_seconds(source, (1, 5), (0.05,) * 3, block_noise)[0]
    # The arms' places in the blocks are random, so that their order here can stay.
    seconds += size * np.arange(15).reshape(5, 3) / 14
    arms = np.stack([source.permutation(3) for _ in range(5)]).ravel().tolist()
    blocks = np.repeat(np.arange(5), 3).tolist() if with_blocks else None
    return drift(np.arange(15.0), seconds.ravel(), arms, blocks).p_value < 0.05


def _outlier_alarm(source: np.random.Generator, n: int, shift: float) -> bool:
    values = source.normal(0, 0.05, n)
    values[0] += shift
    flags = outliers(values)
    return bool(flags[0] if shift else flags.any())


def _log_rank_alarm(source: np.random.Generator, n: int, with_blocks: bool, factor: float) -> bool:
    common = source.normal(0, 0.2, n)
    seconds, baseline = (np.exp(common + source.normal(0, 0.2, n)) for _ in range(2))
    baseline *= factor
    for times in (seconds, baseline):  # one run of ten does not get there
        times[source.random(n) < 0.1] = np.inf
    blocks = list(range(n)) if with_blocks else None
    return log_rank(seconds, baseline, blocks, blocks).p_value <= 0.05


def _plans(source: np.random.Generator, num_sweeps: int) -> list[dict[str, Any]]:
    """Compare the number of seeds that pilots call for with the one that the truth needs."""
    rows = []
    for n in (2, 3, 5):
        right = verdicts.seeds_needed([_MARGIN_POINTS], 1.0)
        deviations = source.normal(0, 1.0, (max(50, num_sweeps // 20), n)).std(axis=1, ddof=1)
        row: dict[str, Any] = {"n": n, "needed": right}
        for name, factor in (("sample", 1.0), ("upper bound", verdicts.upper_deviation(1.0, n - 1))):
            named = [verdicts.seeds_needed([_MARGIN_POINTS], factor * float(deviation)) for deviation in deviations]
            row |= {name: float(np.median(named)), f"{name}, too few": _percent(np.array(named) < right)}
        rows.append(row)
    return rows


def _bands(source: np.random.Generator, num_sweeps: int) -> list[dict[str, Any]]:
    """Count how often the band of a figure holds the mean of normal values at one epoch."""
    rows = []
    for n in NUMS_SEEDS[1:]:
        ends = [mean_band(source.normal(size=(400, n))) for _ in range(num_sweeps // 400)]
        rows.append({"n": n, "coverage": _percent([(low <= 0) & (high >= 0) for low, high in ends])})
    return rows


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the tables of the results of `measure`, the bounds first."""
    note = (
        f"{values['num_sweeps']:,} sweeps a row; percent. False claims are counted where the truth lies at the claim's "
        "own bound, where it is false and most likely."
    )
    return [
        _bounds_table(values),
        _table("Speed, paired by seed", values["paired_speed"], note, "power: true 1.2x is called faster."),
        _table("Speed, unpaired (runs of both arms, of others)", values["unpaired_speed"], note, "Not bounded."),
        _table(
            "Test accuracy, paired by seed, margin 1 point",
            values["paired_quality"],
            note,
            "power: a true difference of 0 is called not worse, equivalent or better; one of -1.5 points worse.",
        ),
        _table("Rules for the spread of pairs: coverage, power for 1.2x", values["spread_rules"], note),
        _table("Rules for resolution, 359 samples: coverage, false not worse", values["floors"], note),
        _table("Tables with at least one false claim of faster", values["families"], "3 seeds; truth at the bound."),
        _table("Checks", values["checks"], "To be found: drift 20 %, a run of 3x seconds, arms 2x apart. p <= 0.05."),
        _table(
            "Seeds that pilots of n seeds call for, by the spread that is assumed",
            values["plans"],
            "The truth is one standard deviation from the margin, and its distance known; medians and percent.",
        ),
        _table("Bands of figures (bootstrap over n seeds)", values["bands"], "Not bounded; no verdict rests on them."),
    ]


def bounded_extremes(values: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    """Return the least coverage and the most false claims over the paired cases with bounds, and where."""
    found: dict[str, tuple[float, str]] = {}
    for row in [*values["paired_speed"], *values["paired_quality"]]:
        details = [f"{row['num_samples']} samples, sd {row['seed_sd']}"] if "num_samples" in row else []
        where = ", ".join([row["case"], *details, f"n = {row['n']}"])
        for name in ("coverage", *BOUNDED_CLAIMS):
            if name in row and row["is_bounded"]:
                pick = min if name == "coverage" else max
                found[name] = pick(found.get(name, (row[name], where)), (row[name], where))
    return found


def _bounds_table(values: Mapping[str, Any]) -> Table:
    rows = []
    for name, (percent, where) in bounded_extremes(values).items():
        is_coverage = name == "coverage"
        bound = LEAST_COVERAGE_PERCENT if is_coverage else MOST_FALSE_PERCENT
        is_reached = percent >= bound if is_coverage else percent <= bound
        wanted = f"{'>=' if is_coverage else '<='} {bound:.1f}"
        label = name if is_coverage else f"false {name}"
        rows.append((label, wanted, f"{percent:.1f}", "yes" if is_reached else "no", where))
    return Table("Bounds for paired rules", ("percent", "wanted", "worst case", "reached", "where"), rows)


def _table(title: str, rows: Sequence[Mapping[str, Any]], *notes: str) -> Table:
    names = [name for name in rows[0] if name != "is_bounded"]
    false = {*BOUNDED_CLAIMS, verdicts.EQUAL, verdicts.BETTER, verdicts.WORSE, verdicts.EQUIVALENT}
    columns = [f"false {name}" if name in false else name.replace("_", " ").replace("num ", "") for name in names]
    texts = []
    for row in rows:
        cells = [_text(name, row[name]) for name in names]
        texts.append((cells[0] + ("" if row.get("is_bounded", True) else " (not bounded)"), *cells[1:]))
    return Table(title, tuple(columns), texts, notes)


def _text(name: str, value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if name == "seed_sd":
        return f"{value:g}"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
