"""What the user's own tracker hears, and that its errors stay its own."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from adabatch.files import SOURCE_DIR
from adabatch.training import reporting
from tests.adabatch.support import read_rows

LINES = "tracker=my_tracker:Lines"


@pytest.fixture(autouse=True)
def in_the_users_folder(monkeypatch):
    monkeypatch.chdir(SOURCE_DIR / "tests" / "own_work")


def heard(folder: Path) -> list[list]:
    return [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]


# 60 samples in batches of 30; the warm-up doubles the rate over the first epoch
@pytest.mark.parametrize(("interval_seconds", "rates"), [(0.0, [0.1, 0.15, 0.2]), (math.inf, [0.1])])
def test_the_learning_rate_alone_is_told_once_an_interval(train, monkeypatch, interval_seconds, rates):
    monkeypatch.setattr(reporting, "LEARNING_RATE_INTERVAL_SECONDS", interval_seconds)
    run_dir = train(
        LINES, "num_epochs=2", "schedule.batch_size=30", "schedule.batch_growth=1", "schedule.learning_rate_decay=1",
        "schedule.warmup_epochs=1", "schedule.warmup_base_batch_size=15", "optimizer.learning_rate=0.1",
        "tracker.run_name=mine",
    )  # fmt: skip
    made, start, *others = heard(run_dir.path)
    assert (made, start) == (["made", "mine"], ["start", 1, 0])
    decisions = [line[1:] for line in others if line[0] == "decide"]
    assert decisions == [[updates, 30 * updates, 30, pytest.approx(rate)] for updates, rate in enumerate(rates)]
    assert [line for line in others if line[0] != "decide"] == [
        ["log", 1, 2, 30], ["log", 2, 4, 30], ["finish", "done", 0],
    ]  # fmt: skip


def test_a_changed_batch_is_told_at_once(train):
    run_dir = train(LINES)
    assert [line[:4] for line in heard(run_dir.path)[2:]] == [
        ["decide", 0, 0, 8], ["log", 1, 8, 8],
        ["decide", 8, 60, 16], ["log", 2, 12, 16],
        ["decide", 12, 120, 32], ["log", 3, 14, 32],
        ["finish", "done", 0],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "calls"), [("made", 1), ("start", 2), ("decide", 3), ("log", 4), ("finish", 9)]
)  # one call of each kind, in this order, and then those of two more epochs
def test_its_exception_is_one_warning(train, method, calls):
    run_dir = train(LINES, f"tracker.args.fails_in={method}")
    assert run_dir.done.exists()
    assert len(read_rows(run_dir)) == 3
    assert len(heard(run_dir.path)) == calls
    log = run_dir.log.read_text()
    assert log.count("WARNING") == 1
    assert "the tracker my_tracker:Lines is disabled for this run: ConnectionError: nobody listens\n" in log
    assert 'my_tracker.py, line 34, in _write: raise ConnectionError("nobody listens")' in log


def test_what_is_no_tracker_is_disabled_too(train):
    run_dir = train("tracker=my_tracker:nothing")
    assert run_dir.done.exists()
    assert "TypeError: it returned a int; it must return an adabatch.Tracker" in run_dir.log.read_text()
