"""The command ``wait``: returns once no run waits or trains any more."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from adabatch.errors import EXIT_INTERRUPTED
from adabatch.rundir.states import State, exit_status
from adabatch.shell.text_table import Output, Sentence
from adabatch.terminal import complain, print_renderable
from launch.arguments import add_wait
from launch.farewell import farewell
from launch.status import RunStatus, time_left_of
from launch.status_text import counts_text, status_text
from launch.watching import watch


def wait(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run ``wait`` and return the exit status."""
    add_wait(parser)
    options = parser.parse_args(arguments)
    return wait_for(options.folders, options.timeout)


def wait_for(folders: Sequence[Path], timeout_seconds: float | None = None) -> int:
    """Wait until no run at or below some folders is pending, running or unknown; print each change, then the status.

    Returns:
        the exit status: 0 all done, 1 some failed, 3 incomplete, 130 after Ctrl-C, which stops no run.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    found: dict[Path, list[RunStatus]] = {}
    printed = ""
    try:
        for found in watch(folders, on_problem=complain):
            text = counts_text(_all(found))
            if text != printed:
                printed = text
                print_renderable(Sentence(f"{time.strftime('%H:%M:%S')} {_line(_all(found))}", indent=9))
            if deadline is not None and time.monotonic() >= deadline:
                break
    except KeyboardInterrupt:
        complain(farewell("wait", folders, _all(found)))
        return EXIT_INTERRUPTED
    print_renderable(Output(*(status_text(of_folder, folder) for folder, of_folder in found.items())))
    return exit_status(status.state for status in _all(found))


def _all(found: dict[Path, list[RunStatus]]) -> list[RunStatus]:
    return list(itertools.chain(*found.values()))


def _line(statuses: Sequence[RunStatus]) -> str:
    silence = "SLURM does not answer" if any(status.state is State.UNKNOWN for status in statuses) else ""
    return "; ".join(filter(None, [counts_text(statuses), silence, time_left_of(statuses).left_text]))
