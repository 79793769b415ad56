"""Growing batches in Lightning's ``Trainer``: a callback and the training loader that goes with it.

Lightning counts batches; an update may take several, and their number changes. The callback therefore says before each
batch whether it ends an update, sets the learning rate, and weights the loss by its share of the update's samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from adabatch.errors import ConfigError
from adabatch.library.sampler import GrowingBatchSampler
from adabatch.library.updates import MicroBatchPlan

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ConfigError("adabatch.adapters.lightning needs the package lightning: pip install lightning.") from error


class GrowingDataLoader(DataLoader[Any]):
    """A training loader whose batches grow, and whose position is part of Lightning's checkpoints.

    Args:
        dataset: the training set.
        sampler: of the same data set.
        options: others of ``DataLoader``, such as ``num_workers``.
    """

    def __init__(self, dataset: Dataset[Any], sampler: GrowingBatchSampler, **options: Any) -> None:
        super().__init__(dataset, batch_sampler=sampler, **options)
        self._growing = sampler

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state."""
        return self._growing.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the position of a saved state."""
        self._growing.load_state_dict(state)


class BatchScheduleCallback(Callback):
    """Sets batch size and learning rate over a Lightning training, with exact resume in mid-epoch.

    The module optimizes automatically, with one optimizer whose learning rate is the schedule's own, and returns the
    mean loss of its batch. The trainer accumulates no batches and has no learning-rate scheduler: the callback does
    both. With several devices the trainer needs ``use_distributed_sampler=False``, and the sampler its rank and world
    size.

    Args:
        sampler: the one of the training loader.

    Raises:
        ConfigError: at the start of training, if the trainer or the loader is set up otherwise.

    Example:
        >>> sampler = GrowingBatchSampler(dataset, schedule, seed=0, max_micro_batch_size=256)
        >>> trainer = Trainer(max_epochs=schedule.num_epochs, callbacks=[BatchScheduleCallback(sampler)])
        >>> trainer.fit(module, GrowingDataLoader(dataset, sampler, num_workers=2))
    """

    def __init__(self, sampler: GrowingBatchSampler) -> None:
        self.sampler = sampler
        self._plan: list[MicroBatchPlan] = []
        self._place = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the trainer, and let it count the batches of each epoch anew."""
        if stage != "fit":
            return
        epochs, most = trainer.max_epochs, self.sampler.schedule.num_epochs
        _check(epochs is not None and 0 <= epochs <= most, "max_epochs", epochs, f"at most num_epochs={most}")
        _check(trainer.accumulate_grad_batches == 1, "accumulate_grad_batches", trainer.accumulate_grad_batches, "1")
        automatic = pl_module.automatic_optimization
        _check(automatic, "automatic_optimization", automatic, "True")
        handles = trainer.strategy.handles_gradient_accumulation
        _check(not handles, "strategy", trainer.strategy, "one that leaves accumulating gradients to the trainer")
        world_size = self.sampler.world_size
        _check(trainer.world_size == world_size, "the sampler's world_size", world_size, f"{trainer.world_size}")
        trainer.reload_dataloaders_every_n_epochs = 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what the module and its loader are."""
        loader = trainer.train_dataloader
        is_ours = getattr(loader, "batch_sampler", None) is self.sampler
        _check(is_ours, "the training loader", type(loader).__name__, "a GrowingDataLoader of the callback's sampler")
        _check(len(trainer.optimizers) == 1, "the number of optimizers", len(trainer.optimizers), "1")
        schedulers = len(trainer.lr_scheduler_configs)
        _check(not schedulers, "the number of learning-rate schedulers", schedulers, "0: the callback sets the rate")
        batches, expected = trainer.num_training_batches, len(self.sampler)
        _check(batches == expected, "the number of training batches", batches, f"{expected}, without any limit")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that trainer and sampler are in the same epoch."""
        epoch, expected = self.sampler.progress.epoch, trainer.current_epoch + 1
        _check(epoch == expected, "the sampler's epoch", epoch, f"{expected}, as the trainer's")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Say whether the batch ends an update, and set the learning rate."""
        if not self._plan:
            self._plan, self._place = list(self.sampler.plan()), 0
        self.sampler.schedule.apply(trainer.optimizers[0])
        # Lightning steps after each n-th batch, divides the loss by n, and resets the gradients before each n-th batch:
        # with these n before the very first at most, so that they must be reset after the step.
        trainer.accumulate_grad_batches = batch_idx + (1 if self._now.ends_update else 2)

    @property
    def _now(self) -> MicroBatchPlan:
        return self._plan[self._place]

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        """Weight the loss by the share of its samples in the update."""
        loss.mul_(self._now.weight * trainer.accumulate_grad_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count an update that was made; after the last one, a checkpoint starts with the next epoch."""
        now = self._now
        self._place += 1
        if now.ends_update:
            trainer.optimizers[0].zero_grad()
            self.sampler.count(now.update)
        if self._place == len(self._plan):
            self._plan = []
            self.sampler.start_epoch(self.sampler.progress.epoch + 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the trainer as it was."""
        trainer.accumulate_grad_batches = 1

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state, for the checkpoint."""
        return self.sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the position of the checkpoint."""
        self._plan = []
        self.sampler.load_state_dict(state_dict)


def _check(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise ConfigError(f"{name} is {value}; it must be {allowed}.")
