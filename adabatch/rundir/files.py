"""The run directory: its file names, finding run directories, and the lock held while training in one."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.02


def find_runs(folder: Path) -> list[Path]:
    """Return the run directories at or below a folder: the folders with a ``config.yaml``.

    Links to folders and folders whose names begin with a dot are not entered.
    """
    return [Path(path) for path in _find_runs(os.fspath(folder))]


def _find_runs(folder: str) -> Iterator[str]:
    # Most folders are runs, which need not be listed: to look for one file is much faster.
    if _is_file(os.path.join(folder, "config.yaml")):
        yield folder
        return
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if _may_hold_runs(entry))
    except OSError:
        return  # nobody may read it, or it is gone
    for name in names:
        yield from _find_runs(os.path.join(folder, name))


def _is_file(path: str) -> bool:
    """Return whether something that is no folder has this path; a link that leads nowhere counts."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return os.path.islink(path)


def _may_hold_runs(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)


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
