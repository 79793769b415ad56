"""Intervals and checks against numbers worked out by hand, their symmetries, and how often they hold the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.intervals import (
    coefficient_of_variation,
    drift,
    outliers,
    overall,
    paired_interval,
    paired_intervals,
    paired_sampling_sd,
    speed_interval,
    unpaired_interval,
    unpaired_intervals,
)
from benchmarks.simulated_sweeps import flipped_points, log_seconds, rounded_points

DIFFERENCES = st.lists(st.floats(-10, 10).map(lambda value: round(value, 3)), min_size=2, max_size=8)
NUM_SWEEPS = 4000


def test_pairs_have_students_interval() -> None:
    interval = paired_interval([1.0, 2.0, 3.0])
    # t(0.975, 2) = 4.302653, standard error 1 / sqrt(3)
    assert interval.value == 2.0
    assert interval.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert interval.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)
    assert (interval.n, interval.deviation, interval.degrees_of_freedom) == (3, 1.0, 2)
    assert interval.standard_error == pytest.approx(1 / math.sqrt(3))
    assert interval.is_paired


def test_missing_differences_are_left_out() -> None:
    interval = paired_interval([1.0, math.nan, 3.0])
    assert (interval.n, interval.value) == (2, 2.0)


def test_one_pair_has_a_value_and_no_ends() -> None:
    one, none = paired_interval([1.5]), paired_interval([math.nan])
    assert (one.value, one.n, one.has_ends) == (1.5, 1, False)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert math.isnan(one.standard_error)
    assert math.isnan(none.value)
    assert (none.n, none.has_ends) == (0, False)


def test_ties_are_as_wide_as_rounding() -> None:
    resolution = 100 / 359
    # three ties: t(0.975, 2) sqrt(q^2 / 6) / sqrt(3) = 4.302653 q / sqrt(18) = 1.01415 q
    three = paired_interval([0.5] * 3, resolution)
    assert three.high - three.value == pytest.approx(1.01415 * resolution, rel=1e-4)
    # two: 12.7062 q / sqrt(12) = 3.66797 q
    two = paired_interval([0.5] * 2, resolution)
    assert two.value - two.low == pytest.approx(3.66797 * resolution, rel=1e-4)
    # thirty: 2.04523 q / sqrt(180) = 0.152 q is less than one step of the accuracy, q
    thirty = paired_interval([0.5] * 30, resolution)
    assert thirty.high - thirty.value == pytest.approx(resolution)
    assert paired_interval([0.5] * 3).low == 0.5


def test_a_fine_resolution_leaves_three_noisy_pairs_as_they_are() -> None:
    with_floor, without = paired_interval([-0.1, 0.0, 0.1], 0.01), paired_interval([-0.1, 0.0, 0.1])
    assert (with_floor.low, with_floor.high) == (without.low, without.high)


def test_a_negative_resolution_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        paired_interval([1.0, 2.0], -0.1)


def test_unpaired_estimate_pools_the_spread_of_all_groups() -> None:
    own, base, other = [1.0, 3.0], [4.0], [10.0, 11.0, 12.0]
    interval = unpaired_interval(base, own, [own, base, other])
    # squares 2 + 0 + 2 with nu = 1 + 0 + 2 = 3: s = sqrt(4 / 3); t(0.975, 3) = 3.182446
    half_width = 3.182446 * math.sqrt(4 / 3) * math.sqrt(1 + 1 / 2)
    assert interval.value == 2.0
    assert interval.high - interval.value == pytest.approx(half_width, abs=1e-5)
    assert interval.value - interval.low == pytest.approx(half_width, abs=1e-5)
    assert interval.deviation == pytest.approx(math.sqrt(2) * math.sqrt(4 / 3))
    assert (interval.n, interval.degrees_of_freedom, interval.is_paired) == (1, 3, False)


def test_unpaired_estimate_of_two_arms_is_students_two_sample_interval() -> None:
    own, base = [1.0, 2.0, 4.0], [5.0, 5.5]
    expected = stats.ttest_ind(base, own).confidence_interval()
    interval = unpaired_interval(base, own, [own, base])
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_nothing_repeated_gives_a_value_without_ends() -> None:
    interval = unpaired_interval([2.0], [1.0], [[2.0], [1.0], [7.0]])
    assert (interval.value, interval.has_ends) == (1.0, False)
    assert math.isnan(interval.low)
    assert not unpaired_interval([], [1.0, 2.0], [[1.0, 2.0]]).has_ends


def test_speed_is_paired_where_there_are_two_pairs() -> None:
    groups = [[2.0, 2.1, 2.3], [1.0, 1.2]]
    two, one = (
        speed_interval([1.0, 0.9], groups[0], groups[1], groups),
        speed_interval([1.0], groups[0], groups[1], groups),
    )
    assert (two.is_paired, two.value) == (True, pytest.approx(0.95))
    assert (one.is_paired, one.value) == (False, pytest.approx(6.4 / 3 - 1.1))
    assert one.has_ends


def test_noise_is_the_spread_of_lognormal_seconds() -> None:
    # squares 2 * 0.1^2 + 2 * 0.1^2, nu = 1 + 1: s = sqrt(0.02); sqrt(exp(0.02) - 1) = 0.142131
    assert coefficient_of_variation([[0.9, 1.1], [5.1, 4.9], [7.0]]) == pytest.approx(0.142131, abs=1e-6)
    assert math.isnan(coefficient_of_variation([[0.9], [1.1], []]))


def test_noise_does_not_grow_with_the_number_of_runs() -> None:
    source = np.random.default_rng(0)
    few, many = (
        np.median([coefficient_of_variation([source.normal(0, 0.1, n)]) for _ in range(300)]) for n in (10, 300)
    )
    assert few == pytest.approx(many, rel=0.1)


def test_sampling_error_of_two_networks_on_one_test_set() -> None:
    # sqrt(30 + 10 - 20^2 / 1000) / 1000 = sqrt(39.6) / 1000
    assert paired_sampling_sd(30, 10, 1000) == pytest.approx(0.00629285, abs=1e-8)
    assert paired_sampling_sd(0, 0, 10) == 0.0
    with pytest.raises(ValueError, match="cannot be"):
        paired_sampling_sd(6, 5, 10)


def test_overall_counts_every_cell_once() -> None:
    result = overall({"a": [1.0, 1.0, 1.0, 1.0], "b": [2.0], "c": [3.0, math.nan], "d": []})
    assert (result.mean.value, result.mean.n, result.num_cells) == (2.0, 3, 3)
    # t(0.975, 2) = 4.302653 of the means 1, 2, 3
    assert result.mean.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)
    # of 1, 1, 1, 1, 2, 3 one is cut off each end: the mean of 1, 1, 1, 2
    assert result.interquartile_mean == 1.25
    empty = overall({})
    assert math.isnan(empty.mean.value)
    assert math.isnan(empty.interquartile_mean)


def test_drift_is_found_within_arms() -> None:
    hours = np.arange(6) / 5
    # arms differ by 1, and seconds grow by a factor exp(0.2) from the first run to the last
    seconds = [0, 1, 0, 1, 1, 0] + 0.2 * hours + [0.01, -0.01, 0.0, 0.01, -0.01, 0.0]
    found = drift(3600 * hours, seconds, ["a", "b", "a", "b", "b", "a"])
    assert found.change.value == pytest.approx(0.2, abs=0.03)
    assert found.change.low < 0.2 < found.change.high
    assert found.p_value < 0.01
    assert found.hours == pytest.approx(1.0)


def test_drift_is_the_slope_of_one_arm() -> None:
    times, seconds = [0.0, 1.0, 2.0, 4.0], [1.0, 1.3, 1.1, 1.6]
    expected = stats.linregress(np.array(times) / 4, seconds)
    found = drift(times, seconds, ["a"] * 4)
    assert found.change.value == pytest.approx(expected.slope)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.change.standard_error == pytest.approx(expected.stderr)


def test_drift_within_blocks_ignores_slow_blocks() -> None:
    times = np.arange(8.0)
    blocks, arms = [0, 0, 1, 1, 2, 2, 3, 3], ["a", "b", "b", "a", "a", "b", "b", "a"]
    noise = np.array([0.01, -0.01, 0.0, 0.01, 0.01, 0.0, -0.01, 0.0])
    seconds = np.repeat([0.0, 0.3, 0.5, 1.0], 2) + noise
    assert drift(times, seconds, arms).p_value < 0.01
    assert drift(times, seconds, arms, blocks).p_value > 0.1


@pytest.mark.parametrize("times", [[], [5.0], [5.0, 5.0, 5.0], [0.0, 1.0], [0.0, math.nan, 1.0]])
def test_drift_is_unknown_where_nothing_tells_it(times: list[float]) -> None:
    found = drift(times, [1.0] * len(times), ["a"] * len(times))
    assert math.isnan(found.p_value)
    assert not found.change.has_ends


def test_a_far_value_is_flagged_and_clean_ones_are_not() -> None:
    # median 0.02, deviations 0.02, 0.01, 0, 0.02, 1.08: MAD 0.02; 1.08 / (1.4826 * 0.02) = 36 > t(0.995, 2) = 9.9
    assert outliers([0.0, 0.01, 0.02, 0.04, 1.1]).tolist() == [False] * 4 + [True]
    assert not outliers([0.0, 0.01, 0.02, 0.04, 0.1]).any()  # 2.7
    assert not outliers([1.0, 1.0, 1.0, 5.0]).any()
    assert not outliers([1.0, 9.0]).any()
    assert outliers([0.0, math.nan, 0.01, 0.02, 0.04, 1.1]).tolist() == [False] * 5 + [True]
    assert not outliers([]).any()


@pytest.mark.slow
def test_clean_samples_are_seldom_flagged() -> None:
    source = np.random.default_rng(1)
    for n in (3, 5, 10, 30):
        flagged = np.mean([outliers(source.normal(size=n)).any() for _ in range(1000)])
        assert flagged < 0.08


@given(DIFFERENCES, st.sampled_from([0.0, 0.01, 0.3]))
def test_swapping_arms_mirrors_the_interval(differences: list[float], resolution: float) -> None:
    one, other = (paired_interval([sign * value for value in differences], resolution) for sign in (1, -1))
    assert (one.low, one.value, one.high) == pytest.approx((-other.high, -other.value, -other.low))


@given(DIFFERENCES, st.floats(0.001, 1))
def test_no_interval_is_narrower_than_its_resolution(differences: list[float], resolution: float) -> None:
    interval = paired_interval(differences, resolution)
    assert interval.high - interval.low >= 2 * resolution * (1 - 1e-9)
    assert interval.deviation >= resolution / math.sqrt(6)


def test_many_sweeps_are_treated_as_one() -> None:
    source = np.random.default_rng(2)
    first, second = source.normal(size=(7, 4)), source.normal(size=(7, 3))
    pairs, unpaired = paired_intervals(first, 0.1), unpaired_intervals(first, second, [first, second])
    for row in range(7):
        one = paired_interval(first[row], 0.1)
        assert (one.low, one.high) == pytest.approx((pairs.low[row], pairs.high[row]))
        one = unpaired_interval(first[row], second[row], [first[row], second[row]])
        assert (one.low, one.high) == pytest.approx((unpaired.low[row], unpaired.high[row]))


@pytest.mark.parametrize("noises", [(0.05, 0.05), (0.05, 0.1)])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_nineteen_of_twenty_pairs_of_seconds_hold_the_truth(n: int, noises: tuple[float, float]) -> None:
    seconds = log_seconds(np.random.default_rng(n), (NUM_SWEEPS, n), noises, block_noise=0.2)
    interval = paired_intervals(seconds[:, :, 0] - seconds[:, :, 1])
    # 95 % expected, standard error 0.35 %
    assert np.mean((interval.low <= 0) & (interval.high >= 0)) == pytest.approx(0.95, abs=0.013)


@pytest.mark.parametrize("points", [rounded_points, flipped_points])
@pytest.mark.parametrize("num_samples", [359, 10_000])
@pytest.mark.parametrize("seed_sd", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_accuracies_hold_the_truth_however_coarse(
    points: Callable[..., np.ndarray], num_samples: int, seed_sd: float, n: int
) -> None:
    differences = points(np.random.default_rng(n), (NUM_SWEEPS, n), (seed_sd, seed_sd), num_samples)
    interval = paired_intervals(differences, 100 / num_samples)
    # at least 95 % expected; 93.5 % is wanted, standard error 0.35 %
    assert np.mean((interval.low <= 0) & (interval.high >= 0)) >= 0.935
    assert np.mean(interval.low > 0) <= 0.035
