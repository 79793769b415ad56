"""Which rank of a run this process is, according to torchrun or SLURM."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from adabatch.config import HardwareConfig, require_known_ranks
from adabatch.config.values import shortened
from adabatch.errors import ConfigError

_MOST_DIGITS = 10
#: SLURM's numbers for the steps of batch scripts, interactive shells and the like begin here.
_FIRST_SPECIAL_STEP = 0xFFFFFFF0


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
        ConfigError: if the number of started ranks differs from the config's, or a variable is no number.
    """
    place = None
    if environment.get("RANK") and environment.get("WORLD_SIZE"):
        place = RankPlace(
            _number(environment, "RANK", 0),
            _number(environment, "LOCAL_RANK", 0, "0"),
            _number(environment, "WORLD_SIZE", 1),
            environment.get("MASTER_ADDR") or "127.0.0.1",
            _number(environment, "MASTER_PORT", 1, "29500"),
            environment.get("TORCHELASTIC_RESTART_COUNT") or "0",
            environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        )
    elif config.world_size > 1 and _num_tasks(environment) > 1:
        place = _slurm_place(environment)
    if place is not None:
        require_known_ranks(config, place.world_size)
    if place is not None and place.rank >= place.world_size:
        raise ConfigError(
            f"the variable RANK or SLURM_PROCID is {place.rank}; it must be less than {place.world_size}."
        )
    return place


def _number(environment: Mapping[str, str], name: str, least: int, default: str | None = None) -> int:
    """Return the whole number in a variable; one that is empty counts as not set.

    Raises:
        ConfigError: if it holds something else, or nothing and there is no default.
    """
    text = (environment.get(name) or default or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS) or int(text) < least:
        value = shortened(text) if text else "empty"
        raise ConfigError(
            f"the variable {name} is {value}; it must be a whole number of at least {least}, as torchrun and srun set"
            " it. Unset what is left of another call."
        )
    return int(text)


def _num_tasks(environment: Mapping[str, str]) -> int:
    """Return how many tasks of SLURM run this program: 1 in a batch script, in an allocation's shell and in a notebook.

    There SLURM_NTASKS is that of the allocation, whose other tasks nobody has started.
    """
    step = environment.get("SLURM_STEP_ID", "")
    if not (step.isascii() and step.isdigit() and int(step) < _FIRST_SPECIAL_STEP):
        return 1
    name = "SLURM_STEP_NUM_TASKS" if environment.get("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"
    return _number(environment, name, 1, "1")


def _slurm_place(environment: Mapping[str, str]) -> RankPlace:
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST") or ""
    try:
        answer = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True)
        first_node = answer.stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise ConfigError(
            f"SLURM's nodes are {shortened(nodes) or 'empty'}; scontrol must tell the first of them"
            f" ({shortened(error)})."
        ) from error
    job = _number(environment, "SLURM_JOB_ID", 0)
    return RankPlace(
        _number(environment, "SLURM_PROCID", 0),
        0 if _has_own_gpu(environment) else _number(environment, "SLURM_LOCALID", 0),
        _num_tasks(environment),
        first_node,
        _number(environment, "MASTER_PORT", 1, str(20000 + job % 20000)),
    )


def _has_own_gpu(environment: Mapping[str, str]) -> bool:
    """Return whether SLURM shows this task only one of several GPUs of its node."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    return visible is not None and "," not in visible and environment.get("SLURM_GPUS_ON_NODE") != "1"
