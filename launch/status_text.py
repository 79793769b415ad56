"""Formats statuses as text: counts first, then runs, then what went wrong, grouped by cause."""

from __future__ import annotations

import re
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

#: More runs than these are counted by arm; of them, only so many running ones are listed.
_LISTED = 40
_LISTED_RUNNING = 20
_NAMED_PER_CAUSE = 3
#: Reasons for which every job waits at times.
_ORDINARY_WAITS = (None, "Priority", "Resources")
_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


def status_text(
    statuses: Sequence[RunStatus], folder: Path, num_all: int | None = None, *, list_all: bool = False
) -> RenderableType:
    """Return counts, a table of the runs, and the causes and logs of those with problems.

    Args:
        statuses: of the runs to show.
        num_all: how many runs there are; None if all are shown.
        list_all: list every run, however many there are.
    """
    of = f"{len(statuses)} of {num_all}" if num_all not in (None, len(statuses)) else f"{len(statuses)}"
    parts: list[RenderableType] = [_text(f"{folder}: {of} runs: {counts_text(statuses)}".rstrip(": "))]
    is_listed = list_all or len(statuses) <= _LISTED
    if not is_listed:
        parts += [Text(""), _arm_table(statuses)]
    running = [status for status in statuses if status.state is State.RUNNING]
    listed = list(statuses) if is_listed else running[:_LISTED_RUNNING]
    if listed:
        parts += [Text(""), _run_table(listed)]
    if len(listed) < len(statuses):
        parts.append(Text(f"({len(statuses) - len(listed)} runs are not listed; --all lists every run)"))
    return Group(*parts, *_causes(statuses))


def counts_text(statuses: Sequence[RunStatus]) -> str:
    """Return how many runs are in which state."""
    counts = Counter(status.state for status in statuses)
    return ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])


def _arm_table(statuses: Sequence[RunStatus]) -> Table:
    """Return how many runs of each arm are in which state."""
    by_arm: dict[str, Counter[State]] = {}
    for status in statuses:
        by_arm.setdefault((status.arm or "").partition(",")[0], Counter())[status.state] += 1
    found = [state for state in State if any(counts[state] for counts in by_arm.values())]
    table = _table("arm")
    for state in found:
        table.add_column(Text(state.value, style=_style(state)), justify="right", no_wrap=True)
    for arm, counts in by_arm.items():
        table.add_row(_text(arm), *(str(counts[state] or "") for state in found))
    return table


def _run_table(statuses: Sequence[RunStatus]) -> Table:
    table = _table("run")
    table.add_column("state", no_wrap=True)
    for header in ("epoch", "tries", "left", "job"):
        table.add_column(header, justify="right", no_wrap=True)
    for status in statuses:
        table.add_row(
            _text(status.name),
            Text(status.state.value, style=_style(status.state)),
            _epoch(status),
            str(status.attempts or ""),
            duration(status.eta_seconds),
            _text(status.job_id or ""),
        )
    return table


def _table(first: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(first, overflow="fold")
    return table


def _causes(statuses: Sequence[RunStatus]) -> list[RenderableType]:
    """Return each cause once, with some of its runs; causes that differ in numbers only are one."""
    groups: dict[tuple[State, str], list[RunStatus]] = {}
    for status in statuses:
        if status.cause is not None and status.state is not State.DONE and not _is_ordinary(status):
            groups.setdefault((status.state, _NUMBER.sub("N", status.cause)), []).append(status)
    lines: list[RenderableType] = []
    for (state, _), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        lines += _cause_lines(state, group)
    return [Text(""), *lines] if lines else []


def _cause_lines(state: State, group: Sequence[RunStatus]) -> list[RenderableType]:
    first = group[0]
    if len(group) == 1:
        lines = [_text(f"{first.name}: {_words(first)}", _style(state))]
    else:
        such_as = "" if len({status.cause for status in group}) == 1 else "such as "
        names = ", ".join(status.name for status in group[:_NAMED_PER_CAUSE])
        more = f" and {len(group) - _NAMED_PER_CAUSE} more" if len(group) > _NAMED_PER_CAUSE else ""
        lines = [
            _text(f"{len(group)} {state.value}: {such_as}{_words(first)}", _style(state)),
            _text(f"    {names}{more}"),
        ]
    if first.log is not None and not state.may_change:
        lines.append(_text(f"    see {first.log}", "dim"))
    return list(lines)


def _text(text: str, style: str = "") -> Text:
    """Return text that quotes files and their names; rich would read [x] in a plain one as markup."""
    return Text(printable(text), style=style)


def _words(status: RunStatus) -> str:
    return f"unknown ({status.cause})" if status.state is State.UNKNOWN else status.cause or ""


def _is_ordinary(status: RunStatus) -> bool:
    waits = status.state is State.PENDING and status.cause in _ORDINARY_WAITS
    return waits or status.state is State.RUNNING


def _style(state: State) -> str:
    if state.is_failure:
        return "red"
    return {State.DONE: "green", State.RUNNING: "cyan"}.get(state, "yellow")


def _epoch(status: RunStatus) -> str:
    return "" if status.epoch is None else f"{status.epoch}/{status.num_epochs or '?'}"
