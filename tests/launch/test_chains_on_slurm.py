"""Runs whose ranks grow with their batch, on a real SLURM cluster: chains of jobs, the last one on two nodes."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import signal
import sys

import pytest

from adabatch.config import load_config, save_config
from adabatch.run import resume_run
from adabatch.rundir.attempts import read_attempts
from adabatch.rundir.files import RunDir
from tests.adabatch.support import assert_equal_bits, largest_difference, read_rows, read_summary, without_seconds
from tests.launch.support import write_sweep
from tests.support import wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm chains")]  # on a cluster of their own

#: Batches of 8, 16 and 32, two epochs each, on 1 rank, 2 ranks, and 2 nodes with 2 ranks each.
CHAIN = """
name: chain
overrides: ["network=slow_nets:Slow", dataset=synthetic, dataset.num_train_samples=640, dataset.num_test_samples=20,
  dataset.image_size=8, dataset.num_channels=1, dataset.num_classes=3, num_epochs=6, schedule.every_epochs=2,
  hardware.precision=fp64, hardware.num_threads=1, checkpoint.every_seconds=0.2, hardware.num_nodes=2,
  hardware.num_devices=2, "hardware.devices={8: 1, 16: 2, 32: 4}"]
seeds: [SEEDS]
baseline: adaptive
arms: {adaptive: [schedule=adabatch, schedule.batch_size=8]}
"""
#: A network without BatchNorm, so that ranks change nothing but rounding. In a job it computes little and takes its
#: time, in which a test can act.
SLOW_NETS = """
import os
import time

from torch import Tensor, nn


class Slow(nn.Sequential):
    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        if self.training and "SLURM_JOB_ID" in os.environ:
            time.sleep(0.03)
        return super().forward(images)
"""
#: The first two stages of it, both on one node.
SHORT = ("num_epochs=4", "hardware.num_nodes=1", "hardware.devices={8: 1, 16: 2}")
QUICK = ("cluster=slurm", "cluster.timeout_min=30", "cluster.cpus_per_task=1")
#: Rounding of float64 over 240 updates.
TOLERANCE = 1e-10


@pytest.fixture
def chain(cluster, launch, tmp_path, monkeypatch):
    (tmp_path / "slow_nets.py").write_text(SLOW_NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "slow_nets", raising=False)
    write_sweep(launch.config_dir, "chain", CHAIN.replace("SEEDS", "0"))
    return launch


def submit(launch, name, *words):
    answer = launch("submit", "sweep=chain", f"sweep.name={name}", *QUICK, *words)
    assert answer.status == 0, answer.err
    return answer.out


def job_ids(launch, name):
    return [job for record in launch.submissions(name) if record["event"] == "accepted" for job in record["jobs"]]


def wait_for_state(launch, name, *states):
    return wait_until(lambda: launch.only(name) if launch.only(name)["state"] in states else None)


def wait_for_end(launch, name, seconds=240.0):
    """Wait until a sweep's single run is neither queued nor running, and return its state."""
    return wait_until(
        lambda: state if (state := launch.only(name)["state"]) not in ("pending", "running") else None, seconds
    )


def trained_by_one(run_dir, folder):
    """Train the run of a directory once more, in this process, with one rank."""
    folder.mkdir()
    config = load_config(run_dir.config)
    alone = dataclasses.replace(config, run_dir=str(folder), hardware=config.hardware.with_ranks(1))
    save_config(alone, folder / "config.yaml")
    assert resume_run(folder) == 0
    return RunDir(folder)


def ends(run_dir):
    return [attempt.end.exit_status for attempt in read_attempts(run_dir.path) if attempt.end is not None]


@pytest.mark.timeout(1200)
def test_a_chain_ends_as_one_process_would_and_goes_on_wherever_it_was_killed(chain, cluster, tmp_path):
    submit(chain, "whole")
    jobs = job_ids(chain, "whole")
    assert len(jobs) == 3
    assert "nothing to submit (1 running or queued)" in submit(chain, "whole")
    waiting = cluster.run("scontrol", "show", "job", jobs[2])
    assert re.search(rf"Dependency=afterok:{jobs[1]}", waiting)
    assert re.search(r"NumNodes=2\b", waiting)
    assert re.search(r"NumTasks=4\b", waiting)
    assert wait_for_end(chain, "whole") == "done"
    run_dir = chain.run_dir("whole")
    wait_until(lambda: ends(run_dir) == [76, 76, 0])  # the job records it after DONE is there
    assert [row["world_size"] for row in read_rows(run_dir)] == ["1", "1", "2", "2", "4", "4"]
    segments = json.loads(run_dir.meta.read_text())["segments"]
    assert [segment["job_id"] for segment in segments] == jobs
    one = trained_by_one(run_dir, tmp_path / "one")
    assert largest_difference(one, run_dir) < TOLERANCE
    names = ("updates", "samples", "batch_size", "learning_rate", "train_accuracy", "test_accuracy")
    for first, second in zip(read_rows(one), read_rows(run_dir), strict=True):
        assert [first[name] for name in names] == [second[name] for name in names]
    assert read_summary(one)["ledger"] == read_summary(run_dir)["ledger"]
    assert "nothing to submit (1 done)" in submit(chain, "whole")

    kill_everywhere(chain, "killed")
    submit(chain, "killed")
    assert wait_for_end(chain, "killed") == "done"
    killed = chain.run_dir("killed")
    assert without_seconds(killed) == without_seconds(run_dir)
    assert_equal_bits(killed, run_dir)
    assert read_summary(killed)["ledger"] == read_summary(run_dir)["ledger"]


