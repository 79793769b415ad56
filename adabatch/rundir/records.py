"""Files of JSON lines: each record is on disk before the next step is taken.

After a crash at any moment, the file lists what happened before it. A last line cut off by the crash is skipped.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def append_record(path: Path, record: Record) -> None:
    """Append a record with the current time to a file of JSON lines, durably."""
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


def read_records(path: Path) -> list[Record]:
    """Return a file's records, without damaged lines; none if there is no file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    records = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records
