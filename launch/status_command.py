"""The command ``status``: how the runs stand, once or until nothing changes any more."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from adabatch.errors import EXIT_INTERRUPTED
from adabatch.rundir.states import State, exit_status
from adabatch.shell.text_table import Output, Sentence
from adabatch.terminal import complain, print_renderable
from launch.arguments import add_status
from launch.display import ProgressLine
from launch.farewell import farewell
from launch.selecting import Shown, states_of
from launch.slurm import Slurm
from launch.status import RunStatus, read_all, time_left_of
from launch.status_text import counts_text, status_text
from launch.watching import keep_to_caps, watch

_ByFolder = dict[Path, list[RunStatus]]
#: How many running runs of each folder are listed where a terminal has no lines for all runs: the first that fit.
_FEWER = (20, 10, 5, 2, 1, 0)


def status(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run ``status`` and return the exit status, which tells of all runs, whichever are shown."""
    add_status(parser)
    options = parser.parse_args(arguments)
    shown = Shown(states_of(options.state), tuple(options.arm or ()), options.sort)
    if options.watch is not None:
        show = _stream if options.format == "json" else _refresh
        return show(options.folders, options.watch, shown, options.all)
    slurm = Slurm()
    found = read_all(options.folders, slurm, complain)
    keep_to_caps(options.folders, slurm)
    if options.format == "json":
        print(json.dumps([one.as_dict() for one in itertools.chain(*shown.of(found).values())], indent=2))
    else:
        print_renderable(Group(_text(found, shown, options.all), *_left(found)))
    return _exit_status(found)


def _text(found: _ByFolder, shown: Shown, list_all: bool, most_listed: int | None = None) -> RenderableType:
    how = {"list_all": list_all, "keeps_order": shown.sort != "name"}
    parts: list[RenderableType] = []
    for folder, chosen in shown.of(found).items():
        parts += [Text("")] if parts else []
        parts.append(status_text(chosen, folder, len(found[folder]), most_listed=most_listed, **how))
    return Output(*parts)


def _left(found: _ByFolder) -> list[RenderableType]:
    """Return a line that says how long the runs will take, while any is under way."""
    statuses = _all(found)
    if not any(one.state.may_change for one in statuses):
        return []
    return [Text(""), Sentence(time_left_of(statuses).text)]


def _exit_status(found: _ByFolder) -> int:
    return exit_status(one.state for one in _all(found))


def _refresh(folders: Sequence[Path], seconds: float, shown: Shown, list_all: bool) -> int:
    """Show the status on the terminal, always at the same place, with how far the runs are."""
    found: _ByFolder = {}
    console = Console(highlight=False)
    try:
        watching = watch(folders, seconds, complain)
        first = next(watching)  # a wrong folder is told before anything is drawn
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            for found in itertools.chain([first], watching):
                live.update(_fitting(console, found, shown, list_all), refresh=True)
            # What stays is all of it: nothing is drawn over these lines any more.
            live.update(_view(found, shown, list_all))
    except KeyboardInterrupt:
        complain(farewell("status --watch", folders, _all(found)))
        return EXIT_INTERRUPTED
    return _exit_status(found)


def _view(found: _ByFolder, shown: Shown, list_all: bool, most_listed: int | None = None) -> RenderableType:
    progress = ProgressLine(time_left_of(_all(found)))
    return Group(_text(found, shown, list_all, most_listed), Text(""), progress)


def _fitting(console: Console, found: _ByFolder, shown: Shown, list_all: bool) -> RenderableType:
    """Return the status with as many runs as the terminal has lines for; it cannot draw over lines that left it."""
    height = console.size.height - 1  # the cursor stands below
    for most_listed in (None, *_FEWER):
        view = _view(found, shown, list_all, most_listed)
        if len(console.render_lines(view, pad=False)) <= height:
            return view
    chosen = shown.of(found)
    counts = [Text(f"{folder}: {counts_text(chosen[folder])}", no_wrap=True, overflow="ellipsis") for folder in found]
    return Group(*counts[: max(1, height - 3)], ProgressLine(time_left_of(_all(found))))


def _all(found: _ByFolder) -> list[RunStatus]:
    return list(itertools.chain(*found.values()))


def _stream(folders: Sequence[Path], seconds: float, shown: Shown, list_all: bool) -> int:
    """Print a line of JSON for each run, and another one each time that it changes."""
    found: _ByFolder = {}
    printed: dict[Path, RunStatus] = {}
    try:
        for found in watch(folders, seconds, complain):
            for one in itertools.chain(*shown.of(found).values()):
                if printed.get(one.run_dir) != _without_clock(one):
                    print(json.dumps(one.as_dict()), flush=True)
                    printed[one.run_dir] = _without_clock(one)
    except KeyboardInterrupt:
        complain(farewell("status --format json --watch", folders, _all(found)))
        return EXIT_INTERRUPTED
    return _exit_status(found)


def _without_clock(one: RunStatus) -> RunStatus:
    """Return a status without what grows or shrinks with every second."""
    cause = None if one.state is State.UNKNOWN else one.cause
    return dataclasses.replace(one, cause=cause, eta_seconds=None, doing=None, fraction=None)
