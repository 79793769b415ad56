"""What all tests share: a fixture that trains, and Ctrl-C as a terminal sends it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from adabatch.config.compose import compose
from adabatch.run import run_config
from adabatch.rundir.files import RunDir
from tests.adabatch.support import TINY

Train = Callable[..., RunDir]

# A shell lets what it starts in the background ignore SIGINT, and so would every command that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


# How long an example takes depends on what else the machine does.
settings.register_profile("without_deadline", settings(), deadline=None)
settings.load_profile("without_deadline")


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Return a function that trains in this process and gives back the run directory."""

    def run(*overrides: str, name: str = "run", status: int = 0) -> RunDir:
        run_dir = tmp_path / name
        assert run_config(compose([*TINY, f"run_dir={run_dir}", *overrides])) == status
        return RunDir(run_dir)

    return run
