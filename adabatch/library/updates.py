"""What a loop gets from a `GrowingBatchSampler`: updates, each of one or several micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from adabatch.schedules.plan import PlannedUpdate

Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class MicroBatchPlan:
    """One micro-batch before its samples are loaded.

    Attributes:
        num_samples: its samples that count; 0 for a placeholder.
        weight: what its mean loss counts in the update; see `MicroBatch`.
        ends_update: whether it is the last of its update on this rank.
    """

    update: PlannedUpdate
    indices: list[int]
    num_samples: int
    weight: float
    ends_update: bool


@dataclass(frozen=True, slots=True)
class MicroBatch(Generic[Batch]):
    """One forward and backward pass on one rank.

    Attributes:
        batch: what the loader's ``collate_fn`` made of the samples.
        num_samples: how many samples it has that count.
        weight: the factor on its mean loss, such that the gradients of an update add up to the mean over the update's
            samples. With several ranks it includes their number, since DistributedDataParallel averages over the ranks.
            It is 0 for a placeholder: a sample that this rank repeats because others have one more micro-batch.
        ends_update: whether it is the last of its update: the one after which ranks exchange gradients.
    """

    batch: Batch
    num_samples: int
    weight: float
    ends_update: bool


@dataclass
class Update(Generic[Batch]):
    """One optimizer step: iterate over its micro-batches, then step. It can be iterated over once.

    Attributes:
        epoch: from 1.
        batch_size: by the schedule's decision, in samples over all ranks.
        num_samples: those that it has; fewer than ``batch_size`` only at the end of an epoch.
        learning_rate: by the schedule's decision; `BatchSchedule.apply` sets it.
    """

    epoch: int
    batch_size: int
    num_samples: int
    learning_rate: float
    num_micro_batches: int
    _load: Callable[[], Iterator[MicroBatch[Batch]]] = field(repr=False)
    _is_taken: bool = field(default=False, repr=False)

    def __iter__(self) -> Iterator[MicroBatch[Batch]]:
        if self._is_taken:
            raise RuntimeError("the micro-batches of an update can be iterated over once")
        self._is_taken = True
        return self._load()
