"""The batch script of a job array, as submitit writes it from a cluster's settings."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

from adabatch.config import TrainConfig, allocations
from adabatch.errors import ConfigError
from adabatch.files import SOURCE_DIR
from adabatch.processes.children import safe_python
from launch.chains import check_chain
from launch.cluster_config import ClusterConfig
from launch.setup_guard import guarded
from launch.slurm_options import asks_for_gpus, gpus_of_node

_UNLIMITED = 100_000


@dataclass(frozen=True, order=True)
class Limits:
    """What a job may use; a resubmission may raise it.

    Attributes:
        minutes: its time limit.
        memory_gb: of one node; None: the cluster's default.
    """

    minutes: int
    memory_gb: float | None

    @staticmethod
    def of(cluster: ClusterConfig, num_ranks: int | None = None) -> Limits:
        """Return the limits that a cluster's settings give a job with so many ranks; by default the longest time.

        Raises:
            ConfigError: if the cluster has no time limit for them, but for others.
        """
        minutes = cluster.limit_minutes if num_ranks is None else cluster.minutes_for(num_ranks)
        return Limits(minutes or 0, cluster.memory_gb)


def check_shape(cluster: ClusterConfig, config: TrainConfig) -> None:
    """Raise ConfigError if a run's ranks do not fit the cluster's settings."""
    check_chain(cluster, config)
    for part in allocations(config):
        cluster.minutes_for(part.num_ranks)
    if cluster.runs_per_job > 1 and config.hardware.world_size > 1:
        raise ConfigError(f"cluster.runs_per_job is {cluster.runs_per_job}; it must be 1 for runs with several ranks.")
    gpus = cluster.num_gpus
    if gpus and cluster.runs_per_job > 1 and cluster.runs_per_job % gpus:
        raise ConfigError(
            f"cluster.runs_per_job is {cluster.runs_per_job}; it must be 1 or a multiple of "
            f"cluster.gpus_per_node={cluster.gpus_per_node}, so that all runs share the GPUs evenly."
        )
    asked = f"gpus_per_node is {cluster.gpus_per_node}"
    if gpus is None:
        gpus, asked = gpus_of_node(cluster.sbatch_options), f"sbatch.gres is {cluster.sbatch_options.get('gres')}"
    if config.hardware.device == "cuda" and gpus is not None and gpus < config.hardware.num_devices:
        raise ConfigError(f"cluster.{asked}; it must be at least hardware.num_devices={config.hardware.num_devices}.")


def executor_of(
    cluster: ClusterConfig,
    config: TrainConfig,
    logs: Path,
    name: str,
    *,
    limits: Limits | None = None,
    throttle: int | None = None,
    dependency: str | None = None,
    code: Path = SOURCE_DIR,
) -> submitit.SlurmExecutor:
    """Return submitit's executor for jobs of a config's shape.

    Args:
        name: of the jobs.
        limits: None: those of the cluster's settings, the longest time.
        throttle: most concurrent jobs of one array; None: no limit.
        dependency: what the jobs wait for, as sbatch spells it, besides the one in ``cluster.sbatch``.
        code: the folder from which jobs import adabatch.
    """
    hardware = config.hardware
    limits = limits or Limits.of(cluster)
    options = cluster.sbatch_options
    given_dependency = options.pop("dependency", None)
    parameters: dict[str, Any] = {
        "job_name": name,
        "time": limits.minutes,
        "nodes": hardware.num_nodes,
        "ntasks_per_node": hardware.num_devices,
        "cpus_per_task": cluster.cpus_per_task,
        "gpus_per_node": _gpus(cluster, config),
        "mem": None if limits.memory_gb is None else f"{round(1024 * limits.memory_gb)}M",
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "dependency": ",".join(str(part) for part in (given_dependency, dependency) if part) or None,
        "signal_delay_s": cluster.signal_delay_s,
        "array_parallelism": throttle or _UNLIMITED,
        "setup": [
            *guarded(cluster.setup),
            f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}}",
        ],
        "srun_args": _srun_arguments(cluster),
        "additional_parameters": {"requeue": True, **options},
    }
    # The jobs count their retries themselves: submitit does not count preemptions.
    executor = submitit.SlurmExecutor(folder=logs, max_num_timeout=10**6, python=safe_python(cluster.python))
    given = {key: value for key, value in parameters.items() if value is not None}
    executor.update_parameters(**given, wckey=None)  # submitit's own default is a key that many sites do not know
    return executor


def _gpus(cluster: ClusterConfig, config: TrainConfig) -> int | str | None:
    if cluster.gpus_per_node is not None:
        return cluster.gpus_per_node if cluster.num_gpus else None
    wanted = config.hardware.device == "cuda" and not asks_for_gpus(cluster.sbatch_options)
    return config.hardware.num_devices if wanted else None


def _srun_arguments(cluster: ClusterConfig) -> list[str]:
    # Since SLURM 22.05, srun does not inherit the job's cpus-per-task.
    cores = [f"--cpus-per-task={cluster.cpus_per_task}"] if cluster.cpus_per_task else []
    return ["--kill-on-bad-exit=1", *cores, *cluster.srun]


def script_text(executor: submitit.SlurmExecutor, num_jobs: int) -> str:
    """Return the batch script of an array as it would be submitted."""
    parameters = dict(executor.parameters)
    if num_jobs > 1:
        parameters["map_count"] = num_jobs
    copy = submitit.SlurmExecutor(executor.folder, executor.max_num_timeout, python=executor.python)
    copy.parameters.update(parameters)
    return copy._make_submission_file_text(copy._submitit_command_str, "")
