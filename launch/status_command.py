"""The command ``status``: how the runs stand, once or until nothing changes any more."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import shlex
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
from launch.progress import sweep_progress
from launch.selecting import Shown, states_of
from launch.slurm import Slurm
from launch.status import RunStatus, read_all
from launch.status_text import status_text
from launch.watching import keep_to_caps, watch

_ByFolder = dict[Path, list[RunStatus]]


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


def _text(found: _ByFolder, shown: Shown, list_all: bool) -> RenderableType:
    chosen = shown.of(found)
    keeps_order = shown.sort != "name"
    return Output(
        *(
            status_text(chosen[folder], folder, len(found[folder]), list_all=list_all, keeps_order=keeps_order)
            for folder in found
        )
    )


def _left(found: _ByFolder) -> list[RenderableType]:
    """Return a line that says how long the runs will take, while any is under way."""
    statuses = [one for statuses in found.values() for one in statuses]
    if not any(one.state.may_change for one in statuses):
        return []
    return [Text(""), Sentence(sweep_progress(statuses).text)]


def _exit_status(found: _ByFolder) -> int:
    return exit_status(one.state for statuses in found.values() for one in statuses)


def _refresh(folders: Sequence[Path], seconds: float, shown: Shown, list_all: bool) -> int:
    """Show the status on the terminal, always at the same place, with how far the runs are."""
    found: _ByFolder = {}
    try:
        with Live(console=Console(highlight=False), auto_refresh=False, vertical_overflow="visible") as live:
            for found in watch(folders, seconds, complain):
                progress = sweep_progress([one for statuses in found.values() for one in statuses])
                live.update(Group(_text(found, shown, list_all), Text(""), ProgressLine(progress)), refresh=True)
    except KeyboardInterrupt:
        complain(_farewell(folders, found))
        return EXIT_INTERRUPTED
    return _exit_status(found)


def _farewell(folders: Sequence[Path], found: _ByFolder) -> str:
    """Return what to say to somebody who stops watching."""
    names = shlex.join(map(str, folders))
    going_on = any(one.state.may_change for statuses in found.values() for one in statuses)
    first = "The runs go on." if going_on else "No run was under way."
    return f"{first} To watch again: adabatch status {names} --watch; to stop them: adabatch cancel DIR"


def _stream(folders: Sequence[Path], seconds: float, shown: Shown, list_all: bool) -> int:
    """Print a line of JSON for each run, and another one each time that it changes."""
    found: _ByFolder = {}
    printed: dict[Path, RunStatus] = {}
    for found in watch(folders, seconds, complain):
        for one in itertools.chain(*shown.of(found).values()):
            if printed.get(one.run_dir) != _without_clock(one):
                print(json.dumps(one.as_dict()), flush=True)
                printed[one.run_dir] = _without_clock(one)
    return _exit_status(found)


def _without_clock(one: RunStatus) -> RunStatus:
    """Return a status without what grows or shrinks with every second."""
    cause = None if one.state is State.UNKNOWN else one.cause
    return dataclasses.replace(one, cause=cause, eta_seconds=None, doing=None, fraction=None)
