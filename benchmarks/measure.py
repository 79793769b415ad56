"""Measuring: arms that take turns, child processes, medians and ranges. Nothing here imports torch."""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from adabatch.config import CONF_DIR

#: Where Python finds ``benchmarks`` and ``adabatch``, installed or not.
PROJECT_DIR = CONF_DIR.parent
_T = TypeVar("_T")
_KIBIBYTE = 1024
_TAIL_LINES = 8


class BenchmarkFailed(Exception):
    """A command that was to be measured failed."""


@dataclass(frozen=True)
class ChildCost:
    """What one command cost.

    Attributes:
        started_at: by `time.monotonic`, which is the same clock for all processes of a machine.
        peak_bytes: highest resident memory.
        output: what it printed.
    """

    started_at: float
    seconds: float
    peak_bytes: int
    output: str


def run_child(
    words: Sequence[str], environment: Mapping[str, str] | None = None, allowed: Sequence[int] = (0,)
) -> ChildCost:
    """Run ``python WORDS`` in the project's folder and return what it cost.

    Args:
        allowed: the exit statuses that are no failure.

    Raises:
        BenchmarkFailed: if its exit status is another one.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started_at = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, *words],
            cwd=PROJECT_DIR,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        # Not child.wait(): only wait4 tells this child's peak memory apart from that of earlier children.
        _, wait_status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - started_at
        child.returncode = os.waitstatus_to_exitcode(wait_status)
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    if child.returncode not in allowed:
        end = "\n".join((texts[1] or texts[0]).splitlines()[-_TAIL_LINES:])
        raise BenchmarkFailed(f"python {shlex.join(words)} ended with exit status {child.returncode}:\n{end}")
    return ChildCost(started_at, seconds, usage.ru_maxrss * _KIBIBYTE, texts[0])


def alternate(arms: Mapping[str, Callable[[], _T]], repetitions: int) -> dict[str, list[_T]]:
    """Measure every arm once, then every arm again, and so on: what slows the machine for a while slows all arms."""
    measured: dict[str, list[_T]] = {name: [] for name in arms}
    for _ in range(repetitions):
        for name, arm in arms.items():
            measured[name].append(arm())
    return measured


def paired_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return for each round the ratio of what two arms measured in it."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


def spread_text(values: Sequence[float], format_spec: str = ".2f", factor: float = 1.0) -> str:
    """Return ``median (smallest-largest)`` of the values times a factor; a dash if there are none."""
    if not values:
        return "-"
    median, low, high = (format(factor * f(values), format_spec) for f in (statistics.median, min, max))
    return median if len(values) == 1 else f"{median} ({low}-{high})"
