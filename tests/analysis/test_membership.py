"""Which runs are in a number, and what becomes of the others."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import analysis
from adabatch.config import config_hash
from adabatch.config.compose import compose
from adabatch.config.keys import KEYS
from analysis import Comparison
from analysis.frames import records
from analysis.tables import make_tables
from tests.analysis.runs import edit_epochs, write_run

DECAYING: dict[str, Any] = {"batches": (10, 10), "rates": (0.01, 0.005)}
GROWING: dict[str, Any] = {"batches": (10, 20), "rates": (0.01, 0.01)}


def compare(root: Path, **options: Any) -> Comparison:
    return analysis.compare(analysis.load(root), **options)


def quality(comparison: Comparison, arm: str = "adaptive") -> Any:
    frame = comparison.quality[comparison.quality.arm == arm]
    assert len(frame) == 1, frame
    return frame.iloc[0]


def total(comparison: Comparison, arm: str = "adaptive") -> Any:
    frame = comparison.speedup[(comparison.speedup.arm == arm) & (comparison.speedup.quantity == "total")]
    assert len(frame) == 1, frame
    return frame.iloc[0]


def test_a_run_without_a_partner_counts_if_it_matches_another_run_of_the_baseline(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0, accuracies=(0.1, 0.9), epoch_seconds=10, **DECAYING)
    write_run(tmp_path, "fixed", 1, accuracies=(0.1, 0.9), epoch_seconds=12, **DECAYING)
    write_run(tmp_path, "adaptive", 2, accuracies=(0.1, 0.8), epoch_seconds=5, **GROWING)
    write_run(tmp_path, "adaptive", 3, accuracies=(0.1, 0.7), epoch_seconds=6, **GROWING)
    comparison = compare(tmp_path)
    found = quality(comparison)
    assert (found.n, found.pairs, found.final_mean) == (2, 0, 0.75)
    assert (found.decision, found.verdict) == ("no pair", "no pair")
    # no seed is paired: the ratio of the geometric means
    speed = total(comparison)
    assert (speed.is_paired, speed.n) == (False, 2)
    assert speed.value == pytest.approx(math.sqrt(10 * 12 / (5 * 6)))
    assert len(comparison.matching.unpaired) == 4


def test_a_run_without_a_partner_that_does_not_match_is_refused_by_key(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.9), **DECAYING)
        write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.8), epoch_seconds=5 + seed, **GROWING)
    write_run(
        tmp_path, "adaptive", 7, accuracies=(0.1, 0.2), epoch_seconds=1, meta={"git_sha": "b" * 40}, **GROWING
    )  # fmt: skip
    comparison = compare(tmp_path)
    assert [(entry["seed"], entry["key"]) for entry in records(comparison.matching.refused)] == [(7, "git_sha")]
    found = quality(comparison)
    assert (found.n, found.planned, found.final_mean) == (2, 3, 0.8)
    assert total(comparison).value == pytest.approx(10 / math.sqrt(5 * 6))
    assert not any(run.endswith("seed_7") for run in comparison.counted.runs.index)


def test_no_run_of_a_schedule_that_shares_an_arms_name_is_in_its_numbers(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.9), **DECAYING)
        write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.8), **GROWING)
    write_run(
        tmp_path, "adaptive", 3, accuracies=(0.1, 0.2), changes={"optimizer.momentum": 0.5}, **GROWING
    )  # fmt: skip
    comparison = compare(tmp_path)
    [entry] = records(comparison.matching.refused)
    assert (entry["key"], entry["baseline"]) == ("optimizer.momentum", "adaptive")
    assert quality(comparison).final_mean == pytest.approx(0.8)


@pytest.mark.parametrize("cause", ["NonFiniteLoss: nan in epoch 2", "OutOfMemory: CUDA out of memory", "ValueError: x"])
def test_a_run_that_failed_by_itself_is_an_outcome_of_its_arm(tmp_path: Path, cause: str) -> None:
    for seed in range(3):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.9), **DECAYING)
        if seed:
            write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.95), **GROWING)
    write_run(
        tmp_path, "adaptive", 0, accuracies=(0.1,), state="failed", cause=cause, batches=10, rates=(0.01,),
        changes={"num_epochs": 2},
    )  # fmt: skip
    found = quality(compare(tmp_path))
    assert (found.failed, found.missing, found.planned) == (1, 0, 3)
    assert (found.decision, found.verdict) == ("failed", "failed in 1 of 3 runs")


def test_a_run_that_was_stopped_from_outside_is_missing_and_decides_nothing(tmp_path: Path) -> None:
    for seed in range(4):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.9), **DECAYING)
        if seed:
            write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.9), **GROWING)
    write_run(
        tmp_path, "adaptive", 0, accuracies=(0.1,), state="preempted", cause="SIGTERM", batches=10, rates=(0.01,),
        changes={"num_epochs": 2},
    )  # fmt: skip
    found = quality(compare(tmp_path))
    assert (found.failed, found.missing, found.pairs, found.decision) == (0, 1, 3, "equivalent")


def test_runs_with_identical_curves_are_one_replicate(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.9), **DECAYING)
        copied = write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.89), **GROWING)
        edit_epochs(copied, "test_loss", [0.5, 0.25])
    comparison = compare(tmp_path)
    found = quality(comparison)
    assert (found.pairs, found.replicates, found.decision) == (3, 1, "undecided")
    assert math.isnan(found.low)
    assert (found.n, found.seeds, found.independent) == (3, 3, 1)
    assert math.isnan(found.final_sd)
    [table] = [table for table in make_tables(comparison) if table.name == "quality"]
    assert table.rows[1][:5] == ["adaptive", "10 to 20", "3 (1 independent)", "3 (1 independent)", "89.00"]
    assert (
        "! Runs with identical curves are copies of one run: they count once, in means and differences." in table.notes
    )


def test_a_copy_adds_nothing_to_a_mean(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.8, 0.9, 0.9)):
        written = write_run(tmp_path, "fixed", seed, accuracies=(0.1, accuracy), **DECAYING)
        edit_epochs(written, "test_loss", [accuracy, accuracy])
        write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.9), **GROWING)
    comparison = compare(tmp_path)
    found = quality(comparison, "fixed")
    # 80 and, once, 90: a standard deviation of 10 / sqrt(2)
    assert (found.independent, found.final_mean) == (2, pytest.approx(0.85))
    assert found.final_sd == pytest.approx(0.1 / math.sqrt(2))
    # the median of the two, minus the margin of one point
    assert comparison.targets.by_group == {"digits-tiny_cnn": pytest.approx(0.84)}


def test_each_of_several_comparisons_needs_more_evidence(tmp_path: Path) -> None:
    for seed, (one, two) in enumerate([(0.0, 0.001), (0.005, 0.004), (0.002, 0.006)]):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.8), **DECAYING)
        for arm in ("adaptive", "second", "third"):
            write_run(tmp_path, arm, seed, accuracies=(0.1, 0.81 + one), **GROWING)
        write_run(tmp_path, "fourth", seed, accuracies=(0.1, 0.8 + two), **GROWING)
    found = quality(compare(tmp_path))
    assert found.decision == "better"
    assert found.adjusted != found.verdict


def test_sweeps_that_declare_another_baseline_are_compared_apart(tmp_path: Path) -> None:
    for sweep, baseline in (("one", "fixed"), ("two", "adaptive")):
        launch = {"sweep": sweep, "baseline": baseline}
        write_run(tmp_path / sweep, "fixed", 0, epoch_seconds=10, launch=launch, **DECAYING)
        write_run(tmp_path / sweep, "adaptive", 0, epoch_seconds=5, launch=launch, **GROWING)
    comparison = compare(tmp_path)
    assert sorted(comparison.matching.baselines.values()) == ["adaptive", "fixed"]
    found = comparison.speedup[comparison.speedup.quantity == "total"]
    # the growing arm is also compared with the arm that is fixed at its first batch
    assert sorted(found.value) == pytest.approx([0.5, 2.0, 2.0])


def test_repeats_in_several_sweeps_with_different_results_are_marked(tmp_path: Path) -> None:
    for sweep, accuracy in (("one", 0.8), ("two", 0.7)):
        launch = {"sweep": sweep}
        write_run(tmp_path / sweep, "fixed", 0, launch=launch, **DECAYING)
        write_run(tmp_path / sweep, "adaptive", 0, accuracies=(0.1, accuracy), launch=launch, **GROWING)
    marks = compare(tmp_path).matching.marks["digits-tiny_cnn", "adaptive", "fixed"]
    assert "runs of adaptive with seed 0 in several sweeps have different results" in marks


def test_seconds_in_another_unit_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", epoch_seconds=10, **DECAYING)
    write_run(tmp_path, "adaptive", epoch_seconds=0.005, **GROWING)
    [entry] = records(compare(tmp_path).matching.refused)
    assert (entry["key"], entry["refuses"]) == ("elapsed_seconds", "all")


def test_another_number_of_samples_per_epoch_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", **DECAYING)
    run = write_run(tmp_path, "adaptive", **GROWING)
    edit_epochs(run, "samples", [500, 1000])
    [entry] = records(compare(tmp_path).matching.refused)
    assert (entry["key"], entry["value"], entry["baseline_value"]) == ("samples_per_epoch", "500", "1000")


def test_runs_on_two_hosts_are_marked(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", meta={"host": "node1"}, **DECAYING)
    write_run(tmp_path, "adaptive", meta={"host": "node2"}, **GROWING)
    [marks] = compare(tmp_path).matching.marks.values()
    assert marks == ["some pairs ran on different hosts"]


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        ("data_seconds", [-1.0, 1.0], "data_seconds that is negative or infinite"),
        ("forward_seconds", ["inf", 1.0], "forward_seconds that is negative or infinite"),
        ("elapsed_seconds", [10.0, 10.0], "elapsed_seconds does not rise"),
        ("elapsed_seconds", [5.0, 20.0], "spans exceed the elapsed time"),
        ("batch_size", [0, 10], "batch_size that is not a whole number of at least 1"),
        ("samples", [1000, 1500], "samples per epoch are between 500 and 1000"),
    ],
)
def test_a_log_that_contradicts_itself_is_damaged(
    tmp_path: Path, column: str, values: list[object], sentence: str
) -> None:
    run = write_run(tmp_path, "adaptive", **GROWING)
    edit_epochs(run, column, values)
    [found] = records(analysis.load(tmp_path).runs)
    assert sentence in str(found["damage"])
    assert found["cause"] == f"damaged: {found['damage']}"


def test_spans_that_are_blank_are_unknown_not_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", epoch_seconds=10, **DECAYING)
    run = write_run(tmp_path, "adaptive", epoch_seconds=5, **GROWING)
    edit_epochs(run, "forward_seconds", ["", 1.25])
    data = analysis.load(tmp_path)
    assert math.isnan(data.runs.forward_seconds[run.as_posix()])
    assert data.runs.elapsed_seconds[run.as_posix()] == 10
    comparison = analysis.compare(data)
    forward = comparison.speedup[comparison.speedup.quantity == "forward"].iloc[0]
    assert math.isnan(forward.value)
    assert total(comparison).value == pytest.approx(2.0)


def test_a_config_that_was_edited_is_damage(tmp_path: Path) -> None:
    words = ["dataset=digits", "network=tiny_cnn", "num_epochs=2"]
    run = write_run(tmp_path, "fixed", meta={"config_hash": config_hash(compose(words))}, **DECAYING)
    assert analysis.load(tmp_path).runs.damage.isna().all()
    values = yaml.safe_load((run / "config.yaml").read_text())
    values["optimizer"]["weight_decay"] = 0.25
    (run / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    [found] = records(analysis.load(tmp_path).runs)
    assert "config.yaml was changed" in str(found["damage"])


def write_correctness(run: Path, correct: list[bool]) -> None:
    bits = np.packbits(np.array(correct))
    np.save(run / "test_correct.npy", np.concatenate([np.array([-len(correct) % 8], np.uint8), bits]))


def test_the_test_sets_own_error_by_hand(tmp_path: Path) -> None:
    base = [True] * 90 + [False] * 10
    own = [True] * 84 + [False] * 6 + [True] * 2 + [False] * 8  # 6 lost, 2 gained
    for seed in range(2):
        write_correctness(write_run(tmp_path, "fixed", seed, **DECAYING), base)
        write_correctness(write_run(tmp_path, "adaptive", seed, **GROWING), own)
    found = quality(compare(tmp_path))
    # sqrt(b + c - (b - c)**2 / m) / m, in points
    assert found.sampling_sd == pytest.approx(100 * math.sqrt(8 - 16 / 100) / 100)


def test_a_damaged_file_of_correct_samples_leaves_the_error_unknown(tmp_path: Path) -> None:
    write_correctness(write_run(tmp_path, "fixed", **DECAYING), [True] * 10)
    run = write_run(tmp_path, "adaptive", **GROWING)
    for content in (b"", b"no array", json.dumps([1]).encode()):
        (run / "test_correct.npy").write_bytes(content)
        assert math.isnan(quality(compare(tmp_path)).sampling_sd)
    write_correctness(run, [True] * 11)
    assert math.isnan(quality(compare(tmp_path)).sampling_sd)


def test_a_baseline_that_failed_in_a_run_decides_nothing_for_the_others(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.95), **GROWING)
        if seed:
            write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.9), **DECAYING)
    write_run(
        tmp_path, "fixed", 0, accuracies=(0.1,), state="failed", cause="NonFiniteLoss: nan", batches=10, rates=(0.01,),
        changes={"num_epochs": 2},
    )  # fmt: skip
    found = quality(compare(tmp_path))
    assert (found.pairs, found.decision, found.verdict) == (2, "baseline failed", "the baseline failed in 1 run")


def test_a_run_of_the_baseline_that_is_not_like_those_in_pairs_is_refused(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.9), **DECAYING)
        write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.9), **GROWING)
    other = write_run(
        tmp_path, "fixed", 2, accuracies=(0.1, 0.3), meta={"device_model": "another"}, **DECAYING
    )  # fmt: skip
    comparison = compare(tmp_path)
    assert quality(comparison, "fixed").final_mean == pytest.approx(0.9)
    assert other.as_posix() not in comparison.matching.counted
    assert [(entry["arm"], entry["baseline"], entry["key"]) for entry in records(comparison.matching.refused)] == [
        ("fixed", "fixed", "device_model")
    ]
    assert comparison.targets.by_group["digits-tiny_cnn"] == pytest.approx(0.89)


def test_a_missed_target_is_not_decided_by_those_who_reached_it(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.9), epoch_seconds=10, **DECAYING)
        write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.9), epoch_seconds=5, **GROWING)
    assert compare(tmp_path, target=0.85).target.decision.tolist() == ["faster"]
    write_run(tmp_path, "adaptive", 3, accuracies=(0.1, 0.2), epoch_seconds=5, **GROWING)
    found = compare(tmp_path, target=0.85).target.iloc[0]
    assert (found.reached, found.n) == (3, 4)
    assert found.decision == "undecided"
    assert math.isnan(found.value)


def test_one_pair_that_reached_the_target_needs_a_second(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0, accuracies=(0.1, 0.9), **DECAYING)
    write_run(tmp_path, "adaptive", 0, accuracies=(0.1, 0.9), epoch_seconds=5, **GROWING)
    [found] = compare(tmp_path, target=0.85).target.itertuples()
    assert (found.value, found.verdict) == (pytest.approx(2.0), "undecided: at least 2 seeds")


def test_too_few_seeds_for_the_test_of_ranks_are_named(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.2), epoch_seconds=10 + seed, **DECAYING)
        write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.9), epoch_seconds=5 + seed, **GROWING)
    [found] = compare(tmp_path, target=0.85).target.itertuples()
    assert found.verdict == "undecided: at least 6 seeds"
    for seed in range(3, 6):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.2), epoch_seconds=10 + seed, **DECAYING)
        write_run(tmp_path, "adaptive", seed, accuracies=(0.1, 0.9), epoch_seconds=5 + seed, **GROWING)
    [found] = compare(tmp_path, target=0.85).target.itertuples()
    # all six pairs agree: 2 of the 2**6 assignments are as extreme
    assert found.verdict == "sooner (log-rank p = 0.031)"


def test_runs_that_were_declared_to_be_judged_differently_say_so(tmp_path: Path) -> None:
    for name, margin in (("one", 0.5), ("two", 2.0)):
        for arm, course in (("fixed", DECAYING), ("adaptive", GROWING)):
            write_run(tmp_path / name, arm, 0, launch={"sweep": name, "margin": margin}, **course)
    comparison = compare(tmp_path)
    assert comparison.measure.quality.margin == 1.0
    assert comparison.remarks[0] == (
        "the runs declared different values of margin (0.5, 2), so none of them is used; give --margin"
    )
    assert compare(tmp_path / "one").measure.quality.margin == 0.5
    assert compare(tmp_path, margin=3.0).remarks == ()


def test_a_run_from_before_a_key_existed_had_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ``batch_norm`` had come with a third version of the hash rule."""
    facts = dataclasses.replace(KEYS["batch_norm"].facts, hash_rule=3)
    monkeypatch.setitem(KEYS, "batch_norm", dataclasses.replace(KEYS["batch_norm"], facts=facts))
    older = write_run(tmp_path, "fixed", **DECAYING)
    newer = write_run(tmp_path, "adaptive", **GROWING)
    values = yaml.safe_load((older / "config.yaml").read_text())
    del values["batch_norm"]
    (older / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    for run in (older, newer):
        meta = json.loads((run / "meta.json").read_text())
        config_values = yaml.safe_load((run / "config.yaml").read_text())
        (run / "meta.json").write_text(json.dumps({**meta, "config_hash": config_hash(config_values)}))
    comparison = compare(tmp_path)
    assert comparison.data.runs.damage.isna().all()
    assert len(comparison.matching.refused) == 0


def test_a_span_that_nobody_measured_is_not_undecided(tmp_path: Path) -> None:
    for seed in range(2):
        for arm, course in (("fixed", DECAYING), ("adaptive", GROWING)):
            write_run(tmp_path, arm, seed, spans={"data": 0.5, "forward": 0.5}, **course)
            edit_epochs(tmp_path / "digits-tiny_cnn" / arm / f"seed_{seed}", "backward_seconds", ["", ""])
    comparison = compare(tmp_path)
    verdicts = comparison.speedup.set_index("quantity").verdict
    assert verdicts["backward"] == "not measured"
    assert verdicts["forward"] == verdicts["total"] == "equal within 2 %"
    parts = next(table for table in make_tables(comparison) if table.name == "parts")
    assert parts.frame.part.tolist() == ["with tests", "forward", "updates"]
    assert parts.notes[-1] == "Not measured in any run: backward."
