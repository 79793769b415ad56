"""Formats statuses as text: counts first, then runs, then what went wrong, grouped by cause."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.text import Text

from adabatch.reading import printable
from adabatch.rundir.states import State
from adabatch.shell.text_table import Cell, Numbers, Output, Sentence, TextTable
from adabatch.terminal import counted, listed, rough_duration
from launch.run_names import arm_and_levels, arm_of, run_names, without_repeats
from launch.status import RunStatus

#: More runs than these are counted by arm; of them, only so many running ones are listed.
_LISTED = 40
_LISTED_RUNNING = 20
_NAMED_PER_CAUSE = 3
#: Reasons for which every job waits at times.
_ORDINARY_WAITS = (None, "Priority", "Resources")
#: Columns of numbers.
_RIGHT = ("epoch", "left", "tries", "job", "seed")
#: Columns that are there even if no run has anything in them, and where any is running.
_OF_ALL = ("state",)
_OF_RUNNING = ("state", "epoch", "now", "left")
_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


def status_text(
    statuses: Sequence[RunStatus],
    folder: Path,
    num_all: int | None = None,
    *,
    list_all: bool = False,
    keeps_order: bool = False,
    most_listed: int | None = None,
) -> Output:
    """Return counts, a table of the runs, and the causes and logs of those with problems.

    Args:
        statuses: of the runs to show.
        num_all: how many runs there are; None if all are shown.
        list_all: list every run, however many there are.
        keeps_order: the runs are listed in the order in which they are given, not by their names.
        most_listed: count the runs by arm, and list at most so many of those that run, because the terminal has no more
            lines; None: list what is usual.
    """
    of = f"{len(statuses):,} of " if num_all not in (None, len(statuses)) else ""
    runs = of + counted(len(statuses) if num_all is None else num_all, "run")
    parts: list[RenderableType] = [_line(f"{folder}: {runs}: {counts_text(statuses)}".rstrip(": "))]
    is_listed = most_listed is None and (list_all or len(statuses) <= _LISTED)
    if not is_listed:
        parts += [Text(""), _arm_table(statuses)]
    running = [status for status in statuses if status.state is State.RUNNING]
    listed = list(statuses) if is_listed else running[: _LISTED_RUNNING if most_listed is None else most_listed]
    if listed:
        parts += [Text(""), RunTable(listed, keeps_order)]
    if len(listed) < len(statuses):
        num_left = len(statuses) - len(listed)
        are = "is" if num_left == 1 else "are"
        why = "--all lists every run" if most_listed is None else "the terminal has no more lines"
        parts.append(_line(f"({counted(num_left, 'run')} {are} not listed; {why})"))
    return Output(*parts, *_causes(statuses))


def counts_text(statuses: Sequence[RunStatus]) -> str:
    """Return how many runs are in which state."""
    counts = Counter(status.state for status in statuses)
    return ", ".join(f"{counts[state]:,} {state.value}" for state in State if counts[state])


def _arm_table(statuses: Sequence[RunStatus]) -> TextTable:
    """Return how many runs of each arm are in which state."""
    by_arm: dict[str, Counter[State]] = {}
    for status in statuses:
        by_arm.setdefault(arm_and_levels(status.arm or arm_of(status.run_dir) or "")[0], Counter())[status.state] += 1
    found = [state for state in State if any(counts[state] for counts in by_arm.values())]
    rows: list[list[Cell]] = [
        [_text(arm), *(Text(f"{counts[state]:,}" if counts[state] else "", style=_style(state)) for state in found)]
        for arm, counts in by_arm.items()
    ]
    names = [state.value for state in found]
    return TextTable(["arm", *names], rows, right=names)


class RunTable:
    """Runs with state and progress: by their names where these fit the terminal, else by swept values, arm and seed.

    Args:
        keeps_order: keep the order of the statuses; otherwise runs in columns are in the order of these.
    """

    def __init__(self, statuses: Sequence[RunStatus], keeps_order: bool = False) -> None:
        facts = [_facts(status) for status in statuses]
        # A column in which no run has anything is left out, but not one that a running run is about to fill: a table
        # that is shown again and again would change its form.
        kept_empty = _OF_RUNNING if any(status.state is State.RUNNING for status in statuses) else _OF_ALL
        kept = [name for name in facts[0] if name in kept_empty or any(_plain(row[name]) for row in facts)]
        cells = [[row[name] for name in kept] for row in facts]
        whole = [[_text(status.name), *row] for status, row in zip(statuses, cells, strict=True)]
        self._by_name = TextTable(["run", *kept], whole, right=_RIGHT)
        self._names = run_names([status.run_dir for status in statuses])
        self._in_columns: TextTable | None = None
        if self._names is not None:
            order = range(len(cells)) if keeps_order else self._names.order
            names = without_repeats([self._names.cells[place] for place in order])
            parts = [[*map(_text, name), *cells[place]] for name, place in zip(names, order, strict=True)]
            self._in_columns = TextTable([*self._names.headers, *kept], parts, len(self._names.headers), _RIGHT)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.lines(console, options, Numbers())

    def lines(self, console: Console, options: ConsoleOptions, numbers: Numbers) -> RenderResult:
        """Yield what is printed."""
        is_narrow = Measurement.get(console, options.update(width=2000), self._by_name).maximum > options.max_width
        if self._in_columns is None or self._names is None or not is_narrow:
            yield from self._by_name.lines(console, options, numbers)
            return
        if self._names.shared:
            yield _line(f"in {self._names.shared}")
        yield from self._in_columns.lines(console, options, numbers)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._by_name)


def _facts(status: RunStatus) -> dict[str, Cell]:
    return {
        "state": Text(status.state.value, style=_style(status.state)),
        "epoch": _epoch(status),
        "now": status.doing or "",
        "left": rough_duration(status.eta_seconds),
        "tries": str(status.attempts) if status.attempts > 1 else "",
        "job": _text(status.job_id or ""),
    }


def _plain(cell: Cell) -> str:
    return cell.plain if isinstance(cell, Text) else cell


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
        lines = [_line(f"{first.name}: {_words(first)}", _style(state))]
    else:
        such_as = "" if len({status.cause for status in group}) == 1 else "such as "
        names = listed([status.name for status in group], _NAMED_PER_CAUSE)
        lines = [
            _line(f"{len(group):,} {state.value}: {such_as}{_words(first)}", _style(state)),
            _line(f"    {names}"),
        ]
    if first.log is not None and not state.may_change:
        lines.append(_line(f"    see {first.log}", "dim"))
    return list(lines)


def _line(text: str, style: str = "") -> Sentence:
    return Sentence(printable(text), style, indent=4)


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
