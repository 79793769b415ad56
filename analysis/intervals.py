"""Estimates with 95 % intervals: of paired differences, of unpaired ones, over cells; and checks of what they assume.

Nothing here knows runs or tables. Speed comes as differences of log seconds, baseline minus arm, so that more than 0 is
faster; quality as differences in its own unit, arm minus baseline. `benchmarks.coverage` simulates every rule.
`paired_intervals` and `unpaired_intervals` treat many sweeps at once, one a row; those for one sweep call them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
from scipy import stats

Values = Sequence[float] | np.ndarray | pd.Series
T = TypeVar("T", float, np.ndarray)
CONFIDENCE = 0.95
_UPPER_QUANTILE = (1 + CONFIDENCE) / 2
#: The usual threshold of the modified z-score (Iglewicz & Hoaglin 1993), right for many values.
_LEAST_OUTLIER_DEVIATIONS = 3.5
_OUTLIER_CHANCE = 0.05
_FEWEST_WITH_OUTLIERS = 3
_SECONDS_PER_HOUR = 3600.0
#: A spread up to this, relative to the values, is an error of floating-point numbers.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Interval(Generic[T]):
    """An estimate with its 95 % interval; the ends are NaN where the values do not tell their spread.

    Attributes:
        value, low, high: in the unit of the values; arrays where many sweeps were given.
        n: number of pairs; of an unpaired estimate, number of runs of the arm that has fewer.
        deviation: standard deviation of the difference of one pair of seeds, at least that of the resolution.
        degrees_of_freedom: of Student's t; 0 where there is no spread.
        resolution: half the least width of the interval; None if it is unknown.
        is_paired: whether seeds were compared with themselves; if not, the interval assumes equal spread.
    """

    value: T
    low: T
    high: T
    n: int
    deviation: T
    degrees_of_freedom: int
    resolution: float | None = 0.0
    is_paired: bool = True

    @property
    def has_ends(self) -> bool:
        """Whether the values told their spread."""
        return self.degrees_of_freedom > 0

    @property
    def standard_error(self) -> T:
        """Half the width by Student's quantile, so that tests with it agree with the interval."""
        if not self.has_ends:
            return self.deviation
        return (self.high - self.value) / float(stats.t.ppf(_UPPER_QUANTILE, self.degrees_of_freedom))


def paired_interval(differences: Values, resolution: float | None = 0.0) -> Interval[float]:
    """Return the mean of paired differences with Student's 95 % interval; NaN differences are left out.

    mean -+ max(t(0.975, n - 1) s / sqrt(n), q), where s**2 is the sample variance, at least q**2 / 6, and q the
    resolution. An accuracy of m samples is a multiple of q = 1/m. Rounding to such multiples has a variance of
    q**2 / 12, the difference of two q**2 / 6; without this floor, ties would have intervals of no width. Where the
    spread over seeds is small against q, rounding shifts all seeds alike, and more seeds do not average it out: two
    accuracies can be wrong by q / 2 each, their difference by q. Simulated with 359 samples, 5 seeds and a spread of
    0.05 points, the first floor alone lets 6 % false claims pass at the margin, both together none.

    Georges, Buytaert, Eeckhout: Statistically rigorous Java performance evaluation, OOPSLA 2007; Kalibera, Jones:
    Rigorous benchmarking in reasonable time, ISMM 2013.

    Args:
        differences: one a seed.
        resolution: the least step between two values of the quality, in the unit of the differences: 100 / m points
            for m test samples. 0 for seconds. None if it is unknown: then differences without spread have no interval,
            since it cannot be told from them whether the test set was too coarse to show any.

    Raises:
        ValueError: if the resolution is negative.
    """
    sample = _known(differences)
    if len(sample) == 0:
        return Interval(math.nan, math.nan, math.nan, 0, math.nan, 0, resolution)
    found = _first(paired_intervals(sample[np.newaxis], resolution or 0.0))
    if resolution is not None:
        return found
    if found.deviation <= _ROUNDING * max(1.0, abs(found.value)):
        return Interval(found.value, math.nan, math.nan, found.n, 0.0, 0, None)
    return replace(found, resolution=None)


