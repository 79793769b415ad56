"""One training in a terminal: what it shows, and what Ctrl-C says."""

from __future__ import annotations

import os
import pty
import re
import sys
from pathlib import Path

import pytest

from tests.adabatch.support import TINY

pytestmark = pytest.mark.slow


def in_a_terminal(command: list[str], folder: Path, stop_at: str) -> tuple[int, str]:
    """Run a command in a terminal, press Ctrl-C when it has printed some text; return exit status and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(command[0], command, {**os.environ, "COLUMNS": "160"})
    printed, is_stopped = "", False
    try:
        while part := os.read(terminal, 65536):
            printed += part.decode(errors="replace")
            if not is_stopped and re.search(stop_at, printed):
                os.write(terminal, b"\x03")
                is_stopped = True
    except OSError:  # the other side is closed
        pass
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed)


def test_ctrl_c_says_that_the_run_was_saved_and_how_it_goes_on(tmp_path: Path) -> None:
    own = {"num_epochs": "5000", "schedule.every_epochs": "2000", "run_dir": str(tmp_path / "run")}
    words = dict(word.split("=", 1) for word in TINY) | own
    command = [sys.executable, "-m", "adabatch", *(f"{key}={value}" for key, value in words.items())]
    status, text = in_a_terminal(command, tmp_path, stop_at=r"update [\d,]+")
    assert status == 130
    assert "starting" in text  # before the first update
    assert re.search(r"epoch \d+, batch \d+, update [\d,]+", text)
    saved = f"stopped by SIGINT after saving a checkpoint to {tmp_path / 'run'}. The same command goes on from there."
    assert " ".join(text.split()).endswith(saved)
    assert "stopped by SIGINT" in [line[:17] for line in text.splitlines()]  # below the bar
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    assert "Traceback" not in text
