"""Growing batches in Hugging Face's ``Trainer``: a mixin, since a callback alone cannot replace the loader.

To the trainer every update is one step with one batch and no accumulation: the loader yields all micro-batches of an
update at once, and `training_step` runs them one after another. So updates may have any number of micro-batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from adabatch.errors import ConfigError
from adabatch.fields import require
from adabatch.library.batch_schedule import BatchSchedule
from adabatch.library.sampler import GrowingBatchSampler
from adabatch.library.updates import MicroBatchPlan
from adabatch.schedules import PlannedUpdate
from adabatch.schedules.progress import Progress

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import ExportableState
except ImportError as error:
    raise ConfigError(
        "adabatch.adapters.hugging_face needs the packages transformers and accelerate: "
        "pip install transformers accelerate."
    ) from error

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object


class BatchScheduleMixin(_Trainer):
    """Sets batch size and learning rate over a training; stands before the trainer that it extends.

    The cap on a micro-batch is ``per_device_train_batch_size``, partial batches are dropped with
    ``dataloader_drop_last``, and the order follows from ``data_seed``, else ``seed``. The number of steps follows from
    the schedule. A loss must be the mean over the samples of its batch. A checkpoint continues within the epoch with
    the samples that were not used.

    Args:
        batch_schedule: made with ``args.learning_rate`` and the length of the training set.
        arguments, options: those of ``Trainer``.

    Raises:
        ConfigError: if the training arguments contradict the schedule.

    Example:
        >>> class GrowingTrainer(BatchScheduleMixin, Trainer): ...
        >>> trainer = GrowingTrainer(model, args, train_dataset=dataset, batch_schedule=schedule)
        >>> trainer.train()
    """

    lr_scheduler: Any

    def __init__(self, *arguments: Any, batch_schedule: BatchSchedule, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.batch_schedule = batch_schedule
        self._weight: float | None = None
        args, dataset = self.args, self.train_dataset
        if dataset is None:
            raise ConfigError("train_dataset is None; it must be the training set, which the schedule divides.")
        _check(args, batch_schedule)
        self.sampler = GrowingBatchSampler(
            dataset,
            batch_schedule,
            seed=args.seed if args.data_seed is None else args.data_seed,
            max_micro_batch_size=args.per_device_train_batch_size,
            partial_batch="drop" if args.dataloader_drop_last else "keep",
            rank=args.process_index,
            world_size=args.world_size,
        )
        self._rates = _learning_rates(self.sampler)
        args.max_steps = len(self._rates)
        args.ignore_data_skip = True  # the sampler itself starts where the checkpoint ends
        self.add_callback(_PositionCallback(self.sampler))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return a loader that yields the micro-batches of one update at a time."""
        base = super().get_train_dataloader()
        loader: DataLoader[Any] = DataLoader(
            base.dataset,
            batch_sampler=self.sampler,
            collate_fn=base.collate_fn,
            num_workers=base.num_workers,
            pin_memory=base.pin_memory,
            worker_init_fn=base.worker_init_fn,
            persistent_workers=base.persistent_workers,
            prefetch_factor=base.prefetch_factor,
        )
        return _UpdateLoader(loader, self.sampler)  # type: ignore[return-value]

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Return a scheduler that gives each update the schedule's learning rate; groups keep their ratio."""
        rates, base = self._rates, self.batch_schedule.learning_rate
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,
                lambda update: rates[min(update, len(rates) - 1)] / base,
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Run all micro-batches of an update, and return the mean loss over its samples."""
        losses = []
        for plan, batch in inputs:
            self._weight = plan.weight
            # Ranks exchange gradients with the last micro-batch alone.
            waits = contextlib.nullcontext() if plan.ends_update else self.accelerator.no_sync(model)
            try:
                with waits:
                    losses.append(super().training_step(model, batch, None))
            finally:
                self._weight = None
        return torch.stack(losses).sum()

    def compute_loss(self, model: torch.nn.Module, inputs: Any, *arguments: Any, **options: Any) -> Any:
        """Return the trainer's loss; in training weighted by the share of its samples in the update."""
        result = super().compute_loss(model, inputs, *arguments, **options)
        if self._weight is None:
            return result
        if isinstance(result, tuple):
            return (result[0] * self._weight, *result[1:])
        return result * self._weight

    def floating_point_ops(self, inputs: Any) -> int:
        """Return the operations of an update, or of a single batch."""
        if isinstance(inputs, list):
            return sum(super(BatchScheduleMixin, self).floating_point_ops(batch) for _, batch in inputs)
        return super().floating_point_ops(inputs)


