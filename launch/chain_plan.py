"""What plan, lint and forecast say of runs whose ranks grow with their batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adabatch.config import TrainConfig, allocations
from adabatch.rundir.columns import read_epochs_csv
from adabatch.rundir.files import RunDir
from adabatch.schedules.trajectory import planned_trajectory
from adabatch.terminal import counted, rough_duration
from launch.cluster_config import ClusterConfig


@dataclass(frozen=True)
class ChainLink:
    """Epochs with one number of ranks; on SLURM one job.

    Attributes:
        num_nodes, num_devices: nodes, and the devices of each.
        limit_minutes: the job's time limit; None if it has none, or no cluster of SLURM was named.
    """

    first_epoch: int
    last_epoch: int
    num_nodes: int
    num_devices: int
    limit_minutes: int | None = None

    @property
    def text(self) -> str:
        """The link as people read it."""
        epochs = f"{self.first_epoch}-{self.last_epoch}" if self.last_epoch > self.first_epoch else self.first_epoch
        devices = counted(self.num_devices, "device")
        where = f"{self.num_nodes} nodes x {devices}" if self.num_nodes > 1 else devices
        limit = f" for at most {rough_duration(60 * self.limit_minutes)}" if self.limit_minutes else ""
        return f"epochs {epochs} on {where}{limit}"


def chain_of(config: TrainConfig, cluster: ClusterConfig | None = None) -> tuple[ChainLink, ...]:
    """Return the links of a run's chain; none if its ranks are the same throughout.

    Args:
        cluster: of SLURM, for the jobs' time limits.

    Raises:
        ConfigError: if the cluster has no time limit for one of the links, but for others.
    """
    parts = allocations(config)
    if len(parts) == 1:
        return ()
    return tuple(
        ChainLink(
            part.first_epoch,
            part.last_epoch,
            part.hardware.num_nodes,
            part.hardware.num_devices,
            cluster.minutes_for(part.num_ranks) if cluster else None,
        )
        for part in parts
    )


def chain_text(chain: Sequence[ChainLink]) -> str:
    """Return the chain as one sentence."""
    return f"A chain of {len(chain)} jobs: {', '.join(link.text for link in chain)}."


def mean_ranks(config: TrainConfig, run_dir: RunDir) -> float:
    """Return a finished run's ranks, on average over its training."""
    if config.hardware.devices is None:
        return config.hardware.world_size
    try:
        rows, _ = read_epochs_csv(run_dir.epochs)
    except (OSError, ValueError):
        rows = []
    seconds = sum(row.train_seconds + row.growth_seconds for row in rows)
    return sum(row.device_seconds or 0.0 for row in rows) / seconds if seconds else config.hardware.world_size


def shrinking_shares(config: TrainConfig) -> Iterator[tuple[int, int, int, int]]:
    """Yield where more ranks leave each fewer samples: the epoch, its ranks, the samples of each, and those before."""
    batches = planned_trajectory(config.build_schedule(), config.num_epochs).batch_sizes.tolist()
    parts = allocations(config)
    for before, part in itertools.pairwise(parts):
        least, most = batches[part.first_epoch - 1] / part.num_ranks, batches[before.last_epoch - 1] / before.num_ranks
        if least < most:
            yield part.first_epoch, part.num_ranks, int(least), int(most)
