"""The run directory: its file names, finding run directories, and the lock held while training in one."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adabatch.files import remove_leftovers, warn_once, write_bytes_atomic
from adabatch.reading import Unreadable, printable, read_bytes
from adabatch.rundir.locks import Lock, locked, wait_until_free

#: How far below a link runs are looked for: the levels of a sweep are cell, arm and seed.
_LEVELS_BELOW_LINK = 4
#: A link to a folder with so many folders without a run leads somewhere else than to runs.
_MOST_FOLDERS_BELOW_LINK = 1000
#: The folder of a run that holds what earlier attempts left, one folder each, named by a number.
_EARLIER = ".earlier"
_EARLIER_NUMBER = re.compile("[0-9]{1,9}")


def find_runs(folder: Path) -> list[Path]:
    """Return the run directories at or below a folder: the folders with a ``config.yaml``.

    A link to a folder is followed once: not within what another one leads to, and not to a run that was found already.
    Folders whose names begin with a dot are not entered.
    """
    links: list[str] = []
    found = list(_find_runs(os.fspath(folder), links))
    if links:
        known = {_identity(path) for path in found}
        for link in links:
            for path in _find_below_link(link):
                if (identity := _identity(path)) not in known:
                    known.add(identity)
                    found.append(path)
        found.sort(key=lambda path: path.split(os.sep))
    return [Path(path) for path in found]


def _find_runs(folder: str, links: list[str]) -> Iterator[str]:
    """Yield the runs below a folder in the order of their names, and note the links to folders among them."""
    waiting = [folder]  # no recursion: folders may be nested deeper than Python allows
    while waiting:
        path = waiting.pop()
        # Most folders are runs, which need not be listed: to look for one file is much faster.
        if _is_file(os.path.join(path, "config.yaml")):
            yield path
            continue
        folders, linked = _entries(path)
        waiting += reversed(folders)
        links += linked


def _find_below_link(link: str) -> Iterator[str]:
    waiting, num_folders = [(link, 0)], 0
    while waiting:
        path, level = waiting.pop()
        if _is_file(os.path.join(path, "config.yaml")):
            yield path
            continue
        num_folders += 1
        if num_folders > _MOST_FOLDERS_BELOW_LINK:
            sentence = "%s leads to more than %d folders without a run; not all of them are searched"
            warn_once(f"link {link}", sentence, printable(link), _MOST_FOLDERS_BELOW_LINK)
            return
        if level < _LEVELS_BELOW_LINK:
            waiting += [(below, level + 1) for below in reversed(_entries(path)[0])]


def _entries(folder: str) -> tuple[list[str], list[str]]:
    """Return the folders in a folder, and the links to folders; none if nobody may read it, or it is gone."""
    folders, links = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_symlink() and entry.is_dir():
                    links.append(entry.path)
    except OSError:
        pass  # what was seen until then counts
    return sorted(folders), sorted(links)


def _identity(path: str) -> tuple[int, int] | str:
    try:
        found = os.stat(path)
    except OSError:
        return path
    return found.st_dev, found.st_ino


def _is_file(path: str) -> bool:
    """Return whether something that is no folder has this path; a link that leads nowhere counts."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return os.path.islink(path)


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
    #: While it is being written.
    fresh_checkpoint = _File("checkpoint.new.pt")
    #: One that was passed over because another was sound.
    damaged_checkpoint = _File("checkpoint.damaged.pt")
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
        return any(os.path.lexists(file) for file in traces)

    def set_aside(self) -> Path:
        """Move what an attempt left, besides the config, to a folder ``.earlier/N`` of the run; return that folder.

        ``find_runs`` does not enter it. A copy of ``config.yaml`` goes along, so that the folder can be read by itself.

        Raises:
            Unreadable: if ``.earlier`` leads elsewhere, or the config is no regular file.
            OSError: if the file system refuses.
        """
        earlier = self.path / _EARLIER
        earlier.mkdir(exist_ok=True)
        if earlier.is_symlink():
            raise Unreadable(f"{_EARLIER} is a link, and must be a folder")
        numbers = [int(name) for name in os.listdir(earlier) if _EARLIER_NUMBER.fullmatch(name)]
        target = earlier / str(max(numbers, default=0) + 1)
        target.mkdir()
        write_bytes_atomic(target / self.config.name, read_bytes(self.config))
        # DONE first: a run without it is never taken for a finished one.
        names = sorted(os.listdir(self.path), key=lambda name: name != self.done.name)
        for name in names:
            if name not in (_EARLIER, self.config.name, self._lock.name):
                os.rename(self.path / name, target / name)
        return target

    @contextmanager
    def locked(self) -> Iterator[Lock]:
        """Hold the directory's lock; two processes training in one folder would destroy each other's files.

        Whoever holds it removes what killed writes left behind.

        Raises:
            Unreadable, OSError: if the lock's file cannot be opened.
        """
        with locked(self._lock) as lock:
            if lock is Lock.HELD:
                self._remove_leftovers()
            yield lock

    def _remove_leftovers(self) -> None:
        remove_leftovers(self.path)
        with suppress(OSError):
            self.fresh_checkpoint.unlink(missing_ok=True)

    def wait_until_free(self, patience_seconds: float) -> None:
        """Give a process that trains here time to save its state and end."""
        with suppress(OSError, Unreadable):  # whoever trains next says what is wrong
            wait_until_free(self._lock, patience_seconds)
