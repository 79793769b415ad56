"""Times until a target was reached, where some runs never reach it.

A run that ended without reaching its target took infinitely long: it had its budget, and more of its own seconds would
not have come. So it is censored after the slowest time of all, whenever it ended. Runs that were stopped from outside
are missing data: NaN, and left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.intervals import CONFIDENCE, Values

#: With at most so many ways to assign the labels, all are counted.
MOST_ASSIGNMENTS = 200_000
NUM_RANDOM_ASSIGNMENTS = 20_000
#: The factor up to which AlgoPerf integrates its profiles.
PROFILE_END = 4.0
#: Sums of equal scores differ by rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Reached:
    """How many of n runs reached the target, with Wilson's 95 % interval of the share."""

    k: int
    n: int
    low: float
    high: float

    @property
    def text(self) -> str:
        """``3 of 5 (23 to 88 %)``."""
        if not self.n:
            return "0 of 0"
        return f"{self.k} of {self.n} ({100 * self.low:.0f} to {100 * self.high:.0f} %)"


def reached(seconds: Values) -> Reached:
    """Return how many of the times are finite, with the interval of Wilson, JASA 22, 1927 (scipy.stats.binomtest)."""
    times = _known(seconds)
    return share(int(np.isfinite(times).sum()), len(times))


def share(k: int, n: int) -> Reached:
    """Return k of n with Wilson's interval; NaN ends for n = 0."""
    if n == 0:
        return Reached(0, 0, math.nan, math.nan)
    interval = stats.binomtest(k, n).proportion_ci(CONFIDENCE, method="wilson")
    return Reached(k, n, float(interval.low), float(interval.high))


