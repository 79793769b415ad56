"""The one way in which files that others can write to are read: those of run directories and sweeps.

A run directory may lie where anybody can write. So a reader takes regular files only (a named pipe or a device could
hold it up for ever), follows no link (it could lead out of the folder, and what it leads to would be shown), and takes
no more than a bound for each kind of file. JSON and YAML may be nested only so deep, and YAML may not repeat parts by
aliases, with which a few hundred bytes stand for gigabytes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import IO, Any

import yaml

#: More than any file of these kinds needs; a run of 100,000 epochs has an ``epochs.csv`` of 40 MB.
MOST_BYTES = {".yaml": 1 << 20, ".json": 64 << 20, ".jsonl": 64 << 20, ".csv": 256 << 20, ".npy": 64 << 20}
_MOST_OTHER_BYTES = 64 << 10
#: Times and counts are far below it, and sums and products of them stay finite.
_LARGEST = 1e100
#: What we write has at most five levels.
MOST_LEVELS = 50
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Characters that move a terminal's cursor, end a line or turn the direction of text, and halves of characters.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: What counts for the nesting of JSON: strings, which may hold brackets, and brackets.
_JSON_PARTS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def printable(text: str, *, keep: str = "") -> str:
    """Return text from a file, or a file's name, with its control characters written out, as in ``\\x1b``.

    Args:
        keep: those that may stay, such as a newline.
    """
    return _CONTROLS.sub(
        lambda match: match[0] if match[0] in keep else match[0].encode("unicode_escape").decode("ascii"), text
    )


def plain_number(value: object) -> float | None:
    """Return a number from a file, if it is one that can be calculated with; None for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
    return float(value) if is_number else None  # type: ignore[arg-type]


class Unreadable(ValueError):
    """A file is not what it should be; the message is a clause that says why, without the file's name."""


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """Open a regular file, never a link, and never wait for one; return its descriptor.

    Args:
        flags: of `os.open`. A file that ``os.O_CREAT`` makes gets the permissions that the user's umask allows.

    Raises:
        FileNotFoundError: if there is none.
        Unreadable: if it is a link, a folder, a pipe, a device or a socket.
        OSError: if the file system refuses.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Unreadable("it is a link, and must be a regular file") from error
        if error.errno in (errno.EISDIR, errno.ENXIO):  # ENXIO: of a socket, or of a pipe that nobody reads
            raise Unreadable("it is no regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Unreadable("it is no regular file")
    return descriptor


def open_to_read(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a regular file of any size for reading; see `open_regular`."""
    return os.fdopen(open_regular(path), "rb")


def open_to_append(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a regular file for appending; it is made if there is none. See `open_regular`."""
    return os.fdopen(open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file.

    Raises:
        FileNotFoundError: if there is none.
        Unreadable: if it is no regular file, or larger than a file of its kind can be.
        OSError: if the file system refuses.
    """
    descriptor = open_regular(path)
    try:
        most = MOST_BYTES.get(os.path.splitext(path)[1], _MOST_OTHER_BYTES)
        size = os.fstat(descriptor).st_size
        content = b"" if size > most else _read_up_to(descriptor, size, most + 1)
    finally:
        os.close(descriptor)
    if max(size, len(content)) > most:
        raise Unreadable(f"it has more than {most:,} bytes")
    return content


def _read_up_to(descriptor: int, expected: int, most: int) -> bytes:
    """Return an open file, at most so much of it; it may be longer than expected, since it may grow meanwhile."""
    parts, count = [], 0
    while count < most and (part := os.read(descriptor, min(max(expected - count + 1, 1 << 16), most - count))):
        parts.append(part)
        count += len(part)
    return b"".join(parts)


def read_start(path: str | os.PathLike[str], num_bytes: int) -> str:
    """Return the start of a text file of any size; see `open_regular` for errors."""
    with open_to_read(path) as file:
        return file.read(num_bytes).decode("utf-8", errors="replace")


def read_end(path: str | os.PathLike[str], num_bytes: int) -> str:
    """Return the end of a text file of any size; see `open_regular` for errors."""
    with open_to_read(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - num_bytes))
        return file.read(num_bytes).decode("utf-8", errors="replace")


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the content of a file in UTF-8; see `read_bytes` for errors."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is no UTF-8 text: {error.reason} at byte {error.start}") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return what a JSON file holds; see `read_bytes` and `parse_json` for errors."""
    return parse_json(read_text(path))


def parse_json(text: str) -> Any:
    """Return what JSON says.

    Raises:
        Unreadable: if it is no JSON, is nested too deeply, or holds half a character.
    """
    if text.count("[") + text.count("{") > MOST_LEVELS:
        _check_levels(text)
    try:
        values = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is no JSON that can be used: {_first_line(error)}") from error
    return values


def _check_levels(text: str) -> None:
    level = 0
    for part in _JSON_PARTS.finditer(text):
        if (mark := part[0]) in "[{":
            level += 1
            if level > MOST_LEVELS:
                raise Unreadable(f"it is nested more than {MOST_LEVELS} levels deep")
        elif mark in "]}":
            level -= 1


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Return what a YAML file holds; see `read_bytes` and `parse_yaml` for errors."""
    return parse_yaml(read_text(path))


def parse_yaml(text: str) -> Any:
    """Return what YAML says.

    Raises:
        Unreadable: if it is no YAML of plain values, is nested too deeply, or has an alias.
    """
    try:
        level = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent):
                raise Unreadable("it has an alias (*), and must write everything out")
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if level > MOST_LEVELS:
                raise Unreadable(f"it is nested more than {MOST_LEVELS} levels deep")
        return yaml.load(text, Loader=_LOADER)
    except Unreadable:
        raise
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Unreadable(f"it is no YAML that can be used: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def reason(error: Exception) -> str:
    """Return why a file could not be read, without its name and without a number."""
    return (error.strerror if isinstance(error, OSError) and error.strerror else None) or _first_line(error)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return a JSON file's mapping; empty if the file is missing or damaged."""
    try:
        values = read_json(path)
    except (OSError, Unreadable):
        return {}
    return values if isinstance(values, dict) else {}
