"""Why a run failed, in one line: the first thing that went wrong, from ``FAILED`` or from the log of its job.

What ends a log is mostly the farewell of srun, which only repeats that its task is gone; it never counts as a cause.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from adabatch.files import SOURCE_DIR
from adabatch.reading import Unreadable, read_end
from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import read_failure

_TAIL_BYTES = 65536
#: What srun, slurmstepd and submitit say because a task has ended, or on its way.
_FAREWELLS = re.compile(
    r"srun: (launch/slurm: )?(_step_signal: |_launch_handle_\w+: )?(Terminating|Force Terminated)"
    r"|srun: (Job step \d+\.\S+ )?(aborted|Job step aborted|forcing job termination|job \S+ (queued|has been))"
    r"|srun: error: .*: tasks? [\d,\s-]*: (Exited with exit code \d+|Terminated|Killed|Aborted|\w+)"
    r"|slurmstepd: error: \*\*\* (STEP|JOB) "
    r"|submitit (WARNING|INFO|ERROR)"
)
_ERROR = re.compile(
    r"\berror\b|\bfatal\b|: command not found|No such file or directory|Permission denied|cannot |Segmentation fault"
    r"|^Killed|not found",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"^(slurmstepd|srun): (error|fatal): ")
#: What launch's scripts say of a failing line of ``cluster.setup``, after the line's own message.
_SETUP = "cluster.setup: error: "
_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^\s+File "([^"]{1,4096})", line (\d+)(?:, in (.+))?$')
#: The last line of a traceback, ``name: message``, also of an error whose class is in a module.
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(: .*)?$")
_NOT_THE_USERS = re.compile(r"/(site|dist)-packages/|/lib/python\d|^<")


def failure_cause(run_dir: RunDir) -> str:
    """Return the first line of ``FAILED``; for an error in the user's own code, also where that is."""
    cause = read_failure(run_dir)
    try:
        frame = _last_own_frame(tail(run_dir.failed).splitlines())
    except (OSError, Unreadable):
        frame = None
    return f"{cause} ({frame})" if frame else cause


def first_error(log: Path) -> str | None:
    """Return the first error of a log's last 64 kB in one line, else its last line; None if it holds only farewells.

    A traceback counts as one error, shown by its last line and the user's own line that it came from.
    """
    try:
        lines = [line.rstrip() for line in tail(log).splitlines()]
    except (OSError, Unreadable):
        return None
    lines = [line for line in lines if line and not _FAREWELLS.match(line)]
    setup = next((line for line in lines if line.startswith(_SETUP)), None)
    if setup is not None:
        return setup
    for number, line in enumerate(lines):
        if line == _TRACEBACK:
            return _of_traceback(lines[number + 1 :])
        if _FRAME.match(line):  # a syntax error of the file that Python was called with
            return _of_traceback(lines[number:])
        if _ERROR.search(line):
            return _SPEAKER.sub("", line.strip())
    return lines[-1].strip() if lines else None


def last_line(path: Path, words: tuple[str, ...] = ("",)) -> str | None:
    """Return the last non-blank line of a log that contains one of the words; None if there is none."""
    try:
        lines = [line.strip() for line in reversed(tail(path).splitlines())]
    except (OSError, Unreadable):
        return None
    return next((line for line in lines if line and any(word in line for word in words)), None)


def tail(path: Path, num_bytes: int = _TAIL_BYTES) -> str:
    """Return the end of a text file.

    Raises:
        OSError, Unreadable: if it cannot be read.
    """
    return read_end(path, num_bytes)


def _of_traceback(lines: Sequence[str]) -> str | None:
    """Return the error of a traceback, given its lines after the first, and where in the user's code it arose."""
    body = []
    for line in lines:
        body.append(line)
        if not line.startswith(" ") and _EXCEPTION.match(line):
            break
    *frames, error = body
    frame = _last_own_frame(frames)
    if error.startswith(("SyntaxError", "IndentationError")):
        frame = next((_place(*found) for found in _frames(reversed(frames))), None)
    return f"{error.strip()} ({frame})" if frame else error.strip()


def _last_own_frame(lines: Sequence[str]) -> str | None:
    """Return the innermost line of a traceback that is neither ours nor a library's."""
    own = [found for found in _frames(lines) if not _is_ours(found[0]) and not _NOT_THE_USERS.search(found[0])]
    return _place(*own[-1]) if own else None


def _frames(lines: Sequence[str] | Iterator[str]) -> Iterator[tuple[str, str, str | None]]:
    for line in lines:
        match = _FRAME.match(line)
        if match:
            yield match[1], match[2], match[3]


def _place(file: str, line: str, function: str | None) -> str:
    inside = f", in {function}" if function and function != "<module>" else ""
    return f"{PurePosixPath(file).name}, line {line}{inside}"


def _is_ours(file: str) -> bool:
    """Return whether a file is this program's, wherever the node has its copy."""
    parts = PurePosixPath(file).parts
    places = (number for number, part in enumerate(parts) if part in ("adabatch", "launch"))
    return any(os.path.isfile(SOURCE_DIR.joinpath(*parts[number:])) for number in places)
