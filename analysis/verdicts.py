"""What an interval allows to say of speed and of quality, in plain words.

Every claim is a one-sided test at 2.5 %, or two of them, read off the two-sided 95 % interval; `benchmarks.coverage`
simulates how often each is false. A claim that is not allowed is ``undecided``, with the number of seeds that would
probably decide.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from adabatch.terminal import counted, noun_for
from analysis.intervals import CONFIDENCE, Interval, Values

#: The error of each claim.
LEVEL = (1 - CONFIDENCE) / 2
#: The chance that a study with the named number of seeds decides, if the truth is what was seen so far.
POWER = 0.8
#: The confidence that the spread is no larger than assumed when seeds are planned.
SPREAD_CONFIDENCE = 0.8
#: More seeds than anyone would run.
MOST_SEEDS = 1000
#: A test set that many times as large is not worth naming: what seems true lies at the margin itself.
_MOST_TIMES_FINER = 1000
#: A speedup smaller than this, as a share, is not worth naming.
SMALLEST_EFFECT = 0.02
FASTER, SLOWER, EQUAL = "faster", "slower", "equal"
BETTER, WORSE, EQUIVALENT, NOT_WORSE = "better", "worse", "equivalent", "not worse"
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Quality:
    """What a task is judged by.

    Attributes:
        name: for people, such as ``test accuracy``.
        unit: of differences, in the singular; empty where there is none.
        margin: how much worse is still acceptable, in that unit.
        higher_is_better: false for a loss.
    """

    name: str
    unit: str
    margin: float
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not (0 < self.margin < math.inf):
            raise ValueError(f"The margin of {self.name} is {self.margin}; it must be more than 0 and finite.")

    @property
    def margin_text(self) -> str:
        """``1 point``, ``0.5 points``, ``0.01``."""
        return f"{self.margin:g} {noun_for(self.margin, self.unit)}" if self.unit else f"{self.margin:g}"

    def gain(self, difference: Interval[Any]) -> Interval[Any]:
        """Return arm - baseline such that more is better."""
        if self.higher_is_better:
            return difference
        return replace(difference, value=-difference.value, low=-difference.high, high=-difference.low)


TEST_ACCURACY = Quality("test accuracy", "point", margin=1.0)


@dataclass(frozen=True)
class Claim:
    """Something that might be said.

    Attributes:
        p_value: one-sided; at most `LEVEL` where the interval allows it. NaN where nothing was repeated.
    """

    name: str
    text: str
    p_value: float


@dataclass(frozen=True)
class Verdict:
    """What is said.

    Attributes:
        decision: name of the first claim that the interval allows, or ``undecided``.
        text: the decision in words.
        claims: all that might be said, in the order in which they are tried.
        seeds_needed: of an undecided one, seeds in all; infinite for more than `MOST_SEEDS`, else None.
        resolution_needed: where no number of seeds decides because the quality is too coarse, the resolution with which
            more seeds would, in its unit; 0 if no resolution would.
    """

    decision: str
    text: str
    claims: tuple[Claim, ...]
    seeds_needed: float | None = None
    resolution_needed: float | None = None


def speed_verdict(log_ratio: Interval[float], smallest_effect: float = SMALLEST_EFFECT) -> Verdict:
    """Return what the interval of ln(baseline seconds / arm seconds) allows to say.

    With d = ln(1 + smallest effect): ``faster`` if low > d, ``slower`` if high < -d, ``equal within 2 %`` if the
    interval lies between -d and d (both one-sided tests; Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics
    15, 1987), else ``undecided: about N seeds`` (Georges et al. 2007; Kalibera & Jones 2013).

    Args:
        log_ratio: of `intervals.speed_interval`.
        smallest_effect: as a share; 0.02 is 2 %.

    Raises:
        ValueError: if the smallest effect is negative or not finite.
    """
    effect = _log_effect(smallest_effect)
    decision = str(speed_decisions(log_ratio.low, log_ratio.high, smallest_effect))
    texts = {FASTER: "faster", SLOWER: "slower", EQUAL: f"equal within {100 * smallest_effect:g} %"}
    claims = _claims(speed_p_values(log_ratio, smallest_effect), texts)
    if abs(log_ratio.value) > effect:  # what seems true is faster, or slower
        return _verdict(decision, claims, log_ratio, [abs(log_ratio.value) - effect])
    return _verdict(decision, claims, log_ratio, [effect - log_ratio.value, effect + log_ratio.value])


def speed_decisions(low: ArrayLike, high: ArrayLike, smallest_effect: float = SMALLEST_EFFECT) -> np.ndarray:
    """Return the decision of `speed_verdict` for every interval."""
    effect = _log_effect(smallest_effect)
    low, high = np.asarray(low), np.asarray(high)
    tests = [low > effect, high < -effect, (low > -effect) & (high < effect)]
    return np.select(tests, [FASTER, SLOWER, EQUAL], UNDECIDED)


def speed_p_values(log_ratio: Interval[Any], smallest_effect: float = SMALLEST_EFFECT) -> dict[str, Any]:
    """Return the one-sided p of each claim of `speed_verdict`, a number or an array as the interval is."""
    effect = _log_effect(smallest_effect)
    return {
        FASTER: _p_above(log_ratio, effect),
        SLOWER: _p_below(log_ratio, -effect),
        EQUAL: np.maximum(_p_above(log_ratio, -effect), _p_below(log_ratio, effect)),
    }


def quality_verdict(difference: Interval[float], quality: Quality = TEST_ACCURACY) -> Verdict:
    """Return what the interval of arm - baseline allows to say of the quality.

    Of the gain (the difference such that more is better), in this order: ``better`` if low > 0; ``worse`` if high <
    -margin; ``equivalent within`` the margin if -margin < low and high < margin (both one-sided tests; Schuirmann
    1987); ``not worse`` if low > -margin (non-inferiority); else ``undecided: about N seeds``, or ``undecided: the test
    set is too small`` where the resolution hides the distance from the margin, whatever the number of seeds (of a
    single pair, which tells no distance: hides the margin).

    Args:
        difference: arm - baseline in the quality's unit, of `intervals.paired_interval` with the test set's resolution.
    """
    gain = quality.gain(difference)
    decision = str(quality_decisions(gain.low, gain.high, quality.margin))
    texts = {
        BETTER: "better",
        WORSE: "worse",
        EQUIVALENT: f"equivalent within {quality.margin_text}",
        NOT_WORSE: f"not worse ({quality.margin_text})",
    }
    claims = _claims(quality_p_values(gain, quality.margin), texts)
    # Undecided is what contains -margin: the others follow from a gain above it or below it.
    distance = abs(gain.value + quality.margin) if gain.has_ends else quality.margin
    if decision == UNDECIDED and gain.n and gain.resolution and distance <= gain.resolution:
        return _too_coarse(claims, distance, gain.resolution)
    return _verdict(decision, claims, gain, [gain.value + quality.margin])


def _too_coarse(claims: tuple[Claim, ...], distance: float, resolution: float) -> Verdict:
    """Return that no number of seeds decides, since the interval never gets narrower than the resolution."""
    # Half of the distance for the test set leaves the other half for the spread over seeds.
    needed = distance / 2 if distance > resolution / _MOST_TIMES_FINER else 0.0
    return Verdict(UNDECIDED, "undecided: the test set is too small", claims, math.inf, needed)


def quality_decisions(low: ArrayLike, high: ArrayLike, margin: float) -> np.ndarray:
    """Return the decision of `quality_verdict` for every interval of a gain."""
    low, high = np.asarray(low), np.asarray(high)
    tests = [low > 0, high < -margin, (low > -margin) & (high < margin), low > -margin]
    return np.select(tests, [BETTER, WORSE, EQUIVALENT, NOT_WORSE], UNDECIDED)


def quality_p_values(gain: Interval[Any], margin: float) -> dict[str, Any]:
    """Return the one-sided p of each claim of `quality_verdict`, a number or an array as the interval is."""
    not_worse = _p_above(gain, -margin)
    return {
        BETTER: _p_above(gain, 0.0),
        WORSE: _p_below(gain, -margin),
        EQUIVALENT: np.maximum(not_worse, _p_below(gain, margin)),
        NOT_WORSE: not_worse,
    }


def holm(p_values: Values) -> np.ndarray:
    """Return Holm's adjusted p: max over j <= i of min(1, (m - j + 1) p_(j)), for p_(1) <= ... <= p_(m).

    Holm, Scandinavian Journal of Statistics 6, 1979. NaN are no tests: they stay and do not count in m.
    """
    given = np.asarray(p_values, dtype=float)
    adjusted = np.full(given.shape, np.nan)
    tests = np.flatnonzero(~np.isnan(given))
    order = tests[np.argsort(given[tests], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * given[order]))
    return adjusted


def adjust(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts of a table's arms and cells, each claim's p adjusted by `holm` over all of them.

    The family is one kind of claim: the chance that any ``faster`` of the table is false is at most 2.5 %, that any
    ``slower`` is, and so on. Give verdicts of one kind, of speed or of quality. A decision that does not stand becomes
    the next claim that does, or ``undecided among K comparisons``.
    """
    if not verdicts:
        return []
    by_claim = [holm([claim.p_value for claim in row]) for row in zip(*(v.claims for v in verdicts), strict=True)]
    num_comparisons = int(np.isfinite(by_claim[0]).sum())
    return [
        _adjusted(verdict, p_values, num_comparisons)
        for verdict, p_values in zip(verdicts, zip(*by_claim, strict=True), strict=True)
    ]


