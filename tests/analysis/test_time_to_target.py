"""Censored times against numbers worked out by hand and against scipy's asymptotic test."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from analysis import time_to_target
from analysis.time_to_target import log_rank, median_seconds, profile_score, reached, share

INF, NAN = math.inf, math.nan
SECONDS = st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0, INF]), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("seconds", "median"),
    [
        ([3.0, 1.0, 2.0], 2.0),
        ([1.0, 2.0, 4.0, 9.0], 3.0),
        ([1.0, 2.0, INF], 2.0),
        ([1.0, INF, INF], INF),
        ([1.0, 5.0, INF, INF], 5.0),
        ([1.0, INF, INF, INF], INF),
        ([NAN, 7.0], 7.0),
    ],
)
def test_median_is_infinite_if_fewer_than_half_arrive(seconds: list[float], median: float) -> None:
    assert median_seconds(seconds) == median


def test_no_runs_have_no_median() -> None:
    assert math.isnan(median_seconds([NAN]))


def test_share_of_runs_that_arrive_has_wilsons_interval() -> None:
    found = reached([1.0, 2.0, INF, 3.0, INF, NAN])
    # p = 0.6, n = 5, z = 1.959964: (p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n)
    z = 1.959964
    centre, half_width = 0.6 + z**2 / 10, z * math.sqrt(0.6 * 0.4 / 5 + z**2 / 100)
    expected = [(centre + sign * half_width) / (1 + z**2 / 5) for sign in (-1, 1)]
    assert (found.k, found.n) == (3, 5)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-6)
    assert found.text == "3 of 5 (23 to 88 %)"
    assert share(0, 0).text == "0 of 0"
    assert math.isnan(share(0, 0).low)


def test_three_against_three_is_one_case_of_ten() -> None:
    found = log_rank([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    # O - E = 3 - (3/6 + 2/5 + 1/4) = 1.85; 20 ways to choose three of six, one as extreme on each side
    assert found.excess == pytest.approx(1.85)
    assert found.p_value == pytest.approx(0.10)
    assert found.is_exact
    asymptotic = stats.logrank([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert asymptotic.pvalue == pytest.approx(0.025, abs=0.001)


def test_excess_is_scipys_with_censored_times() -> None:
    seconds, baseline = [1.0, 4.0, 9.0, INF, 6.0], [2.0, 5.0, INF, INF, 4.0]

    def censored(times: list[float]) -> stats.CensoredData:
        finite = [time for time in times if math.isfinite(time)]
        return stats.CensoredData(uncensored=finite, right=[100.0] * (len(times) - len(finite)))

    # scipy divides by Mantel's variance: sum of d (n1/n) (1 - n1/n) (n - d) / (n - 1), worked out by the times
    times = sorted({time for time in [*seconds, *baseline] if math.isfinite(time)})
    variance = 0.0
    for time in times:
        own = sum(value >= time for value in seconds)
        n = own + sum(value >= time for value in baseline)
        deaths = sum(value == time for value in [*seconds, *baseline])
        variance += deaths * own / n * (1 - own / n) * (n - deaths) / (n - 1)
    statistic = stats.logrank(censored(seconds), censored(baseline)).statistic
    assert abs(log_rank(seconds, baseline).excess) / math.sqrt(variance) == pytest.approx(abs(statistic))


def test_a_run_that_never_arrives_comes_last() -> None:
    # the arm ends early without reaching its target: all runs of the baseline are sooner
    found = log_rank([INF, INF, INF], [50.0, 60.0, 70.0])
    assert found.excess < 0
    assert found.p_value == pytest.approx(0.10)


def test_pairs_are_exchanged_within_seeds() -> None:
    seconds, baseline = [1.0, 10.0, 100.0, 1000.0, 10000.0], [2.0, 20.0, 200.0, 2000.0, 20000.0]
    seeds = [0, 1, 2, 3, 4]
    # of 2^5 ways to name the runs of five pairs one is as extreme on each side; without seeds their spread hides it
    assert log_rank(seconds, baseline, seeds, seeds).p_value == pytest.approx(2 / 32)
    assert log_rank(seconds, baseline).p_value > 0.3


def test_seeds_without_a_partner_say_nothing() -> None:
    with_extra = log_rank([1.0, 2.0, 9.0], [3.0, 4.0, NAN], [0, 1, 2], [0, 1, 2])
    assert with_extra == log_rank([1.0, 2.0], [3.0, 4.0], [0, 1], [0, 1])
    none = log_rank([1.0], [2.0], [0], [1])
    assert math.isnan(none.p_value)


def test_equal_times_say_nothing() -> None:
    found = log_rank([INF, INF], [INF, INF])
    assert (found.excess, found.p_value) == (0.0, 1.0)
    assert math.isnan(found.z)


def test_many_runs_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.random.default_rng(0)
    seconds, baseline = source.exponential(1, 6), source.exponential(2, 6)
    exact = log_rank(seconds, baseline)
    monkeypatch.setattr(time_to_target, "MOST_ASSIGNMENTS", 1)
    drawn = log_rank(seconds, baseline)
    assert (exact.is_exact, drawn.is_exact) == (True, False)
    # 20,000 draws: standard error 0.3 % at most on one side, twice that on two
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.025)
    assert drawn == log_rank(seconds, baseline)
    assert log_rank(np.arange(40.0), np.arange(40.0, 80.0)).p_value > 0


def test_blocks_must_fit() -> None:
    with pytest.raises(ValueError, match="neither"):
        log_rank([1.0], [2.0], [0])
    with pytest.raises(ValueError, match="3 blocks and 2 runs"):
        log_rank([1.0], [2.0], [0, 1], [0])


@given(SECONDS, SECONDS)
def test_swapping_arms_mirrors_the_statistic(seconds: list[float], baseline: list[float]) -> None:
    one, other = log_rank(seconds, baseline), log_rank(baseline, seconds)
    assert one.excess == pytest.approx(-other.excess, abs=1e-9)
    assert one.p_value == pytest.approx(other.p_value)


@given(SECONDS, SECONDS)
def test_p_counts_all_namings(seconds: list[float], baseline: list[float]) -> None:
    times = [*seconds, *baseline]
    found = log_rank(seconds, baseline)
    excesses = []
    for chosen in itertools.combinations(range(len(times)), len(seconds)):
        others = [time for place, time in enumerate(times) if place not in chosen]
        excesses.append(log_rank([times[place] for place in chosen], others).excess)
    more, less = (np.mean([sign * excess >= sign * found.excess - 1e-9 for excess in excesses]) for sign in (1, -1))
    assert found.p_value == pytest.approx(min(1.0, 2 * min(more, less)))


def test_a_test_at_5_percent_is_wrong_at_most_so_often() -> None:
    source = np.random.default_rng(3)
    times = source.exponential(size=(600, 10))
    times[source.random(times.shape) < 0.2] = INF
    wrong = np.mean([log_rank(row[:5], row[5:]).p_value <= 0.05 for row in times])
    assert wrong <= 0.075  # standard error 0.9 %


def test_profile_score_is_the_area_under_the_profile() -> None:
    # factors 1, 2, 5 and infinity, up to 4: (3 + 2 + 0 + 0) / 3 / 4
    assert profile_score([1.0, 2.0, 5.0, INF]) == pytest.approx(5 / 12)
    assert profile_score([1.0, 1.0]) == 1.0
    assert math.isnan(profile_score([]))
    factors = np.array([1.2, 1.7, 3.0, 9.0])
    taus = np.linspace(1, 4, 300_001)
    rho = (factors[:, np.newaxis] <= taus).mean(axis=0)
    assert profile_score(factors) == pytest.approx(integrate.trapezoid(rho, taus) / 3, abs=1e-4)
    with pytest.raises(ValueError, match="at least 1"):
        profile_score([0.5])
