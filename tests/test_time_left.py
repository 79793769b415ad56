"""The time left is one number, in the terminal and on the dashboard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from adabatch.rundir.files import RunDir
from adabatch.rundir.journal import Journal
from adabatch.rundir.outcome import Failure, mark_failed
from adabatch.rundir.process_identity import this_process
from analysis.dashboard_view import Choice, view
from analysis.live import Watcher
from launch.cli import main as launch_main
from tests.adabatch.rundir.test_time_left import CELL, finish_epochs, train, write


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Runs that are done, train, wait, wait again and failed, in a queue that is alive."""
    folder = tmp_path / "sweep"
    write(folder, "fixed", 0, done=1000, forecast=600)
    train(write(folder, "growing", 0, forecast=300), epoch=11, wall=210)
    mark_failed(RunDir(write(folder, "fixed", 1)), Failure("DiskFull", "no space", ""))
    waiting = [write(folder, "fixed", 2), write(folder, "large", 0, forecast=300)]
    waiting.append(finish_epochs(write(folder, "growing", 1, forecast=300), 5))
    journal = Journal(folder)
    journal.create()
    journal.record_queue([run.relative_to(folder).as_posix() for run in waiting], "logs", this_process())
    return folder


def in_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert launch_main(["status", str(folder)]) == 1
    [text] = re.findall(r"about .* left \(.*\)$", " ".join(capsys.readouterr().out.split()))
    return str(text)


def on_dashboard(folder: Path, **filters: Any) -> str:
    parts, _ = view(Watcher(folder).look(), Choice(filters=filters), {})
    [text] = [part.children for part in parts["counts"] if getattr(part, "id", None) == "left"]
    return str(text)


def test_terminal_and_dashboard_say_the_same(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # One at a time: 190 s at its own pace; seed 0 of large by its forecast; three quarters of the 400 s that growing
    # takes; 1,000 s as the first run of fixed took: 300 + 300 + 1,000 + 190 s.
    expected = "about 29 min 50 s left (by the pace so far and the forecast)"
    assert in_terminal(sweep, capsys) == on_dashboard(sweep) == expected
    train(sweep / CELL / "large" / "seed_0", epoch=3, wall=50)
    # Two at a time: 190 s, and 350 s of 400 s of large; then 300 s from 190 to 490 s, and 1,000 s from 350 s on.
    assert in_terminal(sweep, capsys) == on_dashboard(sweep) == "about 22 min 30 s left (by the pace so far)"


def test_a_filter_of_the_dashboard_leaves_the_pace_of_the_other_runs(sweep: Path) -> None:
    (sweep / CELL / "large" / "seed_0" / "meta.json").write_text('{"launch": {"arm": "large"}}')
    # As the mean of the other arms, 1,000 and 400 s.
    assert on_dashboard(sweep, arm=["large"]) == "about 11 min 40 s left (by the pace so far)"
