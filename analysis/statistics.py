"""The statistics that tables use, all by scipy; what they are used for is decided here.

Values that are equal have intervals of no width: repeating a deterministic measurement adds no spread. Two equal
differences of accuracy are no such sign: an accuracy is a number of test samples, and two meet on one by chance.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

Values = Sequence[float] | np.ndarray | pd.Series
CONFIDENCE = 0.95
#: The chance that a study with the named number of seeds decides, if the truth is what was seen so far.
POWER = 0.8
#: More seeds than anyone would run.
MOST_SEEDS = 1000
#: So many equal differences are taken for ones without spread.
_LEAST_EQUAL = 3
#: Equal numbers of test samples give differences that are equal but for rounding.
_ROUNDING = 1e-9
WITHIN, WORSE, UNDECIDED = "within", "worse", "undecided"


@dataclass(frozen=True)
class Estimate:
    """A mean with an interval; NaN where there are too few values.

    Attributes:
        low, high: ends of the 95 % interval.
        n: number of values.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Verdict:
    """Whether an arm is non-inferior.

    Attributes:
        decision: ``within`` (worse by less than the margin), ``worse`` (by more), or ``undecided``.
        seeds_needed: of an undecided one, how many seeds would probably decide; None if nothing can be said, infinite
            for more than `MOST_SEEDS`.
    """

    decision: str
    seeds_needed: float | None = None


def mean_interval(values: Values) -> Estimate:
    """Return the mean with Student's 95 % interval (scipy.stats.t); one value has none, nor have two equal ones."""
    sample = _clean(values)
    n = len(sample)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = float(sample.mean())
    if np.allclose(sample, mean, rtol=_ROUNDING, atol=_ROUNDING):
        end = mean if n >= _LEAST_EQUAL else math.nan
        return Estimate(mean, end, end, n)
    low, high = stats.t.interval(CONFIDENCE, n - 1, loc=mean, scale=float(stats.sem(sample)))
    return Estimate(mean, float(low), float(high), n)


def standard_deviation(values: Values) -> float:
    """Return the sample's standard deviation (divided by n - 1); NaN for fewer than two values."""
    sample = _clean(values)
    return float(sample.std(ddof=1)) if len(sample) > 1 else math.nan


def geometric_mean_interval(ratios: Values) -> Estimate:
    """Return the geometric mean of ratios with the 95 % interval that Student's t gives their logarithms.

    A bootstrap of so few values is too narrow: of three, its interval is their range, which misses the truth in one
    case of four.
    """
    estimate = mean_interval(np.log(np.sort(_clean(ratios))))
    return Estimate(math.exp(estimate.value), math.exp(estimate.low), math.exp(estimate.high), estimate.n)


def non_inferiority(differences: Values, margin: float) -> Verdict:
    """Decide whether paired differences (arm - baseline; more is better) stay above -margin.

    A one-sided t test at 2.5 % each way, read off the two-sided 95 % interval: ``within`` if the whole interval lies
    above -margin, ``worse`` if it lies below. Two equal differences have no interval and decide nothing.

    Args:
        differences: one per seed, in the margin's unit.
        margin: how much worse is still acceptable; positive.
    """
    estimate = mean_interval(differences)
    if estimate.n < 2:
        return Verdict(UNDECIDED)
    if math.isnan(estimate.low):
        return Verdict(UNDECIDED, _LEAST_EQUAL)
    if estimate.low > -margin:
        return Verdict(WITHIN)
    if estimate.high < -margin:
        return Verdict(WORSE)
    return Verdict(UNDECIDED, seeds_needed(estimate.value, standard_deviation(differences), margin))


def seeds_needed(mean: float, deviation: float, margin: float) -> float:
    """Return how many seeds decide with a chance of 80 %, if mean and deviation stay as they are.

    The power of the one-sided t test by the noncentral t distribution (scipy.stats.nct).
    """
    distance = abs(mean + margin)
    if not distance:  # on the margin itself no number of seeds decides
        return math.inf
    effect = distance / deviation if deviation else math.inf
    if _power(MOST_SEEDS, effect) < POWER:
        return math.inf
    return bisect.bisect_left(range(MOST_SEEDS), POWER, lo=2, key=lambda n: _power(n, effect))


def _power(n: int, effect: float) -> float:
    """Return the chance that n values decide, by the mean's distance from the margin in standard deviations."""
    threshold = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    shift = effect * math.sqrt(n)
    # So far beyond the threshold the distribution's tail is not worth computing, and cannot be.
    return 1.0 if shift > threshold + 50 else float(stats.nct.sf(threshold, n - 1, shift))


def largest_ratio(values: Values) -> float:
    """Return the largest value over the smallest: how much repetitions of equal work differ; NaN for fewer than two."""
    sample = _clean(values)
    return float(sample.max() / sample.min()) if len(sample) > 1 and sample.min() > 0 else math.nan


def _clean(values: Values) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    return sample[~np.isnan(sample)]
