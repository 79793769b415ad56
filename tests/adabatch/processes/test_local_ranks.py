"""Stopping a run of several ranks, all of which one command starts: early, gently, at once, and by killing it."""

import os
import signal
import subprocess
import time

import pytest

from adabatch.rundir.files import RunDir
from adabatch.rundir.process_identity import start_time
from tests.adabatch.support import TINY, adabatch_command, read_rows, read_summary, run_command

pytestmark = pytest.mark.slow

WORDS = (*TINY, "hardware.num_devices=2", "run_dir=run")
#: Far less than the ranks' own patience with each other, even on a busy machine.
SOON_SECONDS = 20


@pytest.fixture
def start(tmp_path):
    """Return a function that starts the command in a process group of its own, as a terminal does; it is ended."""
    started = []

    def run(*words):
        process = subprocess.Popen(
            adabatch_command(*WORDS, *words),
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def run_dir(tmp_path):
    return RunDir(tmp_path / "run")


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None
        time.sleep(0.01)


def pids_by_rank(process):
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    return {rank: int(pid) for pid in children if (rank := rank_of(pid)) is not None}


def rank_of(pid):
    """Return None for a child that has not become a rank yet, or is none any more."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(variables[b"RANK"]) if b"RANK" in variables else None


def ranks_when_started(process):
    wait_for(lambda: len(pids_by_rank(process)) == 2, process)
    return pids_by_rank(process)


@pytest.fixture
def training(start, run_dir):
    """A command whose two ranks have trained for some epochs, and their process ids by rank."""
    process = start("num_epochs=5000", "schedule.every_epochs=5000")
    ranks = ranks_when_started(process)
    wait_for(lambda: run_dir.epochs.exists() and len(read_rows(run_dir)) >= 2, process)
    return process, ranks


def is_gone(pid):
    return start_time(pid) is None  # so it is of a zombie, which not every first process of a container fetches


@pytest.mark.long
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGUSR2, 75), (signal.SIGINT, 130)])
def test_a_stop_while_the_ranks_start_is_no_failure(number, status, start, run_dir, tmp_path):
    process = start()
    ranks_when_started(process)
    process.send_signal(number)
    assert process.wait(SOON_SECONDS) == status
    assert not run_dir.failed.exists()
    assert run_command(*WORDS, cwd=tmp_path).returncode == 0


#: A rank's Python is not ready when it, or the other one, has its command interrupted.
SLOW_START = """
import os, signal, time
if "RANK" in os.environ:
    time.sleep(1)
    if os.environ["RANK"] == "1":
        os.kill(os.getppid(), signal.SIGINT)
    time.sleep(100)
"""


def test_a_ctrl_c_while_python_itself_starts_is_no_failure(run_dir, tmp_path):
    """Interrupted there, Python ends with the status of a failure."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_START)
    assert run_command(*WORDS, cwd=tmp_path, PYTHONPATH=str(tmp_path)).returncode == 130
    assert not run_dir.failed.exists()
    assert run_command(*WORDS, cwd=tmp_path).returncode == 0


def test_a_rank_that_waits_for_one_that_a_stop_ended_is_ended_soon(start, run_dir):
    process = start()
    late = ranks_when_started(process)[1]
    os.kill(late, signal.SIGSTOP)
    wait_for(run_dir.log.exists, process)  # written by a rank that handles signals
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    os.kill(late, signal.SIGCONT)
    assert process.wait(SOON_SECONDS) == 75
    assert not run_dir.failed.exists()


def test_a_rank_that_fails_before_the_stop_is_a_failure(start, run_dir):
    process = start()
    ranks = ranks_when_started(process)
    wait_for(run_dir.log.exists, process)
    os.kill(ranks[1], signal.SIGKILL)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    os.kill(ranks[0], signal.SIGKILL)
    assert process.wait(SOON_SECONDS) == 1
    assert run_dir.failed.read_text().startswith("RankFailed: rank 0 was killed by SIGKILL")


def test_one_ctrl_c_in_a_terminal_saves(training, run_dir):
    process, _ = training
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert run_dir.checkpoint.exists()
    assert read_summary(run_dir)["state"] == "preempted"
    assert not run_dir.failed.exists()


def test_a_second_ctrl_c_ends_even_ranks_that_hear_no_signal(training, run_dir):
    process, ranks = training
    os.kill(ranks[1], signal.SIGSTOP)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(SOON_SECONDS) == 130
    assert all(is_gone(pid) for pid in ranks.values())
    assert not run_dir.failed.exists()


def test_ranks_end_with_a_command_that_is_killed(training):
    process, ranks = training
    os.kill(ranks[1], signal.SIGSTOP)
    process.kill()
    process.wait()
    deadline = time.monotonic() + SOON_SECONDS
    while not all(is_gone(pid) for pid in ranks.values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
