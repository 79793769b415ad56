"""The training loop: plan an epoch, make its updates, test, record it."""

from __future__ import annotations

import logging
import math
import random
import time
from typing import Any

import torch

from adabatch.config import TrainConfig, allocations
from adabatch.data import Dataset
from adabatch.data.order import derived_seed, epoch_order
from adabatch.errors import CheckpointMismatch, NonFiniteLoss, Preempted, SegmentEnd
from adabatch.processes.ranks import Ranks
from adabatch.processes.signals import StopRequest
from adabatch.rundir.columns import (
    EpochRow,
    device_seconds,
    row_from_dict,
    row_to_dict,
    span_seconds,
    train_seconds,
)
from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import results
from adabatch.schedules import PlannedUpdate, Progress, Signals, plan_updates
from adabatch.terminal import counted
from adabatch.training.checkpoint import load_checkpoint, save_checkpoint
from adabatch.training.engine import Engine
from adabatch.training.evaluation import evaluate, write_correctness
from adabatch.training.ledger import SampleLedger
from adabatch.training.metric_sums import Metrics
from adabatch.training.own_metrics import OwnMetrics
from adabatch.training.peak_memory import PeakMemory
from adabatch.training.profiling import UpdateProfiler
from adabatch.training.reporting import Reporter
from adabatch.training.stopwatch import SPANS, Stopwatch
from adabatch.training.updates import UpdateMaker

_log = logging.getLogger(__name__)
# What a rank requests between two updates; the largest request wins.
_CONTINUE, _SAVE, _STOP, _FAIL = range(4)
#: The ranks sync about this often, by the last epoch's pace, but after at least this many samples of each rank.
_SECONDS_BETWEEN_SYNCS, _MIN_SAMPLES_BETWEEN_SYNCS = 1.0, 256


