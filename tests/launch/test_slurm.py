"""Sweeps on a real SLURM cluster; see tests/slurm/cluster.py."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from adabatch.config import load_config, save_config
from adabatch.run import resume_run
from adabatch.rundir.files import RunDir
from tests.adabatch.support import assert_equal_bits, read_rows, read_summary, without_seconds
from tests.launch.support import Launch
from tests.support import wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]

QUICK = ("cluster=slurm", "cluster.timeout_min=30", "cluster.cpus_per_task=1")
NEVER_ENDING = ("num_epochs=100000", "schedule.every_epochs=100000")


def submit_one(launch: Launch, name: str, *words: str, sweep: str = "one") -> str:
    """Submit a sweep of one run under a name and return its job's id."""
    answer = launch("submit", f"sweep={sweep}", f"sweep.name={name}", *QUICK, *words)
    assert answer.status == 0, answer.err
    return job_ids(launch, name)[-1]


def job_ids(launch: Launch, name: str) -> list[str]:
    return [job for record in launch.submissions(name) if record["event"] == "accepted" for job in record["jobs"]]


def wait_for_epoch(launch: Launch, name: str, epoch: int) -> None:
    def has_come_there() -> bool:
        run = launch.only(name)
        assert run["state"] in ("pending", "running"), run
        return (run["epoch"] or 0) >= epoch

    wait_until(has_come_there)


def wait_for_state(launch: Launch, name: str, *states: str) -> dict[str, Any]:
    """Wait until a sweep's single run is in one of the states, and return its status."""
    return wait_until(lambda: launch.only(name) if launch.only(name)["state"] in states else None)


def undisturbed(run_dir: RunDir, folder: Path) -> RunDir:
    """Train the run of a directory once more, in this process and in one go."""
    folder.mkdir()
    save_config(dataclasses.replace(load_config(run_dir.config), run_dir=str(folder)), folder / "config.yaml")
    assert resume_run(folder) == 0
    return RunDir(folder)


def test_array_of_the_demo_sweep(cluster, launch):
    """Eight runs, at most two at once, in arrays of six and of two, in the order in which they are to start."""
    words = ("sweep=demo", "sweep.seeds=[0,1]", "num_epochs=1", "schedule.every_epochs=1", "hardware.num_threads=1")
    submit = ("submit", *words, *QUICK, "cluster.max_concurrent_jobs=2")
    assert launch(*submit).status == 0
    accepted = [record for record in launch.submissions("demo") if record["event"] == "accepted"]
    assert [len(record["jobs"]) for record in accepted] == [6, 2]
    again = launch(*submit).out
    assert "nothing to submit" in again
    assert sum(map(int, re.findall(r"(\d+) (?:done|running or queued)", again))) == 8
    most = 0

    def is_settled() -> bool:
        nonlocal most
        states = [run["state"] for run in launch.states("demo").values()]
        most = max(most, len(cluster.run("squeue", "--noheader", "--states=R", "--array").splitlines()))
        return not {"running", "pending"} & set(states)

    wait_until(is_settled)
    assert most == 2
    assert {run["state"] for run in launch.states("demo").values()} == {"done"}
    assert "nothing to submit (8 done)" in launch(*submit).out
    meta = json.loads((launch.runs_dir / "demo/digits-tiny_cnn/adaptive/seed_0/meta.json").read_text())
    assert meta["launch"]["concurrent_runs"] == 1
    # fixed_large_scaled, fixed_large, fixed_small, adaptive: the random order of the first block
    assert meta["launch"]["place_in_block"] == 3
    assert meta["job_ids"] == [next(iter(accepted[0]["jobs"])).split("_")[0] + "_3"]


def test_a_folder_called_launch_where_a_sweep_is_submitted_does_no_harm(cluster, launch, monkeypatch, tmp_path):
    """A job starts where it was submitted; Python would find this folder before the package."""
    (tmp_path / "here" / "launch").mkdir(parents=True)
    (tmp_path / "here" / "launch" / "__init__.py").write_text("raise SystemExit('this is not ours')\n")
    monkeypatch.chdir(tmp_path / "here")
    submit_one(launch, "astray")
    wait_for_state(launch, "astray", "done")


