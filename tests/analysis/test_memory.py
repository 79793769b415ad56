"""Memory recorded by runs: in the frames, and against the batch size, by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import analysis
from adabatch.errors import ConfigError
from analysis.dashboard_view import Choice, view
from analysis.figures.alternative import alternative_text
from analysis.figures.marks import Points, Rule
from analysis.figures.memory import memory
from analysis.live import Watcher
from tests.analysis.figures_of import GROUP, picture
from tests.analysis.runs import edit_epochs, write_run
from tests.analysis.sweeps import on_a_gpu

MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30


def points(root: Path) -> dict[str, Points]:
    return {mark.label: mark for mark in picture(root, "memory").marks if isinstance(mark, Points)}


def test_a_run_has_the_largest_of_its_epochs(tmp_path: Path) -> None:
    run = write_run(tmp_path, "fixed", 0, accuracies=(0.1, 0.2, 0.3))
    edit_epochs(run, "peak_memory_bytes", [5 * MEBIBYTE, 7 * MEBIBYTE, 6 * MEBIBYTE])
    data = analysis.load(tmp_path)
    assert list(data.epochs.peak_memory_bytes) == [5 * MEBIBYTE, 7 * MEBIBYTE, 6 * MEBIBYTE]
    assert data.runs.peak_memory_bytes.tolist() == [7 * MEBIBYTE]


def test_memory_of_some_epochs_only_is_no_damage_and_unknown_for_the_run(tmp_path: Path) -> None:
    """So it is where a run went on on a CPU, or began with a version that did not record it."""
    run = write_run(tmp_path, "fixed", 0, accuracies=(0.1, 0.2, 0.3))
    edit_epochs(run, "peak_memory_bytes", ["", 7 * MEBIBYTE, 6 * MEBIBYTE])
    data = analysis.load(tmp_path)
    assert data.runs.damage.isna().all()
    assert data.runs.peak_memory_bytes.isna().all()
    assert data.epochs.peak_memory_bytes.isna().tolist() == [True, False, False]
    assert memory(data, GROUP).peak_bytes.tolist() == [7 * MEBIBYTE]


def test_a_file_from_before_the_column_is_read(tmp_path: Path) -> None:
    run = write_run(tmp_path, "fixed", 0)
    frame = pd.read_csv(run / "epochs.csv").drop(columns="peak_memory_bytes")
    frame.to_csv(run / "epochs.csv", index=False, lineterminator="\n")
    data = analysis.load(tmp_path)
    assert data.runs.damage.isna().all()
    assert data.epochs.peak_memory_bytes.isna().all()


@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_memory_that_cannot_be_is_damage(tmp_path: Path, value: float) -> None:
    run = write_run(tmp_path, "fixed", 0)
    edit_epochs(run, "peak_memory_bytes", [MEBIBYTE, value])
    [damage] = analysis.load(tmp_path).runs.damage
    assert damage == "epochs.csv holds a value of peak_memory_bytes that is not a whole number of at least 1"


def test_memory_against_batch_size_by_hand(tmp_path: Path) -> None:
    frame = memory(analysis.load(on_a_gpu(tmp_path)), GROUP)
    grown = frame[frame.arm == "growing"]
    assert grown.batch_size.tolist() == [10, 40, 160]
    # the third of three seeds has 2 MiB more: 64 + 80 + 2, 64 + 320 + 2, 64 + 1280 + 2
    assert grown.peak_bytes.tolist() == [146 * MEBIBYTE, 386 * MEBIBYTE, 1346 * MEBIBYTE]
    assert grown.low_bytes.tolist() == [144 * MEBIBYTE, 384 * MEBIBYTE, 1344 * MEBIBYTE]
    assert grown.n.tolist() == [3, 3, 3]
    assert set(frame.device) == {"a GPU"}
    assert set(frame.graphs) == {"CUDA graphs"}


def test_the_picture_has_a_point_for_each_arm_and_batch_size_and_what_the_gpu_has(tmp_path: Path) -> None:
    found = picture(on_a_gpu(tmp_path), "memory")
    assert found.y.label == "peak memory, GiB"
    by_arm = {mark.label: mark for mark in found.marks if isinstance(mark, Points)}
    assert by_arm["growing"].y == pytest.approx([146 / 1024, 386 / 1024, 1346 / 1024])
    assert by_arm["growing"].hover[-1] == "1.31 GiB at batch 160<br>n = 3 runs"
    assert by_arm["large"].y == pytest.approx([1346 / 1024])
    assert [(rule.value, rule.axis, rule.label) for rule in found.marks if isinstance(rule, Rule)] == [
        (2.0, "y", "memory of the GPU")
    ]
    assert "growing: 0.143 GiB at batch 10, 1.31 GiB at batch 160" in alternative_text(found)
    # fixed and growing share a batch size, and growing and large another one
    assert by_arm["fixed"].x[0] < 10 < by_arm["growing"].x[0]


def test_a_gpu_that_has_far_more_is_told_in_a_sentence(tmp_path: Path) -> None:
    found = picture(on_a_gpu(tmp_path, device_bytes=80 * GIBIBYTE), "memory")
    assert not any(isinstance(mark, Rule) for mark in found.marks)
    assert "a GPU has 80 GiB." in found.notes


def test_a_small_memory_is_in_mebibytes_and_accumulation_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path, "fixed", 0, batches=(10, 20), meta={"device_memory_bytes": None})
    edit_epochs(run, "peak_memory_bytes", [100 * MEBIBYTE, 100 * MEBIBYTE])
    edit_epochs(run, "micro_batch_size", [10, 10])
    edit_epochs(run, "accumulation_steps", [1, 2])
    found = picture(tmp_path, "memory")
    assert found.y.label == "peak memory, MiB"
    assert list(points(tmp_path)["fixed"].y) == [100, 100]
    assert "Larger batches are accumulated from micro-batches of at most 10, and need no more." in found.notes


def test_runs_on_a_cpu_have_no_such_picture(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0)
    assert picture(tmp_path, "memory").empty == "No run of this group recorded memory: runs on GPUs do, since 0.2.0."
    with pytest.raises(ConfigError, match="There is nothing to draw: No run of this group recorded memory"):
        analysis.save_figure(analysis.load(tmp_path), tmp_path / "f.svg", ["memory"])


@pytest.mark.parametrize("on_gpu", [True, False])
def test_the_dashboard_hides_it_while_there_are_no_numbers(tmp_path: Path, on_gpu: bool) -> None:
    if on_gpu:
        on_a_gpu(tmp_path)
    else:
        write_run(tmp_path, "fixed", 0)
    parts, _ = view(Watcher(tmp_path, min_seconds=0.0).look(), Choice(), {})
    assert parts["memory_card"] == (not on_gpu)
    assert not parts["throughput_card"]
    assert not parts["speedup_card"]  # which says in a sentence what is missing


@pytest.mark.slow
def test_it_is_in_report_and_paper_where_there_are_numbers(tmp_path: Path) -> None:
    data = analysis.load(on_a_gpu(tmp_path / "runs"))
    page = analysis.write_report(analysis.compare(data), tmp_path / "report.html", "memory").read_text(encoding="utf-8")
    assert "figure-1-memory" in page
    analysis.save_figure(data, tmp_path / "figure.svg", ["memory"])
    assert "peak memory, GiB" in (tmp_path / "figure.svg").read_text(encoding="utf-8")
