"""Small sweeps, and the commands as functions."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.config import CONF_DIR
from adabatch.errors import EXIT_USAGE
from adabatch.rundir.files import RunDir
from adabatch.rundir.journal import Journal
from launch.cancel import stop_queues
from launch.cli import main
from launch.status import read_status
from tests.support import wait_until

#: Runs of a few tenths of a second besides the start of the process.
TINY = (
    "[network=tiny_cnn, dataset=synthetic, dataset.num_train_samples=60, dataset.num_test_samples=20,"
    " dataset.image_size=8, dataset.num_channels=1, dataset.num_classes=3, num_epochs=2, schedule.every_epochs=1,"
    " hardware.num_threads=1]"
)
ONE_ARM = f"""
name: one
overrides: {TINY}
seeds: [0]
baseline: adaptive
arms: {{adaptive: [schedule=adabatch, schedule.batch_size=8]}}
"""
TWO_ARMS = f"""
name: two
overrides: {TINY}
seeds: [0, 1]
baseline: fixed
arms:
  fixed: [schedule=fixed, schedule.batch_size=8]
  adaptive: [schedule=adabatch, schedule.batch_size=8]
"""
#: Some seconds of training, in which a test can act.
LONG = """
name: long
overrides: [dataset=digits, network=tiny_cnn, num_epochs=64, schedule.every_epochs=16, hardware.num_threads=1]
seeds: [0]
baseline: adaptive
arms: {adaptive: [schedule=adabatch, schedule.batch_size=16]}
"""


def write_sweep(config_dir: Path, name: str, text: str) -> None:
    (config_dir / "sweep").mkdir(parents=True, exist_ok=True)
    (config_dir / "sweep" / f"{name}.yaml").write_text(text)


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Launch:
    """``python -m launch`` with the test's own options and runs."""

    config_dir: Path
    runs_dir: Path

    def options(self, command: str) -> list[str]:
        if command in ("plan", "submit"):
            return ["--config-dir", str(self.config_dir), "--runs-dir", str(self.runs_dir)]
        return []

    def __call__(self, command: str, *words: str) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([command, *words, *self.options(command)])
        return Answer(status, out.getvalue(), err.getvalue())

    def process(self, command: str, *words: str, cwd: Path = CONF_DIR.parent, **keywords: Any) -> subprocess.Popen[str]:
        """Start the command as a user's shell would."""
        call = [sys.executable, "-m", "launch", command, *words, *self.options(command)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(call, cwd=cwd, env=environment, text=True, **{**pipes, **keywords})

    def states(self, sweep: str) -> dict[str, dict[str, Any]]:
        """Return ``status --format json`` by run."""
        answer = self("status", str(self.runs_dir / sweep), "--format", "json")
        return {run["name"]: run for run in json.loads(answer.out)} if answer.status != EXIT_USAGE else {}

    def epoch(self, sweep: str) -> int:
        """Return the epoch of a sweep's single run; 0 where there is none yet."""
        return max((run["epoch"] or 0 for run in self.states(sweep).values()), default=0)

    def stop_everything(self) -> None:
        """Cancel what a failed test may have left running on this machine."""
        for folder in self.runs_dir.glob("*/.launch"):
            if stop_queues(Journal(folder.parent)):
                wait_until(functools.partial(_is_idle, folder.parent))

    def only(self, sweep: str) -> dict[str, Any]:
        """Return the status of a sweep's single run."""
        (run,) = self.states(sweep).values()
        return run

    def run_dir(self, sweep: str) -> RunDir:
        """Return the run directory of a sweep's single run."""
        return RunDir(self.only(sweep)["run_dir"])

    def submissions(self, sweep: str) -> list[dict[str, Any]]:
        path = self.runs_dir / sweep / ".launch" / "submissions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@contextlib.contextmanager
def launching(folder: Path) -> Iterator[Launch]:
    """Yield the commands, with the sweeps ``one``, ``two``, ``long`` and a folder for runs; none outlives it."""
    calls = Launch(folder / "conf", folder / "runs")
    write_sweep(calls.config_dir, "one", ONE_ARM)
    write_sweep(calls.config_dir, "two", TWO_ARMS)
    write_sweep(calls.config_dir, "long", LONG)
    yield calls
    calls.stop_everything()


def _is_idle(sweep: Path) -> bool:
    return not any(run.state.is_active for run in read_status(sweep))
