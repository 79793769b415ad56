"""Records the run of any training loop as a run directory, for status, tables, dashboard and report."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from adabatch.errors import ConfigError
from adabatch.fields import require_choice
from adabatch.library.batch_schedule import BatchSchedule
from adabatch.library.epoch_values import check_columns, check_values, known_numbers, make_row
from adabatch.library.run_facts import RunFacts, program_name, write_config, write_device, write_meta
from adabatch.library.sampler import GrowingBatchSampler, distributed_place
from adabatch.processes.signals import Terminated, sigterm_as_exception
from adabatch.reading import Unreadable, plain_number, reason
from adabatch.rundir.columns import EPOCH_SPANS, TRAIN_SPANS, EpochRow, read_epochs_csv, write_epochs_csv
from adabatch.rundir.files import RunDir
from adabatch.rundir.heartbeat import Heartbeat, read_beat
from adabatch.rundir.meta import read_meta, update_meta
from adabatch.rundir.outcome import (
    clear_outcome,
    describe_failure,
    mark_done,
    mark_failed,
    read_summary,
    results,
    write_summary,
)
from adabatch.rundir.provenance import utc_now
from adabatch.rundir.states import State
from adabatch.schedules.batching import split_update
from adabatch.schedules.progress import Progress
from adabatch.terminal import counted
from adabatch.training.stopwatch import Stopwatch

#: Training that the program does not divide further; time outside all spans is charged to it.
_TRAIN = "train"
_SPANS = (_TRAIN, "setup", *EPOCH_SPANS)


def record(
    run_dir: Path | str,
    schedule: BatchSchedule | GrowingBatchSampler,
    *,
    seed: int,
    dataset: str,
    network: str,
    num_test_samples: int | None = None,
    arm: str | None = None,
    baseline: str | None = None,
    sweep: str | None = None,
    program: str | None = None,
    columns: Mapping[str, type] | None = None,
    config: Mapping[str, Any] | None = None,
    use_device_events: bool = False,
) -> Recording:
    """Return a context that records a training as a run directory.

    The run continues if the folder holds an unfinished recording of the same config: epochs that are trained again
    replace their rows, and elapsed seconds go on from there. It is done when all epochs are recorded, failed when an
    exception leaves the context, and preempted when SIGTERM, Ctrl-C or the end of the loop comes before the last epoch.
    In a program with several ranks all call it, and the first one writes.

    Args:
        run_dir: the run's folder, such as ``runs/mine/growing/seed_0``.
        schedule: the schedule that the loop follows, or the sampler that feeds it.
        seed: by which the runs of arms are paired.
        dataset, network: their names; runs are compared within both.
        num_test_samples: behind the accuracies; without it, the tables cannot tell how fine they are, and ties are
            undecided.
        arm: name of the schedule; by default one made of its values.
        baseline: the arm that this one is compared with.
        sweep: name of all that belongs together.
        program: name and version of what trains; by default the name of the script.
        columns: metrics of the program's own: ``float`` or ``int`` by name.
        config: what else the runs must agree in, by config key: ``{"optimizer.kind": "adam"}``.
        use_device_events: measure seconds on the GPU's current stream, not by the clock.

    Raises:
        ConfigError: for a wrong argument; on entering, if the folder holds a finished or another run.

    Example:
        >>> with adabatch.record(
        ...     "runs/mine/growing/seed_0", sampler, seed=0, dataset="digits", network="mlp", columns={"f1": float}
        ... ) as run:
        ...     for epoch in sampler.epochs():
        ...         loss = train_epoch()
        ...         with run.span("test"):
        ...             accuracy, f1 = test()
        ...         run.epoch(test_accuracy=accuracy, train_loss=loss, f1=f1)
    """
    of_test = {} if num_test_samples is None else {"dataset.num_test_samples": num_test_samples}
    facts = RunFacts(
        seed, dataset, network, program or program_name(), arm, baseline, sweep, {**of_test, **(config or {})}
    )
    return Recording(RunDir(run_dir), schedule, facts, check_columns(columns or {}), use_device_events)


class Recording(AbstractContextManager["Recording"]):
    """A run that is being recorded; `record` returns it.

    Attributes:
        rows: the finished epochs, those of earlier segments among them.
    """

    def __init__(
        self,
        run_dir: RunDir,
        schedule: BatchSchedule | GrowingBatchSampler,
        facts: RunFacts,
        columns: dict[str, type],
        use_device_events: bool,
    ) -> None:
        sampler = schedule if isinstance(schedule, GrowingBatchSampler) else None
        self._schedule = schedule.schedule if isinstance(schedule, GrowingBatchSampler) else schedule
        self._partial_batch = sampler.partial_batch if sampler else "keep"
        self._max_micro_batch_size = sampler.max_micro_batch_size if sampler else None
        rank, world_size = (sampler.rank, sampler.world_size) if sampler else distributed_place()
        self._is_main, self._world_size = rank == 0, world_size
        self._run_dir = run_dir
        self._facts = facts
        self._columns = columns
        self._use_device_events = use_device_events
        self.rows: list[EpochRow] = []
        self._own: dict[str, list[float]] = {name: [] for name in columns}
        self._is_open = False
        self._recorded_here = 0
        self._lost_seconds = 0.0
        self._seconds_at_epoch = dict.fromkeys(_SPANS, 0.0)

    def __enter__(self) -> Recording:
        self._stack = ExitStack()
        with ExitStack() as stack:
            if self._is_main:
                self._open(stack)
            self._stopwatch = Stopwatch(self._use_device_events, _SPANS)
            self._stack = stack.pop_all()
        self._is_open = True
        return self

    def _open(self, stack: ExitStack) -> None:
        """Prepare the folder, and go on with what it holds."""
        run_dir, values = self._run_dir, self._config_values()
        try:
            run_dir.path.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(run_dir.locked())
        except (OSError, Unreadable) as error:
            raise ConfigError(f"run_dir is {run_dir.path}; it must be a writable folder ({reason(error)}).") from error
        if not lock.is_free:
            raise ConfigError(f"run_dir is {run_dir.path}; another process is recording in it.")
        if run_dir.done.exists():
            raise ConfigError(f"run_dir is {run_dir.path}; it holds a finished run, and must be a new folder.")
        write_config(run_dir, values)
        self._read_rows()
        beat, before = read_beat(run_dir.progress), read_meta(run_dir)
        self._earlier_seconds = (beat.wall_seconds if beat else None) or 0.0
        self._earlier_setup = plain_number(read_summary(run_dir).get("setup_seconds")) or 0.0
        self._lost_seconds = before.lost_seconds or 0.0
        clear_outcome(run_dir)
        self._meta = write_meta(run_dir, self._facts, values, self._world_size)
        self._since = time.monotonic()
        stack.enter_context(sigterm_as_exception())
        self._heartbeat = Heartbeat(run_dir.progress, self._beat)
        self._heartbeat.beat()
        self._heartbeat.start()

    def _config_values(self) -> dict[str, Any]:
        return self._facts.values(self._schedule, self._partial_batch, self._max_micro_batch_size)

    def _read_rows(self) -> None:
        try:
            self.rows, own = read_epochs_csv(self._run_dir.epochs)
        except ValueError as error:
            raise ConfigError(f"run_dir is {self._run_dir.path}; its epochs.csv cannot be read: {error}.") from error
        if self.rows and set(own) != set(self._columns):
            raise ConfigError(
                f"columns are {', '.join(self._columns) or 'none'}; they must be {', '.join(own) or 'none'}, as in the "
                f"epochs that {self._run_dir.path} holds."
            )
        self._own = {name: own.get(name, []) for name in self._columns}

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Charge the time within the block to a span; time outside all blocks is training.

        Args:
            name: ``train``; its parts ``data``, ``forward``, ``backward`` and ``update``; ``growth``, for tuning to a
                new micro-batch size, which counts as elapsed; ``setup``, ``test`` and ``save``, which do not.
        """
        require_choice("span", name, _SPANS)
        self._require_open()
        with self._stopwatch.during(name):
            yield

    def epoch(self, epoch: int | None = None, **values: Any) -> None:
        """Record a finished epoch.

        Args:
            epoch: its number, from 1; by default the one that the schedule has just finished, or the next one if the
                loop does not move the schedule.
            values: ``test_accuracy``, as a fraction, and all columns of the program's own are needed. ``train_loss``,
                ``train_accuracy``, ``test_loss`` and ``test_top5_accuracy`` may be given. All else follows from the
                schedule and the clock, unless it is given, by the name of its column in ``epochs.csv``.

        Raises:
            ConfigError: if a value is missing, unknown or out of range, or it is not this epoch's turn.
            NonFiniteLoss: if a loss is NaN or infinite.
        """
        self._require_open()
        if not self._is_main:
            check_values(self._schedule.progress.epoch - 1, values, self._columns)
            return
        number = self._number_of(epoch)
        checked = check_values(number, values, self._columns)
        if not self._recorded_here:
            write_device(self._run_dir)
        self._drop_rows_from(number)
        seconds = self._stopwatch.seconds()
        row = make_row({**self._planned(number), **self._measured(seconds, checked), **checked})
        for name in ("updates", "samples", "elapsed_seconds"):
            before = getattr(self.rows[-1], name) if self.rows else 0
            value = getattr(row, name)
            if value <= before:
                raise ConfigError(f"{name} is {value} after epoch {number}; it must be more than {before}.")
        self.rows.append(row)
        for name, column in self._own.items():
            column.append(checked[name])
        self._recorded_here += 1
        self._seconds_at_epoch = seconds
        with self._stopwatch.during("save"):
            write_epochs_csv(self._run_dir.epochs, self.rows, self._own)

    def _require_open(self) -> None:
        if not self._is_open:
            raise ConfigError(f"the recording of {self._run_dir.path} is closed; it must be used within its context.")

    def _number_of(self, given: int | None) -> int:
        """Return the number of the epoch that is recorded now."""
        progress, expected = self._schedule.progress, len(self.rows) + 1
        number = expected
        if progress.samples_in_epoch:
            raise ConfigError(
                f"epoch {progress.epoch} is not finished; run.epoch() must come after its "
                f"{counted(self._schedule.num_train_samples, 'sample')}, and {progress.samples_in_epoch:,} are used."
            )
        if self._schedule.is_applied and not progress.samples:
            raise ConfigError(
                f"epoch {expected} ends, and the schedule was applied but never moved; the loop must call "
                "schedule.advance(num_samples) after each update, or be fed by a GrowingBatchSampler."
            )
        if given is not None:
            number = given
        elif progress.samples:
            number = progress.epoch - 1
        least = expected if self._recorded_here else 1
        if not least <= number <= expected:
            allowed = f"{expected}, the next one" if self._recorded_here else f"from 1 to {expected}"
            raise ConfigError(f"epoch is {number}; it must be {allowed}: {len(self.rows)} are recorded.")
        if number > self._schedule.num_epochs:
            raise ConfigError(f"epoch is {number}; it must be at most num_epochs={self._schedule.num_epochs}.")
        return number

    def _drop_rows_from(self, epoch: int) -> None:
        """Forget the rows of an earlier segment that are trained again."""
        again = self.rows[epoch - 1 :]
        if not again:
            return
        kept = self.rows[epoch - 2].elapsed_seconds if epoch > 1 else 0.0
        self._lost_seconds += again[-1].elapsed_seconds - kept
        update_meta(self._run_dir, lost_seconds=self._lost_seconds)
        del self.rows[epoch - 1 :]
        for column in self._own.values():
            del column[epoch - 1 :]

    def _planned(self, epoch: int) -> dict[str, Any]:
        """Return what the schedule says of an epoch; its counts are those that the loop reached, if it counts."""
        updates = list(self._schedule.plan_updates(Progress(epoch=epoch), self._partial_batch))
        if not updates:
            raise ConfigError(f"epoch {epoch} has no update; its batch must not be larger than the data set.")
        last, samples = updates[-1], self._schedule.num_train_samples
        used = sum(update.num_samples for update in updates)
        before = self.rows[-1] if self.rows else None
        reached = self._schedule.progress
        split = split_update(min(last.batch_size, samples), self._world_size, self._max_micro_batch_size)
        return {
            "epoch": epoch,
            "updates": reached.updates or (before.updates if before else 0) + len(updates),
            "samples": reached.samples or (before.samples if before else 0) + used,
            "batch_size": last.batch_size,
            "micro_batch_size": split.micro_batch_size,
            "accumulation_steps": split.accumulation_steps,
            "world_size": self._world_size,
            "learning_rate": last.learning_rate,
            "samples_dropped": samples - used,
        }

    def _measured(self, seconds: Mapping[str, float], given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the seconds of the epoch; the parts of training are unknown where the program does not tell them."""
        spent = {span: seconds[span] - self._seconds_at_epoch[span] for span in _SPANS}
        parts = {span: spent[span] for span in TRAIN_SPANS}
        is_divided = any(seconds[span] for span in TRAIN_SPANS)
        train = given.get("train_seconds", spent[_TRAIN] + sum(parts.values()))
        growth = given.get("growth_seconds", spent["growth"])
        before = self.rows[-1].elapsed_seconds if self.rows else 0.0
        return {
            "train_seconds": train,
            **{f"{span}_seconds": value for span, value in parts.items() if is_divided},
            **{f"{span}_seconds": spent[span] for span in ("growth", "test", "save")},
            "elapsed_seconds": before + train + growth,
        }

    def _beat(self) -> dict[str, Any]:
        progress = self._schedule.progress
        epoch = progress.epoch if progress.samples else len(self.rows) + 1
        return {
            "epoch": min(epoch, self._schedule.num_epochs),
            "num_epochs": self._schedule.num_epochs,
            "updates": progress.updates,
            "samples": progress.samples,
            "samples_in_epoch": progress.samples_in_epoch,
            "epoch_samples": self._schedule.num_train_samples,
            "batch_size": self._schedule.decide(progress).batch_size,
            "elapsed_seconds": self.rows[-1].elapsed_seconds if self.rows else 0.0,
            "wall_seconds": self._earlier_seconds + time.monotonic() - self._since,
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        with self._stack:  # the folder stays locked until the outcome is written
            if self._is_main:
                self._heartbeat.stop()
                # A full disk must not hide what ended the run.
                with nullcontext() if error is None else suppress(OSError):
                    self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """Write how the run ended."""
        count, of = len(self.rows), self._schedule.num_epochs
        if isinstance(error, Exception):
            failure = describe_failure(error)
            mark_failed(self._run_dir, failure)
            write_summary(self._run_dir, State.FAILED, str(failure), self._known())
        elif error is None and count == of:
            write_summary(self._run_dir, State.DONE, None, self._known())
            mark_done(self._run_dir, f"{counted(count, 'epoch')}, {utc_now()}")
        else:
            cause = f"stopped by {_name_of(error)}" if error is not None else "the loop ended"
            write_summary(
                self._run_dir, State.PREEMPTED, f"{cause} after {count} of {counted(of, 'epoch')}", self._known()
            )

    def _known(self) -> dict[str, Any]:
        """Return the keys of the summary besides state and cause."""
        here = self._stopwatch.seconds()
        columns = {span: math.fsum(getattr(row, f"{span}_seconds") for row in self.rows) for span in EPOCH_SPANS}
        found = results(self.rows, {**columns, "setup": here["setup"] + self._earlier_setup})
        return {
            **known_numbers(found),
            "train_seconds": math.fsum(row.train_seconds for row in self.rows),
            "elapsed_seconds": self.rows[-1].elapsed_seconds if self.rows else 0.0,
            "wall_seconds": self._earlier_seconds + time.monotonic() - self._since,
            "num_epochs": self._schedule.num_epochs,
            "restarts": self._meta["restarts"],
            "lost_seconds": self._lost_seconds,
            "max_micro_batch_size": self._max_micro_batch_size,
            "world_size": self._world_size,
        }


def _name_of(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "SIGINT"
    return error.signal_name if isinstance(error, Terminated) else f"{type(error).__name__}: {error}"
