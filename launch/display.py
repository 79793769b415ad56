"""Shows the progress of a local queue: bars on a terminal, lines if the output is piped."""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from adabatch.reading import printable
from adabatch.rundir.states import State
from adabatch.rundir.time_left import TimeLeft
from adabatch.shell.text_table import Sentence
from adabatch.terminal import counted, rough_duration
from launch.output import StandardOutput
from launch.status import RunStatus, status_of, time_left_of
from launch.status_text import RunTable

_REFRESH_SECONDS = 0.5
_LEAST_BAR = 10
#: Left free behind the bar, which is the last line: where a terminal shows ^C.
_ROOM_FOR_KEYS = 3


class Display(ABC):
    """Receives the events of each run.

    Args:
        root: runs are named by their path relative to it.
        total: number of runs.
    """

    def __init__(self, root: Path, total: int) -> None:
        self._root = root
        self._total = total
        self._num_done = 0
        self._started_at: dict[Path, float] = {}

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, path: Path) -> None:
        """A run has started."""
        self._started_at[path] = time.monotonic()

    def ended(self, status: RunStatus) -> None:
        """A run has ended; only one that is done counts as progress."""
        self._num_done += status.state is State.DONE
        took = rough_duration(time.monotonic() - self._started_at.get(status.run_dir, time.monotonic()))
        count = f"{self._num_done:{len(str(self._total))}}/{self._total}"
        where = count if status.state is State.DONE else f"{count} done"
        cause = f": {status.cause}" if status.cause else ""
        self._say(f"[{where}] {status.state} {status.name} ({took}){cause}", status.state)

    def stopping(self, num_running: int) -> None:
        """The queue was asked to stop, which takes until the running runs have saved their state."""
        if num_running:
            save = "saves its" if num_running == 1 else "save their"
            self._say(f"stopping: {counted(num_running, 'running run')} {save} state first", None)

    def refresh(self) -> None:
        """Update from the heartbeats of running runs."""
        return

    @abstractmethod
    def _say(self, line: str, state: State | None) -> None: ...


class PlainDisplay(Display):
    """One line when a run starts and one when it ends."""

    def __init__(self, root: Path, total: int) -> None:
        super().__init__(root, total)
        self._stdout = StandardOutput()

    def started(self, path: Path) -> None:
        super().started(path)
        self._say(f"started {path.relative_to(self._root).as_posix()}", None)

    def _say(self, line: str, state: State | None) -> None:
        print(printable(line), file=self._stdout, flush=True)


class ProgressLine:
    """A bar for all runs, and in words how many are done and how long the others take."""

    def __init__(self, progress: TimeLeft) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        bar = ProgressBar(total=1.0, completed=self._progress.fraction, width=None)
        line = Table.grid(expand=True, padding=(0, 1, 0, 0))
        line.add_column(ratio=1, min_width=_LEAST_BAR)
        line.add_column(justify="right", no_wrap=True)
        line.add_row(bar, f"{100 * self._progress.fraction:.0f} %")
        yield Sentence(self._progress.text)
        yield Constrain(line, max(_LEAST_BAR, options.max_width - _ROOM_FOR_KEYS))


class LiveDisplay(Display):
    """A table of the running runs and a bar for all, with the time that is left."""

    def __init__(self, root: Path, runs: Sequence[Path], console: Console) -> None:
        super().__init__(root, len(runs))
        found = status_of(list(runs), root)
        self._statuses = {status.run_dir: dataclasses.replace(status, state=State.PENDING) for status in found}
        self._running: list[Path] = []
        self._live = Live(console=console, auto_refresh=False)
        self._refreshed_at = 0.0

    def __enter__(self) -> Display:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.update(ProgressLine(time_left_of(list(self._statuses.values()))) if kind is None else Text(""))
        self._live.stop()

    def started(self, path: Path) -> None:
        super().started(path)
        self._running.append(path)
        self._statuses[path] = dataclasses.replace(self._statuses[path], state=State.RUNNING)

    def ended(self, status: RunStatus) -> None:
        self._running.remove(status.run_dir)
        self._statuses[status.run_dir] = status
        super().ended(status)
        self._show()

    def refresh(self) -> None:
        if time.monotonic() - self._refreshed_at < _REFRESH_SECONDS:
            return
        self._refreshed_at = time.monotonic()
        for status in status_of(self._running, self._root):
            if status.state is State.RUNNING:
                self._statuses[status.run_dir] = status
        self._show()

    def _show(self) -> None:
        statuses = list(self._statuses.values())
        parts: list[RenderableType] = [ProgressLine(time_left_of(statuses))]
        if self._running:
            parts.insert(0, RunTable([self._statuses[path] for path in self._running]))
        self._live.update(Group(*parts), refresh=True)

    def _say(self, line: str, state: State | None) -> None:
        style = {State.DONE: "green", State.PREEMPTED: "yellow"}.get(state, "red") if state else ""
        # A style given to print() would also cover the table below, which rich prints anew with the line.
        self._live.console.print(Sentence(printable(line), style, indent=4), highlight=False)


def make_display(root: Path, runs: Sequence[Path]) -> Display:
    """Return a live table on a terminal, plain lines elsewhere."""
    console = Console(highlight=False, file=cast(IO[str], StandardOutput()))
    return LiveDisplay(root, runs, console) if console.is_terminal else PlainDisplay(root, len(runs))
