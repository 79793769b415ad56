"""Sweeps on this machine, with the real trainer."""

from __future__ import annotations

import json
import os
import pty
import signal
import time
from pathlib import Path

import pytest

from adabatch.config import load_config
from adabatch.errors import EXIT_PREEMPTED
from adabatch.rundir.cores import available_cores
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import read_meta
from adabatch.rundir.process_identity import ProcessIdentity, start_time
from tests.support import wait_until

pytestmark = pytest.mark.slow

LOCAL = "cluster=local"
NEVER_ENDING = ("num_epochs=100000", "schedule.every_epochs=100000")


def attempts(path: Path | str) -> list[dict]:
    file = Path(path) / "attempts.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def close_pipes(shell):
    """Let go of a killed shell's output, which the jobs that it started hold open."""
    shell.stdout.close()
    shell.stderr.close()


def runs_of(launch, sweep):
    return list(launch.states(sweep).values())


def test_sweep_runs_once_and_records_how(launch):
    words = ("sweep=two", "sweep.seeds=[0]", "sweep.overrides=" + "[network=tiny_cnn,dataset=digits,num_epochs=1]")
    answer = launch("submit", *words, LOCAL, "--jobs", "2")
    assert answer.status == 0, answer.out + answer.err
    assert "2 of 2 runs done, 0 failed" in answer.out
    assert "[2/2] done " in answer.out
    for run in runs_of(launch, "two"):
        assert (run["state"], run["epoch"], run["num_epochs"], run["attempts"]) == ("done", 1, 1, 1)
        config = load_config(Path(run["run_dir"]) / "config.yaml")
        assert config.hardware.num_threads == max(1, available_cores() // 2)
        meta = json.loads((Path(run["run_dir"]) / "meta.json").read_text())["launch"]
        assert (meta["concurrent_runs"], meta["runs_per_job"], meta["sweep"]) == (2, 1, "two")
        assert (meta["baseline"], meta["cell"], meta["varied"]) == ("fixed", "digits-tiny_cnn", [])
        assert meta["arm"] == run["name"].split("/")[1]
    assert (launch.runs_dir / "two" / "sweep.yaml").exists()

    again = launch("submit", *words, LOCAL)
    assert (again.status, "nothing to submit (2 done)" in again.out) == (0, True)
    other = launch("submit", *words, LOCAL, "optimizer.momentum=0.5")
    assert other.status == 2
    assert "another config. optimizer.momentum is 0.5, the saved one is 0.9." in other.err
    assert "Give the sweep another name with sweep.name=NAME, repeat the call with the saved values" in other.err
    more = launch("submit", *words, LOCAL, "sweep.seeds=[0,1]")
    assert "submitting 2 runs (2 done)" in more.out


def test_failed_run_does_not_stop_the_others(launch):
    words = (
        "sweep=two",
        "sweep.seeds=[0]",
        "sweep.arms.adaptive=[schedule=adabatch,schedule.batch_size=8,optimizer.learning_rate=1e30]",
        *("--allow", "rate-differs", "--jobs", "2"),
    )
    answer = launch("submit", *words, LOCAL)
    assert answer.status == 1
    assert "1 of 2 runs done, 1 failed" in answer.out
    assert "failed synthetic-tiny_cnn/adaptive/seed_0" in answer.out
    assert "NonFiniteLoss" in answer.out
    status = launch("status", str(launch.runs_dir / "two"))
    assert status.status == 1
    assert "NonFiniteLoss" in status.out
    assert "nothing to submit (1 done, 1 left alone)" in launch("submit", *words, LOCAL, "--retry", "timeout").out
    assert launch("submit", *words, LOCAL).status == 1
    failed = next(run for run in runs_of(launch, "two") if run["state"] == "failed")
    assert failed["attempts"] == 2
    meta = json.loads((Path(failed["run_dir"]) / "meta.json").read_text())
    assert meta["launch"]["lint_allowed"] == ["rate-differs"]
    # The second time it was alone; its partner of the first time is still one of the same circumstances.
    facts = [read_meta(RunDir(run["run_dir"])).launch for run in runs_of(launch, "two")]
    assert all({fact.concurrent_runs, *(one["concurrent_runs"] for one in fact.earlier)} == {2} for fact in facts)


def test_lint_errors_stop_a_submission(launch):
    answer = launch(
        "submit", "sweep=two", "sweep.arms.adaptive=[schedule=adabatch,schedule.batch_size=8,num_epochs=3]", LOCAL
    )
    assert answer.status == 2
    assert "error epochs-differ adaptive: num_epochs is 3, the baseline's is 2." in answer.out
    assert "--allow epochs-differ" in answer.err
    assert not (launch.runs_dir / "two").exists()


def test_a_terminal_that_goes_takes_its_queue_and_its_runs_with_it(launch):
    """The terminal is gone for good: writing to it is an error, which comes before anybody says that it has gone."""
    ours, theirs = pty.openpty()
    words = ("submit", "sweep=long", LOCAL, *NEVER_ENDING)
    shell = launch.process(*words, start_new_session=True, stdin=theirs, stdout=theirs, stderr=theirs)
    wait_until(lambda: launch.epoch("long") >= 1)
    os.close(theirs)
    os.close(ours)
    seen = launch.epoch("long")
    wait_until(lambda: launch.epoch("long") >= seen + 2)
    time.sleep(1)  # twice as long as it takes to draw again
    assert shell.poll() is None
    shell.send_signal(signal.SIGHUP)
    assert shell.wait(100) == 130
    run = launch.only("long")
    assert run["state"] == "preempted"
    assert [record["event"] for record in attempts(run["run_dir"])] == ["start", "end"]
    assert start_time(attempts(run["run_dir"])[0]["pid"]) is None
    assert [record["event"] for record in launch.submissions("long")] == ["local", "local_end"]


@pytest.mark.long
def test_ctrl_c_stops_gently_and_repeating_goes_on(launch):
    shell = launch.process("submit", "sweep=long", LOCAL, *NEVER_ENDING, start_new_session=True)
    wait_until(lambda: launch.epoch("long") >= 2)
    os.killpg(shell.pid, signal.SIGINT)
    output, _ = shell.communicate(timeout=60)
    assert shell.returncode == 130
    assert "repeating the command resumes the runs" in output
    run = launch.only("long")
    assert run["state"] == "preempted"
    assert [record["event"] for record in attempts(run["run_dir"])] == ["start", "end"]
    assert start_time(attempts(run["run_dir"])[0]["pid"]) is None
    reached = run["epoch"]

    answer = launch("submit", "sweep=long", LOCAL, *NEVER_ENDING, "--detach")
    assert answer.status == 0
    assert "nothing to submit (1 running or queued)" in launch("submit", "sweep=long", LOCAL, *NEVER_ENDING).out
    wait_until(lambda: launch.epoch("long") > reached + 1)
    queue = next(record for record in launch.submissions("long")[::-1] if record["event"] == "local")
    assert "1 queued or running" in launch("cancel", str(launch.runs_dir / "long")).out
    wait_until(lambda: launch.only("long")["state"] == "cancelled")
    wait_until(lambda: not ProcessIdentity.of(queue).is_alive)
    assert launch.only("long")["attempts"] == 2


def test_time_limit_goes_on_until_the_retries_are_used_up(launch, idle):
    words = (idle, "cluster.timeout_min=1", "cluster.signal_delay_s=50", "cluster.max_retries=1")
    assert launch("submit", "sweep=long", LOCAL, *words, *NEVER_ENDING).status == 1
    run = launch.only("long")
    assert run["attempts"] == 2
    assert run["cause"].endswith("1 retry used up")
    first, last = (record for record in attempts(run["run_dir"]) if record["event"] == "end")
    assert [first["exit_status"], last["exit_status"]] == [EXIT_PREEMPTED, EXIT_PREEMPTED]
    assert json.loads((Path(run["run_dir"]) / "progress.json").read_text())["updates"] >= 2  # one an attempt at least


def test_killed_trainer_and_killed_queue_are_told_and_repaired(launch):
    shell = launch.process("submit", "sweep=long", LOCAL)
    wait_until(lambda: launch.epoch("long") >= 1)
    beat = json.loads((launch.run_dir("long").path / "progress.json").read_text())
    os.kill(beat["pid"], signal.SIGKILL)
    output, _ = shell.communicate(timeout=60)
    assert shell.returncode == 1
    assert "the trainer was killed by SIGKILL" in output

    endless = ("submit", "sweep=long", "sweep.name=endless", LOCAL, *NEVER_ENDING)
    shell = launch.process(*endless)
    wait_until(lambda: launch.epoch("endless") >= 1)
    shell.kill()
    shell.wait(timeout=60)
    close_pipes(shell)
    assert launch.only("endless")["state"] == "running"
    assert "nothing to submit (1 running or queued)" in launch(*endless).out
    assert "1 queued or running" in launch("cancel", str(launch.runs_dir / "endless")).out
    wait_until(lambda: launch.only("endless")["state"] == "cancelled")
    assert launch("status", str(launch.runs_dir / "endless")).status == 3


@pytest.mark.usefixtures("warm")
def test_measured_micro_batch_is_the_same_for_all_arms(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ("sweep=two", "max_micro_batch_size=auto", "sweep.seeds=[0]")
    answer = launch("submit", *words, LOCAL)
    assert answer.status == 0, answer.out + answer.err
    caps = {load_config(Path(run["run_dir"]) / "config.yaml").max_micro_batch_size for run in runs_of(launch, "two")}
    (cap,) = caps
    assert isinstance(cap, int)
    assert f"synthetic-tiny_cnn: max_micro_batch_size is {cap}: " in answer.err
    assert "nothing to submit (2 done)" in launch("submit", *words, LOCAL).out


def test_packed_runs_share_a_job(launch):
    assert launch("submit", "sweep=two", LOCAL, "cluster.runs_per_job=2", "sweep.seeds=[0]").status == 0
    starts = [attempts(run["run_dir"])[0]["pid"] for run in runs_of(launch, "two")]
    assert len(set(starts)) == 1
    for run in runs_of(launch, "two"):
        meta = json.loads((Path(run["run_dir"]) / "meta.json").read_text())["launch"]
        assert meta["runs_per_job"] == meta["concurrent_runs"] == 2


def test_runs_that_never_started_take_a_changed_config(launch, monkeypatch):
    """A submission that ended before its first run leaves nothing that a later one must respect."""
    monkeypatch.setattr("launch.hand_over.foreground_queue", lambda *_: _NoQueue())
    monkeypatch.setattr("launch.hand_over.this_process", lambda: ProcessIdentity("gone", 1, "1"))
    assert launch("submit", "sweep=one", LOCAL).status == 3
    assert launch.only("one")["state"] == "missing"
    assert launch("submit", "sweep=one", LOCAL, "num_epochs=1").status == 3
    assert load_config(launch.run_dir("one").config).num_epochs == 1


class _NoQueue:
    """A queue that ends at once, as one does whose machine is switched off."""

    def run(self) -> None:
        return


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sweep=one", "cluster=slurm", "--jobs", "2"], "--jobs and --detach need cluster=local"),
        (["sweep=one", "--retry", "sometimes"], "--retry is sometimes; it must be a list of failed"),
        (["sweep=one", "--allow", "everything"], "--allow is everything; it must be one of rate-differs"),
        (["sweep=one", "cluster.jobs=0"], "cluster.jobs is 0"),
        (["sweep=one", "--jobs", "0"], "cluster.jobs is 0"),
    ],
)
def test_wrong_submissions_cost_a_sentence(launch, words, sentence):
    answer = launch("submit", *words)
    assert answer.status == 2
    assert sentence in answer.err
    assert not launch.runs_dir.exists()