def _adjusted(verdict: Verdict, p_values: Sequence[float], num_comparisons: int) -> Verdict:
    claims = tuple(replace(claim, p_value=float(p)) for claim, p in zip(verdict.claims, p_values, strict=True))
    if verdict.decision == UNDECIDED:
        return replace(verdict, claims=claims)
    allowed = [claim for claim in claims if claim.p_value < LEVEL]
    if not allowed:
        return Verdict(UNDECIDED, f"undecided among {counted(num_comparisons, 'comparison')}", claims)
    return Verdict(allowed[0].name, allowed[0].text, claims)


def upper_deviation(deviation: float, degrees_of_freedom: int) -> float:
    """Return the upper 80 % confidence bound of a standard deviation: s sqrt(nu / chi2(0.2, nu))."""
    return deviation * math.sqrt(degrees_of_freedom / float(stats.chi2.ppf(1 - SPREAD_CONFIDENCE, degrees_of_freedom)))


def seeds_needed(distances: Sequence[float], deviation: float, resolution: float = 0.0) -> float:
    """Return how many paired seeds decide with a chance of 80 %; infinite for more than `MOST_SEEDS`.

    The power of the one-sided t test by the noncentral t distribution (scipy.stats.nct), and of the interval's least
    half width, the resolution, by the normal one. Two tests that must both succeed miss at most as often as both miss
    in sum.

    Args:
        distances: of the truth from the bound of each test, on the side that the test can find.
        deviation: standard deviation of the difference of one pair.
        resolution: see `intervals.Interval`.
    """
    if _power(MOST_SEEDS, distances, deviation, resolution) < POWER:
        return math.inf
    return bisect.bisect_left(range(MOST_SEEDS), POWER, lo=2, key=lambda n: _power(n, distances, deviation, resolution))


