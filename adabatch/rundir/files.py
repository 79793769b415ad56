"""The run directory: its file names, finding run directories, and the lock held while training in one."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.02


def find_runs(folder: Path) -> list[Path]:
    """Return the run directories at or below a folder: the folders with a ``config.yaml``."""
    found = []
    for path, folders, files in os.walk(folder):
        if "config.yaml" in files:
            found.append(Path(path))
            folders.clear()
        else:
            folders[:] = sorted(name for name in folders if not name.startswith("."))
    return found


class RunDir:
    """The files of one run; see the table in ``docs/run_directory.md``."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.meta = self.path / "meta.json"
        self.epochs = self.path / "epochs.csv"
        self.summary = self.path / "summary.json"
        self.progress = self.path / "progress.json"
        self.checkpoint = self.path / "checkpoint.pt"
        self.previous_checkpoint = self.path / "checkpoint.previous.pt"
        self.attempts = self.path / "attempts.jsonl"
        self.test_correct = self.path / "test_correct.npy"
        self.log = self.path / "log.txt"
        self.done = self.path / "DONE"
        self.failed = self.path / "FAILED"
        self._lock = self.path / ".lock"

    @property
    def has_started(self) -> bool:
        """Whether training ever started here."""
        traces = (self.epochs, self.checkpoint, self.previous_checkpoint, self.attempts, self.failed, self.done,
                  self.summary)  # fmt: skip
        return any(file.exists() for file in traces)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the directory's lock; two processes training in one folder would destroy each other's files.

        Yields:
            False if another process holds it.
        """
        with open(self._lock, "w", encoding="utf-8") as lock:
            yield _try_to_lock(lock.fileno())

    def wait_until_free(self, patience_seconds: float) -> None:
        """Give a process that trains here time to save its state and end."""
        deadline = time.monotonic() + patience_seconds
        with open(self._lock, "a", encoding="utf-8") as lock:
            while time.monotonic() < deadline and not _try_to_lock(lock.fileno()):
                time.sleep(_POLL_SECONDS)


def _try_to_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
