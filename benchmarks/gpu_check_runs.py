"""What the checks of `gpu_check` train with, and by how much two runs differ."""

from __future__ import annotations

import contextlib
import gc
import io
import math
import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adabatch.config import TrainConfig
from adabatch.config.compose import compose
from adabatch.errors import EXIT_DONE
from adabatch.processes.children import child_environment, module_command
from adabatch.reading import read_json
from adabatch.run import run_config
from adabatch.rundir.columns import EpochRow, read_epochs_csv
from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import read_summary

#: 64 + 32 + 16 updates of 64, 128 and 256 samples, in about a second.
_SMALL = (
    "network=resnet20", "dataset=synthetic", "dataset.num_train_samples=4096", "dataset.num_test_samples=512",
    "schedule=adabatch", "schedule.batch_size=64", "schedule.every_epochs=1", "num_epochs=3",
    "checkpoint.every_seconds=null",
)  # fmt: skip
_CHILD_SECONDS = 150.0
#: Hydra composes one config at a time, and checks run side by side.
_composing = threading.Lock()


class CheckFailed(Exception):
    """What was checked is not so; the message has the numbers."""


@dataclass(frozen=True)
class Place:
    """Where checks train.

    Attributes:
        folder: for their run directories.
        words: overrides of every run, which win over those of the check: the device, and smaller sizes in tests.
    """

    folder: Path
    words: tuple[str, ...] = ("hardware=gpu",)

    def config(self, name: str, *words: str) -> TrainConfig:
        """Return the config of a run in the folder ``name``."""
        with _composing:
            return compose([*_SMALL, *words, *self.words, f"run_dir={self.folder / name}"])

    def train(self, name: str, *words: str, status: int = EXIT_DONE) -> RunDir:
        """Train in this process.

        Raises:
            CheckFailed: if the run ends with another exit status.
        """
        config = self.config(name, *words)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # its log is in the run directory
                found = run_config(config)
        finally:
            torch.use_deterministic_algorithms(False)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        run_dir = RunDir(self.folder / name)
        if found != status:
            raise CheckFailed(f"{name} ended with exit status {found}, not {status}: {cause_of(run_dir)}")
        return run_dir

    def train_in_child(self, name: str, *words: str) -> RunDir:
        """Train in a process of its own, in which no kernel was searched before.

        Raises:
            CheckFailed: if the run fails.
        """
        self.command("adabatch", *_SMALL, *words, *self.words, f"run_dir={self.folder / name}")
        return RunDir(self.folder / name)

    def command(self, module: str, *words: str, **environment: str) -> str:
        """Run ``python -m MODULE WORDS`` in the folder and return what it prints.

        Raises:
            CheckFailed: if its exit status is not 0.
        """
        answer = subprocess.run(
            module_command(module, *words),
            cwd=self.folder,
            env={**child_environment(os.environ), **environment},
            capture_output=True,
            text=True,
            timeout=_CHILD_SECONDS,
        )
        if answer.returncode != EXIT_DONE:
            end = " | ".join((answer.stderr or answer.stdout).splitlines()[-3:])
            raise CheckFailed(f"python -m {module} {words[0]} ended with exit status {answer.returncode}: {end}")
        return answer.stdout


def cause_of(run_dir: RunDir) -> str:
    """Return why a run failed; empty if it did not."""
    return read_summary(run_dir).get("cause") or "" if run_dir.summary.exists() else "it left no summary"


def graphs_of(run_dir: RunDir) -> str:
    """Return what ``meta.json`` says of CUDA graphs: ``yes``, ``no``, or ``no: `` and what prevented them."""
    meta: Mapping[str, Any] = read_json(run_dir.meta)
    return str(meta["cuda_graphs"])


def require_graphs(run_dir: RunDir) -> None:
    """Raise CheckFailed unless a run computed with CUDA graphs to its end."""
    if graphs_of(run_dir) != "yes":
        raise CheckFailed(f"meta.json of {run_dir.path.name} has cuda_graphs: {graphs_of(run_dir)}; it must be yes")


def rows_of(run_dir: RunDir) -> list[EpochRow]:
    """Return a run's epochs."""
    return read_epochs_csv(run_dir.epochs)[0]


def replayed_epochs(run_dir: RunDir) -> int:
    """Return the number of epochs in which micro-batches were replayed as graphs, which hide their parts' times."""
    return sum(math.isnan(row.forward_seconds or 0.0) for row in rows_of(run_dir))


@dataclass(frozen=True)
class Difference:
    """By how much two runs with the same updates differ.

    Attributes:
        losses: the largest relative difference of an epoch's losses.
        weights: the norm of the difference of all weights and statistics over their own norm.
    """

    losses: float
    weights: float
    num_updates: int

    def within(self, tolerance: float) -> str:
        """Return the difference as text.

        Raises:
            CheckFailed: if it is larger.
        """
        if not max(self.losses, self.weights) <= tolerance:
            raise CheckFailed(f"{self}; at most {tolerance:.0e} is rounding")
        return str(self)

    def __str__(self) -> str:
        return (
            f"losses differ by {self.losses:.1e}, weights by {self.weights:.1e} of their size, after "
            f"{self.num_updates} updates"
        )


def compared(one: RunDir, other: RunDir) -> Difference:
    """Return by how much two runs differ.

    Raises:
        CheckFailed: if they have not made the same updates.
    """
    first, second = rows_of(one), rows_of(other)
    if [row.updates for row in first] != [row.updates for row in second]:
        raise CheckFailed(f"{one.path.name} and {other.path.name} did not make the same updates")
    pairs = [
        (getattr(a, name), getattr(b, name))
        for a, b in zip(first, second, strict=True)
        for name in ("train_loss", "test_loss")
    ]
    before, after = _weights(one), _weights(other)
    return Difference(
        losses=max(abs(a - b) / abs(a) for a, b in pairs),
        weights=float((before - after).norm() / before.norm()),
        num_updates=first[-1].updates,
    )


def _weights(run_dir: RunDir) -> torch.Tensor:
    """Return a run's weights and statistics, as one vector of float64."""
    checkpoint = torch.load(run_dir.checkpoint, map_location="cpu", weights_only=True)
    network: dict[str, torch.Tensor] = checkpoint["state"]["learner"]["network"]
    return torch.cat([value.flatten().double() for value in network.values() if value.is_floating_point()])
