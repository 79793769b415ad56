"""States told from run directories alone, and SLURM's answers read."""

from __future__ import annotations

import json
import os
import re
import socket
import time

import pytest

from adabatch.errors import ConfigError
from adabatch.rundir.files import RunDir
from adabatch.rundir.journal import Journal
from adabatch.rundir.outcome import Failure, mark_done, mark_failed
from adabatch.rundir.process_identity import ProcessIdentity, this_process
from adabatch.rundir.records import append_record, read_records
from adabatch.rundir.states import State
from launch.slurm import expand_job_id
from launch.status import read_status, states_to_submit


@pytest.fixture
def run_dir(tmp_path):
    folder = RunDir(tmp_path / "cell" / "arm" / "seed_0")
    folder.path.mkdir(parents=True)
    folder.config.write_text("seed: 0\nnum_epochs: 20\n")
    return folder


def status(run_dir: RunDir):
    (found,) = read_status(run_dir.path.parents[2])
    return found


def beat(run_dir: RunDir, *, age: float = 0.0, host: str = "elsewhere", **values) -> None:
    beats = {"time": time.time() - age, "host": host, "pid": 1, "epoch": 6, "num_epochs": 20, "updates": 1}
    beats |= {"samples_in_epoch": 500, "epoch_samples": 1000, "elapsed_seconds": 100.0, "wall_seconds": 110.0}
    run_dir.progress.write_text(json.dumps(beats | values))


def attempt(run_dir: RunDir, event: str, **values) -> None:
    append_record(run_dir.attempts, {"event": event, **values})


def test_missing_until_something_happens(run_dir):
    found = status(run_dir)
    assert (found.state, found.num_epochs, found.attempts, found.name) == (State.MISSING, 20, 0, "cell/arm/seed_0")


def test_done_goes_before_everything(run_dir):
    run_dir.summary.write_text(json.dumps({"state": "done", "epochs": 20, "num_epochs": 20}))
    attempt(run_dir, "end", exit_status=1)
    mark_done(run_dir, "20 epochs")
    assert (status(run_dir).state, status(run_dir).epoch) == (State.DONE, 20)


def test_fresh_heartbeat_of_another_host_is_running_with_an_eta(run_dir):
    beat(run_dir)
    found = status(run_dir)
    assert (found.state, found.epoch) == (State.RUNNING, 6)
    # 5.5 of 20 epochs in 110 s: 20 s each, 14.5 are left
    assert found.eta_seconds == pytest.approx(290.0)


def test_stale_heartbeat_is_lost(run_dir):
    beat(run_dir, age=61)
    assert status(run_dir).state is State.LOST
    assert re.search("no sign of life for 6[1-9] s", status(run_dir).cause)


def test_fresh_heartbeat_of_a_dead_process_here_is_lost(run_dir):
    beat(run_dir, host=socket.gethostname(), pid=2**22 - 3)
    assert status(run_dir).state is State.LOST
    beat(run_dir, host=socket.gethostname(), pid=os.getpid())
    assert status(run_dir).state is State.RUNNING


def test_attempt_without_end_is_running_or_lost(run_dir):
    attempt(run_dir, "start", **this_process().as_dict())
    assert status(run_dir).state is State.RUNNING
    attempt(run_dir, "start", **{**this_process().as_dict(), "pid": 2**22 - 3})
    assert (status(run_dir).state, status(run_dir).attempts) == (State.LOST, 2)


@pytest.mark.parametrize(
    ("end", "state", "cause"),
    [
        ({"exit_status": 75}, State.PREEMPTED, "stopped by a signal"),
        ({"exit_status": -9}, State.FAILED, "the trainer was killed by SIGKILL"),
        ({"exit_status": 3}, State.FAILED, "the trainer exited with 3"),
        ({"exit_status": 75, "stopped_by": "time limit", "gave_up": True}, State.TIMEOUT, "0 retries used up"),
        ({"exit_status": 75, "stopped_by": "preemption"}, State.PREEMPTED, "stopped by a preemption"),
    ],
)
def test_ends_of_attempts(run_dir, end, state, cause):
    attempt(run_dir, "start", **this_process().as_dict())
    attempt(run_dir, "end", **end)
    found = status(run_dir)
    assert found.state is state
    assert cause in found.cause


def test_causes_of_failures(run_dir):
    mark_failed(run_dir, Failure("NonFiniteLoss", "the loss became NaN in epoch 3", "Traceback"))
    found = status(run_dir)
    assert (found.state, found.cause) == (State.FAILED, "NonFiniteLoss: the loss became NaN in epoch 3")
    assert found.log == run_dir.failed
    mark_failed(run_dir, Failure("OutOfMemory", "a micro-batch of 512 does not fit", "Traceback"))
    assert status(run_dir).state is State.OUT_OF_MEMORY


def test_preempted_run_of_the_trainer_alone(run_dir):
    beat(run_dir)
    run_dir.summary.write_text(json.dumps({"state": "preempted", "cause": "stopped by SIGTERM", "epochs": 4}))
    found = status(run_dir)
    assert (found.state, found.cause, found.epoch) == (State.PREEMPTED, "stopped by SIGTERM", 4)


