"""What a reader is told of the runs as a whole: cost, drift, outliers, interim looks, and what was declared before."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

import analysis
from adabatch.rundir.preregistration import read_registrations, register
from analysis import Comparison
from analysis.formats import to_csv, to_json
from analysis.tables import make_tables
from tests.analysis.runs import edit_epochs, write_run

DECAYING: dict[str, Any] = {"batches": (10, 10), "rates": (0.01, 0.005)}
GROWING: dict[str, Any] = {"batches": (10, 20), "rates": (0.01, 0.01)}
DECLARED: dict[str, Any] = {
    "name": "hand",
    "baseline": "fixed",
    "target": 0.8,
    "margin": 1.0,
    "smallest_effect": 0.02,
    "seeds": [0, 1],
}


def compare(root: Path, **options: Any) -> Comparison:
    return analysis.compare(analysis.load(root), **options)


def test_a_look_before_all_declared_runs_are_done_is_called_interim(tmp_path: Path) -> None:
    launch = {"num_planned_runs": 4}
    write_run(tmp_path, "fixed", 0, launch=launch, **DECAYING)
    write_run(tmp_path, "adaptive", 0, launch=launch, **GROWING)
    [remark] = compare(tmp_path).remarks
    assert remark == "hand: interim, 2 of the 4 declared runs are done; verdicts may still change"
    write_run(tmp_path, "fixed", 1, launch=launch, **DECAYING)
    write_run(
        tmp_path, "adaptive", 1, launch=launch, accuracies=(0.1,), state="failed", cause="NonFiniteLoss: nan",
        batches=10, rates=(0.01,), changes={"num_epochs": 2},
    )  # fmt: skip
    assert compare(tmp_path).remarks == ()  # a failed run is done with, too


def test_a_quick_look_is_called_one(tmp_path: Path) -> None:
    for arm, course in (("fixed", DECAYING), ("adaptive", GROWING)):
        write_run(tmp_path, arm, 0, changes={"quick": True}, **course)
    assert "hand: a quick look at few samples and epochs, which proves nothing" in compare(tmp_path).remarks


def test_an_outlier_is_named_and_counted(tmp_path: Path) -> None:
    for seed in range(10):
        seconds = 10 + 0.01 * seed
        write_run(tmp_path, "fixed", seed, epoch_seconds=40 if seed == 4 else seconds, **DECAYING)
        write_run(tmp_path, "adaptive", seed, epoch_seconds=seconds / 2, **GROWING)
    comparison = compare(tmp_path)
    assert "the seconds of 1 run are an outlier; they stay in the numbers: fixed with seed 4" in comparison.remarks
    total = comparison.speedup[comparison.speedup.quantity == "total"].iloc[0]
    assert total.n == 10
    assert total.value == pytest.approx(2 * (40 / 10.04) ** 0.1)


def test_outliers_of_a_grid_are_one_sentence_and_all_of_them_in_json_and_csv(tmp_path: Path) -> None:
    for level in range(6):
        for seed in range(30):
            name = f"fixed,optimizer.momentum=0.{level}"
            is_slow = seed == 4 or (level == 0 and seed % 2 == 0 and seed < 24)
            write_run(
                tmp_path, name, seed, epoch_seconds=40 if is_slow else 10 + 0.01 * seed,
                launch={"swept": {"optimizer.momentum": level / 10}}, baseline=name, **DECAYING,
            )  # fmt: skip
    comparison = compare(tmp_path)
    [remark] = comparison.remarks
    assert remark == (
        "the seconds of 17 runs are outliers; they stay in the numbers: "
        "fixed with seeds 0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and 2 more (momentum=0.0); "
        "fixed with seed 4 (momentum=0.1); fixed with seed 4 (momentum=0.2); fixed with seed 4 (momentum=0.3); "
        "fixed with seed 4 (momentum=0.4) and 1 more"
    )
    outliers = json.loads(to_json(comparison))["outliers"]
    assert sorted(one["seed"] for one in outliers) == sorted([*range(0, 24, 2), 4, 4, 4, 4, 4])
    rows = [row for row in csv.DictReader(io.StringIO(to_csv(comparison))) if row["table"] == "outliers"]
    assert [float(row["value"]) for row in rows] == [12, 1, 1, 1, 1, 1]
    assert [len(row["runs"].split()) for row in rows] == [12, 1, 1, 1, 1, 1]


def test_drift_of_the_machine_is_told(tmp_path: Path) -> None:
    for seed in range(10):
        for place, (arm, course, seconds) in enumerate((("fixed", DECAYING, 10.0), ("adaptive", GROWING, 5.0))):
            hour = 2 * seed + place
            started = f"2026-01-01T{hour:02}:00:00+00:00"
            write_run(
                tmp_path, arm, seed, epoch_seconds=seconds * (1 + 0.02 * hour),
                meta={"started_at": started, "host": "a"}, **course,
            )  # fmt: skip
    [remark] = compare(tmp_path).remarks
    assert remark.startswith("the seconds of equal work changed by +")
    assert "within 19 h 00 min (p < 0.001):" in remark
    assert remark.endswith("the machine may have drifted")


def test_the_cost_holds_failed_and_lost_work(tmp_path: Path) -> None:
    # two epochs of 10 s with 1 s of tests each: 22 s on one device, and 14 s of a segment that was killed
    write_run(tmp_path, "fixed", 0, **DECAYING)
    write_run(tmp_path, "fixed", 1, meta={"lost_seconds": 14}, **DECAYING)
    write_run(
        tmp_path, "adaptive", 0, accuracies=(0.1,), state="failed", cause="NonFiniteLoss: nan", batches=10,
        rates=(0.01,), changes={"num_epochs": 2},
    )  # fmt: skip
    cost = compare(tmp_path).cost.set_index("arm")
    assert cost.device_hours["fixed"] == pytest.approx((22 + 22 + 14) / 3600)
    assert cost.unfinished_hours["fixed"] == pytest.approx(14 / 3600)
    assert cost.unfinished_hours["adaptive"] == cost.device_hours["adaptive"] == pytest.approx(11 / 3600)


def test_every_cell_counts_once_over_all_cells(tmp_path: Path) -> None:
    for cell, ratio, seeds in (("digits-tiny_cnn", 2.0, 3), ("digits-resnet14", 8.0, 1)):
        for seed in range(seeds):
            write_run(tmp_path, "fixed", seed, cell=cell, epoch_seconds=8 + seed, **DECAYING)
            write_run(tmp_path, "adaptive", seed, cell=cell, epoch_seconds=(8 + seed) / ratio, **GROWING)
    [found] = compare(tmp_path).overall.itertuples()
    assert (found.arm, found.cells, found.speedup) == ("adaptive", 2, pytest.approx(4.0))


def overall_rows(root: Path) -> list[list[str]]:
    [table] = [table for table in make_tables(compare(root)) if table.name == "overall"]
    return table.rows


@pytest.mark.parametrize(
    ("finals", "text"),
    [
        # 90 and 50, three times the same: -40 points; 90 and 90 on 359 samples: 0.0 +- 0.28 points, equivalent
        ((0.9, 0.9), "2.00x"),
        ((0.5, 0.9), "2.00x, at up to 40 points less in 1 of 2 cells"),
        ((0.5, 0.2), "2.00x, at up to 70 points less in 2 of 2 cells"),
    ],
)
def test_a_speedup_of_a_worse_arm_is_marked_over_all_cells_too(
    tmp_path: Path, finals: tuple[float, float], text: str
) -> None:
    for cell, final in zip(("digits-tiny_cnn", "digits-resnet14"), finals, strict=True):
        for seed in range(3):
            write_run(tmp_path, "fixed", seed, cell=cell, epoch_seconds=8 + seed, **DECAYING)
            course = {**GROWING, "accuracies": (0.5, final)}
            write_run(tmp_path, "adaptive", seed, cell=cell, epoch_seconds=(8 + seed) / 2, **course)
    [row] = overall_rows(tmp_path)
    assert row[:3] == ["adaptive", "2", text]


def test_a_speedup_at_an_unknown_quality_is_marked_over_all_cells_too(tmp_path: Path) -> None:
    for cell in ("digits-tiny_cnn", "digits-resnet14"):
        for seed in range(2):
            write_run(tmp_path, "fixed", seed, cell=cell, **DECAYING)
            write_run(tmp_path, "adaptive", seed, cell=cell, **GROWING)
    failed: dict[str, Any] = {"accuracies": (0.1,), "batches": 10, "rates": (0.01,), "changes": {"num_epochs": 2}}
    write_run(tmp_path, "adaptive", 2, state="failed", cause="NonFiniteLoss: nan", **failed)
    [row] = overall_rows(tmp_path)
    assert row[2] == "1.00x, test accuracy undecided in 1, test accuracy without a verdict in 1 of 2 cells"


def test_a_copy_counts_once_over_all_cells(tmp_path: Path) -> None:
    # 2, 2 again in a copy with the same seconds, and 8: a geometric mean of 4; the other cell has 4, too
    for seed, (work, ratio) in enumerate([(0, 2.0), (0, 2.0), (1, 8.0)]):
        for arm, seconds, course in (("fixed", 8 + work, DECAYING), ("adaptive", (8 + work) / ratio, GROWING)):
            written = write_run(tmp_path, arm, seed, epoch_seconds=seconds, **course)
            edit_epochs(written, "test_loss", [1 + work, 0.5 + work])
    write_run(tmp_path, "fixed", 0, cell="digits-resnet14", epoch_seconds=8, **DECAYING)
    write_run(tmp_path, "adaptive", 0, cell="digits-resnet14", epoch_seconds=2, **GROWING)
    [found] = compare(tmp_path).overall.itertuples()
    assert found.speedup == pytest.approx(4.0)


def sweep(root: Path) -> Path:
    folder = root / "hand"
    (folder / ".launch").mkdir(parents=True)
    (folder / "sweep.yaml").write_text("name: hand\n")
    launch = {name: DECLARED[name] for name in ("target", "margin", "smallest_effect")}
    for seed in range(2):
        write_run(folder, "fixed", seed, launch=launch, **DECAYING)
        write_run(folder, "adaptive", seed, launch=launch, **GROWING)
    return folder


def test_what_was_declared_before_the_runs_is_told(tmp_path: Path) -> None:
    folder = sweep(tmp_path)
    assert compare(folder).registrations == ()
    digest = register(folder, DECLARED, 0)
    assert register(folder, DECLARED, 2) == digest
    assert len(read_registrations(folder)) == 1
    [sentence] = compare(folder).registrations
    assert sentence.startswith("hand: registered ")
    assert sentence.endswith(f"as {digest}; unchanged.")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"target": 0.7}, "target"), ({"margin": 2.0, "smallest_effect": 0.1}, "margin, smallest effect")],
)
def test_a_comparison_by_something_else_than_was_declared_says_so(
    tmp_path: Path, options: dict[str, float], words: str
) -> None:
    folder = sweep(tmp_path)
    register(folder, DECLARED, 0)
    [sentence] = compare(folder, **options).registrations
    assert sentence.endswith(f"this comparison uses another {words}.")


def test_a_declaration_that_changed_after_results_were_known_says_so(tmp_path: Path) -> None:
    folder = sweep(tmp_path)
    register(folder, {**DECLARED, "target": 0.9}, 0)
    second = register(folder, DECLARED, 3)
    [sentence] = compare(folder).registrations
    assert sentence.endswith(f"changed after 3 runs were done (target), now {second}.")


def test_a_test_set_too_small_for_the_margin_is_told_with_the_size_that_would_do(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "fixed", seed, accuracies=(0.1, 0.8), changes={"dataset.num_test_samples": 40})
        write_run(tmp_path, "other", seed, accuracies=(0.1, 0.8), changes={"dataset.num_test_samples": 40})
    comparison = compare(tmp_path, margin=2.0)
    found = comparison.quality.query("arm == 'other'").iloc[0]
    assert (found.verdict, found.test_samples) == ("undecided: the test set is too small", 40)
    # a sample is 2.5 points; half of the margin of 2 takes 100
    assert comparison.remarks == (
        "no number of seeds decides a margin of 2 points with 40 test samples for other; with about 100 test samples, "
        "more seeds would",
    )


def test_many_runs_without_a_number_are_one_row_for_each_reason(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0, **DECAYING)
    for seed in range(1, 31):
        write_run(
            tmp_path, "fixed", seed, state="failed", cause="DataError: cut" if seed < 30 else "DiskFull", **DECAYING
        )
    [table] = [table for table in make_tables(compare(tmp_path)) if table.name == "unfinished"]
    assert table.columns == ["arm", "seeds", "state", "cause"]
    assert table.rows == [
        ["fixed", f"{', '.join(map(str, range(1, 21)))} and 9 more", "failed", "DataError: cut"],
        ["fixed", "30", "failed", "DiskFull"],
    ]
