"""A run whose ranks grow with its batch: segment by segment, as exact as one process."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import torch

from adabatch.rundir.evidence import collect_evidence
from adabatch.rundir.files import RunDir
from adabatch.rundir.state import read_state
from adabatch.rundir.states import State
from tests.adabatch.support import (
    TINY,
    adabatch_command,
    assert_equal_bits,
    largest_difference,
    read_rows,
    read_summary,
    run_command,
    without_seconds,
)
from tests.warm_python import warm_python

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("segments")]  # so that they share one undisturbed run

#: 64 samples; batches of 8, 16 and 32 on 1, 2 and 4 ranks, two epochs each.
GROWING = (
    *TINY, "network=alexnet", "hardware.precision=fp64", "dataset.num_train_samples=64", "schedule=adabatch",
    "schedule.batch_size=8", "schedule.every_epochs=2", "num_epochs=6",
)  # fmt: skip
RANKS = ("hardware.num_devices=4", "hardware.devices={8: 1, 16: 2, 32: 4}")
#: Rounding of float64 over a few updates.
TOLERANCE = 1e-12
COUNTED = ("updates", "samples", "batch_size", "learning_rate", "samples_dropped", "train_accuracy", "test_accuracy")


def run(*words, cwd, **environment):
    return run_command(*words, cwd=cwd, python=warm_python(), **environment)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(*GROWING, *RANKS, "run_dir=run", cwd=folder).returncode == 0
    return RunDir(folder / "run")


def state_of(run_dir):
    return torch.load(run_dir.checkpoint, weights_only=True)["state"]


def test_growing_ranks_change_nothing_but_rounding(undisturbed, tmp_path):
    assert run(*GROWING, "run_dir=one", cwd=tmp_path).returncode == 0
    one = RunDir(tmp_path / "one")
    assert largest_difference(one, undisturbed) < TOLERANCE
    for first, second in zip(read_rows(one), read_rows(undisturbed), strict=True):
        assert [first[name] for name in COUNTED] == [second[name] for name in COUNTED]
        assert float(first["train_loss"]) == pytest.approx(float(second["train_loss"]), rel=1e-12)
    assert [row["world_size"] for row in read_rows(undisturbed)] == ["1", "1", "2", "2", "4", "4"]
    assert [row["micro_batch_size"] for row in read_rows(undisturbed)] == ["8"] * 6
    states = state_of(one), state_of(undisturbed)
    assert torch.equal(states[0]["ledger"]["uses"], states[1]["ledger"]["uses"])
    assert states[0]["ledger"]["epochs"] == states[1]["ledger"]["epochs"]
    for key in ("schedule", "progress"):
        assert states[0][key] == states[1][key]
    momenta = [state["learner"]["optimizer"]["state"] for state in states]
    assert max(float((momenta[0][place]["momentum_buffer"] - momenta[1][place]["momentum_buffer"]).abs().max())
               for place in momenta[0]) < TOLERANCE  # fmt: skip


def test_the_clock_is_the_sum_of_the_segments_and_devices_are_paid_by_stage(undisturbed):
    rows = [{name: float(value) for name, value in row.items() if value} for row in read_rows(undisturbed)]
    assert [row["device_seconds"] / (row["train_seconds"] + row["growth_seconds"]) for row in rows] == pytest.approx(
        [1, 1, 2, 2, 4, 4]
    )
    assert rows[-1]["elapsed_seconds"] == pytest.approx(sum(row["train_seconds"] for row in rows), rel=1e-9)
    summary = read_summary(undisturbed)
    assert summary["state"] == "done"
    assert summary["world_size"] == 4
    assert summary["restarts"] == 0


#: What the log says when a run is in the middle of a segment, or at a boundary.
PLACES = ("epoch 1/6", "epoch 3 is trained by 2 ranks", "continues in epoch 3", "epoch 5 is trained by 4 ranks",
          "continues in epoch 5")  # fmt: skip


@pytest.mark.long
def test_a_run_that_is_killed_in_each_segment_and_at_each_boundary_ends_the_same(undisturbed, tmp_path):
    run_dir = RunDir(tmp_path / "run")
    words = (*GROWING, *RANKS, "checkpoint.every_seconds=0.01", "run_dir=run")
    for place in PLACES:
        seen = run_dir.log.read_text().count(place) if run_dir.log.exists() else 0
        process = subprocess.Popen(
            adabatch_command(*words),
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        while not run_dir.log.exists() or run_dir.log.read_text().count(place) == seen:
            assert process.poll() is None, place
            time.sleep(0.002)
        process.kill()
        process.wait()
        assert not run_dir.done.exists()
    assert run(*words, cwd=tmp_path).returncode == 0
    assert_equal_bits(undisturbed, run_dir)
    assert without_seconds(run_dir) == without_seconds(undisturbed)
    assert read_summary(run_dir)["ledger"] == read_summary(undisturbed)["ledger"]


def test_a_rank_that_a_job_started_ends_where_another_number_goes_on(tmp_path):
    """As on SLURM: the next job has two ranks, and nobody has started it."""
    words = (*GROWING, *RANKS, "run_dir=run")
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    assert run(*words, cwd=tmp_path, **alone).returncode == 76
    run_dir = RunDir(tmp_path / "run")
    assert read_summary(run_dir)["state"] == "segment-end"
    assert [row["epoch"] for row in read_rows(run_dir)] == ["1", "2"]
    [evidence] = collect_evidence([run_dir.path])
    found = read_state(evidence)
    assert (found.state, found.cause, found.epoch) == (State.SEGMENT_END, "epoch 3 is trained by 2 ranks", 2)
    assert read_summary(run_dir)["restarts"] == 0
    # Started by mistake once more with one rank, it trains nothing and says the same.
    before = run_dir.checkpoint.read_bytes()
    resume = [sys.executable, "-m", "adabatch.resume", "run", "--num-ranks", "1"]
    again = subprocess.run(resume, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 76, again.stderr
    assert read_summary(run_dir)["restarts"] == 1
    assert run_dir.checkpoint.read_bytes() == before
    wrong = subprocess.run([*resume[:-1], "3"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "hardware.devices is {8: 1, 16: 2, 32: 4}; it must be 3" in wrong.stderr


def test_rows_never_say_that_a_segment_is_finished_before_a_checkpoint_does(tmp_path):
    """Which job of a chain comes next follows from the rows: one too far could not train."""
    words = (*GROWING, *RANKS, "run_dir=run", "checkpoint.every_seconds=null")
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29512"}
    run_dir = RunDir(tmp_path / "run")
    run_dir.fresh_checkpoint.mkdir(parents=True)  # what a checkpoint is written to cannot be
    assert run(*words, cwd=tmp_path, **alone).returncode == 1
    assert not run_dir.checkpoint.exists()
    assert [row["epoch"] for row in read_rows(run_dir)] == ["1"]
    run_dir.fresh_checkpoint.rmdir()
    assert run(*words, cwd=tmp_path, **alone).returncode == 76
    assert [row["epoch"] for row in read_rows(run_dir)] == ["1", "2"]


def test_several_nodes_are_refused_on_one_machine_before_anything_is_trained(tmp_path):
    several = ("hardware.num_nodes=2", "hardware.num_devices=2", "hardware.devices={8: 1, 16: 2, 32: 4}")
    answer = run(*GROWING, *several, "run_dir=run", cwd=tmp_path)
    assert answer.returncode == 2
    assert "hardware.num_nodes is 2; start one process per rank with SLURM" in answer.stderr
    assert not (tmp_path / "run").exists()
