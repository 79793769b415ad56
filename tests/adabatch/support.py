"""Runs of the real trainer, small enough to be made by the dozen."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar

import torch

from adabatch.measure.times import Measurement, MicroBatchTime
from adabatch.rundir.files import RunDir

#: A run of a few tenths of a second: 60 training samples of 8 x 8 pixels.
TINY = (
    "network=tiny_cnn",
    "dataset=synthetic",
    "dataset.num_train_samples=60",
    "dataset.num_test_samples=20",
    "dataset.image_size=8",
    "dataset.num_channels=1",
    "dataset.num_classes=3",
    "schedule.batch_size=8",
    "schedule.every_epochs=1",
    "num_epochs=3",
    "hardware.num_threads=1",
    "checkpoint.every_seconds=null",
)


_T = TypeVar("_T")


def not_none(value: _T | None) -> _T:
    """Return a value that the test expects to be there."""
    assert value is not None
    return value


def adabatch_command(*words: str, python: str = sys.executable) -> list[str]:
    return [python, "-m", "adabatch", *words]


def run_command(
    *words: str, cwd: Path, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m adabatch`` as a user would."""
    return subprocess.run(
        adabatch_command(*words, python=python),
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def read_rows(run_dir: RunDir) -> list[dict[str, str]]:
    with open(run_dir.epochs, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(run_dir: RunDir) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in read_rows(run_dir)]


def read_summary(run_dir: RunDir) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(run_dir.summary.read_text())
    return summary


def network_state(run_dir: RunDir) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(run_dir.checkpoint, weights_only=True)
    state: dict[str, torch.Tensor] = checkpoint["state"]["learner"]["network"]
    return state


def assert_equal_bits(one: RunDir, other: RunDir) -> None:
    first, second = network_state(one), network_state(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def largest_difference(one: RunDir, other: RunDir) -> float:
    first, second = network_state(one), network_state(other)
    assert first.keys() == second.keys()
    return max(float((value.double() - second[name].double()).abs().max()) for name, value in first.items())


def line(sizes: list[int], fixed: float, per_sample: float, update: float = 0.0, test: float = 0.0) -> Measurement:
    """Return a measurement in which a micro-batch of B takes exactly ``fixed + per_sample * B`` seconds."""
    seconds = [fixed + per_sample * size for size in sizes]
    rows = [
        MicroBatchTime(size, 0.1 * whole, 0.3 * whole, 0.6 * whole, update, whole, 0.0, 0.0)
        for size, whole in zip(sizes, seconds, strict=True)
    ]
    return Measurement(tuple(rows), test, None, "a device", "now")
