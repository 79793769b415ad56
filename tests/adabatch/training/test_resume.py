"""Killed at any moment and started again, a run ends where an undisturbed one does."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.reading import read_mapping
from adabatch.run import resume_run, run_config
from adabatch.rundir.files import RunDir
from adabatch.tools.verify_resume import main as verify_resume
from adabatch.tools.verify_resume import verify
from adabatch.training.loop import TrainingLoop
from adabatch.training.reporting import MainReporter
from tests.adabatch.support import TINY, assert_equal_bits, read_rows, read_summary, without_seconds
from tests.warm_python import warm_python

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("resume")]  # so that they share one stopped run

LONG = (*TINY, "num_epochs=12", "schedule.every_epochs=3", "schedule.batch_size=2")


@pytest.fixture
def stop_after(monkeypatch):
    """Return a function that lets the next run in this process be stopped by SIGTERM after so many of its updates."""
    on_update = MainReporter.on_update

    def arm(updates: int) -> None:
        counted = itertools.count(1)

        def count_and_stop(self, *arguments):
            on_update(self, *arguments)
            if next(counted) == updates:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(MainReporter, "on_update", count_and_stop)

    return arm


def test_stopped_anywhere_a_run_ends_bit_for_bit_where_a_whole_one_does(train, tmp_path, stop_after):
    whole = train(*LONG, name="whole")
    config = compose([*LONG, f"run_dir={tmp_path / 'pieces'}"])
    pieces = RunDir(tmp_path / "pieces")
    # 30, 15, 8, 4 updates an epoch: within one, before an epoch's last update, after it, at a growth boundary
    for updates in (1, 28, 1, 30, 30, 10):
        stop_after(updates)
        assert run_config(config) == 75
    stop_after(10_000)
    assert run_config(config) == 0
    assert without_seconds(whole) == without_seconds(pieces)
    assert_equal_bits(whole, pieces)
    summary = read_summary(pieces)
    assert summary["restarts"] == 6
    assert summary["ledger"] == read_summary(whole)["ledger"]
    assert all(row["samples_used_once"] == 60 for row in summary["ledger"])


def test_random_kills_change_nothing(tmp_path):
    config = compose([*LONG, "checkpoint.every_seconds=0.05"])
    verdict = verify(config, tmp_path / "runs", kills=3, rng=random.Random(1))
    assert verdict.kills >= 1
    assert verdict.differences == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_hundred_random_kills_change_nothing(tmp_path):
    rng = random.Random(2)
    kills = 0
    for number in range(1000):
        cap = rng.choice(["null", "1", "3"])
        config = compose([*LONG, "num_epochs=40", "checkpoint.every_seconds=0.02", f"max_micro_batch_size={cap}"])
        verdict = verify(config, tmp_path / str(number), kills=25, rng=rng)
        assert verdict.differences == []
        kills += verdict.kills
        if kills >= 200:
            return
    pytest.fail(f"only {kills} kills")


def test_the_command_that_proves_it_to_users(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert verify_resume(["--kills", "1", *TINY]) == 0
    assert "1 kills, 0 differences" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert verify_resume(["num_epochs=0"]) == 2


def preempt(train_words: tuple[str, ...], path, num_epochs: int = 200) -> RunDir:
    """Train in a process of its own until two checkpoints exist, then stop it by a signal."""
    run_dir = RunDir(path)
    words = [*train_words, "checkpoint.every_epochs=1", f"run_dir={path}", f"num_epochs={num_epochs}"]
    command = [sys.executable, "-m", "adabatch", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    while not run_dir.previous_checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 75
    return run_dir


@pytest.fixture(scope="module")
def preempted(tmp_path_factory):
    return preempt(TINY, tmp_path_factory.mktemp("preempted") / "run")


@pytest.fixture
def stopped(preempted, tmp_path):
    """A copy of a run that was stopped after a few of its 200 epochs."""
    shutil.copytree(preempted.path, tmp_path / "stopped")
    return RunDir(tmp_path / "stopped")


@pytest.fixture
def go_on(stop_after):
    """Return a function that continues a run for three updates and returns the exit status."""

    def run(run_dir: RunDir) -> int:
        stop_after(3)
        return resume_run(run_dir.path)

    return run


@pytest.mark.long
def test_three_ranks_go_on_bit_for_bit(train, tmp_path, monkeypatch):
    """With two ranks any order of adding up is the same; with three it is not."""
    words = (*TINY, "hardware.num_devices=3", "schedule=fixed", "schedule.batch_size=12")
    pieces = preempt(words, tmp_path / "pieces", num_epochs=30)
    monkeypatch.setattr(sys, "executable", warm_python())  # from here on no process is sent a signal
    assert resume_run(pieces.path) == 0
    whole = train(*words, "checkpoint.every_epochs=1", "num_epochs=30", name="whole")
    assert without_seconds(whole) == without_seconds(pieces)
    assert_equal_bits(whole, pieces)


def test_a_run_pays_once_for_a_shape_however_often_it_is_interrupted(tmp_path, stop_after, monkeypatch):
    monkeypatch.setattr(
        "adabatch.training.engine.compile_network", lambda *_: None
    )  # shapes are warmed up all the same
    words = (*TINY, "schedule=fixed", "hardware.compile=true", f"run_dir={tmp_path / 'run'}")
    config, run_dir = compose(words), RunDir(tmp_path / "run")
    stop_after(10)  # of 8 updates an epoch
    assert run_config(config) == 75
    stop_after(10_000)
    assert run_config(config) == 0
    growth = [float(row["growth_seconds"]) for row in read_rows(run_dir)]
    assert growth[0] > 0
    assert growth[1:] == [0, 0]


def test_a_preempted_run_says_so(stopped):
    summary = read_summary(stopped)
    assert summary["state"] == "preempted"
    assert "SIGUSR1" in summary["cause"]
    assert summary["lost_seconds"] == 0
    assert not stopped.done.exists()


def test_a_run_that_goes_on_says_where_it_is_before_its_first_update(stopped, monkeypatch):
    reached = read_mapping(stopped.progress)

    def fail(trainer):
        raise RuntimeError("before any update")

    monkeypatch.setattr(TrainingLoop, "train_epoch", fail)
    assert resume_run(stopped.path) == 1
    now = read_mapping(stopped.progress)
    for key in ("epoch", "updates", "samples", "samples_in_epoch"):
        assert now[key] == reached[key]
    assert now["updates"] > 0


def test_a_torn_checkpoint_falls_back_to_the_one_before(stopped, go_on):
    content = stopped.checkpoint.read_bytes()
    stopped.checkpoint.write_bytes(content[: len(content) // 2])
    assert go_on(stopped) == 75
    assert "checkpoint.pt is damaged" in stopped.log.read_text()
    assert "continues in epoch" in stopped.log.read_text()


def test_a_missing_last_checkpoint_falls_back_too(stopped, go_on):
    stopped.checkpoint.unlink()
    assert go_on(stopped) == 75
    assert "continues in epoch" in stopped.log.read_text()


def test_two_unreadable_checkpoints_are_a_failure_not_a_fresh_start(stopped):
    rows = read_rows(stopped)
    for path in (stopped.checkpoint, stopped.previous_checkpoint):
        path.write_bytes(b"nothing")
    assert resume_run(stopped.path) == 1
    assert stopped.failed.read_text().startswith("CheckpointUnreadable: ")
    assert read_summary(stopped)["cause"].startswith("CheckpointUnreadable: ")
    assert read_rows(stopped) == rows


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("format_version", 99, "format 99"), ("config_hash", "0" * 12, "config hash 000")],
)
def test_a_checkpoint_of_another_config_or_a_newer_version_is_refused(stopped, key, value, words):
    checkpoint = torch.load(stopped.checkpoint, weights_only=True)
    torch.save({**checkpoint, key: value}, stopped.checkpoint)
    assert resume_run(stopped.path) == 1
    text = stopped.failed.read_text()
    assert text.startswith("CheckpointMismatch: ")
    assert words in text


class Evil:
    """Unpickled, it would write a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def test_nothing_in_a_checkpoint_is_executed(stopped, tmp_path):
    target = tmp_path / "executed"
    for path in (stopped.checkpoint, stopped.previous_checkpoint):
        torch.save({"format_version": 1, "config_hash": "", "state": Evil(str(target))}, path)
    assert resume_run(stopped.path) == 1
    assert not target.exists()


def test_lost_work_is_counted(stopped, go_on):
    """The heartbeat says how far a killed segment came; what no checkpoint holds of it is lost."""
    kept = read_summary(stopped)["wall_seconds"]
    stopped.progress.write_text(f'{{"wall_seconds": {kept + 7.5}}}')
    assert go_on(stopped) == 75
    assert read_summary(stopped)["lost_seconds"] == pytest.approx(7.5, abs=2)  # writing files takes what it takes


def test_two_processes_cannot_train_in_one_directory(stopped):
    import fcntl

    with open(stopped.path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process is training in it"):
            resume_run(stopped.path)
