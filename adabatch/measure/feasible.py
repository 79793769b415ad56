"""What is known before a run starts of batches that cannot be computed, or that are not what the config says.

Lint and the trainer ask here, and so say the same sentences. Counts without sense are refused by the ranges of their
keys, a learning rate that overflows by `adabatch.schedules.coupled`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

from adabatch.config import TrainConfig
from adabatch.errors import ConfigError
from adabatch.measure.doubt import Doubt
from adabatch.measure.feasible_devices import device_doubts
from adabatch.schedules import Progress, Schedule, plan_updates
from adabatch.schedules.batching import split_update
from adabatch.schedules.coupled import CoupledSchedule
from adabatch.terminal import counted

#: What torch's BatchNorm says of a single value in each channel.
_ONE_VALUE = "more than 1 value per channel"


def doubts(config: TrainConfig) -> Iterator[Doubt]:
    """Yield what speaks against starting a run; a cap of micro-batches that is still ``auto`` counts as none.

    Raises:
        ConfigError: if the schedule cannot be computed, or the network not be built.
    """
    yield from device_doubts(config)
    warmup = config.schedule.warmup_epochs
    if warmup > config.num_epochs:
        yield Doubt(
            "warmup-too-long",
            False,
            f"schedule.warmup_epochs is {warmup}, but the training has {counted(config.num_epochs, 'epoch')}, so that"
            " the learning rate never reaches its full value.",
            f"Set schedule.warmup_epochs to at most {config.num_epochs}.",
        )
    sizes = _micro_batches(_Planned.of(config))
    if config.batch_norm == "ghost" and sizes and max(sizes) < config.ghost_batch_size:
        yield Doubt(
            "ghost-batch-too-large",
            False,
            f"ghost_batch_size is {config.ghost_batch_size}, but the largest micro-batch has"
            f" {counted(max(sizes), 'sample')}, so that no micro-batch is divided.",
            f"Set ghost_batch_size to less than {max(sizes)}, or batch_norm=micro.",
        )
    # With hardware.devices, some epoch may have one rank.
    several = config.hardware.world_size > 1 and config.hardware.devices is None
    is_synchronized = config.batch_norm == "sync" and several
    if 1 in sizes and not is_synchronized and not _takes_one_sample(_Planned.with_network(config)):
        epoch, update = sizes[1]
        yield Doubt(
            "single-sample-batch",
            True,
            f"epoch {epoch} has an update of {counted(update, 'sample')}, of which a micro-batch gets 1, and BatchNorm"
            f" of {config.network.name} cannot normalize the single value that each channel then has.",
            "Set dataset.partial_batch=drop, or choose schedule.batch_size, max_micro_batch_size and the ranks so that"
            " every micro-batch has at least 2 samples.",
        )
    ghost = config.ghost_batch_size
    ends = [size for size in sizes if config.batch_norm == "ghost" and size > ghost and size % ghost == 1]
    if ends and not _takes_one_sample(_Planned.with_network(config)):
        yield Doubt(
            "single-sample-batch",
            False,
            f"micro-batches of {ends[0]:,} samples end with a ghost batch of 1 (ghost_batch_size={ghost}), and"
            f" BatchNorm of {config.network.name} makes nothing of the single value that each channel then has.",
            "Choose ghost_batch_size and the batch sizes so that no ghost batch has 1 sample.",
        )


def refuse_uncomputable(config: TrainConfig) -> list[str]:
    """Return what a run should warn of.

    Raises:
        ConfigError: if the run would fail.
    """
    found = list(doubts(config))
    for doubt in found:
        if doubt.stops:
            raise ConfigError(f"{doubt.sentence} {doubt.remedy}")
    return [f"{doubt.sentence} {doubt.remedy}" for doubt in found]


@dataclass(frozen=True)
class _Planned:
    """A config as far as ``key`` tells it from others."""

    key: str
    config: TrainConfig = field(compare=False)

    @classmethod
    def of(cls, config: TrainConfig) -> _Planned:
        """Return a config by what its micro-batches follow from."""
        data, ranks = config.dataset, (config.hardware.world_size, config.hardware.devices)
        samples = (data.num_train_samples, data.partial_batch, config.num_epochs)
        return cls(repr((config.schedule, samples, ranks, config.max_micro_batch_size)), config)

    @classmethod
    def with_network(cls, config: TrainConfig) -> _Planned:
        """Return a config by what its network follows from."""
        data = config.dataset
        return cls(repr((config.network, data.sample_shape, data.num_classes, data.num_tokens)), config)


@functools.lru_cache(maxsize=1024)
def _micro_batches(planned: _Planned) -> dict[int, tuple[int, int]]:
    """Return the sizes of all micro-batches, on any rank, with the epoch and the update in which each comes first.

    Of a schedule of the user's own, nothing is known before the run.
    """
    found: dict[int, tuple[int, int]] = {}
    schedule = planned.config.build_schedule()
    if isinstance(schedule, CoupledSchedule):
        for place, sizes in _splits(planned.config, schedule):
            for size in sizes:
                found.setdefault(size, place)
    return found


def _splits(config: TrainConfig, schedule: Schedule) -> Iterator[tuple[tuple[int, int], frozenset[int]]]:
    """Yield epoch and samples of every kind of update, and the sizes of its micro-batches."""
    cap = config.max_micro_batch_size
    known: set[tuple[int, int]] = set()
    for epoch in range(1, config.num_epochs + 1):
        num_ranks = config.hardware.ranks_for(schedule.decide(Progress(epoch=epoch)).batch_size)
        for num_samples in _updates(config, schedule, epoch):
            if (num_samples, num_ranks) not in known:
                known.add((num_samples, num_ranks))
                split = split_update(num_samples, num_ranks, cap if isinstance(cap, int) else None)
                sizes = frozenset(size for rank in split.micro_batches for size in rank)
                yield (epoch, num_samples), sizes - {0}


def _updates(config: TrainConfig, schedule: Schedule, epoch: int) -> Iterator[int]:
    """Yield the samples of an epoch's updates, equal ones once where the batch is constant."""
    samples, partial = config.dataset.num_train_samples, config.dataset.partial_batch
    start = Progress(epoch=epoch)
    if not schedule.constant_within_epoch:
        yield from (update.num_samples for update in plan_updates(schedule, start, samples, partial))
        return
    batch_size = schedule.decide(start).batch_size
    if batch_size <= samples:
        yield batch_size
    if samples % batch_size and partial == "keep":
        yield samples % batch_size


@functools.lru_cache(maxsize=128)
def _takes_one_sample(planned: _Planned) -> bool:
    """Try a network on one sample, as in training; what it says besides is left to the run."""
    import torch

    from adabatch.training.engine import build_network_of

    data = planned.config.dataset
    dtype = torch.float32 if data.num_tokens is None else torch.int64
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        module = build_network_of(planned.config).train()
        try:
            module(torch.zeros((1, *data.sample_shape), dtype=dtype))
        except ValueError as error:
            return _ONE_VALUE not in str(error)
        except Exception:
            return True
    return True
