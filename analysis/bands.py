"""How sure a mean over seeds is, point by point along a line, and which points of a long line are drawn."""

from __future__ import annotations

import numpy as np

from analysis.intervals import CONFIDENCE

#: As many as rliable draws for its profiles.
NUM_RESAMPLES = 2000
#: Of fewer seeds than these the resamples are too few to speak of a distribution.
FEWEST_SEEDS = 3
#: Points of a line; more would not be seen.
MOST_POINTS = 250


def mean_band(values: np.ndarray, strata: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return by point the ends of the 95 % interval of the mean over seeds: the percentile bootstrap.

    Seeds are drawn with replacement within their strata, each seed with all its points, as by Agarwal et al., Deep
    reinforcement learning at the edge of the statistical precipice, NeurIPS 2021, and their library rliable. The
    random numbers are the same in each call, so that the same values have the same band.

    Args:
        values: (points, seeds), without NaN.
        strata: a number by seed; one stratum by default.

    Returns:
        low and high, (points,) each; where all seeds have one value, that value.
    """
    low, high = values.min(axis=1), values.max(axis=1)
    differs = low < high
    if differs.any():
        counts = _resamples(np.zeros(values.shape[1], dtype=int) if strata is None else strata)
        means = values[differs] @ counts.T / values.shape[1]
        tail = (1 - CONFIDENCE) / 2
        ends = np.quantile(means, (tail, 1 - tail), axis=1)
        # Means of equal numbers differ from them by rounding.
        low[differs], high[differs] = np.clip(ends, low[differs], high[differs])
    return low, high


def _resamples(strata: np.ndarray) -> np.ndarray:
    """Return how often each seed is drawn in each resample, (resamples, seeds)."""
    source = np.random.default_rng(0)
    counts = np.zeros((NUM_RESAMPLES, len(strata)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        size = len(members)
        counts[:, members] = source.multinomial(size, np.full(size, 1 / size), size=NUM_RESAMPLES)
    return counts


def evenly(places: np.ndarray, count: int) -> np.ndarray:
    """Return at most ``count`` of the places, evenly spread; with room for two, the first and the last are kept."""
    if len(places) <= count:
        return places
    return places[np.linspace(0, len(places) - 1, count).round().astype(int)]


def drawn_points(*stages: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Return the places of a line that are drawn: all, or ``most`` of a longer one.

    The first and the last are kept, then both sides of each boundary between stages, then others evenly spread.

    Args:
        stages: values by place that change at boundaries, such as the batch size; boundaries of the first go first.
    """
    count = len(stages[0])
    rank = np.full(count, len(stages) + 1)
    for place, values in reversed(list(enumerate(stages, start=1))):
        changes = np.flatnonzero(values[1:] != values[:-1])
        rank[changes] = rank[changes + 1] = place
    rank[[0, -1]] = 0
    kept = np.array([], dtype=int)
    for place in range(len(stages) + 2):
        kept = np.append(kept, evenly(np.flatnonzero(rank == place), most - len(kept)))
    return np.sort(kept)
