"""Which process a record refers to, and whether it is still alive."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, unique across hosts.

    Attributes:
        pid_start: when it started, in kernel ticks, since a pid can be reused. None if unknown, empty if there is no
            ``/proc``.
    """

    host: str | None
    pid: int | None
    pid_start: str | None = None

    @classmethod
    def of(cls, record: dict[str, Any]) -> ProcessIdentity:
        """Return the process that a record names with this class's keys."""
        host, pid, start = (record.get(key) for key in ("host", "pid", "pid_start"))
        return cls(
            host if isinstance(host, str) else None,
            pid if isinstance(pid, int) else None,
            start if isinstance(start, str) else None,
        )

    @property
    def is_of_this_host(self) -> bool:
        """Whether it belongs to this host, so its end can be detected."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether it is running; False for a process of another host."""
        if not self.is_of_this_host or self.pid is None:
            return False
        now = start_time(self.pid)
        return now is not None and self.pid_start in (None, now)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a record."""
        return asdict(self)


def this_process() -> ProcessIdentity:
    """Return the identity of this process."""
    return identity_of(os.getpid())


def identity_of(pid: int) -> ProcessIdentity:
    """Return the identity of a process on this host."""
    return ProcessIdentity(socket.gethostname(), pid, start_time(pid))


def start_time(pid: int) -> str | None:
    """Return when a process on this host started, in kernel ticks; None if it is gone or a zombie.

    Without ``/proc`` the result is empty for a live process.
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
