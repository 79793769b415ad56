"""Measuring: arms in turn, child processes with their peak memory, medians and ranges. Nothing here imports torch."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from adabatch.config import CONF_DIR

#: Where ``python -m benchmarks`` and ``python -m adabatch`` are found, installed or not.
PROJECT_DIR = CONF_DIR.parent
_KIBIBYTE = 1024
_TAIL_LINES = 8


class BenchmarkFailed(Exception):
    """A command that should have been measured did not succeed."""


@dataclass(frozen=True)
class ChildCost:
    """What one command took.

    Attributes:
        started_at: reading of `time.monotonic`, which all processes of a machine share.
        peak_bytes: resident memory at its highest.
    """

    started_at: float
    seconds: float
    peak_bytes: int
    output: str


def run_child(words: Sequence[str], environment: Mapping[str, str] | None = None) -> ChildCost:
    """Run ``python WORDS`` in the project's folder and return what it took.

    Raises:
        BenchmarkFailed: if its exit status is not 0.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaints:
        started_at = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, *words],
            cwd=PROJECT_DIR,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=complaints,
        )
        # Not child.wait(): only wait4 tells this child's memory apart from that of all children so far.
        _, wait_status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - started_at
        child.returncode = os.waitstatus_to_exitcode(wait_status)
        texts = []
        for file in (output, complaints):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    if child.returncode != 0:
        raise failure_of(words, child.returncode, texts[1] or texts[0])
    return ChildCost(started_at, seconds, usage.ru_maxrss * _KIBIBYTE, texts[0])


def failure_of(words: Sequence[str], exit_status: int, complaints: str) -> BenchmarkFailed:
    """Return the failure of ``python WORDS`` with the end of what it complained of; a signal's status is negative."""
    tail = "\n".join(complaints.splitlines()[-_TAIL_LINES:])
    return BenchmarkFailed(f"python {' '.join(words)} ended with exit status {exit_status}:\n{tail}")


def alternate(arms: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """Measure every arm once, then every arm again, and so on: what slows the machine for a while slows all arms."""
    measured: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(repetitions):
        for name, arm in arms.items():
            measured[name].append(arm())
    return measured


def paired_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratios of what was measured in the same round."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


def spread_text(values: Sequence[float], format_spec: str = ".2f", factor: float = 1.0) -> str:
    """Return ``median (smallest-largest)`` of the values times a factor."""
    median, low, high = (format(factor * f(values), format_spec) for f in (statistics.median, min, max))
    return median if len(values) == 1 else f"{median} ({low}-{high})"
