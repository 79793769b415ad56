"""The machine: what it is, and how busy other processes keep it."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adabatch.rundir.cores import available_cores
from adabatch.rundir.provenance import code_version, cpu_model, library_versions, utc_now
from benchmarks.measure import run_child

_GIBIBYTE = 1 << 30
_PROC = Path("/proc")
#: Fields of the first line of /proc/stat that count a core as busy: user, nice, system, irq, softirq, steal.
_BUSY_FIELDS = (1, 2, 3, 6, 7, 8)
#: Fields of a process's stat, counted after its name: its parent; its user and system time, and its ended children's.
_PARENT_FIELD, _TIME_FIELDS = 1, (11, 12, 13, 14)
_TICKS_PER_SECOND = float(os.sysconf("SC_CLK_TCK"))
#: A machine on which others use less than this many cores is quiet.
_QUIET_CORES = 0.1
_LOOK_SECONDS = 2.0


def machine_facts(arguments: Sequence[str]) -> dict[str, Any]:
    """Return what a results file begins with: the command, the time, hardware and versions."""
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
        "load_average": round(os.getloadavg()[0], 2),
    }


def torch_devices() -> list[str]:
    """Return the kinds of devices that torch can compute on."""
    # Asked in a child process, because torch in this one would add to the peaks of memory measured later.
    answer = run_child(["-c", "import torch; print(torch.cuda.is_available())"]).output.strip()
    return ["cpu", "cuda"] if answer == "True" else ["cpu"]


class OthersLoad:
    """How many cores the processes of others use, from now on. This process and all that it started are not others."""

    def __init__(self) -> None:
        self._started, self._busy, self._own = time.perf_counter(), _busy_seconds(), own_seconds()

    def mean_cores(self) -> float | None:
        """Return the average since this object was made; None where the system does not tell."""
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        others = busy - self._busy - (own_seconds() - self._own)
        return round(max(0.0, others) / (time.perf_counter() - self._started), 2)


def own_seconds() -> float:
    """Return the seconds worked by this process, its living descendants, and the ended children they waited for."""
    children: dict[int, list[int]] = {}
    seconds: dict[int, float] = {}
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            # The name stands in parentheses and may hold anything.
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        process = int(path.parent.name)
        children.setdefault(int(fields[_PARENT_FIELD]), []).append(process)
        seconds[process] = sum(int(fields[place]) for place in _TIME_FIELDS) / _TICKS_PER_SECOND
    family = [os.getpid()]
    for process in family:
        family.extend(children.get(process, ()))
    return sum(seconds.get(process, 0.0) for process in family)


def wait_until_quiet(max_seconds: float) -> None:
    """Wait until other processes use hardly any of the cores, but at most ``max_seconds``."""
    deadline = time.monotonic() + max_seconds
    while time.monotonic() + _LOOK_SECONDS < deadline:
        others = OthersLoad()
        time.sleep(_LOOK_SECONDS)
        if (others.mean_cores() or 0.0) < _QUIET_CORES:
            return


def _busy_seconds() -> float | None:
    """Return for how many seconds all cores together have been busy since the machine started."""
    try:
        fields = (_PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    return sum(int(fields[place]) for place in _BUSY_FIELDS) / _TICKS_PER_SECOND


def _gpu_models() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.splitlines() if answer.returncode == 0 else []