def paired_intervals(differences: np.ndarray, resolution: float = 0.0) -> Interval[np.ndarray]:
    """Return `paired_interval` of every row."""
    if resolution < 0:
        raise ValueError(f"The resolution is {resolution}; it cannot be negative.")
    n = differences.shape[-1]
    mean = differences.mean(axis=-1)
    if n < 2:
        unknown = np.full_like(mean, np.nan)
        return Interval(mean, unknown, unknown, n, unknown, 0, resolution)
    deviation = np.maximum(differences.std(axis=-1, ddof=1), resolution / math.sqrt(6))
    half_width = np.maximum(stats.t.ppf(_UPPER_QUANTILE, n - 1) * deviation / math.sqrt(n), resolution)
    return Interval(mean, mean - half_width, mean + half_width, n, deviation, n - 1, resolution)


def unpaired_interval(first: Values, second: Values, groups: Sequence[Values]) -> Interval[float]:
    """Return the mean of ``first`` minus that of ``second``, with the spread of all repeats of equal work.

    mean1 - mean2 -+ t(0.975, nu) s sqrt(1 / n1 + 1 / n2), where s**2 = sum_k sum_i (x_ki - mean_k)**2 / nu over all
    groups k and nu = sum_k (n_k - 1) (Georges et al. 2007, section 3.3, with the pooled variance of the one-way
    analysis of variance). It assumes that all groups spread alike. Where nothing was repeated there is no interval:
    its ends are NaN.

    Args:
        first, second: log seconds of the two arms; for a speedup the baseline's come first. NaN are left out.
        groups: log seconds of every arm of the cell, these two included; runs of a group did equal work.
    """
    sizes_differ = [_known(values)[np.newaxis] for values in groups]
    one, other = _known(first), _known(second)
    if not (len(one) and len(other)):
        return Interval(math.nan, math.nan, math.nan, 0, math.nan, 0, is_paired=False)
    return _first(unpaired_intervals(one[np.newaxis], other[np.newaxis], sizes_differ))


def unpaired_intervals(first: np.ndarray, second: np.ndarray, groups: Sequence[np.ndarray]) -> Interval[np.ndarray]:
    """Return `unpaired_interval` of every row."""
    difference = first.mean(axis=-1) - second.mean(axis=-1)
    sizes = first.shape[-1], second.shape[-1]
    spread, freedom = _pooled(groups)
    # The difference of one pair of seeds has the spread of two runs.
    deviation = math.sqrt(2) * spread if freedom else np.full_like(difference, np.nan)
    quantile = stats.t.ppf(_UPPER_QUANTILE, freedom) if freedom else math.nan
    half_width = quantile * deviation * math.sqrt((1 / sizes[0] + 1 / sizes[1]) / 2)
    ends = difference - half_width, difference + half_width
    return Interval(difference, *ends, min(sizes), deviation, freedom, is_paired=False)


def speed_interval(
    log_ratios: Values, baseline_log_seconds: Values, log_seconds: Values, groups: Sequence[Values]
) -> Interval[float]:
    """Return the interval of a log speedup: of the pairs where there are two or more, else unpaired.

    The rule was chosen by simulation: pairs cover 95 % whatever the spreads. A spread pooled over the arms of a cell
    has more power with two or three seeds, but covers only 86 to 93 % where the compared arms spread twice as much as
    the others. A variance moderated by the arms (Smyth, Statistical Applications in Genetics and Molecular Biology 3,
    2004) lies between the two: 91 to 93 % there, 89 to 93 % where one arm spreads twice as much.

    Args:
        log_ratios: log of baseline seconds / arm seconds, one a pair of runs of one seed.
        baseline_log_seconds, log_seconds: of all runs of the baseline and of the arm, paired or not.
        groups: see `unpaired_interval`.
    """
    paired = paired_interval(log_ratios)
    return paired if paired.has_ends else unpaired_interval(baseline_log_seconds, log_seconds, groups)


