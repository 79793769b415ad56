"""Shows the progress of a local queue: bars on a terminal, lines if the output is piped."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from adabatch.reading import printable
from adabatch.rundir.files import RunDir
from adabatch.rundir.heartbeat import read_beat
from adabatch.rundir.states import State
from launch.status import RunStatus

_REFRESH_SECONDS = 0.5


class Display(ABC):
    """Receives the events of each run.

    Args:
        root: runs are named by their path relative to it.
        total: number of runs.
    """

    def __init__(self, root: Path, total: int) -> None:
        self._root = root
        self._total = total
        self._ended = 0
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
        """A run has ended."""
        self._ended += 1
        seconds = time.monotonic() - self._started_at.get(status.run_dir, time.monotonic())
        width = len(str(self._total))
        cause = f": {status.cause}" if status.cause else ""
        self._say(
            f"[{self._ended:{width}}/{self._total}] {status.state} {status.name} ({seconds:.0f} s){cause}", status.state
        )

    def refresh(self) -> None:
        """Update from the heartbeats of running runs."""
        return

    @abstractmethod
    def _say(self, line: str, state: State | None) -> None: ...


class PlainDisplay(Display):
    """One line when a run starts and one when it ends."""

    def started(self, path: Path) -> None:
        super().started(path)
        self._say(f"started {path.relative_to(self._root).as_posix()}", None)

    def _say(self, line: str, state: State | None) -> None:
        print(printable(line), flush=True)


class BarDisplay(Display):
    """A bar for all runs and one per running run, with its epoch and the time left."""

    def __init__(self, root: Path, total: int, console: Console) -> None:
        super().__init__(root, total)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            expand=True,
        )
        self._all = self._progress.add_task("all", total=total, unit="runs")
        self._bars: dict[Path, TaskID] = {}
        self._refreshed_at = 0.0

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, path: Path) -> None:
        super().started(path)
        self._bars[path] = self._progress.add_task(
            escape(path.relative_to(self._root).as_posix()), total=None, unit="epochs"
        )

    def ended(self, status: RunStatus) -> None:
        self._progress.remove_task(self._bars.pop(status.run_dir))
        super().ended(status)
        self._progress.update(self._all, completed=self._ended)

    def refresh(self) -> None:
        if time.monotonic() - self._refreshed_at < _REFRESH_SECONDS:
            return
        self._refreshed_at = time.monotonic()
        for path, bar in self._bars.items():
            beat = read_beat(RunDir(path).progress)
            if beat is not None and beat.epoch is not None:
                self._progress.update(bar, completed=beat.epoch - 1, total=beat.num_epochs)

    def _say(self, line: str, state: State | None) -> None:
        style = {State.DONE: "green", State.PREEMPTED: "yellow"}.get(state, "red") if state else ""
        self._progress.console.print(escape(printable(line)), style=style, highlight=False)


def make_display(root: Path, total: int) -> Display:
    """Return bars on a terminal, plain lines elsewhere."""
    console = Console()
    return BarDisplay(root, total, console) if console.is_terminal else PlainDisplay(root, total)
