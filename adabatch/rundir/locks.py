"""Locks of folders: a file in the folder, locked with flock while the folder is in use."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from adabatch.files import warn_once
from adabatch.reading import open_regular

_POLL_SECONDS = 0.02


class Lock(Enum):
    """What an attempt to lock a folder came to."""

    HELD = "held"
    #: By another process.
    TAKEN = "taken"
    #: The file system cannot lock (Lustre without ``flock``, NFS without its lock daemon): nobody can tell.
    UNSUPPORTED = "unsupported"

    @property
    def is_free(self) -> bool:
        """Whether the folder may be used."""
        return self is not Lock.TAKEN


@contextmanager
def locked(file: Path, on_wait: Callable[[], None] | None = None) -> Iterator[Lock]:
    """Hold a lock within the block.

    On a file system without locks the block runs all the same, after a warning: to refuse would help nobody there.

    Args:
        file: made if there is none; it stays empty.
        on_wait: called once if another process holds the lock, which is then waited for; None: do not wait.

    Raises:
        Unreadable, OSError: if the file cannot be opened.
    """
    descriptor = open_regular(file, os.O_RDWR | os.O_CREAT)
    try:
        state = _try(descriptor, file)
        if state is Lock.TAKEN and on_wait is not None:
            on_wait()
            state = _try(descriptor, file, fcntl.LOCK_EX)
        yield state
    finally:
        os.close(descriptor)


def wait_until_free(file: Path, patience_seconds: float) -> None:
    """Wait until no other process holds a lock, for at most so long.

    Raises:
        Unreadable, OSError: if the file cannot be opened.
    """
    deadline = time.monotonic() + patience_seconds
    descriptor = open_regular(file, os.O_RDWR | os.O_CREAT)
    try:
        while time.monotonic() < deadline and not _try(descriptor, file).is_free:
            time.sleep(_POLL_SECONDS)
    finally:
        os.close(descriptor)


def _try(descriptor: int, file: Path, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> Lock:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return Lock.TAKEN
    except OSError as error:
        warn_once(
            "lock", "the file system of %s cannot lock files (%s): start only one process at a time in a folder",
            file.parent, error.strerror,
        )  # fmt: skip
        return Lock.UNSUPPORTED
    return Lock.HELD
