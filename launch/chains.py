"""Runs whose ranks grow with their batch, on SLURM: chains of jobs, one for each allocation, each after the one before.

A chain is submitted whole or not at all. A job begins once the one before has ended well (``afterok``, and for arrays
``aftercorr``: task by task); where that cannot be any more, SLURM removes the jobs behind. A job that is preempted or
meets its time limit is requeued as any other, and those behind it wait. What is left of a chain that broke is
submitted as a new one, which begins at the last checkpoint.
"""

from __future__ import annotations

import dataclasses

from adabatch.config import Allocation, TrainConfig, allocations
from adabatch.errors import ConfigError
from adabatch.rundir.columns import count_rows
from adabatch.rundir.files import RunDir
from launch.cluster_config import ClusterConfig
from launch.expand import Run
from launch.slurm_options import asks_for_gpus, parse_gpus


def parts_of(run: Run) -> tuple[Allocation, ...]:
    """Return the allocations of a run that are not finished, by the epochs in its directory; at least the last one."""
    found = allocations(run.config)
    if len(found) == 1:
        return tuple(found)
    epoch = count_rows(RunDir(run.run_dir).epochs) + 1
    return tuple(part for part in found if part.last_epoch >= epoch) or (found[-1],)


def ranks_of_job(config: TrainConfig, part: Allocation) -> int | None:
    """Return the number of ranks of a job in a chain; None for one that trains its runs whole."""
    return None if config.hardware.devices is None else part.num_ranks


def check_chain(cluster: ClusterConfig, config: TrainConfig) -> None:
    """Raise ConfigError if the cluster's settings do not go with jobs that differ in their devices."""
    if config.hardware.devices is None:
        return
    clashes = {
        "cluster.block": (cluster.block, "the arms of a block share one job, and its devices"),
        "cluster.max_concurrent_jobs": (
            cluster.max_concurrent_jobs,
            "a chain is an array for each number of ranks, which would each run that many",
        ),
    }
    for key, (value, reason) in clashes.items():
        if value is not None:
            raise ConfigError(f"{key} is {value}; it must be null where hardware.devices is given: {reason}.")
    if asks_for_gpus(cluster.sbatch_options):
        raise ConfigError(
            "cluster.sbatch asks for GPUs; where hardware.devices is given, it must be cluster.gpus_per_node, of which"
            " each job gets as many as its ranks need."
        )


def cluster_for(cluster: ClusterConfig, config: TrainConfig, part: Allocation) -> ClusterConfig:
    """Return the settings of one job of a chain: no more GPUs than ranks, and no wait for what cannot come."""
    if config.hardware.devices is None:
        return cluster
    gpus = cluster.gpus_per_node
    if gpus is not None:
        kind, number = parse_gpus(gpus)
        number = min(number, part.hardware.num_devices)
        gpus = str(number) if kind is None else f"{kind}:{number}"
    sbatch = {"kill_on_invalid_dep": "yes", **cluster.sbatch}
    if "kill-on-invalid-dep" in cluster.sbatch:
        del sbatch["kill_on_invalid_dep"]
    return dataclasses.replace(cluster, gpus_per_node=gpus, sbatch=sbatch)


def dependency_on(job_id: str, num_jobs: int) -> str:
    """Return, as sbatch spells it, that the jobs of an array wait for those of another one, each for its own."""
    return f"{'afterok' if num_jobs == 1 else 'aftercorr'}:{job_id}"
