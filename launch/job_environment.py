"""Which variables of the submitting shell a job must not inherit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_OF_AN_OUTER_JOB = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_")
#: They name the cluster, not the job.
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS")
_DEVICES_OF_AN_OUTER_JOB = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
#: A job is never a rank of the program that submits it.
_OF_A_RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def left_out(environment: Mapping[str, str]) -> list[str]:
    """Return the variables that describe the shell's own job or rank, and would describe a new job wrongly.

    Outside an allocation SBATCH_* and SLURM_* are the user's own defaults, and are kept.
    """
    is_within_job = "SLURM_JOB_ID" in environment or "SLURM_JOBID" in environment
    names = [name for name in environment if name in _OF_A_RANK]
    if is_within_job:
        names += [name for name in environment if name.startswith(_OF_AN_OUTER_JOB) and name not in _KEPT]
        names += [name for name in environment if name in _DEVICES_OF_AN_OUTER_JOB]
    return names


@contextmanager
def own_environment() -> Iterator[None]:
    """Within the block, this process's environment lacks what a new job must not inherit."""
    removed = {name: os.environ.pop(name) for name in left_out(os.environ)}
    try:
        yield
    finally:
        os.environ.update(removed)
