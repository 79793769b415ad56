"""What a run reports while it trains: rows on disk, a heartbeat, log lines, a progress bar, a tracker."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from adabatch.rundir.columns import EpochRow, row_to_dict, write_epochs_csv
from adabatch.rundir.files import RunDir
from adabatch.rundir.heartbeat import Heartbeat, read_beat
from adabatch.rundir.meta import read_meta, update_meta
from adabatch.schedules.progress import Progress as TrainingProgress
from adabatch.terminal import rough_duration
from adabatch.trackers import Tracker
from adabatch.training.cuda_graphs import graphs_text

#: How long the rows of finished epochs may wait to be written together.
ROWS_INTERVAL_SECONDS = 1.0
#: The least time between two decisions for the tracker that differ in the learning rate alone.
LEARNING_RATE_INTERVAL_SECONDS = 1.0
#: The least time between two updates that the progress bar shows.
_BAR_INTERVAL_SECONDS = 0.2
#: Values of the user's own metrics by name, one an epoch.
OwnColumns = Mapping[str, Sequence[float]]
_log = logging.getLogger(__name__)


class Reporter:
    """Receives training events; this base class, for all ranks but the first, ignores them.

    Attributes:
        lost_seconds: work of earlier segments that was not saved in a checkpoint.
    """

    lost_seconds = 0.0

    def on_start(
        self, progress: TrainingProgress, rows: list[EpochRow], own: OwnColumns, seconds: Mapping[str, float]
    ) -> None:
        """Training starts, or resumes after ``rows`` with the seconds per span of earlier segments."""

    def on_decision(self, progress: TrainingProgress, batch_size: int, learning_rate: float) -> None:
        """An update will be made as the schedule decided; called in the hot loop."""

    def on_update(self, progress: TrainingProgress, batch_size: int, epoch_samples: int) -> None:
        """An update was made; called in the hot loop."""

    def on_epoch(self, rows: list[EpochRow], own: OwnColumns) -> None:
        """An epoch, the last of ``rows``, was finished; ``own`` has the values of the user's metrics."""

    @property
    def rows_are_due(self) -> bool:
        """Whether rows have waited long enough for `write_rows`; called in the hot loop."""
        return False

    def on_graphs_refused(self, reason: str) -> None:
        """CUDA graphs were to be used, and cannot be."""

    def write_rows(self) -> None:
        """Write the pending rows, if any.

        Raises:
            OSError: if the disk is full; the rows then stay pending.
        """

    def close(self) -> None:
        """Write the pending rows if the disk allows it, and stop reporting."""