def test_chains_of_several_seeds_are_arrays_that_wait_task_by_task(chain, cluster):
    write_sweep(chain.config_dir, "chain", CHAIN.replace("SEEDS", "0, 1"))
    submit(chain, "arrays", *SHORT, "num_epochs=2", "schedule.every_epochs=1")
    accepted = [record["jobs"] for record in chain.submissions("arrays") if record["event"] == "accepted"]
    assert [len(jobs) for jobs in accepted] == [2, 2]
    arrays = [next(iter(jobs)).split("_")[0] for jobs in accepted]
    assert f"Dependency=aftercorr:{arrays[0]}" in cluster.run("scontrol", "show", "job", arrays[1])
    wait_until(lambda: not {"pending", "running"} & {run["state"] for run in chain.states("arrays").values()})
    assert [run["state"] for run in chain.states("arrays").values()] == ["done", "done"]


def test_a_forecast_times_the_averaging_of_gradients_within_a_node_and_between_nodes(chain, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    answer = chain("plan", "sweep=chain", "--forecast", *QUICK)
    assert answer.status == 0, answer.err
    assert answer.err.count("waiting for SLURM job") == 3  # the micro-batches, 2 ranks, and 4 ranks on two nodes
    assert "The ranks' averaging of gradients is included" in " ".join(answer.out.split())
    measured = chain.runs_dir / "chain" / ".launch" / "measured"
    seconds = [json.loads(path.read_text())["seconds"] for path in sorted(measured.rglob("averaging-*.json"))]
    assert len(seconds) == 2
    assert min(seconds) > 0


def kill(run_dir):
    """Kill the job of the run's last attempt, without a chance to record anything."""
    pid = read_attempts(run_dir.path)[-1].job.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def says(run_dir, text, times):
    return run_dir.log.exists() and run_dir.log.read_text().count(text) > times


#: What the log says in the middle of each segment, and at each boundary.
PLACES = ("epoch 1/6", "is trained by 2 ranks", "epoch 3/6", "is trained by 4 ranks", "epoch 5/6")


def kill_everywhere(chain, name):
    """Submit a chain and end it in the middle of each segment and at each boundary, by a kill and by the command."""
    for number, place in enumerate(PLACES):
        submit(chain, name)
        run_dir = chain.run_dir(name)
        seen = run_dir.log.read_text().count(place) if run_dir.log.exists() else 0
        wait_until(functools.partial(says, run_dir, place, seen))
        if number % 2 == 0:
            kill(run_dir)
        else:  # at a boundary the job may have ended: what is left is cancelled
            assert chain("cancel", str(chain.runs_dir / name)).status == 0
        left = wait_for_state(chain, name, "failed", "cancelled", "preempted", "segment-end", "lost")
        assert not run_dir.done.exists(), left
        wait_until(lambda: not {run["state"] for run in chain.states(name).values()} & {"running", "pending"})


def test_a_chain_that_breaks_before_its_checkpoint_begins_with_the_same_job(chain):
    """The rows of a finished segment without a checkpoint would let the next chain begin one job too far."""
    shown = submit(chain, "unsaved", *SHORT, "--dry-run")
    [name] = re.findall(r"the first for (\S+), epochs 1 to 2", shown)
    run_dir = RunDir(chain.runs_dir / "unsaved" / name)
    run_dir.fresh_checkpoint.mkdir(parents=True)  # what a checkpoint is written to cannot be
    submit(chain, "unsaved", *SHORT, "checkpoint.every_seconds=null")
    wait_for_state(chain, "unsaved", "failed")
    before = job_ids(chain, "unsaved")
    run_dir.fresh_checkpoint.rmdir()
    submit(chain, "unsaved", *SHORT, "checkpoint.every_seconds=null")
    assert len(job_ids(chain, "unsaved")) == len(before) + 2
    assert wait_for_end(chain, "unsaved") == "done"
    assert [row["world_size"] for row in read_rows(run_dir)] == ["1", "1", "2", "2"]


def test_a_preempted_job_of_a_chain_is_requeued_and_the_others_wait(chain, cluster):
    submit(chain, "preempted")
    jobs = job_ids(chain, "preempted")
    run_dir = chain.run_dir("preempted")
    wait_until(lambda: says(run_dir, "epoch 3/6", 0))
    cluster.run("scancel", "--signal=USR2", jobs[1])
    assert wait_for_end(chain, "preempted") == "done"
    wait_until(lambda: ends(run_dir) == [76, 75, 76, 0])
    assert job_ids(chain, "preempted") == jobs


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_job_of_a_chain_that_meets_its_time_limit_goes_on_and_the_others_wait(chain, cluster):
    """The first stage takes longer than its minute; at the limit its job is requeued, and the chain ends as planned."""
    words = ("dataset.num_train_samples=40000", "num_epochs=3", "schedule.every_epochs=1", "cluster.signal_delay_s=20")
    submit(chain, "limited", *words, "cluster.timeout_min=null", "cluster.time={1: 0:01:00, 2: 0:20:00, 4: 0:20:00}")
    jobs = job_ids(chain, "limited")
    assert wait_for_end(chain, "limited", 900.0) == "done"
    run_dir = chain.run_dir("limited")
    attempts = read_attempts(run_dir.path)
    assert attempts[0].end is not None
    assert attempts[0].end.stopped_by == "time limit"
    assert [attempt.job_id for attempt in attempts] == [*([jobs[0]] * (len(attempts) - 2)), *jobs[1:]]
    assert [row["world_size"] for row in read_rows(run_dir)] == ["1", "2", "4"]


def flip_a_bit(run_dir):
    content = bytearray(run_dir.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    run_dir.checkpoint.write_bytes(content)


def delete_checkpoints(run_dir):
    run_dir.checkpoint.unlink()
    run_dir.previous_checkpoint.unlink()


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("harm", [flip_a_bit, delete_checkpoints])
def test_a_chain_whose_checkpoint_lies_before_a_finished_segment_goes_back_to_it(chain, harm):
    """The rows say that the first segment is finished, and no checkpoint that can be read does."""
    submit(chain, "harmed")
    run_dir = chain.run_dir("harmed")
    wait_until(functools.partial(says, run_dir, "is trained by 2 ranks", 0))
    assert chain("cancel", str(chain.runs_dir / "harmed")).status == 0
    wait_for_state(chain, "harmed", "cancelled", "segment-end")
    harm(run_dir)
    assert "the first of a chain of 2" in submit(chain, "harmed")
    assert wait_for_end(chain, "harmed") == "segment-end"
    assert chain.only("harmed")["cause"].endswith("is trained by 1 rank")
    assert "the first of a chain of 3" in submit(chain, "harmed")
    assert wait_for_end(chain, "harmed") == "done"
    assert [row["world_size"] for row in read_rows(run_dir)] == ["1", "1", "2", "2", "4", "4"]


def test_a_cancelled_chain_is_submitted_anew_from_where_it_was(chain):
    submit(chain, "cancelled")
    run_dir = chain.run_dir("cancelled")
    wait_until(lambda: says(run_dir, "epoch 3/6", 0))
    answer = chain("cancel", str(chain.runs_dir / "cancelled"))
    assert answer.status == 0, answer.err
    wait_for_state(chain, "cancelled", "cancelled")
    before = job_ids(chain, "cancelled")
    submit(chain, "cancelled")
    assert len(job_ids(chain, "cancelled")) == len(before) + 2  # of 2 and of 4 ranks; the first segment is done
    assert wait_for_end(chain, "cancelled") == "done"


def test_each_job_of_a_chain_has_its_own_time_limit(chain, cluster):
    words = ("cluster.time={1: 0:40:00, 2: 30:00:00, 4: 0:20:00}", "cluster.time.2=1-06:30:00")
    answer = chain("submit", "sweep=chain", "sweep.name=limits", "cluster=slurm", "cluster.cpus_per_task=1", *words)
    assert answer.status == 0, answer.err
    shown = [cluster.run("scontrol", "show", "job", job) for job in job_ids(chain, "limits")]
    assert re.findall(r"TimeLimit=(\S+)", "".join(shown)) == ["00:40:00", "1-06:30:00", "00:20:00"]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (
            "cluster.max_concurrent_jobs=2",
            "cluster.max_concurrent_jobs is 2; it must be null where hardware.devices is",
        ),
        ("cluster.block=seed", "cluster.block is seed; it must be null where hardware.devices is given"),
        ("cluster.sbatch.gres=gpu:4", "cluster.sbatch asks for GPUs; where hardware.devices is given"),
    ],
)
def test_settings_that_do_not_go_with_chains_are_refused(chain, word, sentence):
    answer = chain("submit", "sweep=chain", *QUICK, word)
    assert answer.status == 2
    assert sentence in answer.err
