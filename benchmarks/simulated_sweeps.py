"""Made-up measurements whose truth is known, many sweeps at once; rules that were considered and not chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special, stats

RANDOM, MIRRORED = "random", "mirrored"


def log_seconds(
    source: np.random.Generator,
    shape: tuple[int, int],
    noises: Sequence[float],
    block_noise: float = 0.0,
    drift: float = 0.0,
    order: str = RANDOM,
) -> np.ndarray:
    """Return log seconds of arms that are equally fast, of shape (sweeps, seeds, arms).

    Args:
        shape: sweeps and seeds.
        noises: of each arm, standard deviation of log seconds.
        block_noise: of what all runs of one seed share, such as their machine.
        drift: growth of log seconds from the first run of a sweep to the last, linear in time.
        order: of the arms within a seed: random, or, for every second seed, the reverse of the one before.
    """
    num_sweeps, num_seeds = shape
    num_arms = len(noises)
    seconds = source.normal(size=(num_sweeps, num_seeds, num_arms)) * np.asarray(noises)
    seconds += source.normal(0, block_noise, (num_sweeps, num_seeds, 1))
    if drift:
        places = places_in_blocks(source, num_sweeps, num_seeds, num_arms, order)
        turns = places + num_arms * np.arange(num_seeds)[:, np.newaxis]
        seconds += drift * turns / (num_seeds * num_arms - 1)
    return seconds


def places_in_blocks(
    source: np.random.Generator, num_sweeps: int, num_seeds: int, num_arms: int, order: str
) -> np.ndarray:
    """Return the place of every arm among the runs of its seed, of shape (sweeps, seeds, arms)."""
    in_order = np.broadcast_to(np.arange(num_arms), (num_sweeps, num_seeds, num_arms))
    places = source.permuted(in_order, axis=2)
    if order == MIRRORED:
        places[:, 1::2] = num_arms - 1 - places[:, : num_seeds // 2 * 2 : 2]
    return places


def rounded_points(
    source: np.random.Generator, shape: tuple[int, int], seed_sds: tuple[float, float], num_samples: int
) -> np.ndarray:
    """Return differences of two accuracies in points, each rounded to a number of samples.

    The truth, the difference before rounding, is 0. Rounding shifts all seeds alike where they spread little.

    Args:
        seed_sds: standard deviation over seeds of the arm and of the baseline, in points.
    """
    resolution = 100 / num_samples
    means = source.uniform(85, 95, (2, shape[0], 1))
    errors = [
        resolution * np.rint((mean + source.normal(0, seed_sd, shape)) / resolution) - mean
        for mean, seed_sd in zip(means, seed_sds, strict=True)
    ]
    return errors[0] - errors[1]


def flipped_points(
    source: np.random.Generator, shape: tuple[int, int], seed_sds: tuple[float, float], num_samples: int
) -> np.ndarray:
    """Return differences of two accuracies in points whose spread comes from single samples, right by chance.

    The truth, the difference of expectations, is 0. Some test samples are right with one small probability each, or
    wrong with it, so that the number of right ones has the spread and is skewed; all others are always right or wrong.
    """
    differences = np.zeros(shape)
    for sign, seed_sd in zip((1, -1), seed_sds, strict=True):
        variance = (seed_sd * num_samples / 100) ** 2
        num_uncertain = math.ceil(variance / 0.16)
        p = (1 - math.sqrt(1 - 4 * variance / num_uncertain)) / 2
        counts = source.binomial(num_uncertain, p, shape) - num_uncertain * p
        differences += sign * source.choice([-1, 1], (shape[0], 1)) * counts
    return 100 / num_samples * differences


def half_widths_of_rules(seconds: np.ndarray) -> dict[str, np.ndarray]:
    """Return half the width of the 95 % interval of arm 0 - arm 1 by rule, from log seconds (sweeps, seeds, arms).

    Pairs: the sample variance of the differences. Pooled: the residual variance of arms and seeds, of all arms.
    Moderated: the sample variances of all arms' differences from arm 0, each shrunk towards what they have in common
    (Smyth 2004).
    """
    num_seeds, num_arms = seconds.shape[1:]
    freedom = num_seeds - 1
    variances = (seconds[:, :, :1] - seconds[:, :, 1:]).var(axis=1, ddof=1)
    centred = seconds - seconds.mean(axis=1, keepdims=True)
    residuals = centred - centred.mean(axis=2, keepdims=True)
    pooled_freedom = freedom * (num_arms - 1)
    pooled = 2 * (residuals**2).sum(axis=(1, 2)) / pooled_freedom
    prior_freedom, prior = _prior(variances, freedom)
    moderated = (prior_freedom * prior + freedom * variances[:, 0]) / (prior_freedom + freedom)
    # limma lets no moderated variance have more degrees of freedom than all variances in sum.
    moderated_freedom = np.minimum(prior_freedom + freedom, pooled_freedom)
    rules = {
        "pairs": (variances[:, 0], freedom),
        "pooled": (pooled, pooled_freedom),
        "moderated": (moderated, moderated_freedom),
    }
    return {
        name: stats.t.ppf(0.975, degrees) * np.sqrt(variance / num_seeds) for name, (variance, degrees) in rules.items()
    }


def _prior(variances: np.ndarray, freedom: int) -> tuple[np.ndarray, np.ndarray]:
    """Return degrees of freedom and value of the prior variance by the moments of the logarithms (Smyth 2004)."""
    logs = np.log(variances) - special.digamma(freedom / 2) + math.log(freedom / 2)
    excess = logs.var(axis=1, ddof=1) - special.polygamma(1, freedom / 2)
    half = _inverse_trigamma(np.maximum(excess, 1e-6))
    return 2 * half, np.exp(logs.mean(axis=1) + special.digamma(half) - np.log(half))


def _inverse_trigamma(values: np.ndarray) -> np.ndarray:
    """Return y with trigamma(y) = value, by Newton's method (Smyth 2004, appendix)."""
    y = 0.5 + 1 / values
    for _ in range(20):
        trigamma = special.polygamma(1, y)
        y += trigamma * (1 - trigamma / values) / special.polygamma(2, y)
    return y
