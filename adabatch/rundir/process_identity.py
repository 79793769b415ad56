"""Which process a record refers to, and whether it is still alive."""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Linux's limit.
_LARGEST_PID = 1 << 22


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, unique across hosts.

    Attributes:
        pid_start: when it started, in kernel ticks, since a pid can be reused. None if unknown, empty if there is no
            ``/proc``.
        boot_id: of the host's boot in which it started; None if unknown.
    """

    host: str | None
    pid: int | None
    pid_start: str | None = None
    boot_id: str | None = None

    @classmethod
    def of(cls, record: dict[str, Any]) -> ProcessIdentity:
        """Return the process that a record names with this class's keys."""
        pid = record.get("pid")
        host, start, boot_id = (
            value if isinstance(value := record.get(key), str) else None for key in ("host", "pid_start", "boot_id")
        )
        return cls(host, pid if _is_pid(pid) else None, start, boot_id)

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
        return now is not None and self.pid_start in (None, now) and self.boot_id in (None, _boot_id())

    @property
    def is_proven_alive(self) -> bool:
        """Whether it is running, and is certainly the process that the record was made for.

        A record may be old, made by hand, or anybody's: a number alone could be that of any process.
        """
        return self.is_alive and self.pid_start is not None and self.boot_id == _boot_id()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a record."""
        return asdict(self)


def this_process() -> ProcessIdentity:
    """Return the identity of this process."""
    return identity_of(os.getpid())


def identity_of(pid: int) -> ProcessIdentity:
    """Return the identity of a process on this host."""
    return ProcessIdentity(socket.gethostname(), pid, start_time(pid), _boot_id())


def _is_pid(value: object) -> bool:
    """Return whether a value can be the number of a process that somebody started; 0, 1 and -1 are others."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 < value <= _LARGEST_PID


@functools.cache
def _boot_id() -> str | None:
    """Return what is another after every boot of this host; None where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def start_time(pid: int) -> str | None:
    """Return when a process on this host started, in kernel ticks; None if it is gone or a zombie.

    Without ``/proc`` the result is empty for a live process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
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
