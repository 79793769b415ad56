"""The training loop: plan an epoch, make its updates, test, write it down."""

from __future__ import annotations

import functools
import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from adabatch.batching import UpdateSplit, split_update
from adabatch.checkpoint import load_checkpoint, save_checkpoint
from adabatch.config import TrainConfig, config_hash
from adabatch.data import Dataset
from adabatch.data.order import epoch_order
from adabatch.distributed import Ranks
from adabatch.errors import NonFiniteLoss, Preempted
from adabatch.evaluation import Metrics, MetricSums, evaluate
from adabatch.learner import Learner, searches_kernels
from adabatch.ledger import SampleLedger
from adabatch.profiling import UpdateProfiler
from adabatch.progress import Progress
from adabatch.records import EpochRow, rows_from_state, rows_to_state, summarize
from adabatch.reporting import Reporter
from adabatch.run_dir import RunDir
from adabatch.schedules import PlannedUpdate, Signals, build_schedule, plan_updates
from adabatch.stop_signals import StopRequest
from adabatch.stopwatch import SPANS, TRAIN_SPANS, Stopwatch, train_seconds

_log = logging.getLogger(__name__)
# What the ranks agree on between two updates; of several wishes the largest wins.
_GO_ON, _SAVE, _STOP, _FAIL = range(4)
#: How often the ranks look for something to do: after so many seconds by the last epoch's pace, but not before so many
#: samples of each rank.
_SECONDS_BETWEEN_CONFERENCES, _SAMPLES_BETWEEN_CONFERENCES = 1.0, 256