class _UpdateLoader:
    """Yields the micro-batches of an update, each with its plan, as one item.

    It has no length, because that differs between epochs, while the trainer asks once.
    """

    def __init__(self, loader: DataLoader[Any], sampler: GrowingBatchSampler) -> None:
        self._loader = loader
        self._sampler = sampler
        self.dataset = loader.dataset

    def __iter__(self) -> Iterator[list[tuple[MicroBatchPlan, Any]]]:
        parts = []
        for plan, batch in zip(self._sampler.plan(), self._loader, strict=True):
            parts.append((plan, batch))
            if plan.ends_update:
                yield parts
                parts = []


class _PositionCallback(TrainerCallback, ExportableState):
    """Counts the updates that were made; its state is in the checkpoints' ``trainer_state.json``."""

    def __init__(self, sampler: GrowingBatchSampler) -> None:
        self._sampler = sampler
        self._left: list[PlannedUpdate] = []

    def state(self) -> dict[str, Any]:
        """Return the sampler's state."""
        return {"args": {}, "attributes": {"sampler": self._sampler.state_dict()}}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Go to the position of the checkpoint that the training continues, if there is one."""
        if not state.global_step:
            return
        saved = state.stateful_callbacks.get(type(self).__name__)
        if not isinstance(saved, dict):
            raise ConfigError("the checkpoint has no position; it must be one of a trainer with BatchScheduleMixin.")
        self._sampler.load_state_dict(saved["attributes"]["sampler"])

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Plan the updates that are left of the epoch."""
        self._left = [plan.update for plan in self._sampler.plan() if plan.ends_update]

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count an update; after the last one of an epoch, a checkpoint starts with the next epoch."""
        sampler = self._sampler
        sampler.count(self._left.pop(0))
        progress = sampler.progress
        state.epoch = progress.epoch - 1 + progress.samples_in_epoch / sampler.schedule.num_train_samples
        if not self._left:
            sampler.start_epoch(progress.epoch + 1)
            state.epoch = float(progress.epoch)


def _learning_rates(sampler: GrowingBatchSampler) -> list[float]:
    """Return the learning rate of every update of the training."""
    schedule = sampler.schedule
    epochs = range(1, schedule.num_epochs + 1)
    plans = (schedule.plan_updates(Progress(epoch=epoch), sampler.partial_batch) for epoch in epochs)
    return [update.learning_rate for plan in plans for update in plan]


def _check(args: TrainingArguments, schedule: BatchSchedule) -> None:
    """Raise ConfigError where the arguments say something else than the schedule."""
    rate, steps = schedule.learning_rate, args.gradient_accumulation_steps
    require(args.learning_rate == rate, "learning_rate", args.learning_rate, f"{rate}, the schedule's base rate")
    require(steps == 1, "gradient_accumulation_steps", steps, "1: per_device_train_batch_size is the cap")
    require(args.max_steps < 0, "max_steps", args.max_steps, "-1: the number of steps follows from the schedule")
    require(args.n_gpu <= 1, "n_gpu", args.n_gpu, "at most 1; use one process for each GPU")
    find = args.auto_find_batch_size
    require(not find, "auto_find_batch_size", find, "false: the schedule sets the batch size")
    epochs = args.num_train_epochs
    require(epochs == schedule.num_epochs, "num_train_epochs", epochs, f"{schedule.num_epochs}, as in the schedule")
