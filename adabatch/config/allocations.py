"""Which epochs of a run are trained by how many ranks: a pure function of its config."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

from adabatch.config.schema import HardwareConfig, TrainConfig
from adabatch.errors import ConfigError
from adabatch.schedules.trajectory import planned_trajectory


@dataclass(frozen=True)
class Allocation:
    """Consecutive epochs with one number of ranks; on SLURM, one job of the run's chain.

    Attributes:
        first_epoch, last_epoch: from 1, both included.
        hardware: as if the run had these ranks throughout: ``num_nodes`` and ``num_devices`` are those of these epochs,
            and ``devices`` is null.
    """

    first_epoch: int
    last_epoch: int
    hardware: HardwareConfig

    @property
    def num_ranks(self) -> int:
        """Ranks over all nodes."""
        return self.hardware.world_size

    @property
    def num_epochs(self) -> int:
        """How many epochs it has."""
        return self.last_epoch - self.first_epoch + 1


def allocations(config: TrainConfig) -> list[Allocation]:
    """Return the allocations of a run, in their order; one for all epochs unless ``hardware.devices`` says more.

    Raises:
        ConfigError: if the schedule cannot be computed.
    """
    if not config.hardware.devices:
        return [Allocation(1, config.num_epochs, config.hardware)]
    batches = planned_trajectory(config.build_schedule(), config.num_epochs).batch_sizes.tolist()
    counts = [config.hardware.ranks_for(batch) for batch in batches]
    found, epoch = [], 1
    for count, alike in itertools.groupby(counts):
        last = epoch + len(list(alike)) - 1
        found.append(Allocation(epoch, last, config.hardware.with_ranks(count)))
        epoch = last + 1
    return found


def allocation_of(config: TrainConfig, epoch: int) -> Allocation:
    """Return the allocation that an epoch, from 1, belongs to; after the last epoch, the last one."""
    found = allocations(config)
    return next((one for one in found if epoch <= one.last_epoch), found[-1])


def during(config: TrainConfig, allocation: Allocation) -> TrainConfig:
    """Return a run's config as if its ranks were those of one allocation throughout."""
    return dataclasses.replace(config, hardware=allocation.hardware)


def require_known_ranks(hardware: HardwareConfig, num_ranks: int) -> None:
    """Raise ConfigError unless a run's config says that so many ranks train some part of it."""
    allowed = sorted(set(hardware.devices.values())) if hardware.devices else [hardware.world_size]
    if num_ranks in allowed:
        return
    shape = f"hardware.num_nodes x hardware.num_devices is {hardware.num_nodes} x {hardware.num_devices}"
    what = f"hardware.devices is {hardware.devices}" if hardware.devices else shape
    raise ConfigError(f"{what}; it must be {num_ranks}, the number of ranks that were started.")
