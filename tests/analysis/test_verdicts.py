"""Verdicts at their bounds, in words, their symmetries, and how often they are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from analysis.intervals import Interval, paired_interval, paired_intervals, unpaired_interval
from analysis.verdicts import (
    LEVEL,
    TEST_ACCURACY,
    Quality,
    adjust,
    holm,
    quality_decisions,
    quality_verdict,
    seeds_needed,
    speed_decisions,
    speed_p_values,
    speed_verdict,
    upper_deviation,
)
from benchmarks.simulated_sweeps import log_seconds

LOSS = Quality("test loss", "", margin=0.01, higher_is_better=False)
DIFFERENCES = st.lists(st.floats(-3, 3).map(lambda value: round(value, 3)), min_size=1, max_size=6)
MIRRORED = {"faster": "slower", "slower": "faster"}


def interval(low: float, high: float, n: int = 5) -> Interval[float]:
    """Return one that five pairs could have."""
    value = (low + high) / 2
    deviation = (high - value) * math.sqrt(n) / float(stats.t.ppf(0.975, n - 1))
    return Interval(value, low, high, n, deviation, n - 1)


@pytest.mark.parametrize(
    ("low_ratio", "high_ratio", "text"),
    [
        (1.021, 1.5, "faster"),
        (0.5, 1 / 1.021, "slower"),
        (1 / 1.019, 1.019, "equal within 2 %"),
        (1.001, 1.019, "equal within 2 %"),
    ],
)
def test_speed_is_named_where_the_interval_allows_it(low_ratio: float, high_ratio: float, text: str) -> None:
    verdict = speed_verdict(interval(math.log(low_ratio), math.log(high_ratio)))
    assert verdict.text == text
    assert verdict.text.startswith(verdict.decision)
    assert verdict.seeds_needed is None


def test_an_effect_too_small_to_name_is_not_faster() -> None:
    # 1.01 to 1.03: more than nothing for sure, but perhaps less than 2 %
    assert speed_verdict(interval(math.log(1.01), math.log(1.03))).decision == "undecided"
    assert speed_verdict(interval(math.log(1.01), math.log(1.03)), smallest_effect=0.0).decision == "faster"
    assert speed_verdict(interval(math.log(1.01), math.log(1.03)), smallest_effect=0.05).text == "equal within 5 %"


def test_undecided_speed_names_seeds() -> None:
    verdict = speed_verdict(paired_interval([0.1, 0.2, 0.3]))
    # mean 0.2, sd 0.1, ends 0.2 -+ 0.248; ln 1.02 = 0.0198, so that the distance is 0.1802. Upper bound of the sd:
    # 0.1 sqrt(2 / chi2(0.2, 2)) = 0.1 sqrt(2 / 0.44629) = 0.21169; effect 0.1802 / 0.21169 = 0.851. Tables of power,
    # two-sided 5 %, 80 %: (1.96 + 0.84)^2 / 0.851^2 = 10.8, and 2 more for Student's t
    assert verdict.text == "undecided: about 13 seeds"
    assert verdict.seeds_needed == 13


@pytest.mark.parametrize("pairs", [[], [0.5]])
def test_one_run_decides_nothing(pairs: list[float]) -> None:
    assert speed_verdict(paired_interval(pairs)).text == "undecided: at least 2 seeds"
    assert quality_verdict(paired_interval(pairs, 0.01)).text == "undecided: at least 2 seeds"
    assert speed_verdict(unpaired_interval([1.0], [0.0], [[1.0], [0.0]])).text == "undecided: at least 2 seeds"


def test_counts_without_spread_are_decided() -> None:
    assert speed_verdict(paired_interval([0.5, 0.5])).decision == "faster"
    assert speed_verdict(paired_interval([0.0, 0.0])).decision == "equal"


def test_a_truth_on_the_bound_is_never_decided() -> None:
    assert quality_verdict(paired_interval([-1.1, -1.0, -0.9])).text == "undecided: more than 1,000 seeds"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.2, "better"),
        (0.1, 5.0, "better"),
        (-5.0, -1.1, "worse"),
        (-0.9, 0.9, "equivalent within 1 point"),
        (-0.9, -0.1, "equivalent within 1 point"),
        (-0.9, 1.1, "not worse (1 point)"),
    ],
)
def test_quality_is_named_in_this_order(low: float, high: float, text: str) -> None:
    verdict = quality_verdict(interval(low, high))
    assert verdict.text == text
    assert verdict.text.startswith(verdict.decision)


def test_undecided_quality_names_seeds() -> None:
    verdict = quality_verdict(paired_interval([-0.9, 0.1, 0.2], 0.01))
    # mean -0.2, sd 0.6083; distance from -1 is 0.8; upper bound 0.6083 * 2.1169 = 1.2877; effect 0.6213:
    # 7.849 / 0.6213^2 = 20.3, and 2 more for Student's t
    assert verdict.text == "undecided: about 23 seeds"


def test_margins_are_in_the_qualitys_unit() -> None:
    assert TEST_ACCURACY.margin_text == "1 point"
    assert Quality("test accuracy", "point", 0.5).margin_text == "0.5 points"
    assert LOSS.margin_text == "0.01"
    assert Quality("loss", "nat", 0.02, higher_is_better=False).margin_text == "0.02 nats"
    for margin in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="more than 0"):
            Quality("test accuracy", "point", margin)


def test_lower_is_better_for_a_loss() -> None:
    # arm - baseline: a lower loss is better
    assert quality_verdict(interval(-0.3, -0.1), LOSS).text == "better"
    assert quality_verdict(interval(0.1, 0.3), LOSS).text == "worse"
    assert quality_verdict(interval(-0.005, 0.009), LOSS).text == "equivalent within 0.01"
    assert quality_verdict(interval(-0.5, 0.009), LOSS).text == "not worse (0.01)"
    assert quality_verdict(interval(-0.005, 0.011), LOSS).decision == "undecided"


@pytest.mark.parametrize(("effect", "seeds"), [(1.0, 10), (0.5, 34), (0.8, 15)])
def test_seeds_are_those_of_the_tables_of_power(effect: float, seeds: int) -> None:
    # one-sample t test, two-sided 5 %, power 80 %: n by effect size, as in every table of power
    assert seeds_needed([effect], 1.0) == seeds


def test_two_tests_need_more_seeds_than_one() -> None:
    # both must succeed with 80 %: each misses in 10 %, as a test of power 90 %, whose table says 13 for an effect of 1
    assert seeds_needed([1.0, 1.0], 1.0) == 13


def test_resolution_can_hide_what_no_number_of_seeds_shows() -> None:
    assert seeds_needed([0.2], 0.1, resolution=0.28) == math.inf
    # normal power: 0.05 sqrt(n) / 0.1 >= 0.8416, n >= 2.8; 0.02 sqrt(n) / 0.1 >= 0.8416, n >= 17.7
    assert seeds_needed([0.30], 0.1, resolution=0.28) == 18
    assert seeds_needed([1.0], 0.0) == 2


def test_upper_bound_of_a_deviation() -> None:
    # chi2(0.2, 2) = -2 ln 0.8 = 0.446287
    assert upper_deviation(1.0, 2) == pytest.approx(math.sqrt(2 / 0.446287), rel=1e-5)


def test_upper_bound_holds_in_four_of_five_pilots() -> None:
    deviations = np.random.default_rng(0).normal(size=(NUM_SWEEPS, 3)).std(axis=1, ddof=1)
    assert np.mean([upper_deviation(deviation, 2) >= 1 for deviation in deviations]) == pytest.approx(0.8, abs=0.03)


def test_holm_by_hand() -> None:
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, which may not fall: 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, math.nan, 0.9])[[0, 2]] == pytest.approx([1.0, 1.0])
    assert math.isnan(holm([0.5, math.nan, 0.9])[1])
    assert len(holm([])) == 0


def test_one_comparison_is_not_adjusted() -> None:
    verdict = speed_verdict(paired_interval([0.2, 0.21, 0.22]))
    assert adjust([verdict]) == [verdict]
    assert adjust([]) == []


def test_a_claim_among_many_needs_more() -> None:
    sure, unsure = paired_interval([0.30, 0.31, 0.32]), paired_interval([0.20, 0.27, 0.32])
    many = [speed_verdict(sure), *[speed_verdict(unsure)] * 3]
    assert [verdict.decision for verdict in many] == ["faster"] * 4
    adjusted = adjust(many)
    assert [verdict.text for verdict in adjusted] == ["faster", *["undecided among 4 comparisons"] * 3]
    # p of one claim times the number of claims that are not surer
    assert adjusted[1].claims[0].p_value == pytest.approx(3 * many[1].claims[0].p_value)


def test_a_claim_falls_back_to_a_weaker_one() -> None:
    # mean 0.05, standard error 0.01, t = 5: p = 0.019 with 2 degrees of freedom, and 0.038 as one of two
    verdicts = [quality_verdict(paired_interval(values)) for values in ([0.0327, 0.05, 0.0673], [-0.2, 0.0, 0.2])]
    assert verdicts[0].decision == "better"
    assert [verdict.decision for verdict in adjust(verdicts)] == ["equivalent", "equivalent"]


@given(DIFFERENCES, st.floats(0.0, 0.5))
def test_swapping_arms_turns_faster_into_slower(differences: list[float], smallest_effect: float) -> None:
    one, other = (
        speed_verdict(paired_interval([sign * value for value in differences]), smallest_effect) for sign in (1, -1)
    )
    assert other.decision == MIRRORED.get(one.decision, one.decision)
    assert one.seeds_needed == other.seeds_needed


@given(DIFFERENCES, st.sampled_from([0.0, 0.01, 0.3]), st.floats(0.01, 2))
def test_lower_is_better_mirrors_higher_is_better(differences: list[float], resolution: float, margin: float) -> None:
    higher = Quality("accuracy", "point", margin)
    lower = Quality("error", "point", margin, higher_is_better=False)
    one = quality_verdict(paired_interval(differences, resolution), higher)
    other = quality_verdict(paired_interval([-value for value in differences], resolution), lower)
    assert (one.decision, one.text, one.seeds_needed) == (other.decision, other.text, other.seeds_needed)


@given(DIFFERENCES, st.sampled_from([0.0, 0.01, 0.3]))
def test_p_values_agree_with_the_interval(differences: list[float], resolution: float) -> None:
    estimate = paired_interval(differences, resolution)
    assume(estimate.has_ends and estimate.deviation > 1e-6)
    for verdict in (speed_verdict(estimate), quality_verdict(estimate)):
        p_values = [claim.p_value for claim in verdict.claims]
        assume(all(abs(p_value - LEVEL) > 1e-9 for p_value in p_values))
        allowed = [claim.name for claim in verdict.claims if claim.p_value < LEVEL]
        assert verdict.decision == (allowed[0] if allowed else "undecided")


@given(DIFFERENCES)
def test_undecided_asks_for_more_seeds_than_there_are(differences: list[float]) -> None:
    for verdict in (speed_verdict(paired_interval(differences)), quality_verdict(paired_interval(differences))):
        if verdict.decision == "undecided":
            assert verdict.seeds_needed is not None
            assert verdict.seeds_needed > len(differences)


def test_a_negative_smallest_effect_is_refused() -> None:
    with pytest.raises(ValueError, match="share of 0 or more"):
        speed_verdict(paired_interval([0.1, 0.2]), -0.02)


NUM_SWEEPS = 4000


@pytest.mark.parametrize("n", [2, 3, 10])
def test_speed_is_seldom_named_wrongly(n: int) -> None:
    seconds = log_seconds(np.random.default_rng(n), (NUM_SWEEPS, n), (0.05, 0.1), block_noise=0.2)
    for truth, claim in ((math.log(1.02), "faster"), (-math.log(1.02), "slower"), (math.log(1.02), "equal")):
        estimate = paired_intervals(seconds[:, :, 0] - seconds[:, :, 1] + truth)
        decisions = speed_decisions(estimate.low, estimate.high)
        # 2.5 % expected at most; standard error 0.25 %
        assert np.mean(decisions == claim) <= 0.034
        p_values = speed_p_values(estimate)[claim]
        np.testing.assert_array_equal(decisions == claim, p_values < LEVEL)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_quality_is_seldom_named_wrongly(n: int) -> None:
    differences = np.random.default_rng(n).normal(0, 0.3, (NUM_SWEEPS, n))
    for truth, claims in (
        (0.0, ["better"]),
        (-1.0, ["worse"]),
        (-1.0, ["not worse", "equivalent", "better"]),
        (1.0, ["equivalent"]),
    ):
        estimate = paired_intervals(differences + truth, 0.01)
        assert np.isin(quality_decisions(estimate.low, estimate.high, 1.0), claims).mean() <= 0.034


def test_a_test_set_that_is_too_small_is_not_mended_by_seeds() -> None:
    # 64 samples: one is 1.5625 points, more than the margin; a tie is 1 point from it, of which half is 0.5 points
    tie = quality_verdict(paired_interval([0.0] * 4, 100 / 64))
    assert (tie.decision, tie.text) == ("undecided", "undecided: the test set is too small")
    assert (tie.seeds_needed, tie.resolution_needed) == (math.inf, 0.5)
    # 359 samples resolve 0.279 points: -0.9 lies 0.1 from the margin, -0.5 lies 0.5 from it
    near = quality_verdict(paired_interval([-1.2, -0.6], 100 / 359))
    assert near.resolution_needed == pytest.approx(0.05)
    assert quality_verdict(paired_interval([-1.5, 0.5], 100 / 359)).text.startswith("undecided: about ")
    at_the_margin = quality_verdict(paired_interval([-1.5, -0.5], 100 / 359))
    assert (at_the_margin.text, at_the_margin.resolution_needed) == (tie.text, 0.0)


@pytest.mark.parametrize("difference", [0.0, 0.3, -2.0, 0.1 + 0.2])
def test_equal_differences_on_a_test_set_of_unknown_size_decide_nothing(difference: float) -> None:
    same = [difference, difference + 1e-15, difference]
    assert quality_verdict(paired_interval(same, None)).text == "undecided: the size of the test set is unknown"
    assert quality_verdict(paired_interval(same[:1], None)).text == "undecided: at least 2 seeds"


def test_differences_that_spread_need_no_size_of_the_test_set() -> None:
    # mean 0, sd 0.1: 4.3027 * 0.1 / sqrt(3) = 0.25
    found = paired_interval([-0.1, 0.0, 0.1], None)
    assert found.high == pytest.approx(0.2484, abs=1e-4)
    assert quality_verdict(found).decision == "equivalent"


def test_a_single_pair_is_judged_by_the_margin_alone() -> None:
    assert quality_verdict(paired_interval([0.4], 100 / 80)).text == "undecided: the test set is too small"
    assert quality_verdict(paired_interval([0.4], 100 / 200)).text == "undecided: at least 2 seeds"
