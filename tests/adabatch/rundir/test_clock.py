"""Whether a run is alive is judged by the file system's clock, whatever the clocks of writer and reader say."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from adabatch.rundir.attempts import record_start
from adabatch.rundir.evidence import collect_evidence
from adabatch.rundir.files import RunDir
from adabatch.rundir.heartbeat import Heartbeat
from adabatch.rundir.process_identity import ProcessIdentity
from adabatch.rundir.records import read_records, record_time
from adabatch.rundir.state import RunState, read_state

HOUR = 3600.0


def beaten(folder: Path, **values: object) -> RunDir:
    """A run whose last heartbeat came from another machine."""
    (folder / "config.yaml").write_text("seed: 0\n")
    run_dir = RunDir(folder)
    beat = {"time": time.time(), "host": "another", "pid": 5, "epoch": 1, "num_epochs": 2, **values}
    run_dir.progress.write_text(json.dumps(beat))
    return run_dir


def state(run_dir: RunDir) -> RunState:
    (evidence,) = collect_evidence([run_dir.path])
    return read_state(evidence)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 14 * HOUR])
def test_a_clock_that_is_known_to_be_wrong_does_not_matter(tmp_path: Path, ahead: float) -> None:
    assert state(beaten(tmp_path, time=time.time() + ahead, clock_ahead_seconds=ahead)).state == "running"
    old = beaten(tmp_path, time=time.time() + ahead - 300, clock_ahead_seconds=ahead)
    assert state(old).cause == "no sign of life for 300 s"


def test_a_beat_from_the_future_is_as_old_as_its_file(tmp_path: Path) -> None:
    run_dir = beaten(tmp_path, time=time.time() + HOUR)
    assert state(run_dir).state == "running"
    os.utime(run_dir.progress, (time.time() - 120,) * 2)
    assert state(run_dir).cause == "no sign of life for 120 s"
    os.utime(run_dir.progress, (time.time() + 2 * HOUR,) * 2)
    found = state(run_dir)
    assert found.state == "lost"
    assert found.cause is not None
    assert found.cause.startswith("its last sign of life is dated 7")


def test_a_failure_after_a_beat_that_is_ahead_is_a_failure(tmp_path: Path) -> None:
    run_dir = beaten(tmp_path, time=time.time() + 45)
    time.sleep(0.02)
    run_dir.failed.write_text("OutOfMemory: too small\n")
    assert state(run_dir) == RunState(state="out-of-memory", cause="OutOfMemory: too small")  # type: ignore[arg-type]


def test_a_writer_whose_clock_is_wrong_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + HOUR)
        record_start(tmp_path, ProcessIdentity("another", 5), None, None, time.time())
        heartbeat = Heartbeat(tmp_path / "progress.json", lambda: {"epoch": 1, "num_epochs": 2})
        heartbeat.beat()
        heartbeat.beat()  # the first one told by how much
    [record] = read_records(RunDir(tmp_path).attempts)
    assert abs(record_time(record) - real()) < 10
    beat = json.loads((tmp_path / "progress.json").read_text())
    assert beat["clock_ahead_seconds"] == pytest.approx(HOUR, abs=10)


@pytest.mark.parametrize("value", [float("nan"), 1e308, -1e308, 10**400, "x", [], None, True])
def test_a_time_that_is_none_is_no_sign_of_life(tmp_path: Path, value: object) -> None:
    assert state(beaten(tmp_path, time=value)).state == "lost"
