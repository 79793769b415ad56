"""Signals that reach a job while it starts a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adabatch.rundir.attempts import record_start
from adabatch.rundir.journal import Journal
from adabatch.rundir.process_identity import this_process
from launch.cancel import cancel
from launch.job import TrainJob
from tests.launch.support import Launch

pytestmark = pytest.mark.slow

CELL = "synthetic-tiny_cnn"


@pytest.fixture
def handlers() -> Iterator[None]:
    """Undo what a job in this process does to the signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("place", ["before the start is on record", "before there is a trainer"])
@pytest.mark.parametrize("arms", [["fixed"], ["fixed", "adaptive"]])
def test_no_cancellation_is_lost(launch: Launch, monkeypatch: pytest.MonkeyPatch, place: str, arms: list[str]) -> None:
    """Every run is cancelled while its trainer starts; one that is not told would train for ever."""
    words = ("sweep=two", "sweep.seeds=[0]", "num_epochs=100000", "schedule.every_epochs=100000")
    assert launch("submit", *words, "cluster=local", "--detach").status == 0
    sweep = launch.runs_dir / "two"
    assert launch("cancel", str(sweep)).status == 0
    assert launch("wait", str(sweep)).status == 3
    names = [f"{CELL}/{arm}/seed_0" for arm in arms]
    Journal(sweep).record_queue(names, "again", this_process())

    def cancelled_while_it_starts(run_dir: Path, *values: Any) -> None:
        if place == "before there is a trainer":
            record_start(run_dir, *values)
            assert cancel(run_dir) == 1
        else:
            assert cancel(run_dir) == 1
            record_start(run_dir, *values)

    monkeypatch.setattr("launch.job.record_start", cancelled_while_it_starts)
    job = TrainJob([str(sweep / name) for name in names], 0, in_turn=True)
    statuses = job()
    for child in job._children.values():
        child.wait()
    Journal(sweep).record_queue_end("again")
    assert len(statuses) == len(names)
    assert 0 not in statuses.values()
    states = launch.states("two")
    assert {states[name]["state"] for name in names} == {"cancelled"}