def coefficient_of_variation(groups: Sequence[Values]) -> float:
    """Return the noise of repeats of equal work: standard deviation / mean of seconds; NaN if nothing was repeated.

    sqrt(exp(s**2) - 1) of lognormal seconds, s being the standard deviation of log seconds, pooled over the groups (see
    `unpaired_interval`). It estimates the same quantity for every number of runs.
    """
    spread, freedom = _pooled([_known(values)[np.newaxis] for values in groups])
    return math.sqrt(math.expm1(spread.item() ** 2)) if freedom else math.nan


def paired_sampling_sd(num_gained: int, num_lost: int, num_samples: int) -> float:
    """Return the standard error of a difference of two accuracies on one test set, as a fraction of its samples.

    sqrt(b + c - (b - c)**2 / m) / m: how much the difference of these two trained networks would vary over other test
    sets of m samples (McNemar, Psychometrika 12, 1947; Dietterich, Neural Computation 10, 1998).

    Args:
        num_gained, num_lost: b and c, samples that only the arm, and that only the baseline, classified correctly.
        num_samples: m.

    Raises:
        ValueError: if there are no samples, or more of these than samples.
    """
    if min(num_gained, num_lost) < 0 or not 0 < num_samples >= num_gained + num_lost:
        raise ValueError(f"{num_gained} gained and {num_lost} lost of {num_samples} samples cannot be.")
    return math.sqrt(num_gained + num_lost - (num_gained - num_lost) ** 2 / num_samples) / num_samples


@dataclass(frozen=True)
class Overall:
    """What holds over all cells, in the unit of the values (of log ratios, the exponential is a geometric mean).

    Attributes:
        mean: mean over cells of each cell's mean; the interval is that of other cells like these.
        interquartile_mean: mean of the middle half of all values; without an interval.
        num_cells: cells with at least one value.
    """

    mean: Interval[float]
    interquartile_mean: float
    num_cells: int


def overall(differences_by_cell: Mapping[Hashable, Values]) -> Overall:
    """Return mean and interquartile mean over cells.

    The cell is the block: every cell counts once, however many seeds it has, and the interval (Student's, over the
    cells' means) contains the differences between cells. The interquartile mean is scipy.stats.trim_mean of all
    values, 25 % off each end, as by Agarwal et al., Deep reinforcement learning at the edge of the statistical
    precipice, NeurIPS 2021; there, a cell with more seeds weighs more.

    Args:
        differences_by_cell: log ratios or differences of quality; one a seed.
    """
    cells = [sample for values in differences_by_cell.values() if len(sample := _known(values))]
    middle = float(stats.trim_mean(np.concatenate(cells), 0.25)) if cells else math.nan
    return Overall(paired_interval([float(sample.mean()) for sample in cells]), middle, len(cells))


@dataclass(frozen=True)
class Drift:
    """How seconds changed from the first start to the last.

    Attributes:
        change: of log seconds over ``hours``, as if linear in time.
        p_value: two-sided, of no change; NaN where it cannot be told.
        hours: from the first start to the last.
    """

    change: Interval[float]
    p_value: float
    hours: float


