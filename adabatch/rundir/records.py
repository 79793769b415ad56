"""Files of JSON lines: each record is on disk before the next step is taken.

After a crash at any moment, the file lists what happened before it. A last line cut off by the crash is skipped.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adabatch.files import sync
from adabatch.reading import Unreadable, open_to_append, open_to_read, parse_json, read_bytes
from adabatch.rundir.clock import clock_ahead, time_of

Record = dict[str, Any]


def append_record(path: Path, record: Record) -> None:
    """Append a record with the current time to a file of JSON lines, durably."""
    append_records(path, [record])


def append_records(path: Path, records: Sequence[Record]) -> None:
    """Append records with the current time to a file of JSON lines, durably, in one write."""
    with open_to_append(path) as file:
        now = {"time": time.time(), **clock_ahead(file.fileno())}
        lines = "".join(json.dumps({**now, **record}) + "\n" for record in records)
        if file.tell() and not _ends_with_newline(path):
            lines = "\n" + lines
        file.write(lines.encode())
        file.flush()
        sync(file.fileno(), path.parent)


def record_time(record: Record) -> float:
    """Return when a record was written, in seconds since 1970 by the clock of the file system; 0 if unknown."""
    return time_of(record) or 0.0


def _ends_with_newline(path: Path) -> bool:
    with open_to_read(path) as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def read_records(path: Path) -> list[Record]:
    """Return a file's records, without damaged lines; none if there is no file that can be read."""
    try:
        text = read_bytes(path).decode("utf-8", errors="replace")
    except (OSError, Unreadable):
        return []
    records = []
    for line in text.split("\n"):
        try:
            record = parse_json(line)
        except Unreadable:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records