def test_disturbed_runs_end_as_undisturbed_ones(cluster, launch, tmp_path):
    """Preempted, requeued by an operator, and killed: the same weights, the same rows."""
    jobs = {name: submit_one(launch, name, sweep="long") for name in ("preempted", "requeued", "killed")}
    wait_for_epoch(launch, "preempted", 2)
    cluster.run("scancel", "--signal=USR2", jobs["preempted"])
    wait_for_epoch(launch, "requeued", 2)
    cluster.run("scontrol", "requeue", jobs["requeued"])
    wait_for_epoch(launch, "killed", 2)
    start = json.loads((launch.run_dir("killed").path / "attempts.jsonl").read_text().splitlines()[0])
    os.kill(start["pid"], signal.SIGKILL)
    killed = wait_for_state(launch, "killed", "failed")
    assert "SLURM: FAILED" in killed["cause"]
    assert Path(killed["log"]).exists()
    assert launch("status", str(launch.runs_dir / "killed")).status == 1
    submit_one(launch, "killed", sweep="long")
    reference = undisturbed(launch.run_dir("killed"), tmp_path / "reference")
    for name in jobs:
        assert wait_for_state(launch, name, "done")["attempts"] == 2
        run_dir = launch.run_dir(name)
        assert without_seconds(run_dir) == without_seconds(reference)
        assert_equal_bits(run_dir, reference)
        assert read_summary(run_dir)["restarts"] == 1
    assert job_ids(launch, "preempted") == [jobs["preempted"]]


def test_time_limit_goes_on_until_the_retries_are_used_up(cluster, launch, idle, tmp_path):
    """A job's time is up twice: after the first time it goes on where it was, after the second it may not."""
    words = (*NEVER_ENDING, idle, "cluster.timeout_min=1", "cluster.signal_delay_s=10", "cluster.max_retries=1")
    submit_one(launch, "limited", *words, sweep="long")
    run_dir = launch.run_dir("limited")
    attempts = run_dir.path / "attempts.jsonl"
    first_end = wait_until(lambda: attempts.exists() and '"end"' in attempts.read_text() and read_rows(run_dir))
    status = wait_for_state(launch, "limited", "timeout")
    assert status["attempts"] == 2
    assert status["cause"] == "stopped by a time limit, 1 retry used up"
    rows = without_seconds(run_dir)
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > len(first_end)
    config = load_config(run_dir.config)
    reference = tmp_path / "reference"
    reference.mkdir()
    shorter = dataclasses.replace(config, num_epochs=len(first_end) + 2, run_dir=str(reference))
    save_config(shorter, reference / "config.yaml")
    assert resume_run(reference) == 0
    assert rows[: len(first_end) + 2] == without_seconds(RunDir(reference))
    assert (
        "nothing to submit"
        in launch("submit", "sweep=long", "sweep.name=limited", *QUICK, *words, "--retry", "failed").out
    )


def test_exception_is_told_with_its_cause(cluster, launch):
    submit_one(launch, "broken", "optimizer.learning_rate=1e30")
    status = wait_for_state(launch, "broken", "failed")
    assert status["cause"].startswith("NonFiniteLoss: ")
    assert Path(status["log"]).name == "FAILED"
    answer = launch("status", str(launch.runs_dir / "broken"))
    assert answer.status == 1
    assert "NonFiniteLoss" in answer.out


def test_memory_kill_is_told_apart_and_more_is_asked_for(cluster, launch, held):
    job = submit_one(launch, "large", *NEVER_ENDING, "cluster.memory_gb=0.15", sweep="long")
    status = wait_for_state(launch, "large", "out-of-memory")
    assert "memory" in status["cause"]
    # The kill may come before the run's first sign of life; the last one is therefore written here.
    beat = {"time": time.time(), "host": "node", "pid": 1}
    for job_id, state in ((job, "out-of-memory"), (None, "running")):
        launch.run_dir("large").progress.write_text(json.dumps({**beat, "job_id": job_id}))
        assert launch.only("large")["state"] == state  # a sign of life counts unless it is of the job that has ended
    launch.run_dir("large").progress.unlink()
    again = ("cluster.memory_gb=0.15", "cluster.retry.memory=2x", held)
    job = submit_one(launch, "large", *NEVER_ENDING, *again, sweep="long")
    assert cluster.shown(job)["MinMemoryNode"] == "307M"  # 0.3 GB


def test_node_failure_moves_the_run(cluster, launch):
    """A node that goes down takes its job with it; SLURM starts it anew on the other one."""
    job = submit_one(launch, "moved", sweep="long")
    wait_for_epoch(launch, "moved", 2)
    node = cluster.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        status = wait_for_state(launch, "moved", "done")
    finally:
        cluster.heal()
    assert status["attempts"] == 2


