"""Which rank of a run this process is, according to torchrun or SLURM."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from adabatch.config import HardwareConfig
from adabatch.errors import ConfigError


@dataclass(frozen=True)
class RankPlace:
    """A process's position among the ranks, and how they connect.

    Attributes:
        gpu: index of its GPU among those visible to it.
        attempt: increases when torchrun restarts all ranks.
        store_is_served: whether torchrun's agent already serves the store on the master port.
    """

    rank: int
    gpu: int
    world_size: int
    master_address: str
    master_port: int
    attempt: str = "0"
    store_is_served: bool = False


def rank_place(config: HardwareConfig, environment: Mapping[str, str]) -> RankPlace | None:
    """Read this process's place from torchrun's or SLURM's variables; None if neither started ranks.

    Raises:
        ConfigError: if the number of started ranks differs from the config's.
    """
    place = None
    if "RANK" in environment and "WORLD_SIZE" in environment:
        place = RankPlace(
            int(environment["RANK"]),
            int(environment.get("LOCAL_RANK", "0")),
            int(environment["WORLD_SIZE"]),
            environment.get("MASTER_ADDR", "127.0.0.1"),
            int(environment.get("MASTER_PORT", "29500")),
            environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
            environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        )
    elif config.world_size > 1 and int(environment.get("SLURM_NTASKS", "1")) > 1:
        place = _slurm_place(environment)
    if place is not None and place.world_size != config.world_size:
        raise ConfigError(
            f"hardware.num_nodes x hardware.num_devices is {config.num_nodes} x {config.num_devices}; "
            f"it must be {place.world_size}, the number of ranks that were started."
        )
    return place


def _slurm_place(environment: Mapping[str, str]) -> RankPlace:
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_JOB_NODELIST", ""))
    answer = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True)
    job = int(environment["SLURM_JOB_ID"])
    return RankPlace(
        int(environment["SLURM_PROCID"]),
        0 if _has_own_gpu(environment) else int(environment["SLURM_LOCALID"]),
        int(environment["SLURM_NTASKS"]),
        answer.stdout.split()[0],
        int(environment.get("MASTER_PORT", 20000 + job % 20000)),
    )


def _has_own_gpu(environment: Mapping[str, str]) -> bool:
    """Return whether SLURM shows this task only one of several GPUs of its node."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    return visible is not None and "," not in visible and environment.get("SLURM_GPUS_ON_NODE") != "1"