def median_seconds(seconds: Values) -> float:
    """Return the median time; infinite if fewer than half of the runs reached the target, NaN for no runs.

    Where exactly half did, it is the slowest of their times, the smallest by which half had arrived.
    """
    times = _known(seconds)
    if not len(times):
        return math.nan
    middle = np.sort(times)[[(len(times) - 1) // 2, len(times) // 2]]
    return float(middle.mean() if np.isfinite(middle).all() else middle[0])


@dataclass(frozen=True)
class LogRank:
    """Whether one arm reaches the target sooner.

    Attributes:
        excess: the arm's runs that reached the target minus as many as would have if both arms were alike, at the times
            when they did; more than 0 is sooner.
        z: excess by its standard deviation over assignments; NaN where all are equal.
        p_value: two-sided, of all ways to assign the arms' names to the runs, within blocks where given.
        is_exact: whether all ways were counted, not drawn.
    """

    excess: float
    z: float
    p_value: float
    is_exact: bool


def log_rank(
    seconds: Values,
    baseline_seconds: Values,
    blocks: Sequence[Hashable] | None = None,
    baseline_blocks: Sequence[Hashable] | None = None,
    random_seed: int = 0,
) -> LogRank:
    """Return the log-rank statistic O - E with its permutation p.

    O - E = sum over the arm's runs of (1 if it reached the target) - (sum over times t_j up to its own of d_j / n_j),
    with d_j of n_j runs of both arms reaching the target at t_j (Mantel, Cancer Chemotherapy Reports 50, 1966). The p
    is twice the smaller share of assignments with a statistic at least, or at most, as large. The asymptotic p of
    scipy.stats.logrank is 0.025 where all of three runs are faster than all of three others; by chance three runs are
    all faster, or all slower, in one case of ten. Blocks without runs of both arms say nothing and are left out.

    Args:
        seconds, baseline_seconds: until the target, infinite if it was not reached; NaN are left out.
        blocks, baseline_blocks: each run's seed; names are exchanged within seeds only. Both or neither.
        random_seed: of the assignments drawn where there are more than `MOST_ASSIGNMENTS`.

    Raises:
        ValueError: if only one arm has blocks, or not one a run.
    """
    if (blocks is None) != (baseline_blocks is None):
        raise ValueError("Either both arms have blocks or neither.")
    arms = np.asarray(seconds, dtype=float), np.asarray(baseline_seconds, dtype=float)
    names = [["all"] * len(arms[0]), ["all"] * len(arms[1])]
    if blocks is not None and baseline_blocks is not None:
        names = [[str(block) for block in blocks], [str(block) for block in baseline_blocks]]
    labels = np.repeat([True, False], [len(arms[0]), len(arms[1])])
    times, block_of = np.concatenate(arms), np.array([*names[0], *names[1]], dtype=str)
    if len(block_of) != len(times):
        raise ValueError(f"There are {len(block_of)} blocks and {len(times)} runs.")
    both = set(block_of[labels & ~np.isnan(times)]) & set(block_of[~labels & ~np.isnan(times)])
    kept = ~np.isnan(times) & np.isin(block_of, sorted(both))
    times, labels, block_of = times[kept], labels[kept], block_of[kept]
    scores = _log_rank_scores(times)
    parts = [(scores[block_of == block], int(labels[block_of == block].sum())) for block in sorted(both)]
    return _permuted(float(scores[labels].sum()), parts, random_seed)


def _log_rank_scores(times: np.ndarray) -> np.ndarray:
    """Return what each run adds to O - E of its arm: 1 if it reached the target, minus the hazard it had survived."""
    points, counts = np.unique(times[np.isfinite(times)], return_counts=True)
    at_risk = np.array([(times >= point).sum() for point in points])
    hazard = np.concatenate([[0.0], np.cumsum(counts / at_risk)])
    return np.isfinite(times) - hazard[np.searchsorted(points, times, side="right")]


def _permuted(excess: float, parts: Sequence[tuple[np.ndarray, int]], random_seed: int) -> LogRank:
    """Return the statistic among those of all assignments, or of random ones, of the labels within each part."""
    if not parts:
        return LogRank(math.nan, math.nan, math.nan, True)
    num_assignments = math.prod(math.comb(len(scores), size) for scores, size in parts)
    is_exact = num_assignments <= MOST_ASSIGNMENTS
    if is_exact:
        sums = np.zeros(1)
        for scores, size in parts:
            chosen = np.array(list(itertools.combinations(range(len(scores)), size)))
            sums = np.add.outer(sums, scores[chosen].sum(axis=1)).ravel()
    else:
        source = np.random.default_rng(random_seed)
        sums = np.zeros(NUM_RANDOM_ASSIGNMENTS)
        for scores, size in parts:
            if len(scores) == 2 and size == 1:  # a pair, of which there are most; a coin is much faster
                sums += np.where(source.integers(2, size=NUM_RANDOM_ASSIGNMENTS, dtype=bool), *scores)
                continue
            many = np.broadcast_to(scores, (NUM_RANDOM_ASSIGNMENTS, len(scores)))
            sums += source.permuted(many, axis=1)[:, :size].sum(axis=1)
        sums = np.append(sums, excess)  # what was seen is one of the assignments, too, so that p is never 0
    tails = (sums >= excess - _ROUNDING).mean(), (sums <= excess + _ROUNDING).mean()
    deviation = float(sums.std())
    z = (excess - float(sums.mean())) / deviation if deviation > _ROUNDING else math.nan
    return LogRank(excess, z, min(1.0, 2 * float(min(tails))), is_exact)


def profile_score(factors: Values, end: float = PROFILE_END) -> float:
    """Return the area under a performance profile, from 0 to 1: 1 if an arm is the fastest everywhere.

    The integral of rho(tau) over tau from 1 to ``end``, divided by ``end - 1``, where rho(tau) is the share of cells
    in which the arm needed at most tau times the fastest arm's seconds (Dahl et al., Benchmarking neural network
    training algorithms, 2023, where ``end`` is 4). Each cell adds max(0, end - factor) / (end - 1).

    Args:
        factors: seconds by those of the fastest arm, one a cell; infinite if the target was not reached.
        end: more than 1.

    Raises:
        ValueError: if a factor is less than 1 or ``end`` is not more.
    """
    known = _known(factors)
    if end <= 1 or (known < 1).any():
        raise ValueError("Factors are at least 1, by the fastest arm, and the profile ends after 1.")
    return float(np.maximum(0, end - known).mean() / (end - 1)) if len(known) else math.nan


def _known(seconds: Values) -> np.ndarray:
    times = np.asarray(seconds, dtype=float)
    return times[~np.isnan(times)]
