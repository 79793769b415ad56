"""What a sweep declares before it runs: ``<sweep>/.launch/registrations.jsonl``, a line whenever that changes.

A table made later says whether what it is judged by was declared beforehand.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.reading import plain_number
from adabatch.rundir.journal import LAUNCH_FOLDER
from adabatch.rundir.records import append_record, read_records

_HASH_DIGITS = 12
#: The year 5138, as seconds since 1970.
_LATEST = 1e11


@dataclass(frozen=True)
class Registration:
    """One declaration.

    Attributes:
        time: of the submission, seconds since 1970.
        digest: equal for equal declarations.
        content: sweep, seeds, baseline, target, margin and smallest effect.
        num_done: runs of the sweep that were done before it.
    """

    time: float
    digest: str
    content: dict[str, Any]
    num_done: int


def _file(sweep_folder: Path) -> Path:
    return sweep_folder / LAUNCH_FOLDER / "registrations.jsonl"


def register(sweep_folder: Path, content: dict[str, Any], num_done: int) -> str:
    """Write down a declaration unless it is the last one already, and return its digest."""
    canonical = json.dumps(content, sort_keys=True, default=str)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:_HASH_DIGITS]
    known = read_registrations(sweep_folder)
    if not known or known[-1].digest != digest:
        append_record(_file(sweep_folder), {"digest": digest, "content": json.loads(canonical), "num_done": num_done})
    return digest


def _is_time(value: object) -> bool:
    """Return whether a value is a time that a date can be made of."""
    number = plain_number(value)
    return number is not None and 0 <= number < _LATEST


def read_registrations(sweep_folder: Path) -> list[Registration]:
    """Return a sweep's declarations, oldest first; damaged lines are left out."""
    found = []
    for record in read_records(_file(sweep_folder)):
        time, digest, content, num_done = (record.get(key) for key in ("time", "digest", "content", "num_done"))
        is_sound = _is_time(time) and isinstance(digest, str) and isinstance(num_done, int)
        if is_sound and isinstance(content, dict):
            found.append(Registration(float(time), digest, content, num_done))  # type: ignore[arg-type]
    return found
