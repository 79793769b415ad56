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


class _File:
    """A file of a run directory, by name; its path is made when it is asked for, because many runs have many files."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run_dir: RunDir, owner: type[RunDir]) -> Path:
        return run_dir.path / self._name


class RunDir:
    """The files of one run; see the table in ``docs/run_directory.md``."""

    config = _File("config.yaml")
    meta = _File("meta.json")
    epochs = _File("epochs.csv")
    summary = _File("summary.json")
    progress = _File("progress.json")
    checkpoint = _File("checkpoint.pt")
    previous_checkpoint = _File("checkpoint.previous.pt")
    attempts = _File("attempts.jsonl")
    test_correct = _File("test_correct.npy")
    log = _File("log.txt")
    done = _File("DONE")
    failed = _File("FAILED")
    _lock = _File(".lock")

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

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
