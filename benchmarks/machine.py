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

from adabatch.rundir.provenance import available_cores, code_version, cpu_model, library_versions, utc_now
from benchmarks.measure import run_child

_GIBIBYTE = 1 << 30
_PROC = Path("/proc")
#: Fields of the first line of its file stat in which a core works: user, nice, system, irq, softirq, steal.
_BUSY_FIELDS = (1, 2, 3, 6, 7, 8)
#: Fields of a process's stat, counted after its name: its parent; its time in user and system, its ended children's.
_PARENT_FIELD, _TIME_FIELDS = 1, (11, 12, 13, 14)
_TICKS_PER_SECOND = float(os.sysconf("SC_CLK_TCK"))
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


def torch_devices() -> list[str]:
    """Return the kinds of devices that torch can compute on."""
    # Asked in a child: a parent that holds torch would add its own memory to the peaks measured later.
    answer = run_child(["-c", "import torch; print(torch.cuda.is_available())"]).output.strip()
    return ["cpu", "cuda"] if answer == "True" else ["cpu"]


class OthersLoad:
    """How many cores other processes used, on average, while something was measured; None where nobody tells."""

    def __init__(self) -> None:
        self.cores: list[float | None] = []

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Add a number to ``cores`` for the block; this process and all that it started, ended or not, is no other."""
        started, busy_before, own_before = time.perf_counter(), _busy_seconds(), own_seconds()
        yield
        seconds, busy, own = time.perf_counter() - started, _busy_seconds(), own_seconds()
        if busy is None or busy_before is None:
            self.cores.append(None)
        else:
            self.cores.append(round(max(0.0, busy - busy_before - (own - own_before)) / seconds, 2))


def own_seconds() -> float:
    """Return the seconds that this process, its living descendants and the children that these saw end have worked."""
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
        fields = (_PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    return sum(int(fields[place]) for place in _BUSY_FIELDS) / _TICKS_PER_SECOND


def _gpu_models() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.splitlines() if answer.returncode == 0 else []
