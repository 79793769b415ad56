"""Sweeps of the user's own, a way to call the commands, and a real SLURM cluster."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.fake_slurm import FakeSlurm
from tests.launch.support import Launch, launching
from tests.slurm.cluster import Cluster, clean_environment, missing_requirement


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """The commands, with options of the user's own (the sweeps ``one``, ``two``, ``long``) and a folder for runs."""
    with launching(tmp_path) as calls:
        yield calls


#: A metric with which a run that only waits for its end leaves the processor to others.
IDLE = """
import time


class Idle:
    def reset(self) -> None:
        pass

    def update(self, logits, labels) -> None:
        pass

    def compute(self) -> float:
        time.sleep(0.5)
        return 0.0
"""


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The word with which every epoch sleeps for half a second, in the folder where its code is."""
    (tmp_path / "idle_metrics.py").write_text(IDLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "idle_metrics", raising=False)
    return "metrics.idle=idle_metrics:Idle"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """SLURM's programs as scripts, first in the path."""
    fake = FakeSlurm(tmp_path / "fake_slurm")
    monkeypatch.setenv("PATH", f"{tmp_path / 'fake_slurm'}:{os.environ['PATH']}")
    return fake


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    """A SLURM cluster for all tests of this worker. One that a killed session left behind is taken over."""
    reason = missing_requirement()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(f"CI must run the tests with SLURM: {reason}")
        pytest.skip(f"tests with a real SLURM cluster: {reason}")
    lock = open(Path(tempfile.gettempdir()) / "adabatch-slurm-test.lock", "w")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = Path(tempfile.gettempdir()) / "adabatch-slurm-test"
    except BlockingIOError:
        folder = Path(tempfile.mkdtemp(prefix="adabatch-slurm-"))
    cluster = Cluster(folder)
    if folder.exists():
        cluster.stop()
        shutil.rmtree(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)
        lock.close()


@pytest.fixture
def cluster(running_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The session's cluster, as this process's own; no job outlives its test."""
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", str(running_cluster.config))
    yield running_cluster
    running_cluster.cancel_all()