@pytest.mark.parametrize("ended_at", [{}, {"ended_at": time.time() - 100}])
def test_a_newer_attempt_goes_before_an_older_summary(run_dir, ended_at):
    run_dir.summary.write_text(json.dumps({"state": "preempted", "cause": "stopped by SIGTERM", **ended_at}))
    os.utime(run_dir.summary, (time.time() - 100,) * 2)
    beat(run_dir)
    assert (status(run_dir).state, status(run_dir).epoch) == (State.RUNNING, 6)


def test_local_queue_keeps_its_runs_pending(run_dir):
    journal = Journal(run_dir.path.parents[2])
    journal.create()
    journal.record_queue(["cell/arm/seed_0"], "x", this_process())
    assert status(run_dir).state is State.PENDING
    attempt(run_dir, "start", **{**this_process().as_dict(), "pid": 2**22 - 3})
    attempt(run_dir, "end", exit_status=75)
    assert status(run_dir).state is State.PREEMPTED


def test_damaged_files_do_not_stop_a_status(run_dir):
    run_dir.progress.write_text('{"time": 17')
    run_dir.summary.write_bytes(b"\xff\xfe")
    (run_dir.path / "attempts.jsonl").write_text('{"event": "sta')
    assert status(run_dir).state is State.LOST


def test_torn_line_is_skipped_and_closed(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_record(path, {"n": 1})
    with open(path, "a") as file:
        file.write('{"n": 2, "tor')
    append_record(path, {"n": 3})
    assert [record["n"] for record in read_records(path)] == [1, 3]


def test_latest_submission_counts(tmp_path):
    journal = Journal(tmp_path)
    journal.create()
    intent = journal.record_intent("t", "sweep-t", [["a"], ["b", "c"]], "x")
    assert journal.unanswered_intents() == [intent]
    journal.record_acceptance(intent, ["7_0", "7_1"])
    journal.record_queue(["b"], "y", ProcessIdentity("elsewhere", 1))
    latest = journal.latest_submissions()
    assert {name: found.job_id for name, found in latest.items()} == {"a": "7_0", "b": None, "c": "7_1"}
    assert journal.unanswered_intents() == []
    assert journal.accepted_job_ids() == ["7_0", "7_1"]


def test_damaged_lines_of_the_journal_are_skipped(tmp_path):
    journal = Journal(tmp_path)
    journal.create()
    lines = [
        '{"event": "accepted"}',
        '{"event": "accepted", "jobs": 3, "token": "t", "logs": "x"}',
        '{"event": []}',
        "[]",
    ]
    (journal.folder / "submissions.jsonl").write_text("\n".join(lines))
    assert journal.latest_submissions() == {}
    assert journal.unanswered_intents() == []


def test_no_runs_cost_a_sentence(launch, tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_status(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="holds no run"):
        read_status(tmp_path)
    assert launch("status", str(tmp_path / "nowhere")).status == 2
    assert launch("cancel", str(tmp_path)).status == 2


@pytest.mark.slow
def test_many_runs_are_listed_by_what_matters(launch, run_dir, tmp_path):
    for seed in range(1, 1000):
        other = RunDir(run_dir.path.with_name(f"seed_{seed}"))
        other.path.mkdir()
        other.config.write_text("num_epochs: 20\n")
        other.done.write_text("done\n")
    mark_failed(run_dir, Failure("DiskFull", "no space", ""))
    answer = launch("status", str(tmp_path))
    assert answer.status == 1
    assert "1,000 runs: 999 done, 1 failed" in answer.out
    assert "DiskFull: no space" in answer.out
    assert len(answer.out.splitlines()) < 20
    assert len(json.loads(launch("status", str(tmp_path), "--format", "json").out)) == 1000


def test_one_run_is_not_called_runs_and_one_try_takes_no_column(launch, run_dir):
    attempt(run_dir, "start", **this_process().as_dict())
    attempt(run_dir, "end", exit_status=75)
    once = launch("status", str(run_dir.path)).out
    assert ": 1 run: 1 preempted" in once
    assert "tries" not in once
    attempt(run_dir, "start", **this_process().as_dict())
    attempt(run_dir, "end", exit_status=75)
    lines = launch("status", str(run_dir.path)).out.splitlines()
    head, row = (line.split() for line in lines if "tries" in line or "preempted  " in line)
    assert (head[-1], row[-1]) == ("tries", "2")


def test_watch_ends_when_all_is_settled(launch, run_dir, tmp_path):
    run_dir.done.write_text("done\n")
    assert launch("status", str(tmp_path), "--watch", "0.2").status == 0


@pytest.mark.parametrize(
    ("listed", "single"),
    [
        ("12", ["12"]),
        ("12_3", ["12_3"]),
        ("12_[1-3%1]", ["12_1", "12_2", "12_3"]),
        ("12_[0,4-5]", ["12_0", "12_4", "12_5"]),
        ("12_[0-6:3]", ["12_0", "12_3", "12_6"]),
    ],
)
def test_job_ids_of_arrays(listed, single):
    assert expand_job_id(listed) == single


def test_retry_chooses_states():
    assert states_to_submit(["failed", "timeout"]) == {State.FAILED, State.TIMEOUT, State.MISSING}
    assert State.DONE not in states_to_submit(None)
    assert State.RUNNING not in states_to_submit(None)
    assert State.CANCELLED in states_to_submit(None)
