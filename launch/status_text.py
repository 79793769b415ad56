"""Formats statuses as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from adabatch.reading import printable
from adabatch.rundir.states import State
from adabatch.terminal import duration
from launch.status import RunStatus

_LISTED_DONE = 40


def status_text(statuses: Sequence[RunStatus], folder: Path) -> RenderableType:
    """Return a table of the runs, followed by causes and logs of those with problems."""
    counts = Counter(status.state for status in statuses)
    line = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    for header in ("epoch", "tries", "left", "job"):
        table.add_column(header, justify="right", no_wrap=True)
    shortens = len(statuses) > _LISTED_DONE
    listed = [status for status in statuses if not (shortens and status.state in (State.DONE, State.PENDING))]
    for status in listed:
        table.add_row(
            Text(printable(status.name)),  # of plain text rich would read [x] as markup
            Text(status.state.value, style=_style(status.state)),
            _epoch(status),
            str(status.attempts or ""),
            duration(status.eta_seconds),
            Text(status.job_id or ""),
        )
    parts: list[RenderableType] = [Text(printable(f"{folder}: {len(statuses)} runs: {line}"))]
    parts += [Text(""), table] if listed else []
    hidden = len(statuses) - len(listed)
    parts += [Text(f"({hidden} done or pending runs are not listed; --format json lists all)")] if hidden else []
    return Group(*parts, *_causes(statuses))


def _causes(statuses: Sequence[RunStatus]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for status in statuses:
        waits_for = status.state is State.PENDING and status.cause not in (None, "Priority", "Resources")
        if (status.cause and not _is_fine(status.state)) or waits_for:
            lines.append(Text(printable(f"{status.name}: {status.cause}"), style=_style(status.state)))
            if status.log is not None and not _is_fine(status.state):
                lines.append(Text(printable(f"    see {status.log}"), style="dim"))
    return [Text(""), *lines] if lines else []


def _is_fine(state: State) -> bool:
    return state is State.DONE or state.is_active


def _style(state: State) -> str:
    if state.is_failure:
        return "red"
    return {State.DONE: "green", State.RUNNING: "cyan"}.get(state, "yellow")


def _epoch(status: RunStatus) -> str:
    return "" if status.epoch is None else f"{status.epoch}/{status.num_epochs or '?'}"