class TrainingLoop:
    """Trains one run from its start or last checkpoint until it is done or a signal stops it.

    Args:
        config: of the run, with ``max_micro_batch_size`` a number or None.
        dataset: train and test source.
        engine: network and optimizer.
        ranks: this process among the run's.
        run_dir: where checkpoints go.
        reporter: notified of updates and finished epochs.
        stop: holds the signal, if one came.
        stopwatch: running since the start of the setup.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        engine: Engine,
        ranks: Ranks,
        run_dir: RunDir,
        reporter: Reporter,
        stop: StopRequest,
        stopwatch: Stopwatch,
    ) -> None:
        self.config = config
        self.progress = Progress()
        self.ledger = SampleLedger(dataset.train.num_samples)
        self.rows: list[EpochRow] = []
        self._own = OwnMetrics(config, engine.device, ranks)
        self._dataset = dataset
        self._engine = engine
        self._ranks = ranks
        self._run_dir = run_dir
        self._reporter = reporter
        self._stop = stop
        self._stopwatch = stopwatch
        self._peak_memory = PeakMemory(engine.device)
        self._schedule = config.build_schedule(dataset.train.num_samples)
        self._allocations = allocations(config) if config.hardware.devices else []
        self._sums = engine.sums
        self._sums.reset()
        self._seconds_before = dict.fromkeys(SPANS, 0.0)
        self._seconds_at_epoch = dict.fromkeys(SPANS, 0.0)
        self._saved_at = time.monotonic()
        self._samples_between_syncs = 1
        self._updates = UpdateMaker(config, engine, ranks, stopwatch, reporter)
        traced = config.hardware.profile and ranks.is_main
        self._profiler = UpdateProfiler(run_dir.path / "trace.json", engine.device) if traced else None

    def train(self) -> None:
        """Train the remaining epochs, from the last checkpoint if there is one.

        Raises:
            Preempted: after a stop signal, with the state saved.
            SegmentEnd: if another number of ranks trains the next epoch, with the state saved.
            RunFailure: if the run cannot continue.
        """
        self._resume()
        self._reporter.on_start(self.progress, self.rows, self._own.values, self._seconds_before)
        self._peak_memory.restart()
        while self.progress.epoch <= self.config.num_epochs:
            self._end_segment_if_due()
            last_update = self.train_epoch()
            self._finish_epoch(last_update)
        if self._profiler:
            self._profiler.close()
        self._save()

    @property
    def _wanted_ranks(self) -> int:
        """How many ranks train this epoch; after the last one, as many as there are."""
        epoch = self.progress.epoch
        return next((one.num_ranks for one in self._allocations if epoch <= one.last_epoch), self._ranks.world_size)

    def _end_segment_if_due(self) -> None:
        """End if this epoch is not for as many ranks as there are; what was trained is saved by then."""
        if self._wanted_ranks != self._ranks.world_size:
            self._reporter.write_rows()
            raise SegmentEnd(self.progress.epoch, counted(self._wanted_ranks, "rank"))

    def seconds(self) -> dict[str, float]:
        """Return the seconds per span over all segments of the run; on a GPU this waits for the device."""
        return {span: self._seconds_before[span] + value for span, value in self._stopwatch.seconds().items()}

    def summary(self) -> dict[str, Any]:
        """Return the values of ``summary.json`` that the loop knows."""
        seconds = self.seconds()
        ledger = {"ledger": self.ledger.epochs, "stages": self.ledger.by_stage()}
        return {**results(self.rows, seconds), "wall_seconds": sum(seconds.values()), **ledger}

    def train_epoch(self) -> PlannedUpdate:
        """Make the remaining updates of this epoch, and return the last one."""
        config, samples = self.config, self._dataset.train.num_samples
        self._set_sync_interval()
        signals = self._signals()
        self._stopwatch.switch("data")
        updates = list(plan_updates(self._schedule, self.progress, samples, config.dataset.partial_batch, signals))
        order = epoch_order(samples, config.seed, self.progress.epoch)
        indices = [self._updates.indices(update, order) for update in updates]
        self._updates.plan(indices)
        filled = [part for parts in indices for part in parts if len(part)]
        batches = self._dataset.train.iterate(self.progress.epoch, config.seed, filled)
        for update, parts in zip(updates, indices, strict=True):
            self._reporter.on_decision(self.progress, update.batch_size, update.learning_rate)
            self._updates.make(update, parts, batches)
            for part in parts:
                self.ledger.count(part)
            self.progress = self.progress.after_update(update.num_samples)
            self._reporter.on_update(self.progress, update.batch_size, samples)
            if self._profiler:
                self._profiler.on_update()
            if self._reporter.rows_are_due:
                with self._stopwatch.during("save"):
                    self._reporter.write_rows()
            if update is updates[-1] or self._ranks_sync_after(update):
                self._save_or_stop()
        return updates[-1] if updates else self._last_update_of_epoch()

    def _signals(self) -> Signals:
        if not self.rows:
            return Signals()
        last = self.rows[-1]
        return Signals(last.train_loss, last.validation_loss, last.validation_accuracy)

    def _set_sync_interval(self) -> None:
        """Agree on the number of samples, over all ranks, between syncs."""
        least = _MIN_SAMPLES_BETWEEN_SYNCS * self._ranks.world_size
        seconds = self.rows[-1].train_seconds if self.rows else 0.0
        pace = self._dataset.train.num_samples / seconds if seconds else 0.0
        self._samples_between_syncs = self._ranks.max_over_ranks(max(least, int(pace * _SECONDS_BETWEEN_SYNCS)))

    def _ranks_sync_after(self, update: PlannedUpdate) -> bool:
        """Return whether the ranks sync after this update; all return the same.

        A sync makes the ranks wait for each other; after every update, it would slow down small batches most.
        """
        every = self._samples_between_syncs
        now = self.progress.samples_in_epoch
        return self._ranks.world_size == 1 or now // every > (now - update.num_samples) // every

    def _save_or_stop(self) -> None:
        """Agree across ranks whether to save or stop, then do it."""
        every = self.config.checkpoint.every_seconds
        due = self._ranks.is_main and every is not None and time.monotonic() - self._saved_at >= every
        request = _STOP if self._stop.signal else _SAVE if due else _CONTINUE
        # On a GPU this would wait for the device, so there it is checked when saving.
        if self._engine.device.type == "cpu" and not self._sums.loss_is_finite:
            request = _FAIL
        agreed = self._ranks.max_over_ranks(request)
        if agreed == _FAIL:
            self._fail_non_finite()
        if agreed >= _SAVE:
            self._save()
        if agreed == _STOP:
            raise Preempted(self._stop.signal.name if self._stop.signal else "a signal to another rank")

    def _finish_epoch(self, last: PlannedUpdate) -> None:
        train = self._sums.mean(self._ranks)
        if not math.isfinite(train.loss):
            self._fail_non_finite()
        self._stopwatch.switch("test")
        size = self._updates.split(min(last.batch_size, self._dataset.train.num_samples)).micro_batch_size
        test = self._test(size)
        if not math.isfinite(test.loss):  # the last update may be the first with non-finite weights or statistics
            self._fail_non_finite("test")
        validation = self._validate(size)
        self._stopwatch.switch("save")
        uses = self._ranks.sum_over_ranks(self.ledger.uses)
        dropped = self.ledger.close_epoch(self.progress.epoch, last.batch_size, uses)
        peak_bytes = self._peak_memory.take(self._ranks)
        seconds = self.seconds()
        self.rows.append(self._row(last, train, test, validation, dropped, peak_bytes, seconds))
        self._own.close_epoch()
        # Time and memory from here on (starting with writing this row) go into the next row.
        self._seconds_at_epoch = seconds
        self._sums.reset()
        self.progress = self.progress.next_epoch()
        # Which ranks are started next follows from the rows, so a segment's last row must not precede its checkpoint.
        ends_segment = self._wanted_ranks != self._ranks.world_size
        if ends_segment:
            self._save()
        self._reporter.on_epoch(self.rows, self._own.values)
        every = self.config.checkpoint.every_epochs
        if every is not None and len(self.rows) % every == 0 and not ends_segment:
            self._save()

    def _test(self, size: int) -> Metrics:
        """Return the test metrics; after the last epoch, keep which samples were classified correctly, too.

        Args:
            size: of the training's micro-batches.
        """
        source, num_classes = self._dataset.test, self.config.dataset.num_classes
        if self.progress.epoch < self.config.num_epochs:
            return evaluate(self._engine, source, num_classes, self._ranks, None, self._own, size)
        correct = torch.zeros(source.num_samples, dtype=torch.uint8, device=self._engine.device)
        metrics = evaluate(self._engine, source, num_classes, self._ranks, correct, self._own, size)
        over_ranks = self._ranks.sum_over_ranks(correct.cpu())
        if self._ranks.is_main:
            write_correctness(self._run_dir.test_correct, over_ranks)
        return metrics

    def _validate(self, size: int) -> Metrics | None:
        """Return the metrics of the validation samples; None if there are none."""
        source = self._dataset.validation
        if source is None:
            return None
        metrics = evaluate(self._engine, source, self.config.dataset.num_classes, self._ranks, micro_batch_size=size)
        if not math.isfinite(metrics.loss):
            self._fail_non_finite("validation")
        return metrics

    def _row(
        self,
        last: PlannedUpdate,
        train: Metrics,
        test: Metrics,
        validation: Metrics | None,
        dropped: int,
        peak_bytes: int | None,
        total: dict[str, float],
    ) -> EpochRow:
        epoch = {span: total[span] - self._seconds_at_epoch[span] for span in SPANS}
        split = self._updates.split(min(last.batch_size, self._dataset.train.num_samples))
        measured: dict[str, Any] = span_seconds(epoch)
        return EpochRow(
            epoch=self.progress.epoch,
            updates=self.progress.updates,
            samples=self.progress.samples,
            batch_size=last.batch_size,
            micro_batch_size=split.micro_batch_size,
            accumulation_steps=split.accumulation_steps,
            world_size=self._ranks.world_size,
            learning_rate=last.learning_rate,
            train_loss=train.loss,
            train_accuracy=train.accuracy,
            test_loss=test.loss,
            test_accuracy=test.accuracy,
            train_seconds=train_seconds(epoch),
            **measured,
            elapsed_seconds=train_seconds(total) + total["growth"],
            test_top5_accuracy=test.top5_accuracy,
            samples_dropped=dropped,
            validation_loss=validation.loss if validation else None,
            validation_accuracy=validation.accuracy if validation else None,
            device_seconds=device_seconds(train_seconds(epoch), epoch["growth"], self._ranks.world_size),
            peak_memory_bytes=peak_bytes,
        )

    def _last_update_of_epoch(self) -> PlannedUpdate:
        """Return the epoch's last update, for a checkpoint saved at the very end of an epoch."""
        whole = Progress(epoch=self.progress.epoch)
        samples = self._dataset.train.num_samples
        return list(plan_updates(self._schedule, whole, samples, self.config.dataset.partial_batch))[-1]

    def _fail_non_finite(self, what: str = "training") -> None:
        raise NonFiniteLoss(
            f"the {what} loss became NaN or infinite in epoch {self.progress.epoch}, by update {self.progress.updates}"
        )

    def _save(self) -> None:
        with self._stopwatch.during("save"):
            self._ranks.broadcast_buffers(self._engine.network)
            state = self._state()
            if not bool(torch.isfinite(state["sums"]).all()):
                self._fail_non_finite()
            if self._ranks.is_main:
                self._reporter.write_rows()
                save_checkpoint(self._run_dir, self.config, state)
            self._saved_at = time.monotonic()

    def _state(self) -> dict[str, Any]:
        """Return everything a resume needs; gathers from all ranks, so every rank must call it."""
        device = self._engine.device
        return {
            "learner": self._engine.state_dict(),
            "schedule": self._schedule.state_dict(),
            "progress": (
                self.progress.epoch,
                self.progress.samples_in_epoch,
                self.progress.samples,
                self.progress.updates,
            ),
            "ledger": self.ledger.state_dict(self._ranks.sum_over_ranks(self.ledger.uses)),
            "sums": self._sums.state(self._ranks),
            "rows": [row_to_dict(row) for row in self.rows],
            "own_metrics": self._own.values,
            "seconds": self.seconds(),
            "seconds_at_epoch": self._seconds_at_epoch,
            "charged_shapes": self._updates.paid_shapes,
            "python_random": random.getstate(),
            "torch_random": self._ranks.gather(torch.get_rng_state()),
            "cuda_random": self._ranks.gather(torch.cuda.get_rng_state(device)) if device.type == "cuda" else [],
        }

    def _resume(self) -> None:
        state = load_checkpoint(self._run_dir, self.config, is_main=self._ranks.is_main)
        if state is None:
            return
        try:
            self._restore(state)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointMismatch(
                f"the checkpoint in {self._run_dir.path} holds a state that is not this run's ({error}); "
                "delete the checkpoints to start from scratch"
            ) from error
        _log.info(
            "continues in epoch %d after %d updates and %d samples",
            self.progress.epoch,
            self.progress.updates,
            self.progress.samples,
        )

    def _restore(self, state: dict[str, Any]) -> None:
        """Take over a state.

        Raises:
            ValueError: or another exception, if it cannot be that of this run.
        """
        seconds = {span: float(state["seconds"].get(span, 0.0)) for span in SPANS}
        if not all(map(math.isfinite, seconds.values())):
            raise ValueError("its seconds are not finite")
        self._engine.load_state_dict(state["learner"])
        self._schedule.load_state_dict(state["schedule"])
        self.progress = Progress(*state["progress"])
        self.ledger.load_state_dict(state["ledger"], self._ranks.is_main)
        self._sums.load_state(state["sums"], self._ranks)
        self.rows = [row_from_dict(row) for row in state["rows"]]
        self._own.load(state.get("own_metrics", {}), len(self.rows))
        self._seconds_before |= seconds
        self._seconds_at_epoch |= state["seconds_at_epoch"]
        self._updates.resume(state.get("charged_shapes", []))
        version, internal, gauss = state["python_random"]
        random.setstate((version, tuple(internal), gauss))
        self._restore_random(state)
        finished = len(self.rows)
        if not (self.progress.epoch == finished + 1 <= self.config.num_epochs + 1):
            raise ValueError(f"it is in epoch {self.progress.epoch} after {finished} of {self.config.num_epochs}")

    def _restore_random(self, state: dict[str, Any]) -> None:
        """Take over the random numbers of each rank; after a boundary to another number of ranks, they begin anew.

        Only networks draw them, for dropout and the like; samples and augmentation have their own.
        """
        if len(state["torch_random"]) != self._ranks.world_size:
            torch.manual_seed(derived_seed("rank", self.config.seed, self._ranks.rank, self.progress.epoch))
            return
        torch.set_rng_state(state["torch_random"][self._ranks.rank])
        if state["cuda_random"]:
            torch.cuda.set_rng_state(state["cuda_random"][self._ranks.rank], self._engine.device)