def drift(
    start_times: Values, log_seconds: Values, arms: Sequence[Hashable], blocks: Sequence[Hashable] | None = None
) -> Drift:
    """Return the drift of seconds over start times, by regression within arms, and within blocks if given.

    Least squares of log seconds on arms, blocks and start time; the interval and the test are Student's of the slope
    (Frisch, Waugh, Econometrica 1, 1933: the regression of residuals on residuals). Without blocks the effects of
    seeds or machines, which stay equal over a block, are taken for drift too often; with blocks, only drift within
    them is seen, which is the one that paired differences do not cancel.

    Args:
        start_times: in seconds, since whenever.
        log_seconds: one a run.
        arms: of each run; runs of one arm did equal work.
        blocks: of each run: its seed, or the machine and the day.
    """
    times, values = np.asarray(start_times, dtype=float), np.asarray(log_seconds, dtype=float)
    known = np.isfinite(times) & np.isfinite(values)
    labels = [arms] if blocks is None else [arms, blocks]
    dummies = [pd.get_dummies(np.asarray(label, dtype=str)[known], dtype=float).to_numpy() for label in labels]
    times, values = times[known], values[known]
    span = float(np.ptp(times)) if len(times) else 0.0
    unknown = Drift(Interval(math.nan, math.nan, math.nan, len(times), math.nan, 0), math.nan, span / _SECONDS_PER_HOUR)
    if span == 0:
        return unknown
    design = np.hstack(dummies)
    time_left, value_left = (_residuals(design, part) for part in ((times - times.min()) / span, values))
    freedom = len(times) - int(np.linalg.matrix_rank(design)) - 1
    information = float(time_left @ time_left)
    if freedom < 1 or information < 1e-9:
        return unknown
    slope = float(time_left @ value_left) / information
    rest = value_left - slope * time_left
    error = math.sqrt(float(rest @ rest) / freedom / information)
    half_width = error * float(stats.t.ppf(_UPPER_QUANTILE, freedom))
    p_value = 2 * float(stats.t.sf(abs(slope) / error, freedom)) if error else float(slope == 0)
    change = Interval(slope, slope - half_width, slope + half_width, len(times), error, freedom)
    return Drift(change, p_value, span / _SECONDS_PER_HOUR)


def outliers(values: Values) -> np.ndarray:
    """Return which values lie far from the median; they are shown and never removed.

    |x - median| / (1.4826 MAD) > max(3.5, t(1 - 0.05 / 2n, (n - 1) / 2)), MAD being the median absolute deviation
    (scipy.stats.median_abs_deviation). 3.5 alone (Iglewicz & Hoaglin 1993) flags something in 29 % of clean samples of
    three and in 12 % of those of ten; the quantile of t keeps this at 1 to 5 % for every n (simulated). Where more than
    half of the values are equal nothing is flagged. Give residuals within arms, of the whole cell at once.
    """
    sample = np.asarray(values, dtype=float)
    n = int(np.isfinite(sample).sum())
    if n < _FEWEST_WITH_OUTLIERS:
        return np.zeros(sample.shape, dtype=bool)
    finite = sample[np.isfinite(sample)]
    scale = float(stats.median_abs_deviation(finite, scale="normal"))
    threshold = max(_LEAST_OUTLIER_DEVIATIONS, float(stats.t.ppf(1 - _OUTLIER_CHANCE / (2 * n), (n - 1) / 2)))
    return np.abs(sample - np.median(finite)) > threshold * (scale or math.inf)


def _residuals(design: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def _pooled(groups: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Return the pooled standard deviation of every row and its degrees of freedom."""
    repeated = [group for group in groups if group.shape[-1] > 1]
    freedom = sum(group.shape[-1] - 1 for group in repeated)
    squares = [group.var(axis=-1) * group.shape[-1] for group in repeated]
    return np.sqrt(np.sum(squares, axis=0) / max(freedom, 1)), freedom


def _first(many: Interval[np.ndarray]) -> Interval[float]:
    """Return the interval of the only sweep."""
    value, low, high, deviation = (part.item() for part in (many.value, many.low, many.high, many.deviation))
    return Interval(value, low, high, many.n, deviation, many.degrees_of_freedom, many.resolution, many.is_paired)


def _known(values: Values) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    return sample[~np.isnan(sample)]
