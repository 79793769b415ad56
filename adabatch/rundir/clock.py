"""The clock by which times of different machines are compared: the one that dates the files.

The clocks of a cluster's machines differ, by an hour where a time zone is wrong. What writes a time into a run
directory writes beside it how far its own clock is ahead of the file system's, where that is more than a second; what
reads the time subtracts it, and compares the result with the file system's time now. On a file system that takes the
times of its clients, both are as the machines' own clocks, as if there were no such rule.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from adabatch.reading import plain_number

#: The key beside a ``time``.
CLOCK_AHEAD = "clock_ahead_seconds"
#: Smaller differences are those between writing and asking.
_NEGLIGIBLE_SECONDS = 1.0
#: How long a difference that was measured is used.
_VALID_SECONDS = 60.0
#: By device: when it was measured by the monotonic clock, and by how much this machine's clock is ahead.
_measured: dict[int, tuple[float, float]] = {}


def clock_ahead(descriptor: int) -> dict[str, float]:
    """Return what a time that is written to an open file needs beside it: nothing if the clocks agree.

    The file's own time of change becomes now.
    """
    try:
        os.utime(descriptor)
        return clock_ahead_of(os.fstat(descriptor))
    except OSError:  # somebody else's file
        return {}


def clock_ahead_of(just_written: os.stat_result) -> dict[str, float]:
    """Return the same, from the time of change of a file that was written just now."""
    ahead = time.time() - just_written.st_mtime
    return {CLOCK_AHEAD: round(ahead, 1)} if abs(ahead) > _NEGLIGIBLE_SECONDS else {}


def time_of(values: Mapping[str, object]) -> float | None:
    """Return when a record was written, in seconds since 1970 by the file system's clock; None if unknown."""
    written, ahead = plain_number(values.get("time")), plain_number(values.get(CLOCK_AHEAD))
    return None if written is None else max(0.0, written - (ahead or 0.0))


def file_system_now(folder: Path) -> float:
    """Return the time in seconds since 1970 by the clock of a folder's file system; by this machine's if unknown.

    To ask, a file without a name is made in the folder, and is gone at once.
    """
    return time.time() - _ahead_of(folder)


def _ahead_of(folder: Path) -> float:
    try:
        device = os.stat(folder).st_dev
        measured_at, ahead = _measured.get(device, (-_VALID_SECONDS, 0.0))
        if time.monotonic() - measured_at >= _VALID_SECONDS:
            with tempfile.TemporaryFile(dir=folder) as file:
                os.utime(file.fileno())
                ahead = time.time() - os.fstat(file.fileno()).st_mtime
            _measured[device] = (time.monotonic(), ahead)
    except OSError:  # it is read-only for us
        return 0.0
    return ahead if abs(ahead) > _NEGLIGIBLE_SECONDS else 0.0
