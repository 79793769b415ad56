"""What launch writes down: submissions beside the sweep, attempts in the run directories.

Everything is a file of JSON lines. A line is on the disk before the next request leaves, so that a crash at any
moment leaves a true account behind. A torn last line is skipped.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LAUNCH_FOLDER = ".launch"
ATTEMPTS_FILE = "attempts.jsonl"
Record = dict[str, Any]


def append_line(path: Path, record: Record) -> None:
    """Append a record to a file of JSON lines, durably."""
    line = json.dumps({"time": time.time(), **record}) + "\n"
    with open(path, "ab") as file:
        if file.tell() and not _ends_with_newline(path):
            line = "\n" + line
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def read_lines(path: Path) -> list[Record]:
    """Return a file's records; none where there is no file, and without lines that a crash has torn."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    records = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


class LaunchFolder:
    """``<sweep>/.launch``: submissions, logs of jobs, the lock, the snapshot of the code.

    Args:
        sweep_folder: the folder of the sweep.
    """

    def __init__(self, sweep_folder: Path) -> None:
        self.sweep_folder = sweep_folder
        self.path = sweep_folder / LAUNCH_FOLDER
        self.submissions = self.path / "submissions.jsonl"
        self.logs = self.path / "logs"

    def create(self) -> None:
        """Make the folder."""
        self.logs.mkdir(parents=True, exist_ok=True)

    def append(self, record: Record) -> None:
        """Write down what happened to a submission, durably."""
        append_line(self.submissions, record)

    def records(self) -> list[Record]:
        """Return all that was written down, oldest first."""
        return read_lines(self.submissions)

    def queues(self) -> list[Record]:
        """Return the local queues that have not come to their end, dead or alive, oldest first."""
        records = self.records()
        ended = {record["logs"] for record in records if record.get("event") == "local_end"}
        return [record for record in records if record.get("event") == "local" and record["logs"] not in ended]

    @contextmanager
    def locked(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the sweep's lock; only one shell at a time decides what to submit.

        Args:
            on_wait: called once if another process holds the lock.
        """
        self.create()
        with open(self.path / "lock", "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
