"""Comparisons by hand-made runs: who is paired, what is refused, and every number worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.run import run_config
from analysis import Comparison, Data
from analysis.figures.effect_frames import target_effects
from analysis.frames import records
from analysis.tables import cost_table, quality_table, verdict_table
from analysis.target import performance_profile
from tests.adabatch.support import TINY
from tests.analysis.runs import write_run

DECAYING: dict[str, Any] = {"batches": (10, 10), "rates": (0.01, 0.005)}
GROWING: dict[str, Any] = {"batches": (10, 20), "rates": (0.01, 0.01)}


def compare(root: Path, **options: Any) -> Comparison:
    return analysis.compare(analysis.load(root), **options)


def row(frame: pd.DataFrame, **values: object) -> Any:
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1, frame
    return frame.iloc[0]


def speedup(comparison: Comparison, quantity: str = "total", arm: str = "adaptive") -> Any:
    return row(comparison.speedup, arm=arm, quantity=quantity)


def write_arms(
    root: Path, baseline: Sequence[tuple[float, float]], adaptive: Sequence[tuple[float, float]], **options: Any
) -> None:
    """Write runs of two arms: accuracy and seconds an epoch by seed."""
    for seed, (accuracy, seconds) in enumerate(baseline):
        write_run(root, "fixed", seed, accuracies=(0.1, accuracy), epoch_seconds=seconds, **{**DECAYING, **options})
    for seed, (accuracy, seconds) in enumerate(adaptive):
        write_run(root, "adaptive", seed, accuracies=(0.1, accuracy), epoch_seconds=seconds, **{**GROWING, **options})


def test_speedup_is_the_baselines_seconds_over_the_arms(tmp_path: Path) -> None:
    # 20 s against 10 s, and 40 s against 5 s: ratios 2 and 8, geometric mean 4
    write_arms(tmp_path, [(0.9, 10), (0.9, 20)], [(0.9, 5), (0.9, 2.5)])
    total = speedup(compare(tmp_path))
    assert total.value == pytest.approx(4.0)
    # in powers of two: 2 with a standard error of 1, and t(0.975, 1) = 12.7062
    assert (total.low, total.high) == (pytest.approx(2**-10.7062, rel=1e-4), pytest.approx(2**14.7062, rel=1e-4))
    assert total.n == 2


def test_a_slower_arm_has_a_speedup_below_one(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10)], [(0.9, 20)])
    assert speedup(compare(tmp_path)).value == pytest.approx(0.5)


def test_tests_count_only_where_it_is_said(tmp_path: Path) -> None:
    # two epochs: 20 s training and 2 s tests against 10 s and 2 s
    write_arms(tmp_path, [(0.9, 10)], [(0.9, 5)])
    comparison = compare(tmp_path)
    assert speedup(comparison).value == pytest.approx(2.0)
    assert speedup(comparison, "total_with_test").value == pytest.approx(22 / 12)


def test_growth_is_charged_to_the_arm_that_grows(tmp_path: Path) -> None:
    shares = {"data": 0.0, "forward": 0.5, "backward": 0.5, "update": 0.0}
    write_run(tmp_path, "fixed", epoch_seconds=10, spans=shares, **DECAYING)
    write_run(tmp_path, "adaptive", epoch_seconds=5, spans={**shares, "growth": 0.2}, **GROWING)
    # 20 s against 10 s of training and 2 s of growth
    comparison = compare(tmp_path)
    assert speedup(comparison).value == pytest.approx(20 / 12)
    split = row(comparison.split, arm="adaptive")
    assert split.throughput == pytest.approx(2.0)
    assert split.growth == pytest.approx(10 / 12)


def test_updates_are_counted(tmp_path: Path) -> None:
    # 100 + 100 updates against 100 + 50
    write_arms(tmp_path, [(0.9, 10)], [(0.9, 10)])
    updates = speedup(compare(tmp_path), "updates")
    assert [updates.value, updates.low, updates.high] == pytest.approx([200 / 150] * 3)
    assert updates.verdict == "exact"


def test_the_split_by_hand(tmp_path: Path) -> None:
    # baseline 2 x (1 data + 4 forward + 4 backward + 1 update) = 20 s, 200 updates
    write_run(tmp_path, "fixed", spans={"data": 0.1, "forward": 0.4, "backward": 0.4, "update": 0.1}, **DECAYING)
    # arm 2 x (0.5 + 2 + 2 + 0.5) = 10 s, 150 updates
    write_run(
        tmp_path, "adaptive", epoch_seconds=5,
        spans={"data": 0.1, "forward": 0.4, "backward": 0.4, "update": 0.1}, **GROWING,
    )  # fmt: skip
    split = row(compare(tmp_path).split, arm="adaptive")
    assert split.total == pytest.approx(2.0)
    assert split.updates == pytest.approx(20 / 19.5)  # update seconds 2 become 1.5
    assert split.throughput == pytest.approx(19.5 / 11.5)  # forward and backward 16 become 8
    assert split.growth == 1.0
    assert split.rest == pytest.approx(11.5 / 10)  # data 2 become 1, seconds per update fall further


@pytest.mark.slow
@settings(max_examples=20)
@given(
    baseline=st.lists(st.floats(0.1, 100), min_size=1, max_size=4),
    factors=st.lists(st.floats(0.1, 10), min_size=4, max_size=4),
)
def test_the_factors_of_the_split_multiply_to_the_total(
    tmp_path_factory: pytest.TempPathFactory, baseline: list[float], factors: list[float]
) -> None:
    root = tmp_path_factory.mktemp("split")
    shares = {"data": 0.1, "forward": 0.2, "backward": 0.4, "update": 0.3}
    for seed, seconds in enumerate(baseline):
        write_run(root, "fixed", seed, epoch_seconds=seconds, spans=shares, **DECAYING)
        scaled = {name: share * factor for (name, share), factor in zip(shares.items(), factors, strict=True)}
        write_run(root, "adaptive", seed, epoch_seconds=seconds, spans={**scaled, "growth": 0.05}, **GROWING)
    comparison = compare(root)
    split = row(comparison.split, arm="adaptive")
    assert split.updates * split.throughput * split.growth * split.rest == pytest.approx(split.total)
    assert split.total == pytest.approx(speedup(comparison).value)


def test_noise_is_the_coefficient_of_variation_of_equal_work(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.9, 12)], [(0.9, 10), (0.9, 10.9)])
    # standard deviations of log seconds: ln(12 / 10) / sqrt(2) and ln(10.9 / 10) / sqrt(2), one degree of freedom each
    pooled = (math.log(1.2) ** 2 + math.log(1.09) ** 2) / 4
    assert speedup(compare(tmp_path)).noise == pytest.approx(math.sqrt(math.expm1(pooled)))


@pytest.mark.parametrize("faster", [10.9, 13.2])
def test_a_difference_that_the_interval_does_not_tell_from_none_is_undecided(tmp_path: Path, faster: float) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.9, 12)], [(0.9, 10), (0.9, faster)])
    total = speedup(compare(tmp_path))
    assert total.low < 1 < total.high
    assert total.decision == "undecided"
    assert total.verdict.endswith("seeds")


@pytest.mark.parametrize(("seconds", "decision"), [(5, "faster"), (22, "slower")])
def test_a_difference_beyond_the_smallest_effect_is_named(tmp_path: Path, seconds: float, decision: str) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.9, 12), (0.9, 11)], [(0.9, seconds)] * 3)
    assert speedup(compare(tmp_path)).decision == decision


def test_a_speedup_smaller_than_the_smallest_effect_is_not_called_faster(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10.1), (0.9, 10.102), (0.9, 10.098)], [(0.9, 10)] * 3)
    total = speedup(compare(tmp_path))
    assert total.low > 1
    assert total.verdict == "equal within 2 %"
    assert speedup(compare(tmp_path, smallest_effect=0.005)).decision == "faster"


def test_one_seed_leaves_the_noise_and_the_interval_unknown(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10)], [(0.9, 5)])
    comparison = compare(tmp_path)
    total = speedup(comparison)
    assert total.verdict == "undecided: at least 2 seeds"
    assert math.isnan(total.noise)
    assert math.isnan(total.low)
    accuracy = row(comparison.quality, arm="adaptive")
    assert (accuracy.n, accuracy.decision) == (1, "undecided")
    assert accuracy.verdict == "undecided: at least 2 seeds"
    assert math.isnan(accuracy.final_sd)


def test_equal_runs_have_speedup_one_and_no_difference(tmp_path: Path) -> None:
    arm = [(0.9, 10), (0.8, 10), (0.7, 10)]
    write_arms(tmp_path, arm, arm)
    comparison = compare(tmp_path)
    total = speedup(comparison)
    assert (total.value, total.low, total.high, total.verdict) == (1.0, 1.0, 1.0, "equal within 2 %")
    accuracy = row(comparison.quality, arm="adaptive")
    # digits has 359 test samples, the least step between two accuracies is 100 / 359 points:
    # t(0.975, 2) = 4.302653 times that / sqrt(6) / sqrt(3)
    assert (accuracy.difference, accuracy.decision) == (0.0, "equivalent")
    assert accuracy.low == pytest.approx(-4.302653 * 100 / 359 / math.sqrt(18), abs=1e-5)


def test_two_seeds_that_differ_equally_have_an_interval_of_the_test_sets_resolution(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.8, 10)], [(0.902, 10), (0.802, 10)])
    found = row(compare(tmp_path).quality, arm="adaptive")
    # t(0.975, 1) = 12.7062 times 100 / 359 / sqrt(6) / sqrt(2) points
    assert found.high - found.difference == pytest.approx(12.7062 * 100 / 359 / math.sqrt(12), abs=1e-4)
    table = quality_table(compare(tmp_path))
    shown = dict(zip(table.columns, table.rows[1], strict=True))
    assert (shown["pairs"], shown["points"]) == ("2", "+0.20")


def test_accuracy_by_hand(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.90, 10), (0.92, 10), (0.94, 10)], [(0.89, 10), (0.93, 10), (0.91, 10)])
    comparison = compare(tmp_path)
    baseline, adaptive = (row(comparison.quality, arm=arm) for arm in ("fixed", "adaptive"))
    assert baseline.final_mean == pytest.approx(0.92)
    assert baseline.final_sd == pytest.approx(0.02)
    assert adaptive.final_mean == pytest.approx(0.91)
    # differences -1, +1, -3 points: mean -1, standard deviation 2, t(0.975, 2) = 4.302653
    assert adaptive.difference == pytest.approx(-1.0)
    assert adaptive.low == pytest.approx(-1 - 4.302653 * 2 / math.sqrt(3), abs=1e-4)
    assert adaptive.pairs == 3


def test_best_and_final_are_told_apart(tmp_path: Path) -> None:
    write_run(tmp_path, accuracies=(0.9, 0.7))
    found = row(compare(tmp_path).quality, arm="fixed")
    assert (found.final_mean, found.best_mean) == (0.7, 0.9)


def test_a_missing_seed_is_listed_and_the_others_are_paired(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.5, 10)], [(0.8, 5)])
    comparison = compare(tmp_path)
    assert row(comparison.quality, arm="adaptive").difference == pytest.approx(-10.0)
    assert speedup(comparison).n == 1
    [unpaired] = records(comparison.matching.unpaired)
    assert (unpaired["seed"], unpaired["reason"]) == (1, "adaptive has no run of this seed")


def test_an_unfinished_run_is_in_no_number(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.9, 10)], [(0.8, 5)])
    write_run(tmp_path, "adaptive", 1, accuracies=(0.1, 0.2), state="preempted", cause="SIGTERM", **GROWING)
    comparison = compare(tmp_path)
    found = row(comparison.quality, arm="adaptive")
    assert (found.n, found.planned, found.missing, found.failed, found.final_mean) == (1, 2, 1, 0, 0.8)
    assert list(comparison.matching.unpaired.reason) == ["preempted (SIGTERM)"]


def test_a_diverged_run_decides_against_its_arm(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.9, 10)], [(0.9, 5)])
    write_run(
        tmp_path, "adaptive", 1, accuracies=(0.95,), state="failed", cause="NonFiniteLoss: nan in epoch 2",
        batches=(10,), rates=(0.01,), changes={"num_epochs": 2},
    )  # fmt: skip
    comparison = compare(tmp_path, target=0.5)
    found = row(comparison.quality, arm="adaptive")
    assert (found.n, found.planned, found.failed, found.decision) == (1, 2, 1, "failed")
    assert found.verdict == "failed in 1 of 2 runs"
    assert speedup(comparison).n == 1


def to_target(comparison: Comparison) -> Any:
    return row(comparison.target, arm="adaptive")


def test_time_to_target_by_hand(tmp_path: Path) -> None:
    for seed, factor in enumerate((1.0, 1.1)):
        write_run(tmp_path, "fixed", seed, accuracies=(0.5, 0.7, 0.9), epoch_seconds=10 * factor)
        write_run(tmp_path, "adaptive", seed, accuracies=(0.5, 0.8, 0.9), epoch_seconds=5 * factor)
    found = to_target(compare(tmp_path, target=0.8))
    assert found.value == pytest.approx(30 / 10)
    assert (found.median_seconds, found.baseline_median_seconds) == (pytest.approx(10.5), pytest.approx(31.5))
    assert found.median_samples == 2000
    assert (found.reached, found.n, found.baseline_reached, found.baseline_n) == (2, 2, 2, 2)
    assert found.decision == "faster"


def test_an_unreached_target_is_neither_zero_nor_dropped(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.9, 10)], [(0.9, 5), (0.7, 5)])
    found = to_target(compare(tmp_path, target=0.85))
    assert math.isnan(found.value)
    assert (found.reached, found.n, found.baseline_reached) == (1, 2, 2)
    # Wilson's interval of 1 of 2: (1/2 + z**2/4 -+ z sqrt(1/8 + z**2/16)) / (1 + z**2/2), z = 1.959964
    assert (found.reached_low, found.reached_high) == (pytest.approx(0.0945, abs=1e-4), pytest.approx(0.9055, abs=1e-4))
    assert found.decision == "undecided"


def test_a_failed_run_did_not_reach_the_target(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10)], [])
    write_run(
        tmp_path, "adaptive", 0, accuracies=(0.2,), state="failed", cause="NonFiniteLoss: nan", batches=(10,),
        rates=(0.01,), changes={"num_epochs": 2},
    )  # fmt: skip
    found = to_target(compare(tmp_path, target=0.85))
    assert (found.verdict, found.reached, found.n) == ("not reached", 0, 1)
    assert found.median_seconds == math.inf


def test_an_arm_whose_seconds_are_refused_is_not_said_to_miss_the_target(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.9, 10)], [], meta={"num_threads": 1})
    write_arms(tmp_path, [], [(0.9, 5), (0.9, 5)], meta={"num_threads": 2})
    comparison = compare(tmp_path, target=0.85)
    found = to_target(comparison)
    assert (found.verdict, found.decision, found.reached, found.n) == ("refused", "refused", 0, 0)
    assert math.isnan(found.median_seconds)
    assert verdict_table(comparison).frame["to the target"].tolist() == ["refused"]
    assert target_effects(comparison).verdict.tolist() == ["refused"]


def test_the_cost_has_the_baseline_first_as_every_table(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10)], [(0.9, 5)])
    comparison = compare(tmp_path)
    assert quality_table(comparison).frame.arm.tolist() == ["fixed", "adaptive"]
    assert cost_table(comparison).frame.arm.tolist() == ["fixed", "adaptive"]


def test_a_run_that_was_stopped_is_unknown_not_late(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.9, 10)], [(0.9, 5)])
    write_run(
        tmp_path, "adaptive", 1, accuracies=(0.2,), state="preempted", cause="SIGTERM", batches=(10,), rates=(0.01,),
        changes={"num_epochs": 2},
    )  # fmt: skip
    found = to_target(compare(tmp_path, target=0.85))
    assert (found.reached, found.n) == (1, 1)


def profile_of(root: Path, target: float) -> pd.DataFrame:
    comparison = compare(root, target=target)
    return performance_profile(comparison.data, comparison.matching, comparison.targets, comparison.measure)


def test_the_performance_profile_by_hand(tmp_path: Path) -> None:
    # seed 0: 20 s against 10 s; seed 1: 20 s against never
    write_arms(tmp_path, [(0.9, 10), (0.9, 10)], [(0.9, 5), (0.2, 5)])
    frame = profile_of(tmp_path, 0.85)
    assert [(entry["arm"], entry["factor"], entry["share"]) for entry in records(frame)] == [
        ("adaptive", 1.0, 0.5),
        ("fixed", 1.0, 0.5),
        ("fixed", 2.0, 1.0),
    ]
    scores = frame.groupby("arm").score.first()
    assert (scores["adaptive"], scores["fixed"]) == (0.5, pytest.approx((0.5 * 1 + 1.0 * 2) / 3))


def test_a_target_that_nobody_reached_has_a_share_of_nothing(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10)], [(0.9, 5)])
    frame = profile_of(tmp_path, 0.99)
    assert sorted(frame.arm) == ["adaptive", "fixed"]
    assert set(frame.share) == {0.0}
    assert frame.factor.isna().all()


def test_the_target_is_the_baselines_median_minus_the_margin(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.90, 10), (0.92, 10), (0.99, 10)], [(0.9, 5)])
    assert compare(tmp_path).targets.by_group == {"digits-tiny_cnn": pytest.approx(0.91)}
    assert compare(tmp_path, margin=2.0).targets.by_group == {"digits-tiny_cnn": pytest.approx(0.90)}
    assert not compare(tmp_path).targets.is_declared
    declared = compare(tmp_path, target=0.95).targets
    assert (declared.by_group, declared.is_declared) == ({"digits-tiny_cnn": 0.95}, True)


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("hardware.precision", {"changes": {"hardware.precision": "bf16"}}),
        ("max_micro_batch_size", {"changes": {"max_micro_batch_size": 64}}),
        ("dataset.partial_batch", {"changes": {"dataset.partial_batch": "drop"}}),
        ("optimizer.weight_decay", {"changes": {"optimizer.weight_decay": 0.1}}),
        ("schedule.warmup_epochs", {"changes": {"schedule.warmup_epochs": 1}}),
        ("device_model", {"meta": {"device_model": "another processor"}}),
        ("torch", {"meta": {"torch": "2.6.0"}}),
        ("git_sha", {"meta": {"git_sha": "b" * 40}}),
        ("git_dirty", {"meta": {"git_dirty": True}}),
        ("git_diff", {"launch": {"code": {"git_diff": "git_1.diff"}}}),
        ("lint_allowed", {"launch": {"lint_allowed": ["rate-differs"]}}),
        ("runs_per_job", {"launch": {"runs_per_job": 4}}),
        ("concurrent_runs", {"launch": {"concurrent_runs": 2}}),
        ("concurrent_runs", {"launch": {"concurrent_runs": 1, "earlier": [{"concurrent_runs": 2}]}}),
        ("num_threads", {"meta": {"num_threads": 1}}),
        ("hardware.channels_last", {"changes": {"hardware.channels_last": False}}),
        ("trainer", {"meta": {"source": "foreign", "trainer": "loop 1.0"}}),
        ("learning_rate_per_sample", {"rates": (0.01, 0.0075)}),
    ],
)
def test_pairs_that_differ_are_refused_by_key_and_values_and_let_through_when_told(
    tmp_path: Path, key: str, options: dict[str, Any]
) -> None:
    write_run(tmp_path, "fixed", **DECAYING)
    write_run(tmp_path, "adaptive", **{**GROWING, **options})
    refused = compare(tmp_path)
    assert list(refused.matching.refused.key) == [key]
    [entry] = records(refused.matching.refused)
    assert entry["value"] != entry["baseline_value"]
    if key in ("runs_per_job", "concurrent_runs", "num_threads"):  # these may change nothing but the time
        assert entry["refuses"] == "speed"
        assert math.isnan(speedup(refused).value)
        assert row(refused.quality, arm="adaptive").pairs == 1
    else:
        assert entry["refuses"] == "all"
        assert len(refused.speedup) == 0
        assert math.isnan(row(refused.quality, arm="adaptive").difference)

    allowed = compare(tmp_path, allow=[key])
    assert len(allowed.matching.refused) == 0
    assert speedup(allowed).n == 1
    [marks] = allowed.matching.marks.values()
    assert any(key in mark and f"--allow {key}" in mark for mark in marks)


def test_free_keys_do_not_matter(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", **DECAYING)
    changes = {"tracker.kind": "wandb", "checkpoint.every_epochs": 1, "dataset.root": "elsewhere", "run_dir": "x"}
    write_run(tmp_path, "adaptive", changes=changes, **GROWING)
    assert len(compare(tmp_path).matching.refused) == 0


def test_another_number_of_epochs_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", accuracies=(0.1, 0.5, 0.9))
    write_run(tmp_path, "adaptive", accuracies=(0.1, 0.9))
    assert list(compare(tmp_path).matching.refused.key) == ["num_epochs"]


def test_a_large_batch_with_an_unscaled_rate_is_let_through_and_marked(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", **DECAYING)
    write_run(tmp_path, "large", batches=40, rates=(0.01, 0.005))
    comparison = compare(tmp_path)
    assert len(comparison.matching.refused) == 0
    assert "0.25 times the baseline's" in comparison.matching.marks["digits-tiny_cnn", "large", "fixed"][0]


def test_a_growing_arm_is_compared_with_the_arm_fixed_at_its_start_too(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", batches=10, epoch_seconds=16)
    write_run(tmp_path, "fixed_start", batches=20, epoch_seconds=8)
    write_run(tmp_path, "adaptive", batches=(20, 40), rates=(0.02, 0.04), epoch_seconds=4)
    comparison = compare(tmp_path)
    found = comparison.speedup.query("arm == 'adaptive' and quantity == 'total'").set_index("baseline").value
    assert found.to_dict() == {"fixed": pytest.approx(4.0), "fixed_start": pytest.approx(2.0)}


def test_cells_are_compared_within_themselves(tmp_path: Path) -> None:
    for cell, seconds in (("digits-tiny_cnn", 5), ("digits-resnet14", 20)):
        write_run(tmp_path, "fixed", cell=cell, epoch_seconds=10)
        write_run(tmp_path, "adaptive", cell=cell, epoch_seconds=seconds)
    totals = compare(tmp_path).speedup.query("quantity == 'total'").set_index("group").value
    assert totals.to_dict() == {"digits-tiny_cnn": pytest.approx(2.0), "digits-resnet14": pytest.approx(0.5)}


def test_repeats_of_a_seed_are_repeats_of_its_time_but_one_replicate_of_its_quality(tmp_path: Path) -> None:
    for repeat, (slow, fast) in enumerate([(10, 5), (11, 2.5)]):
        write_run(tmp_path, "fixed", 0, epoch_seconds=slow, name=f"repeat_{repeat}", **DECAYING)
        write_run(tmp_path, "adaptive", 0, epoch_seconds=fast, name=f"repeat_{repeat}", **GROWING)
    total = speedup(compare(tmp_path))
    assert (total.n, total.is_paired) == (2, False)
    assert total.value == pytest.approx(math.sqrt(2 * 4.4))
    # one degree of freedom each: ln(1.1) and ln(2), over sqrt(2)
    assert total.noise == pytest.approx(math.sqrt(math.expm1((math.log(1.1) ** 2 + math.log(2) ** 2) / 4)))
    assert row(compare(tmp_path).quality, arm="adaptive").replicates == 1


def test_runs_of_no_sweep_are_compared_with_the_smallest_fixed_batch_or_as_told(tmp_path: Path) -> None:
    write_run(tmp_path, "small", batches=10, epoch_seconds=10, baseline=None)
    write_run(tmp_path, "large", batches=20, epoch_seconds=5, baseline=None)
    assert speedup(compare(tmp_path), arm="large").value == pytest.approx(2.0)
    assert speedup(compare(tmp_path, baseline="large"), arm="small").value == pytest.approx(0.5)


def test_pairs_of_two_sweeps_that_differ_are_not_averaged(tmp_path: Path) -> None:
    for name, decay, accuracy in (("a", 0.0, 0.9), ("b", 0.1, 0.4)):
        for seed in range(2):
            options: dict[str, Any] = {"changes": {"optimizer.weight_decay": decay}, "accuracies": (0.1, accuracy)}
            write_run(tmp_path / name, "fixed", seed, **{**DECAYING, **options})
            write_run(tmp_path / name, "adaptive", seed, **{**GROWING, **options})
    comparison = compare(tmp_path)
    assert row(comparison.quality, arm="adaptive").final_mean == pytest.approx(0.9)
    assert row(comparison.quality, arm="fixed").final_mean == pytest.approx(0.9)
    assert set(comparison.matching.refused.key) == {"optimizer.weight_decay"}
    assert speedup(comparison).noise == 0.0


def test_pairs_that_are_equal_within_themselves_may_come_from_two_machines(tmp_path: Path) -> None:
    for seed, machine in enumerate(["one", "two"]):
        write_run(tmp_path, "fixed", seed, meta={"device_model": machine}, **DECAYING)
        write_run(tmp_path, "adaptive", seed, meta={"device_model": machine}, **GROWING)
    comparison = compare(tmp_path)
    assert speedup(comparison).n == 2
    [marks] = comparison.matching.marks.values()
    assert any("device_model is not the same in all pairs" in mark for mark in marks)


def test_a_refused_run_is_in_no_number(tmp_path: Path) -> None:
    write_arms(tmp_path, [(0.9, 10), (0.8, 10)], [(0.9, 5)])
    write_run(
        tmp_path, "adaptive", 1, accuracies=(0.1, 0.2), changes={"hardware.precision": "bf16"}, **GROWING
    )  # fmt: skip
    comparison = compare(tmp_path, target=0.1)
    found = row(comparison.quality, arm="adaptive")
    assert (found.n, found.planned, found.final_mean, found.pairs) == (1, 2, 0.9, 1)
    assert set(
        performance_profile(comparison.data, comparison.matching, comparison.targets, comparison.measure).share
    ) == {1.0}


def test_an_arm_whose_pairs_are_all_refused_is_called_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", **DECAYING)
    write_run(tmp_path, "adaptive", changes={"hardware.precision": "bf16"}, **GROWING)
    found = row(compare(tmp_path).quality, arm="adaptive")
    assert (found.n, found.decision) == (0, "refused")


def test_equal_runs_are_paired_before_those_that_began_earlier(tmp_path: Path) -> None:
    write_run(tmp_path / "old", "adaptive", 0, meta={"git_sha": "b" * 40, "started_at": "2026-01-01"}, **GROWING)
    for arm, course in (("fixed", DECAYING), ("adaptive", GROWING)):
        write_run(tmp_path / "new", arm, 0, meta={"started_at": "2026-02-01"}, **course)
    comparison = compare(tmp_path)
    [pair] = records(comparison.matching.pairs)
    assert "new" in Path(pair["run"]).parts
    assert list(comparison.matching.refused.key) == ["git_sha"]
    assert not any("old" in Path(run).parts for run in comparison.matching.counted)
    assert list(comparison.matching.unpaired.reason) == ["fixed has no further run of this seed"]


def test_runs_from_wandb_are_compared_with_those_from_disk(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", **DECAYING)
    write_run(tmp_path, "adaptive", meta={"source": "wandb"}, **GROWING)
    assert speedup(compare(tmp_path)).n == 1


def test_a_declared_baseline_that_is_missing_is_not_replaced(tmp_path: Path) -> None:
    write_run(tmp_path, "large", 0)
    write_run(tmp_path, "adaptive", 0, **GROWING)
    comparison = compare(tmp_path)
    assert len(comparison.speedup) == 0
    assert set(comparison.matching.unpaired.reason) == {"the baseline fixed is not among the runs"}


def test_the_exponent_of_a_fixed_batch_does_not_matter(tmp_path: Path) -> None:
    key = "schedule.learning_rate_exponent"
    write_run(tmp_path, "fixed", batches=10, rates=(0.01, 0.005), changes={key: 1.0})
    rates = (0.01, 0.005 * 2**0.5)
    write_run(tmp_path, "adaptive", batches=(10, 20), rates=rates, changes={key: 0.5})
    assert speedup(compare(tmp_path)).n == 1


def test_an_unknown_rate_is_a_difference(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", rates=(0.01, math.nan))
    write_run(tmp_path, "adaptive", rates=(0.01, 0.01))
    assert list(compare(tmp_path).matching.refused.key) == ["learning_rate_per_sample"]


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["linear_ramp", "polynomial_ramp", "cosine_ramp"])
def test_a_real_ramp_is_equal_to_its_twin_and_has_a_fixed_start(tmp_path: Path, shape: str) -> None:
    words = [word for word in TINY if "every_epochs" not in word]
    words += [f"schedule={shape}", "schedule.final_batch_size=40", "num_epochs=4", "schedule.learning_rate_decay=0.5"]
    for arm, hold in (("growing", "false"), ("held", "true")):
        overrides = [*words, f"schedule.hold_batch_size={hold}", f"run_dir={tmp_path / arm}"]
        assert run_config(compose(overrides)) == 0
    comparison = compare(tmp_path)
    assert list(comparison.matching.refused.key) == []
    [pair] = records(comparison.matching.pairs)
    assert Path(pair["run"]).name == "growing"
    assert (pair["group"], pair["arm"], pair["baseline"]) in comparison.matching.starts


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"target": 92.5}, "the target accuracy is 92.5; it must be a fraction"),
        ({"margin": 0.0}, "the margin is 0; it must be between 0 and 100"),
        ({"baseline": "nobody"}, "the baseline is nobody; it must be one of fixed"),
    ],
)
def test_wrong_options_are_refused_with_a_sentence(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    write_run(tmp_path)
    with pytest.raises(ConfigError, match=sentence):
        compare(tmp_path, **options)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Data:
    root = tmp_path_factory.mktemp("study")
    write_arms(root, [(0.90, 10), (0.92, 11), (0.94, 12)], [(0.89, 6), (0.93, 5), (0.90, 5.5)])
    write_run(root, "large", 0, batches=40, rates=(0.01, 0.005), accuracies=(0.1, 0.3))
    return analysis.load(root)


def measured(comparison: Comparison) -> list[list[object]]:
    """All numbers, without names, in an order that the arms' names have no part in."""
    numbers: list[list[object]] = [
        [round(value, 12) if isinstance(value, float) and value == value else str(value)
         for name, value in entry.items() if name not in ("group", "arm", "baseline", "runs")]
        for frame in (comparison.quality, comparison.speedup, comparison.split) for entry in records(frame)
    ]  # fmt: skip
    return sorted(numbers, key=str)


@pytest.fixture(scope="module")
def numbers(study: Data) -> list[list[object]]:
    return measured(analysis.compare(study))


@pytest.mark.slow
@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_the_order_of_rows_changes_no_number(study: Data, numbers: list[list[object]], seed: int) -> None:
    shuffled = Data(*(frame.sample(frac=1, random_state=seed) for frame in (study.runs, study.epochs)))
    assert measured(analysis.compare(shuffled)) == numbers


#: Of arms, which are names of folders.
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)


@pytest.mark.slow
@settings(max_examples=20)
@given(names=st.lists(NAMES, min_size=3, max_size=3, unique=True))
def test_the_names_of_arms_change_no_number(study: Data, numbers: list[list[object]], names: list[str]) -> None:
    renamed = dict(zip(["fixed", "adaptive", "large"], names, strict=True))
    runs = study.runs.assign(arm=study.runs.arm.map(renamed), baseline=study.runs.baseline.map(renamed))
    assert measured(analysis.compare(Data(runs, study.epochs))) == numbers
