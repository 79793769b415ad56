"""The run directory: its files' names, and writing them so that a reader never sees half of one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_bytes_atomic(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace ``path`` by ``content``: temporary file, fsync, rename.

    Args:
        durable: False skips the fsync, for files whose loss in a power cut costs nothing (a heartbeat).

    Raises:
        OSError: if the disk is full or the folder cannot be written; ``path`` then still holds what it held.
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


def find_runs(folder: Path) -> list[Path]:
    """Return the run directories at or below a folder; one is known by its ``config.yaml``."""
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
        self.log = self.path / "log.txt"
        self.done = self.path / "DONE"
        self.failed = self.path / "FAILED"

    def read_json(self, file: Path) -> dict[str, Any]:
        """Return one of the directory's JSON files; empty where there is none or it is damaged."""
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return {}
        return values if isinstance(values, dict) else {}

    def update_meta(self, values: dict[str, Any]) -> dict[str, Any]:
        """Merge ``values`` into ``meta.json``, keep its other keys, and return the whole."""
        meta = self.read_json(self.meta) | values
        write_json_atomic(self.meta, meta)
        return meta

    def mark_done(self, text: str) -> None:
        """Write ``DONE``, the last file of a finished run, and remove the traces of failed attempts."""
        self.failed.unlink(missing_ok=True)
        self.progress.unlink(missing_ok=True)
        write_text_atomic(self.done, text + "\n")

    def mark_failed(self, cause: str, sentence: str, traceback: str) -> None:
        """Write ``FAILED``: the cause and its sentence in the first line, then the traceback."""
        write_text_atomic(self.failed, f"{cause}: {sentence}\n\n{traceback}")