def test_cancel_ends_running_and_waiting_jobs(cluster, launch):
    words = ("sweep=long", "sweep.name=stopped", "sweep.seeds=[0,1,2,3]", *NEVER_ENDING)
    assert launch("submit", *words, *QUICK, "cluster.max_concurrent_jobs=1").status == 0
    folder = str(launch.runs_dir / "stopped")
    wait_until(lambda: any(run["epoch"] for run in launch.states("stopped").values()))
    assert "4 queued or running" in launch("cancel", folder).out
    wait_until(lambda: {run["state"] for run in launch.states("stopped").values()} == {"cancelled"})
    assert launch("status", folder).status == 3
    assert not cluster.run("squeue", "--noheader")


def test_four_ranks_on_two_nodes_equal_one_process(cluster, launch):
    words = ("hardware.precision=fp64", "batch_norm=sync")
    submit_one(launch, "spread", *words, "hardware.num_nodes=2", "hardware.num_devices=2")
    submit_one(launch, "alone", *words)
    for name in ("spread", "alone"):
        wait_for_state(launch, name, "done")
    spread, alone = read_rows(launch.run_dir("spread")), read_rows(launch.run_dir("alone"))
    assert [row["world_size"] for row in spread] == ["4", "4"]
    assert [row["updates"] for row in spread] == [row["updates"] for row in alone]
    for one, other in zip(spread, alone, strict=True):
        for column in ("train_loss", "test_loss", "learning_rate"):
            assert float(one[column]) == pytest.approx(float(other[column]), rel=1e-9)


def test_runs_packed_into_one_job(cluster, launch):
    answer = launch(
        "submit", "sweep=two", "sweep.name=packed", *QUICK, "cluster.runs_per_job=4", "cluster.cpus_per_task=4"
    )
    assert answer.status == 0
    assert len(job_ids(launch, "packed")) == 1
    wait_until(lambda: {run["state"] for run in launch.states("packed").values()} == {"done"})
    for run in launch.states("packed").values():
        meta = json.loads((Path(run["run_dir"]) / "meta.json").read_text())
        assert meta["launch"]["runs_per_job"] == meta["launch"]["concurrent_runs"] == 4
        assert meta["num_threads"] == 1


def test_runs_of_a_job_take_turns_over_its_gpus(cluster, launch):
    words = ("submit", "sweep=long", "sweep.name=turns", "sweep.seeds=[0,1,2,3]", *NEVER_ENDING, *QUICK)
    uneven = launch(*words, "cluster.runs_per_job=3", "cluster.gpus_per_node=2")
    assert uneven.status == 2
    assert "it must be 1 or a multiple of cluster.gpus_per_node=2" in uneven.err
    assert launch(*words, "cluster.runs_per_job=4", "cluster.gpus_per_node=2").status == 0

    def gpus() -> list[str]:
        beats = [json.loads(path.read_text()) for path in launch.runs_dir.glob("turns/*/*/*/progress.json")]
        environments = [Path(f"/proc/{beat['pid']}/environ").read_text().split("\0") for beat in beats]
        return sorted(entry for entries in environments for entry in entries if "CUDA_VISIBLE_DEVICES=" in entry)

    wait_until(lambda: len(gpus()) == 4)
    assert gpus() == ["CUDA_VISIBLE_DEVICES=0"] * 2 + ["CUDA_VISIBLE_DEVICES=1"] * 2


@pytest.fixture
def held(cluster):
    """A partition that takes jobs and starts none."""
    cluster.run("scontrol", "update", "PartitionName=low", "State=DOWN")
    yield "cluster.partition=low"
    cluster.cancel_all()
    cluster.run("scontrol", "update", "PartitionName=low", "State=UP")


