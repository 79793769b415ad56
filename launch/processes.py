"""Which process is meant by a recorded number, and whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any


def start_time(pid: int) -> str | None:
    """Return when a process started, in the kernel's ticks; None if it is gone or a zombie.

    A number alone may name another process by now. Where there is no ``/proc``, the answer is empty for a living one.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() or not _answers(pid) else ""
    return None if fields[0] in ("Z", "X") else fields[19]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def this_process() -> dict[str, Any]:
    """Return what identifies this process among all hosts."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "pid_start": start_time(os.getpid())}


def is_alive(record: dict[str, Any]) -> bool:
    """Return whether the process of `this_process`'s record runs; False also where it is another host's."""
    if record.get("host") != socket.gethostname() or not isinstance(record.get("pid"), int):
        return False
    now = start_time(record["pid"])
    return now is not None and record.get("pid_start") in (None, now)
