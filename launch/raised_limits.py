"""Raises the limits of a job whose run met them before, as ``cluster.retry`` says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from adabatch.rundir.states import State
from launch.cluster_config import ClusterConfig
from launch.slurm_script import Limits
from launch.status import RunStatus

#: The failure of a trainer whose device, not its host, ran out of memory.
_OF_DEVICE = "OutOfMemory"


def raised(
    runs: Sequence[tuple[Mapping[str, Any], RunStatus | None]], cluster: ClusterConfig, num_ranks: int | None = None
) -> Limits:
    """Return what a job may use: the most that one of its runs needs.

    A run that met a limit gets a multiple of what it had; what was raised before stays raised.

    Args:
        runs: what the last request for each run, with as many ranks, asked for (empty: none), and the run's state;
            None in place of the state for a job that comes later in its chain.
        num_ranks: of the job; None: any.
    """
    return max(
        (_raised(facts, status, cluster, Limits.of(cluster, num_ranks)) for facts, status in runs),
        key=lambda limits: (limits.minutes, limits.memory_gb or 0),
    )


def _raised(facts: Mapping[str, Any], status: RunStatus | None, cluster: ClusterConfig, own: Limits) -> Limits:
    minutes, memory = own.minutes, own.memory_gb
    state, cause = (status.state, status.cause) if status else (None, None)
    if cluster.time_factor > 1 and facts.get("minutes"):
        had = facts["minutes"]
        met = state is State.TIMEOUT
        minutes = max(minutes, math.ceil(had * cluster.time_factor) if met else had)
    if cluster.memory_factor > 1 and memory is not None and facts.get("memory_gb"):
        had = facts["memory_gb"]
        met = state is State.OUT_OF_MEMORY and not (cause or "").startswith(_OF_DEVICE)
        memory = max(memory, had * cluster.memory_factor if met else had)
    return Limits(minutes, memory)