def test_a_run_that_waits_while_its_job_is_preempted_is_left_to_do(cluster, launch, held):
    """Two runs share a job; something else still works on the second when the first is stopped."""
    words = ("submit", "sweep=long", "sweep.name=late", "sweep.seeds=[0,1]", *QUICK, "cluster.runs_per_job=2", held)
    assert launch(*words).status == 0
    first, second = (Path(run["run_dir"]) for _, run in sorted(launch.states("late").items()))
    with open(second / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cluster.run("scontrol", "update", "PartitionName=low", "State=UP")
        wait_until(lambda: read_rows(RunDir(first)) if (first / "epochs.csv").exists() else None)
        cluster.run("scancel", "--signal=USR2", job_ids(launch, "late")[0])
        wait_until(lambda: (first / "attempts.jsonl").read_text().count('"start"') == 2)
    wait_until(lambda: {run["state"] for run in launch.states("late").values()} == {"done"})
    assert [run["attempts"] for _, run in sorted(launch.states("late").items())] == [2, 1]


def test_two_shells_submit_every_run_once(cluster, launch, held):
    words = ("submit", "sweep=two", "sweep.seeds=[0,1,2,3]", *QUICK, held)
    shells = [launch.process(*words) for _ in range(3)]
    outputs = [shell.communicate(timeout=120)[0] for shell in shells]
    assert [shell.returncode for shell in shells] == [0, 0, 0]
    assert sum("submitting 8 runs" in output for output in outputs) == 1
    assert sum("nothing to submit (8 running or queued)" in output for output in outputs) == 2
    queued = cluster.run("squeue", "--noheader", "--array", "--format=%i").split()
    assert sorted(queued) == sorted(job_ids(launch, "two"))
    assert len(queued) == 8


def test_lost_answer_is_found_again(cluster, launch, held):
    """The shell dies between sbatch's yes and writing it down: the next one asks SLURM for the job's name."""
    words = ("submit", "sweep=two", *QUICK, held)
    assert launch(*words).status == 0
    path = launch.runs_dir / "two" / ".launch" / "submissions.jsonl"
    intent, accepted = path.read_text().splitlines(keepends=True)
    path.write_text(intent)
    assert "nothing to submit (4 running or queued)" in launch(*words).out
    assert launch.submissions("two")[1]["jobs"] == json.loads(accepted)["jobs"]
    path.write_text(json.dumps({**json.loads(intent), "job_name": "never-submitted", "token": "other"}) + "\n")
    cluster.cancel_all()
    assert "submitting 4 runs" in launch(*words).out


def test_refusals_are_sentences(cluster, launch, monkeypatch, tmp_path):
    wrong_partition = launch("submit", "sweep=two", *QUICK, "cluster.partition=nowhere")
    assert wrong_partition.status == 2
    assert "invalid partition" in wrong_partition.err.lower()
    assert "0 of 4 jobs were accepted" in wrong_partition.err
    too_much = launch("submit", "sweep=two", *QUICK, "cluster.gpus_per_node=9")
    assert too_much.status == 2
    assert "sbatch refused" in too_much.err
    assert {run["state"] for run in launch.states("two").values()} == {"missing"}

    elsewhere = tmp_path / "slurm.conf"
    lines = cluster.config.read_text().splitlines()
    elsewhere.write_text("\n".join("SlurmctldPort=9" if line.startswith("SlurmctldPort") else line for line in lines))
    monkeypatch.setenv("SLURM_CONF", str(elsewhere))
    lost = launch("submit", "sweep=two", *QUICK)
    assert lost.status == 2
    assert "refused" in lost.err
    monkeypatch.setenv("PATH", str(tmp_path))
    absent = launch("submit", "sweep=two", *QUICK)
    assert absent.status == 2
    assert "sbatch is missing" in absent.err


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        ("cluster.python=/opt/nope/python", "execve(): /opt/nope/python: No such file or directory"),
        ("cluster.setup=[exit 1]", "cluster.setup: error: it ended the job"),
        ("cluster.setup=[cd /nope]", "cluster.setup: error: this line failed with status 1: cd /nope"),
    ],
)
def test_the_first_thing_that_went_wrong_is_told(cluster, launch, setting, cause):
    answer = launch("submit", "sweep=one", *QUICK, setting, "--wait")
    assert answer.status == 1, answer.err
    assert cause in answer.out
    assert launch.only("one")["cause"].endswith(cause)


def test_a_script_can_wait_cancel_and_rerun(cluster, launch, held):
    words = ("submit", "sweep=two", *QUICK, "sweep.seeds=[0]")
    assert launch(*words, held).status == 0
    folder = launch.runs_dir / "two"
    first, second = sorted(launch.states("two"))
    assert launch("wait", str(folder), "--timeout", "0").status == 3
    assert "1 queued or running" in launch("cancel", str(folder / first)).out
    wait_until(lambda: launch.states("two")[first]["state"] == "cancelled")
    assert launch.states("two")[second]["state"] == "pending"
    cluster.run("scontrol", "update", "PartitionName=low", "State=UP")
    assert launch("wait", str(folder)).status == 3  # one done, one cancelled
    assert launch(*words, "--only", first, "--wait").status == 0
    again = launch("rerun", str(folder / first), *QUICK)
    assert again.status == 0, again.err
    assert launch("wait", str(folder)).status == 0
    assert (folder / first / ".earlier" / "1" / "DONE").exists()
    assert launch("logs", str(folder / first)).out == (folder / first / "log.txt").read_text()


