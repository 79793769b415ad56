"""The command ``logs``: what a run printed, and what it prints from now on."""

from __future__ import annotations

import argparse
import codecs
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from adabatch.errors import EXIT_DONE, ConfigError
from adabatch.reading import Unreadable, open_to_read, printable, reason
from adabatch.rundir.evidence import Evidence, collect_evidence
from adabatch.rundir.files import RunDir, find_runs
from adabatch.terminal import counted
from launch.arguments import EVERY_SECONDS, add_logs
from launch.slurm import ASK_EVERY_SECONDS, Slurm
from launch.status import RunStatus, status_of

_POLL_SECONDS = 0.3
#: Of the runs of a folder, how many are named.
_LISTED = 20
_LONGEST_LINE = 1 << 16


def logs(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run ``logs`` and return the exit status."""
    add_logs(parser)
    options = parser.parse_args(arguments)
    run_dir = _run_in(options.run)
    watched = _Watched(run_dir, options.job)
    log = watched.log
    while log is None and options.follow and watched.status.state.may_change:
        time.sleep(_POLL_SECONDS)
        log = watched.log
    if log is None:
        raise ConfigError(_no_log(run_dir, watched.status, options.job))
    try:
        file = open_to_read(log)
    except (OSError, Unreadable) as error:
        raise ConfigError(f"{log} cannot be read: {reason(error)}.") from error
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    with file:
        for part in _parts(file, options.lines, watched if options.follow else None):
            sys.stdout.write(printable(decoder.decode(part), keep="\n\t\r"))
            sys.stdout.flush()
    return EXIT_DONE


def _run_in(folder: Path) -> Path:
    """Return a run directory, or the only one below a folder.

    Raises:
        ConfigError: if it is neither; of several runs, it names them.
    """
    if os.path.isfile(RunDir(folder).config):
        return folder
    runs = find_runs(folder) if folder.is_dir() else []
    if len(runs) == 1:
        return runs[0]
    if not runs:
        raise ConfigError(f"{folder} is not a run directory; it must hold a config.yaml.")
    more = f" and {len(runs) - _LISTED:,} more" if len(runs) > _LISTED else ""
    names = ", ".join(run.relative_to(folder).as_posix() for run in runs[:_LISTED])
    raise ConfigError(f"{folder} holds {counted(len(runs), 'run')}; logs shows one of them: {names}{more}.")


class _Watched:
    """A run whose state is read every few seconds, and of SLURM less often."""

    def __init__(self, run_dir: Path, of_job: bool) -> None:
        self._run_dir = run_dir
        self._of_job = of_job
        self._slurm = Slurm(ASK_EVERY_SECONDS)
        self._status: RunStatus | None = None
        self._read_at = 0.0

    @property
    def status(self) -> RunStatus:
        """The state of the run."""
        if self._status is None or time.monotonic() - self._read_at > EVERY_SECONDS:
            (self._status,) = status_of([self._run_dir], self._run_dir.parent, self._slurm)
            self._read_at = time.monotonic()
        return self._status

    @property
    def log(self) -> Path | None:
        """The log to show, if there is one: ``log.txt``, or the job's where nothing was trained yet."""
        evidence: Evidence = collect_evidence([self._run_dir])[0]
        own = evidence.run_dir.log
        return own if os.path.lexists(own) and not self._of_job else evidence.job_log


def _no_log(run_dir: Path, status: RunStatus, of_job: bool) -> str:
    cause = f" ({status.cause})" if status.cause else ""
    what = "log of its job" if of_job else "log"
    return f"{run_dir} has no {what}: it is {status.state.value}{cause}; logs -f waits for one."


def _parts(file: IO[bytes], num_last_lines: int | None, watched: _Watched | None) -> Iterator[bytes]:
    """Yield what a log holds, or its last lines, and what is added to it until a watched run has ended."""
    goes_on = watched is not None and watched.status.state.may_change  # before reading: the last lines count
    yield from _lines(file) if num_last_lines is None else deque(_lines(file), maxlen=max(0, num_last_lines))
    while watched is not None and goes_on:
        time.sleep(_POLL_SECONDS)
        goes_on = watched.status.state.may_change
        yield from _lines(file)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines that a log has so far; a very long one in parts."""
    return iter(lambda: file.readline(_LONGEST_LINE), b"")
