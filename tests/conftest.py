"""What all tests share: a fixture that trains, Ctrl-C as a terminal sends it, and no processes in fast tests."""

from __future__ import annotations

import gc
import multiprocessing.process
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import settings

from adabatch.config.compose import compose
from adabatch.run import run_config
from adabatch.rundir.files import RunDir
from tests.adabatch.support import TINY
from tests.warm_python import warm_python

Train = Callable[..., RunDir]
#: What keeps a fast test from starting processes.
_PATCH = pytest.StashKey[pytest.MonkeyPatch]()

# Half of a worker's start would be spent on looking for garbage among what the tests import; see pytest_runtestloop.
gc.disable()

# A shell lets what it starts in the background ignore SIGINT, and so would every command that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest loads readline, which tells processes that it starts how wide the terminal is: those of xdist, for example.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

# The threads of a process that a test starts would otherwise spin while they wait for one that has no core.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


# How long an example takes depends on what else the machine does.
settings.register_profile("without_deadline", settings(), deadline=None)
settings.load_profile("without_deadline")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what trains."""
    for item in items:
        if isinstance(item, pytest.Function) and "train" in item.fixturenames:
            item.add_marker("slow")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage from now on, but not among the modules and the tests."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Fail a test of the fast tier if it, or a fixture that it sets up, starts a process, as every training does."""
    is_fast = not any(map(item.get_closest_marker, ("slow", "slurm", "soak", "tex")))

    def refuse(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("it starts a process: mark it with pytest.mark.slow")

    with pytest.MonkeyPatch.context() as patch:
        item.stash[_PATCH] = patch
        if is_fast:
            patch.setattr(subprocess.Popen, "__init__", refuse)
            patch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
            patch.setattr(os, "fork", refuse)
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Let fixtures that other tests shared stop their processes after this one, the last of its worker."""
    item.stash[_PATCH].undo()


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ranks and runs that this process starts have torch already; not for tests that send them signals."""
    monkeypatch.setattr(sys, "executable", warm_python())


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Return a function that trains in this process and gives back the run directory."""

    def run(*overrides: str, name: str = "run", status: int = 0) -> RunDir:
        run_dir = tmp_path / name
        assert run_config(compose([*TINY, f"run_dir={run_dir}", *overrides])) == status
        return RunDir(run_dir)

    return run