def test_a_silent_controller_makes_nothing_of_a_run(cluster, launch, held, monkeypatch, tmp_path):
    submit_one(launch, "quiet", held)
    elsewhere = tmp_path / "slurm.conf"
    lines = cluster.config.read_text().splitlines()
    elsewhere.write_text("\n".join("SlurmctldPort=9" if line.startswith("SlurmctldPort") else line for line in lines))
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_CONF", str(elsewhere))
        answer = launch("status", str(launch.runs_dir / "quiet"))
        assert answer.status == 3
        assert re.search(r"unknown \(SLURM has not answered for \d+ s\)", answer.out)
        assert launch("cancel", str(launch.runs_dir / "quiet")).status == 2
    assert launch.only("quiet")["state"] == "pending"


def test_gpus_are_asked_for(cluster, launch, held):
    job = submit_one(launch, "gpus", held, "hardware=gpu", "hardware.num_devices=2")
    shown = cluster.run("scontrol", "show", "job", job)
    assert "gpu:2" in shown
    assert "NumTasks=2" in shown


@pytest.fixture
def forecast(monkeypatch, tmp_path):
    """The words of a command that measures on a node, with nothing measured before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return ("plan", "sweep=one", "--forecast", *QUICK)


def write_script(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    path.chmod(0o755)


def test_measuring_outlasts_a_controller_that_is_silent_for_a_while(cluster, launch, forecast, monkeypatch, tmp_path):
    calls = tmp_path / "calls"
    write_script(
        tmp_path / "bin" / "squeue",
        f"echo call >> {calls}",
        f"[ $(wc -l < {calls}) -gt 2 ] || exit 1",
        f'exec {shutil.which("squeue")} "$@"',
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    answer = launch(*forecast)
    assert answer.status == 0, answer.err
    assert answer.err.count("squeue is not responding; still waiting for SLURM job") == 1


def test_an_answer_that_the_file_system_shows_late_is_waited_for(cluster, launch, forecast, tmp_path):
    python = tmp_path / "bin" / "python"
    hide = 'for word; do case "$word" in *.json) mv "$word" "$word.late";; esac; done'
    write_script(python, f'{sys.executable} "$@" || exit', hide)

    def show() -> None:
        late = wait_until(lambda: list(launch.runs_dir.rglob("*.json.late")))[0]
        wait_until(lambda: not cluster.run("squeue", "--noheader"))
        time.sleep(4)  # so that the command, which looks every 2 seconds, has seen the job's end
        late.rename(late.with_suffix(""))

    with ThreadPoolExecutor() as pool:
        shown = pool.submit(show)
        answer = launch(*forecast, f"cluster.python={python}")
        shown.result()
    assert answer.status == 0, answer.err


def test_a_measurement_that_nobody_waits_for_is_cancelled(cluster, launch, forecast, held):
    shell = launch.process(*forecast, held)
    assert any("waiting for SLURM job" in line for line in iter(shell.stderr.readline, ""))
    assert cluster.run("squeue", "--noheader")
    shell.send_signal(signal.SIGINT)
    shell.communicate(timeout=60)
    assert shell.returncode == 130
    assert not cluster.run("squeue", "--noheader")


def test_a_measurement_that_fails_tells_why(cluster, launch, forecast):
    answer = launch(*forecast, "hardware=gpu")
    assert answer.status == 2
    assert "measuring times for synthetic-tiny_cnn failed: hardware.device is cuda" in answer.err


def test_cluster_script_says_what_it_needs():
    script = Path(__file__).parents[1] / "slurm" / "cluster.py"
    answer = subprocess.run(["python3", str(script)], capture_output=True, text=True)
    assert answer.returncode == 2
    assert "start FOLDER" in answer.stderr


def test_a_forecast_is_measured_on_a_node(cluster, launch, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ("sweep=two", "sweep.seeds=[0]", "--forecast", "max_micro_batch_size=auto")
    answer = launch("submit", *words, *QUICK)
    assert answer.status == 0, answer.err
    assert answer.err.count("waiting for SLURM job") == 2  # the cap, and the times
    runs = wait_until(lambda: [run for run in launch.states("two").values() if run["state"] == "done"] or None)
    meta = json.loads((Path(runs[0]["run_dir"]) / "meta.json").read_text())
    assert meta["launch"]["forecast"]["train_seconds"] > 0
    assert isinstance(load_config(Path(runs[0]["run_dir"]) / "config.yaml").max_micro_batch_size, int)
