"""Statistics against numbers worked out by hand, or known from tables."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics import (
    geometric_mean_interval,
    largest_ratio,
    mean_interval,
    non_inferiority,
    seeds_needed,
    standard_deviation,
)

RATIOS = st.lists(st.floats(0.01, 100), min_size=1, max_size=8)


def test_students_interval_of_three_values() -> None:
    estimate = mean_interval([1.0, 2.0, 3.0])
    # t(0.975, 2) = 4.302653, standard error 1 / sqrt(3)
    assert estimate.value == 2.0
    assert estimate.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert estimate.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)
    assert estimate.n == 3


def test_a_missing_value_is_left_out_and_not_counted() -> None:
    assert mean_interval([1.0, math.nan, 3.0]).n == 2
    assert mean_interval([1.0, math.nan, 3.0]).value == 2.0


@pytest.mark.parametrize("function", [mean_interval, geometric_mean_interval])
def test_one_value_has_no_interval_and_none_has_no_mean(function) -> None:  # type: ignore[no-untyped-def]
    one, none = function([1.5]), function([math.nan])
    assert one.value == pytest.approx(1.5)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert math.isnan(none.value)
    assert none.n == 0


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert (mean_interval([0.5] * 4).low, mean_interval([0.5] * 4).high) == (0.5, 0.5)
    estimate = geometric_mean_interval([2.0] * 3)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2.0, 2.0, 2.0))


def test_two_equal_differences_are_chance_and_three_are_not() -> None:
    two = [100 * (0.902 - 0.9), 100 * (0.814 - 0.812)]
    assert two[0] != two[1]  # equal numbers of test samples, but for rounding
    estimate, verdict = mean_interval(two), non_inferiority(two, margin=1.0)
    assert estimate.value == pytest.approx(0.2)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
    assert (estimate.n, verdict.decision, verdict.seeds_needed) == (2, "undecided", 3)
    assert non_inferiority([-5.0, -5.0], margin=1.0).decision == "undecided"
    three = mean_interval([*two, two[0]])
    assert three.low == three.value == three.high
    assert non_inferiority([*two, two[0]], margin=1.0).decision == "within"
    assert non_inferiority([-5.0] * 3, margin=1.0).decision == "worse"


def test_the_geometric_mean_treats_twice_and_half_as_fast_alike() -> None:
    estimate = geometric_mean_interval([0.5, 1.0, 2.0])
    assert estimate.value == pytest.approx(1.0)
    # as above: the logarithms have a standard error of ln 2 / sqrt(3)
    assert estimate.high == pytest.approx(2 ** (4.302653 / math.sqrt(3)), rel=1e-5)
    assert estimate.low == pytest.approx(1 / estimate.high)


def test_nineteen_of_twenty_intervals_of_three_ratios_hold_the_true_one() -> None:
    source = np.random.default_rng(0)
    studies = [geometric_mean_interval(2.0 * np.exp(source.normal(0, 0.05, size=3))) for _ in range(1000)]
    held = sum(study.low <= 2.0 <= study.high for study in studies)
    # 950 expected, standard deviation 7
    assert 920 <= held <= 980


@given(RATIOS)
def test_the_order_of_ratios_changes_nothing(ratios: list[float]) -> None:
    shuffled = random.Random(1).sample(ratios, len(ratios))
    one, other = geometric_mean_interval(shuffled), geometric_mean_interval(ratios)
    np.testing.assert_equal(dataclasses.astuple(one), dataclasses.astuple(other))


@given(RATIOS)
def test_swapping_arm_and_baseline_inverts_the_speedup(ratios: list[float]) -> None:
    forward, backward = geometric_mean_interval(ratios), geometric_mean_interval([1 / ratio for ratio in ratios])
    assert forward.value * backward.value == pytest.approx(1.0)


def test_standard_deviation_divides_by_n_minus_one() -> None:
    assert standard_deviation([1.0, 3.0]) == pytest.approx(math.sqrt(2))
    assert math.isnan(standard_deviation([1.0]))


def test_small_differences_are_within_the_margin_and_large_ones_worse() -> None:
    # mean 0, standard error 0.1: the interval ends at -0.430
    assert non_inferiority([-0.2, 0.1, 0.1], margin=1.0).decision == "within"
    # mean -3, standard error 0.0577: the interval ends at -2.75
    assert non_inferiority([-3.1, -3.0, -2.9], margin=1.0).decision == "worse"


def test_an_arm_that_is_better_is_within_the_margin() -> None:
    assert non_inferiority([2.0, 2.1, 2.2], margin=1.0).decision == "within"


def test_few_noisy_differences_are_undecided() -> None:
    verdict = non_inferiority([-1.5, 0.5, 0.1], margin=1.0)
    assert verdict.decision == "undecided"
    assert verdict.seeds_needed is not None
    assert 3 < verdict.seeds_needed < 100


def test_one_seed_decides_nothing() -> None:
    verdict = non_inferiority([0.0], margin=1.0)
    assert (verdict.decision, verdict.seeds_needed) == ("undecided", None)


@pytest.mark.parametrize(("effect", "seeds"), [(1.0, 10), (0.5, 34), (0.8, 15)])
def test_the_number_of_seeds_is_that_of_the_tables_of_power(effect: float, seeds: int) -> None:
    # one-sample t test, two-sided 5 %, power 80 %: n by effect size, as in every table of power
    assert seeds_needed(mean=effect - 1.0, deviation=1.0, margin=1.0) == seeds


def test_no_number_of_seeds_decides_a_truth_that_lies_on_the_margin() -> None:
    assert seeds_needed(mean=-1.0, deviation=0.3, margin=1.0) == math.inf
    verdict = non_inferiority([-1.0] * 3, margin=1.0)
    assert (verdict.decision, verdict.seeds_needed) == ("undecided", math.inf)


def test_repetitions_differ_by_their_largest_ratio() -> None:
    assert largest_ratio([10.0, 12.0, 11.0]) == pytest.approx(1.2)
    assert math.isnan(largest_ratio([10.0]))
    assert math.isnan(largest_ratio([10.0, math.nan]))


@pytest.mark.parametrize(("mean", "deviation", "seeds"), [(0.0, 2.6, 56), (0.0, 5.0, 199), (-0.5, 1.5, 73)])
def test_noisy_differences_need_many_seeds(mean: float, deviation: float, seeds: int) -> None:
    assert seeds_needed(mean, deviation, margin=1.0) == seeds


def test_a_tiny_deviation_needs_two_or_three_seeds() -> None:
    assert seeds_needed(mean=5.0, deviation=1e-9, margin=1.0) == 2