class MainReporter(Reporter):
    """The first rank's reporter.

    Args:
        run_dir: where ``epochs.csv`` and ``progress.json`` are written.
        num_epochs: of the whole training.
        tracker: mirrors the rows, and the decisions where they change.
        span: returns what time is charged to now; called in the heartbeat's thread.
    """

    def __init__(
        self, run_dir: RunDir, num_epochs: int, tracker: Tracker, span: Callable[[], str] | None = None
    ) -> None:
        self._run_dir = run_dir
        self._span = span
        self._num_epochs = num_epochs
        self._tracker = tracker
        self._progress = TrainingProgress()
        self._batch_size = self._epoch_samples = 0
        self._tracked_decision = (0, 0.0)
        self._decision_tracked_at = 0.0
        self._elapsed_seconds = self._earlier_seconds = 0.0
        self._since = time.monotonic()
        self._pending_rows: list[EpochRow] = []
        self._pending_own: OwnColumns = {}
        self._rows_written_at = self._since
        self._writing_rows = threading.Lock()
        self._heartbeat = Heartbeat(run_dir.progress, self._beat)
        last_beat = read_beat(run_dir.progress)
        self._wall_seconds_reached = (last_beat.wall_seconds if last_beat else None) or 0.0
        self.lost_seconds = read_meta(run_dir).lost_seconds or 0.0
        self._bar = _ProgressBar(num_epochs) if sys.stderr.isatty() else None

    def on_start(
        self, progress: TrainingProgress, rows: list[EpochRow], own: OwnColumns, seconds: Mapping[str, float]
    ) -> None:
        self._progress = progress
        self._earlier_seconds = sum(seconds.values())
        # The last segment's heartbeat shows how far it got; the checkpoint, how much of that was saved.
        self.lost_seconds += max(0.0, self._wall_seconds_reached - self._earlier_seconds)
        update_meta(self._run_dir, lost_seconds=self.lost_seconds)
        self._elapsed_seconds = rows[-1].elapsed_seconds if rows else 0.0
        write_epochs_csv(self._run_dir.epochs, rows, own)
        self._heartbeat.beat()
        self._heartbeat.start()
        self._tracker.start(progress.epoch, progress.updates)

    def on_decision(self, progress: TrainingProgress, batch_size: int, learning_rate: float) -> None:
        decision = (batch_size, learning_rate)
        if decision == self._tracked_decision:
            return
        now = time.monotonic()
        # Some schedules change the learning rate in every update.
        if batch_size != self._tracked_decision[0] or now - self._decision_tracked_at >= LEARNING_RATE_INTERVAL_SECONDS:
            self._tracked_decision, self._decision_tracked_at = decision, now
            self._tracker.decide(progress.updates, progress.samples, batch_size, learning_rate)

    def on_update(self, progress: TrainingProgress, batch_size: int, epoch_samples: int) -> None:
        self._progress, self._batch_size, self._epoch_samples = progress, batch_size, epoch_samples
        if self._bar:
            self._bar.move(progress, batch_size, epoch_samples)

    def on_epoch(self, rows: list[EpochRow], own: OwnColumns) -> None:
        row = rows[-1]
        self._pending_rows, self._pending_own = list(rows), {name: list(values) for name, values in own.items()}
        if self.rows_are_due:
            self.write_rows()
        self._elapsed_seconds = row.elapsed_seconds
        self._tracker.log({**row_to_dict(row), **{name: values[-1] for name, values in own.items()}})
        validated = row.validation_accuracy
        line = (
            f"epoch {row.epoch}/{self._num_epochs}  batch {row.batch_size:,} = {row.micro_batch_size:,} x "
            f"{row.accumulation_steps} x {row.world_size}  learning rate {row.learning_rate:.4g}  "
            f"train loss {row.train_loss:.4f}  test loss {row.test_loss:.4f}  "
            + (f"validation accuracy {100 * validated:.2f} %  " if validated is not None else "")
            + f"test accuracy {100 * row.test_accuracy:.2f} %  {row.train_seconds:.2f} s"
        )
        _log.info("%s", line)
        if self._bar:
            self._bar.describe(row)

    @property
    def rows_are_due(self) -> bool:
        return bool(self._pending_rows) and time.monotonic() - self._rows_written_at >= ROWS_INTERVAL_SECONDS

    def on_graphs_refused(self, reason: str) -> None:
        update_meta(self._run_dir, cuda_graphs=graphs_text(reason))

    def write_rows(self) -> None:
        with self._writing_rows:  # the rank monitor's thread may call this, too
            if self._pending_rows:
                write_epochs_csv(self._run_dir.epochs, self._pending_rows, self._pending_own)
                self._pending_rows = []
                self._rows_written_at = time.monotonic()

    def close(self) -> None:
        try:
            self.write_rows()
        except OSError as error:  # the cause of the run's end must still be reported
            _log.error("the last rows of %s could not be written: %s", self._run_dir.epochs, error)
        self._heartbeat.stop()
        if self._bar:
            self._bar.close()

    def _beat(self) -> dict[str, Any]:
        progress = self._progress
        return {
            "epoch": progress.epoch,
            "num_epochs": self._num_epochs,
            "updates": progress.updates,
            "samples": progress.samples,
            "samples_in_epoch": progress.samples_in_epoch,
            "epoch_samples": self._epoch_samples,
            "batch_size": self._batch_size,
            "span": self._span() if self._span else None,
            "elapsed_seconds": self._elapsed_seconds,
            "wall_seconds": self._earlier_seconds + time.monotonic() - self._since,
        }


class _ProgressBar:
    """A bar over all epochs, on a terminal."""

    def __init__(self, num_epochs: int) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
        self._task = self._progress.add_task("starting", total=num_epochs, left="")
        self._num_epochs = num_epochs
        self._last = ""
        self._moved_at = 0.0
        self._start: tuple[float, float] | None = None
        self._progress.start()

    def move(self, progress: TrainingProgress, batch_size: int, epoch_samples: int) -> None:
        """Show an update; called in the hot loop."""
        now = time.monotonic()
        if now - self._moved_at < _BAR_INTERVAL_SECONDS:
            return
        self._moved_at = now
        done = progress.epoch - 1 + progress.samples_in_epoch / epoch_samples
        self._start = self._start or (now, done)
        text = f"epoch {progress.epoch}, batch {batch_size:,}, update {progress.updates:,}{self._last}"
        self._progress.update(self._task, description=text, completed=done, left=self._left(now, done))

    def _left(self, now: float, done: float) -> str:
        """Return the time left at the pace of this process so far."""
        since, done_before = self._start or (now, done)
        if done <= done_before:
            return ""
        return f"{rough_duration((now - since) * (self._num_epochs - done) / (done - done_before))} left"

    def describe(self, row: EpochRow) -> None:
        """Show a finished epoch."""
        self._last = f", test accuracy {100 * row.test_accuracy:.2f} %"
        text = f"epoch {row.epoch}, batch {row.batch_size:,}, update {row.updates:,}{self._last}"
        self._progress.update(self._task, description=text, completed=row.epoch)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._progress.stop()