def _power(n: int, distances: Sequence[float], deviation: float, resolution: float) -> float:
    return 1 - sum(1 - _power_of_one(n, distance, deviation, resolution) for distance in distances)


def _power_of_one(n: int, distance: float, deviation: float, resolution: float) -> float:
    if deviation == 0 or distance <= resolution:
        return float(distance > resolution)
    shift = distance / deviation * math.sqrt(n)
    threshold = float(stats.t.ppf(1 - LEVEL, n - 1))
    # Far beyond the threshold the distribution's tail is not worth computing, and cannot be by old versions of SciPy.
    with np.errstate(invalid="ignore"):
        power = 1.0 if shift > threshold + 50 else float(stats.nct.sf(threshold, n - 1, shift))
    power = 1.0 if math.isnan(power) else power
    return min(power, float(stats.norm.cdf((distance - resolution) / deviation * math.sqrt(n))))


def _verdict(
    decision: str, claims: tuple[Claim, ...], interval: Interval[float], distances: Sequence[float]
) -> Verdict:
    """Return the decision in words; the distances are those of what seems true from the bounds that hide it."""
    if decision != UNDECIDED:
        return Verdict(decision, next(claim.text for claim in claims if claim.name == decision), claims)
    if not interval.has_ends and interval.n > 1 and interval.resolution is None:
        return Verdict(UNDECIDED, "undecided: the size of the test set is unknown", claims)
    if not interval.has_ends:
        return Verdict(UNDECIDED, "undecided: at least 2 seeds", claims, 2)
    spread = upper_deviation(interval.deviation, interval.degrees_of_freedom)
    seeds = seeds_needed([abs(distance) for distance in distances], spread, interval.resolution or 0.0)
    number = f"more than {MOST_SEEDS:,}" if math.isinf(seeds) else f"about {seeds:,}"
    return Verdict(UNDECIDED, f"undecided: {number} seeds", claims, seeds)


def _claims(p_values: Mapping[str, Any], texts: Mapping[str, str]) -> tuple[Claim, ...]:
    return tuple(Claim(name, texts[name], float(p_value)) for name, p_value in p_values.items())


def _p_above(interval: Interval[Any], bound: float) -> Any:
    """Return the p of the claim that the truth is more than the bound."""
    distance, error = np.asarray(interval.value) - bound, np.asarray(interval.standard_error)
    if not interval.has_ends:
        return distance * np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(distance == 0, 0.0, distance / error)
    return stats.t.sf(statistic, interval.degrees_of_freedom)


def _p_below(interval: Interval[Any], bound: float) -> Any:
    """Return the p of the claim that the truth is less than the bound."""
    return _p_above(replace(interval, value=-interval.value, low=-interval.high, high=-interval.low), -bound)


def _log_effect(smallest_effect: float) -> float:
    if not (0 <= smallest_effect < math.inf):
        raise ValueError(f"The smallest effect is {smallest_effect}; it must be a share of 0 or more.")
    return math.log1p(smallest_effect)
