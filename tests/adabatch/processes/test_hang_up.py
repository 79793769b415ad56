"""A terminal that goes away: what runs in it saves its state, unless it was started to outlive it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from adabatch.rundir.files import RunDir
from tests.adabatch.support import TINY, adabatch_command, read_rows, read_summary
from tests.support import wait_until

pytestmark = pytest.mark.slow


def start(
    cwd: Path, *words: str, hang_up: signal.Handlers = signal.SIG_DFL, **keywords: Any
) -> tuple[subprocess.Popen[bytes], RunDir]:
    """Start a training that goes on until it is stopped, whatever the tests' own shell does with a hang-up."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    call = adabatch_command(*TINY, "num_epochs=50000", "schedule.every_epochs=50000", "run_dir=run", *words)
    process = subprocess.Popen(
        call,
        cwd=cwd,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, hang_up),
        **{"stderr": subprocess.DEVNULL, **keywords},
    )
    run_dir = RunDir(cwd / "run")
    wait_until(lambda: process.poll() is not None or (run_dir.epochs.exists() and read_rows(run_dir)))
    return process, run_dir


@pytest.mark.parametrize("words", [(), ("hardware.num_devices=2",)], ids=["one", "two ranks"])
def test_sighup_saves_like_sigterm(tmp_path: Path, words: tuple[str, ...]) -> None:
    process, run_dir = start(tmp_path, *words)
    process.send_signal(signal.SIGHUP)
    assert process.wait(100) == 75
    assert run_dir.checkpoint.exists()
    assert read_summary(run_dir)["cause"] == "stopped by SIGHUP after saving a checkpoint"


def test_a_terminal_that_is_closed_is_no_failure(tmp_path: Path) -> None:
    """The progress bar is being drawn on it."""
    ours, theirs = pty.openpty()
    process, run_dir = start(tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.close(ours)  # from now on every write there is an error
    process.send_signal(signal.SIGHUP)
    assert process.wait(100) == 75
    assert read_summary(run_dir)["cause"] == "stopped by SIGHUP after saving a checkpoint"


def test_under_nohup_it_trains_on(tmp_path: Path) -> None:
    process, run_dir = start(tmp_path, hang_up=signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    count = len(read_rows(run_dir))
    wait_until(lambda: process.poll() is not None or len(read_rows(run_dir)) > count + 1)
    assert process.poll() is None
    process.terminate()
    assert process.wait(100) == 75
