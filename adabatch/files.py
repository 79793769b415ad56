"""Atomic, durable file writes: neither a reader nor a power cut ever sees half a file."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adabatch.errors import ConfigError
from adabatch.reading import reason

#: The folder that holds this package, and ``conf/`` next to it.
SOURCE_DIR = Path(__file__).resolve().parent.parent
CONF_DIR = SOURCE_DIR / "conf"


#: Errors of file systems that cannot make a folder's or a file's content durable; all others mean that it is lost.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES)
#: The names of files that are being written; of 0.1.0 the second one.
_TEMPORARY = re.compile(r"\.adabatch-[0-9a-f]{16}\.tmp|\.[\w.]+\.\d+\.tmp", re.ASCII)
_log = logging.getLogger(__name__)


def write_bytes_atomic(path: Path, content: bytes | memoryview, *, durable: bool = True) -> None:
    """Replace ``path`` by ``content``: temporary file, fsync, rename.

    Args:
        durable: False skips the fsync, for files that may be lost in a power cut (a heartbeat).

    Raises:
        OSError: if the disk is full or the folder cannot be written; ``path`` is then unchanged.
    """
    # Nobody can foresee the name, so nobody can put a link there.
    temporary = path.with_name(f".adabatch-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            if durable:
                file.flush()
                sync(file.fileno(), path.parent)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames within ``folder`` survive a power cut, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError as error:  # a folder may be writable and not readable
        return _warn_once(folder, error)
    try:
        sync(descriptor, folder)
    finally:
        os.close(descriptor)


def sync(descriptor: int, folder: Path) -> None:
    """Make what was written to an open file or folder survive a power cut, where the file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
        _warn_once(folder, error)


def _warn_once(folder: Path, error: OSError) -> None:
    warn_once(
        "sync", "the file system of %s cannot make writes durable (%s): after a power cut the last ones may be missing",
        folder, error.strerror,
    )  # fmt: skip


def warn_once(what: str, sentence: str, *values: object) -> None:
    """Log a warning, the first time that this process has this kind of warning."""
    if what not in _warned:
        _warned.add(what)
        _log.warning(sentence, *values)


_warned: set[str] = set()


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writes left in a folder; only for the one who owns it and holds its lock."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


def write_text_atomic(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace ``path`` by ``text`` in UTF-8; see `write_bytes_atomic`."""
    write_bytes_atomic(path, text.encode(), durable=durable)


def write_json_atomic(path: Path, values: dict[str, Any], *, durable: bool = True) -> None:
    """Replace ``path`` by ``values`` as JSON; non-finite numbers are written as NaN and Infinity."""
    write_text_atomic(path, json.dumps(values, indent=2) + "\n", durable=durable)


def user_path(text: str | os.PathLike[str]) -> Path:
    """Return a path that a user wrote; a ``~`` that the shell left there is the home folder."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:  # ~nobody, or no home: then it may be a name like any other
        return path


@contextlib.contextmanager
def output(option: str, path: Path) -> Iterator[Path]:
    """Yield where a file that the user named is to be written; it replaces a regular file, and nothing else.

    The folders above it are made. What is yielded is beside the file, with the same ending, and takes its place at the
    end of the block.

    Args:
        option: by which it was named, for the sentence.

    Raises:
        ConfigError: if it is something else than a file, or cannot be written.
    """
    temporary = path.with_name(f".adabatch-{secrets.token_hex(8)}{path.suffix[:20]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise ConfigError(f"{option} is {path}; it must be a file, or the name of a new one.")
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{option} is {path}; it must be a file that can be written ({reason(error)}).") from error
