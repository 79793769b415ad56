"""Growing batches for a torch ``DataLoader``: each sample once an epoch over all ranks, exact resume in mid-epoch."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, TypeVar, cast

from adabatch.errors import ConfigError
from adabatch.fields import at_least, null_or, require, require_choice
from adabatch.library.batch_schedule import BatchSchedule, check_same
from adabatch.library.updates import MicroBatch, MicroBatchPlan, Update
from adabatch.schedules import PlannedUpdate
from adabatch.schedules.batching import split_update
from adabatch.schedules.progress import Progress

if TYPE_CHECKING:
    import torch

Batch = TypeVar("Batch")
_MUST_BE_ITS_SAMPLER = "it must be the loader's batch_sampler"
_NOTHING = object()
_COUNT = at_least(1)


class GrowingBatchSampler:
    """Yields the sample indices of micro-batches; the ``batch_sampler`` of a ``torch.utils.data.DataLoader``.

    The order of an epoch, and the way it is divided, are those of ``python -m adabatch`` with the same seed, schedule
    and cap. Workers load ahead of the loop, so the position is not what was sampled but what the loop got of `updates`:
    a state that is saved within an epoch continues with the first update that was not finished.

    Args:
        dataset: the training set, or its length.
        schedule: decides batch sizes; the sampler moves its position.
        seed: of the order of the samples.
        max_micro_batch_size: cap on the samples of one forward and backward pass on one rank; None for no cap.
        partial_batch: ``keep`` ends an epoch with a smaller update, ``drop`` leaves those samples out.
        rank, world_size: of this process; None takes them from ``torch.distributed`` if it is initialized, else there
            is one rank.

    Raises:
        ConfigError: if the data set has another size than the schedule was made for, or a value is out of range.

    Example:
        >>> sampler = GrowingBatchSampler(dataset, schedule, seed=0, max_micro_batch_size=256)
        >>> loader = DataLoader(dataset, batch_sampler=sampler, num_workers=2)
        >>> for epoch in sampler.epochs():
        ...     for update in sampler.updates(loader):
        ...         for micro in update:
        ...             images, labels = micro.batch
        ...             (micro.weight * cross_entropy(network(images), labels)).backward()
        ...         schedule.apply(optimizer)
        ...         optimizer.step()
        ...         optimizer.zero_grad()
    """

    def __init__(
        self,
        dataset: Sized | int,
        schedule: BatchSchedule,
        *,
        seed: int = 0,
        max_micro_batch_size: int | None = None,
        partial_batch: str = "keep",
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        num_samples = dataset if isinstance(dataset, int) else len(dataset)
        allowed = f"{num_samples}, the length of the data set"
        require(schedule.num_train_samples == num_samples, "num_train_samples", schedule.num_train_samples, allowed)
        require(null_or(_COUNT).allows(max_micro_batch_size), "max_micro_batch_size", max_micro_batch_size,
                f"None or {_COUNT.text}")  # fmt: skip
        require_choice("partial_batch", partial_batch, ("keep", "drop"))
        found = distributed_place()
        self.rank = found[0] if rank is None else rank
        self.world_size = found[1] if world_size is None else world_size
        require(self.world_size >= 1, "world_size", self.world_size, "at least 1")
        require(0 <= self.rank < self.world_size, "rank", self.rank, f"from 0 to {self.world_size - 1}")
        self.schedule = schedule
        self.seed = seed
        self.max_micro_batch_size = max_micro_batch_size
        self.partial_batch = partial_batch
        self._progress = schedule.progress

    @property
    def progress(self) -> Progress:
        """The position behind the last update whose micro-batches were all used; the loop has yet to come back for it.

        At the end of an epoch it stays there until `updates` ends, so that a state saved after the last update
        continues with what follows the epoch's updates: testing, recording.
        """
        return self._progress

    def epochs(self) -> Iterator[int]:
        """Yield the numbers of the epochs that are left, from 1; after a resume the first one may be a part."""
        while self._progress.epoch <= self.schedule.num_epochs:
            epoch = self._progress.epoch
            yield epoch
            if self._progress.epoch == epoch:
                raise RuntimeError(f"epoch {epoch} was not iterated over to its end with updates(loader)")

    def updates(self, loader: Iterable[Batch]) -> Iterator[Update[Batch]]:
        """Yield the updates that are left of this epoch.

        Args:
            loader: a ``DataLoader`` whose ``batch_sampler`` this is, or whatever else yields a batch for each list of
                indices that this sampler yields.

        Raises:
            RuntimeError: if the loop goes on without having used all micro-batches of an update, or the loader does not
                yield this sampler's batches.
        """
        self.schedule.move_to(self._progress)
        batches = iter(loader)
        for plan in self._plan_by_update(self._progress):
            yield self._update(plan, batches)
            if self.schedule.progress == self._progress:
                raise RuntimeError("the micro-batches of an update were not all used; it cannot count as made")
            self.schedule.move_to(self._progress)
        if next(batches, _NOTHING) is not _NOTHING:
            raise RuntimeError(f"the loader has more batches than this sampler; {_MUST_BE_ITS_SAMPLER}")
        self.start_epoch(self._progress.epoch + 1)

    def _update(self, plan: Sequence[MicroBatchPlan], batches: Iterator[Batch]) -> Update[Batch]:
        planned = plan[0].update

        def load() -> Iterator[MicroBatch[Batch]]:
            for part in plan:
                batch = next(batches, _NOTHING)
                if batch is _NOTHING:
                    raise RuntimeError(f"the loader has fewer batches than this sampler; {_MUST_BE_ITS_SAMPLER}")
                yield MicroBatch(cast(Batch, batch), part.num_samples, part.weight, part.ends_update)
            self._progress = self._progress.after_update(planned.num_samples)  # the schedule follows when it is made

        return Update(
            self._progress.epoch, planned.batch_size, planned.num_samples, planned.learning_rate, len(plan), load
        )

    def start_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, from 1; `updates` does it by itself at the end of the one before."""
        require(_COUNT.allows(epoch), "epoch", epoch, _COUNT.text)
        self._progress = dataclasses.replace(self._progress, epoch=epoch, samples_in_epoch=0)
        self.schedule.move_to(self._progress)

    def count(self, update: PlannedUpdate) -> None:
        """Count an update of `plan` as made; for loops that do not get it from `updates`."""
        self._progress = self._progress.after_update(update.num_samples)
        self.schedule.move_to(self._progress)

    def plan(self) -> Iterator[MicroBatchPlan]:
        """Return this rank's micro-batches from the position to the end of the epoch, with their samples' indices."""
        return itertools.chain.from_iterable(self._plan_by_update(self._progress))

    def _plan_by_update(self, position: Progress) -> Iterator[list[MicroBatchPlan]]:
        from adabatch.data.order import epoch_order

        order = epoch_order(self.schedule.num_train_samples, self.seed, position.epoch)
        return (list(self._parts(update, order)) for update in self._planned_updates(position))

    def _planned_updates(self, position: Progress) -> Iterator[PlannedUpdate]:
        return self.schedule.plan_updates(position, self.partial_batch)

    def _parts(self, update: PlannedUpdate, order: torch.Tensor) -> Iterator[MicroBatchPlan]:
        split = split_update(update.num_samples, self.world_size, self.max_micro_batch_size)
        start = update.start + split.rank_start(self.rank)
        sizes = split.micro_batches[self.rank]
        for number, size in enumerate(sizes, 1):
            # A rank without a sample here repeats one, so that all ranks make equally many passes.
            indices = order[start : start + size] if size else order[update.start : update.start + 1]
            weight = self.world_size * size / update.num_samples
            yield MicroBatchPlan(update, indices.tolist(), size, weight, number == len(sizes))
            start += size

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each micro-batch from the position to the end of the epoch."""
        return (part.indices for part in self.plan())

    def __len__(self) -> int:
        """Return how many micro-batches the whole of this epoch has on a rank; after a resume, fewer are left."""
        splits = (
            split_update(update.num_samples, self.world_size, self.max_micro_batch_size)
            for update in self._planned_updates(Progress(epoch=self._progress.epoch))
        )
        return sum(split.accumulation_steps for split in splits)

    def facts(self) -> dict[str, Any]:
        """Return what determines the updates, as plain values; ranks and micro-batches may differ after a resume."""
        return {"seed": self.seed, "partial_batch": self.partial_batch, **self.schedule.facts()}

    def state_dict(self) -> dict[str, Any]:
        """Return facts and position as plain values, for a checkpoint; all ranks have the same position."""
        return {**self.facts(), "progress": dataclasses.asdict(self._progress)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the position of a saved state, and the schedule with it.

        Raises:
            ConfigError: if the state is that of another seed or schedule; the sentence names what differs.
        """
        check_same(self.facts(), state)
        if not isinstance(state.get("progress"), Mapping):
            raise ConfigError("the saved state has no progress; it must be what state_dict() returned.")
        self._progress = Progress(**state["progress"])
        self.schedule.move_to(self._progress)


def distributed_place() -> tuple[int, int]:
    """Return rank and world size of torch.distributed, without importing torch where nobody has."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()
