"""What was measured on and with."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adabatch.environment import available_cores, code_version, cpu_model, library_versions, utc_now

_GIBIBYTE = 1 << 30
_STAT = Path("/proc/stat")
#: Fields of its first line in which a core works: user, nice, system, irq, softirq, steal.
_BUSY_FIELDS = (1, 2, 3, 6, 7, 8)
#: A machine on which others use less than this many cores is quiet.
_QUIET_CORES = 0.1
_LOOK_SECONDS = 2.0


def load_average() -> float:
    """Return how many processes wanted a core over the last minute."""
    return round(os.getloadavg()[0], 2)


def machine_facts(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the command, hardware, versions and time, as the head of a results file."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "command": " ".join(["python -m benchmarks", *arguments]),
        "started_at": utc_now(),
        "cpu_model": cpu_model(),
        "num_cores": available_cores(),
        "memory_gib": round(memory_bytes / _GIBIBYTE, 1),
        "gpu_models": _gpu_models(),
        "system": f"{platform.system()} {platform.release()}",
        **library_versions(),
        **code_version(),
        "load_average": load_average(),
    }


class OthersLoad:
    """How many cores other processes used, on average, while something was measured; None where nobody tells."""

    def __init__(self) -> None:
        self.cores: list[float | None] = []

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Add a number to ``cores`` for the block, in which this process and its ended children are not others."""
        started, busy_before, own_before = time.perf_counter(), _busy_seconds(), sum(os.times()[:4])
        yield
        seconds, busy, own = time.perf_counter() - started, _busy_seconds(), sum(os.times()[:4])
        if busy is None or busy_before is None:
            self.cores.append(None)
        else:
            self.cores.append(round(max(0.0, busy - busy_before - (own - own_before)) / seconds, 2))


def wait_until_quiet(max_seconds: float) -> None:
    """Return when other processes leave the cores alone, or after ``max_seconds``."""
    deadline = time.monotonic() + max_seconds
    load = OthersLoad()
    while time.monotonic() + _LOOK_SECONDS < deadline:
        with load.watch():
            time.sleep(_LOOK_SECONDS)
        if (load.cores[-1] or 0.0) < _QUIET_CORES:
            return


def _busy_seconds() -> float | None:
    """Return the seconds that all cores together have worked since the machine started."""
    try:
        fields = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    return sum(int(fields[place]) for place in _BUSY_FIELDS) / float(os.sysconf("SC_CLK_TCK"))


def _gpu_models() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.splitlines() if answer.returncode == 0 else []
