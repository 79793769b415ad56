"""Atomic, durable file writes: neither a reader nor a power cut ever sees half a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

#: The folder that holds this package, and ``conf/`` next to it.
SOURCE_DIR = Path(__file__).resolve().parent.parent
CONF_DIR = SOURCE_DIR / "conf"


def write_bytes_atomic(path: Path, content: bytes | memoryview, *, durable: bool = True) -> None:
    """Replace ``path`` by ``content``: temporary file, fsync, rename.

    Args:
        durable: False skips the fsync, for files that may be lost in a power cut (a heartbeat).

    Raises:
        OSError: if the disk is full or the folder cannot be written; ``path`` is then unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames within ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomic(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace ``path`` by ``text`` in UTF-8; see `write_bytes_atomic`."""
    write_bytes_atomic(path, text.encode(), durable=durable)


def write_json_atomic(path: Path, values: dict[str, Any], *, durable: bool = True) -> None:
    """Replace ``path`` by ``values`` as JSON; non-finite numbers are written as NaN and Infinity."""
    write_text_atomic(path, json.dumps(values, indent=2) + "\n", durable=durable)


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's mapping; empty if the file is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