class Trainer:
    """Trains one run to its end, or to a signal, from its start or from its last checkpoint.

    Args:
        config: of the run, with ``max_micro_batch_size`` a number or None.
        dataset: train and test source.
        learner: network and optimizer.
        ranks: this process among the run's.
        run_dir: where checkpoints go.
        reporter: told of every finished epoch.
        stop: the signal, if one came.
        stopwatch: running since the process began to set up.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        learner: Learner,
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
        self._hash = config_hash(config)
        self._dataset = dataset
        self._learner = learner
        self._ranks = ranks
        self._run_dir = run_dir
        self._reporter = reporter
        self._stop = stop
        self._stopwatch = stopwatch
        self._schedule = build_schedule(
            config.schedule, config.optimizer.learning_rate, dataset.train.num_samples, config.num_epochs
        )
        self._sums = self._new_sums()
        self._seconds_before = dict.fromkeys(SPANS, 0.0)
        self._seconds_at_epoch = dict.fromkeys(SPANS, 0.0)
        self._saved_at = time.monotonic()
        self._samples_between_conferences = 1
        self._warm_shapes: set[tuple[int, ...]] = set()
        self._charged_shapes: set[tuple[int, ...]] = set()
        traced = config.hardware.profile and ranks.is_main
        self._profiler = UpdateProfiler(run_dir.path / "trace.json", learner.device) if traced else None

    def train(self) -> None:
        """Run what is left of the epochs, from the last checkpoint if there is one.

        Raises:
            Preempted: after a stop signal, with the state saved.
            RunFailure: when the run cannot go on.
        """
        self._resume()
        self._reporter.on_start(self.progress, self.rows, self._seconds_before)
        while self.progress.epoch <= self.config.num_epochs:
            last_update = self.train_epoch()
            self._finish_epoch(last_update)
        if self._profiler:
            self._profiler.close()
        self._save()

    def seconds(self) -> dict[str, float]:
        """Return the seconds per span over all segments of the run; on a GPU this waits for the device."""
        return {span: self._seconds_before[span] + value for span, value in self._stopwatch.seconds().items()}

    def summary(self) -> dict[str, Any]:
        """Return the numbers of ``summary.json`` that the trainer knows."""
        seconds = self.seconds()
        ledger = {"ledger": self.ledger.epochs, "stages": self.ledger.by_stage()}
        return {**summarize(self.rows, seconds), "wall_seconds": sum(seconds.values()), **ledger}

    def train_epoch(self) -> PlannedUpdate:
        """Make the updates that are left of this epoch, and return the last one."""
        config, samples = self.config, self._dataset.train.num_samples
        self._agree_on_conferences()
        signals = Signals(self.rows[-1].train_loss if self.rows else None)
        self._stopwatch.switch("data")
        updates = list(plan_updates(self._schedule, self.progress, samples, config.dataset.partial_batch, signals))
        order = epoch_order(samples, config.seed, self.progress.epoch)
        indices = [self._rank_indices(update, order) for update in updates]
        filled = [part for parts in indices for part in parts if len(part)]
        batches = self._dataset.train.iterate(self.progress.epoch, config.seed, filled)
        for update, parts in zip(updates, indices, strict=True):
            self._make_update(update, parts, batches)
            self.progress = self.progress.after_update(update.num_samples)
            self._reporter.on_update(self.progress, update.batch_size, samples)
            if self._profiler:
                self._profiler.on_update()
            if self._reporter.rows_are_due:
                with self._stopwatch.during("save"):
                    self._reporter.write_rows()
            if update is updates[-1] or self._ranks_confer_after(update):
                self._save_or_stop()
        return updates[-1] if updates else self._last_update_of_epoch()

    def _make_update(
        self,
        update: PlannedUpdate,
        parts: Sequence[torch.Tensor],
        batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
    ) -> None:
        learner, stopwatch = self._learner, self._stopwatch
        learner.set_learning_rate(update.learning_rate)
        sizes_by_rank = self._split(update.num_samples).micro_batches
        for number, (part, *sizes) in enumerate(zip(parts, *sizes_by_rank, strict=True), 1):
            stopwatch.switch("data")
            images, labels = next(batches) if len(part) else learner.placeholder(self._image_shape)
            self._warm_up(images, labels, tuple(sizes))
            with learner.gradients(synchronize=number == len(parts)):
                stopwatch.switch("forward")
                loss, logits = learner.forward(images, labels)
                if len(part):
                    self._sums.add(loss, logits, labels)
                stopwatch.switch("backward")
                learner.backward(loss if len(part) else loss * 0.0, update.num_samples)
            self.ledger.count(part)
        stopwatch.switch("update")
        learner.update()
        stopwatch.switch("data")

    def _rank_indices(self, update: PlannedUpdate, order: torch.Tensor) -> Sequence[torch.Tensor]:
        split = self._split(update.num_samples)
        sizes = split.micro_batches[self._ranks.rank]
        start = update.start + split.rank_start(self._ranks.rank)
        return order[start : start + sum(sizes)].split(sizes)

    def _split(self, num_samples: int) -> UpdateSplit:
        return _cached_split(num_samples, self._ranks.world_size, self.config.max_micro_batch_size)

    @property
    def _image_shape(self) -> tuple[int, int, int]:
        data = self.config.dataset
        return data.num_channels, data.image_size, data.image_size

    def _warm_up(self, images: torch.Tensor, labels: torch.Tensor, sizes: tuple[int, ...]) -> None:
        """Pay for a new micro-batch's compiling and tuning as growth, so that no update hides it.

        Args:
            sizes: of this micro-batch on every rank: what is new to one is new to all, so that they warm up together.
        """
        device = self._learner.device
        starts = device.type == "cuda" and not self._warm_shapes
        if sizes in self._warm_shapes or not (self.config.hardware.compile or searches_kernels(device) or starts):
            return
        # What a segment before has paid for is this one's setup: a run does not grow by being interrupted.
        with self._stopwatch.during("setup" if sizes in self._charged_shapes else "growth"):
            self._learner.warm_up(images, labels)
        self._warm_shapes.add(sizes)

    def _agree_on_conferences(self) -> None:
        """Let the ranks choose after how many samples, of all of them, they look for something to do."""
        least = _SAMPLES_BETWEEN_CONFERENCES * self._ranks.world_size
        seconds = self.rows[-1].train_seconds if self.rows else 0.0
        pace = self._dataset.train.num_samples / seconds if seconds else 0.0
        self._samples_between_conferences = self._ranks.max_over_ranks(
            max(least, int(pace * _SECONDS_BETWEEN_CONFERENCES))
        )

    def _ranks_confer_after(self, update: PlannedUpdate) -> bool:
        """Say whether the ranks look after this update if there is something to do; all say the same.

        To ask is to wait for each other, which after every update would cost small batches most.
        """
        every = self._samples_between_conferences
        now = self.progress.samples_in_epoch
        return self._ranks.world_size == 1 or now // every > (now - update.num_samples) // every

    def _save_or_stop(self) -> None:
        """Look, with one mind over all ranks, whether to save or to stop, and do so."""
        every = self.config.checkpoint.every_seconds
        due = self._ranks.is_main and every is not None and time.monotonic() - self._saved_at >= every
        wish = _STOP if self._stop.signal else _SAVE if due else _GO_ON
        # On a GPU the question would wait for the device; there it is asked when something is saved.
        if self._learner.device.type == "cpu" and not self._sums.loss_is_finite:
            wish = _FAIL
        agreed = self._ranks.max_over_ranks(wish)
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
        test = evaluate(self._learner, self._dataset.test, self.config.dataset.num_classes, self._ranks)
        if not math.isfinite(test.loss):  # the last update's weights, or statistics, may be the first that are not
            self._fail_non_finite("test")
        self._stopwatch.switch("save")
        uses = self._ranks.sum_over_ranks(self.ledger.uses)
        dropped = self.ledger.close_epoch(self.progress.epoch, last.batch_size, uses)
        seconds = self.seconds()
        self.rows.append(self._row(last, train, test, dropped, seconds))
        # What follows this row, its writing first of all, belongs to the next.
        self._seconds_at_epoch = seconds
        self._reporter.on_epoch(self.rows)
        self._sums = self._new_sums()
        self.progress = self.progress.next_epoch()
        every = self.config.checkpoint.every_epochs
        if every is not None and len(self.rows) % every == 0:
            self._save()

    def _row(
        self, last: PlannedUpdate, train: Metrics, test: Metrics, dropped: int, total: dict[str, float]
    ) -> EpochRow:
        epoch = {span: total[span] - self._seconds_at_epoch[span] for span in SPANS}
        split = self._split(min(last.batch_size, self._dataset.train.num_samples))
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
            **{f"{span}_seconds": epoch[span] for span in (*TRAIN_SPANS, "growth", "test")},
            elapsed_seconds=train_seconds(total) + total["growth"],
            test_top5_accuracy=test.top5_accuracy,
            samples_dropped=dropped,
            save_seconds=epoch["save"],
        )

    def _last_update_of_epoch(self) -> PlannedUpdate:
        """Return the update after which a checkpoint was saved at the very end of an epoch."""
        whole = Progress(epoch=self.progress.epoch)
        samples = self._dataset.train.num_samples
        return list(plan_updates(self._schedule, whole, samples, self.config.dataset.partial_batch))[-1]

    def _fail_non_finite(self, what: str = "training") -> None:
        raise NonFiniteLoss(
            f"the {what} loss became NaN or infinite in epoch {self.progress.epoch}, by update {self.progress.updates}"
        )

    def _new_sums(self) -> MetricSums:
        return MetricSums(self._learner.device, self.config.dataset.num_classes)

    def _save(self) -> None:
        with self._stopwatch.during("save"):
            self._ranks.broadcast_buffers(self._learner.network)
            state = self._state()
            if not bool(torch.isfinite(state["sums"]).all()):
                self._fail_non_finite()
            if self._ranks.is_main:
                self._reporter.write_rows()
                save_checkpoint(self._run_dir, self._hash, state)
            self._saved_at = time.monotonic()

    def _state(self) -> dict[str, Any]:
        """Return all that a resume needs; the ranks' parts are gathered, so every rank must call it."""
        device = self._learner.device
        return {
            "learner": self._learner.state_dict(),
            "schedule": self._schedule.state_dict(),
            "progress": (
                self.progress.epoch,
                self.progress.samples_in_epoch,
                self.progress.samples,
                self.progress.updates,
            ),
            "ledger": self.ledger.state_dict(self._ranks.sum_over_ranks(self.ledger.uses)),
            "sums": self._sums.state(self._ranks),
            "rows": rows_to_state(self.rows),
            "seconds": self.seconds(),
            "seconds_at_epoch": self._seconds_at_epoch,
            "charged_shapes": sorted(map(list, self._warm_shapes | self._charged_shapes)),
            "python_random": random.getstate(),
            "torch_random": self._ranks.gather(torch.get_rng_state()),
            "cuda_random": self._ranks.gather(torch.cuda.get_rng_state(device)) if device.type == "cuda" else [],
        }

    def _resume(self) -> None:
        state = load_checkpoint(self._run_dir, self._hash)
        if state is None:
            return
        self._learner.load_state_dict(state["learner"])
        self._schedule.load_state_dict(state["schedule"])
        self.progress = Progress(*state["progress"])
        self.ledger.load_state_dict(state["ledger"], self._ranks.is_main)
        self._sums.load_state(state["sums"], self._ranks.is_main)
        self.rows = rows_from_state(state["rows"])
        self._seconds_before = state["seconds"]
        self._seconds_at_epoch = state["seconds_at_epoch"]
        self._charged_shapes = set(map(tuple, state.get("charged_shapes", [])))
        version, internal, gauss = state["python_random"]
        random.setstate((version, tuple(internal), gauss))
        torch.set_rng_state(state["torch_random"][self._ranks.rank])
        if state["cuda_random"]:
            torch.cuda.set_rng_state(state["cuda_random"][self._ranks.rank], self._learner.device)
        _log.info(
            "continues in epoch %d after %d updates and %d samples",
            self.progress.epoch,
            self.progress.updates,
            self.progress.samples,
        )


_cached_split = functools.lru_cache(maxsize=1024)(split_update)
