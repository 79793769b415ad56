"""Clusters: the keys of their YAML files and what is allowed in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from adabatch.config.keys import suggestion
from adabatch.config.values import shortened
from adabatch.errors import ConfigError
from adabatch.fields import require, require_choice
from launch.slurm_options import OptionValue, check_srun_options, parse_gpus, sbatch_options
from launch.time_limit import limits_by_ranks

#: submitit's local executor starts a job six times and then silently drops it.
_MAX_LOCAL_RETRIES = 5
_ONLY_SLURM = (
    "partition",
    "account",
    "qos",
    "constraint",
    "gpus_per_node",
    "cpus_per_task",
    "memory_gb",
    "max_concurrent_jobs",
    "max_array_size",
    "sbatch",
    "srun",
    "retry",
)
_FACTOR = re.compile(r"(\d+(?:\.\d+)?)x?")


@dataclass
class ClusterConfig:
    """Where runs run. ``local`` is this machine; ``slurm`` accepts the keys that sbatch has.

    Attributes:
        jobs: local only: number of concurrent jobs.
        runs_per_job: runs that share one job's devices at the same time; their times are marked as such.
        block: ``seed``: the arms of one grid point and seed run one after another in one job, in their recorded order.
        max_retries: how often a job is requeued after a time limit or a preemption; at most 5 on a local machine.
        retry: by how much a resubmission raises a limit that a run met: ``{memory: 2x, time: 2x}``.
        time: time limit of a job, in SLURM's formats, such as ``1-12:00:00``; null: that of timeout_min. On SLURM
            it may be one by number of ranks: ``{1: 8:00:00, 4: 2:00:00}``.
        timeout_min: time limit of a job in minutes; null on a local machine: none.
        signal_delay_s: how long before the limit a job is signalled to save its state and requeue; less than the limit.
        max_concurrent_jobs: cap on this sweep's concurrent jobs; null: none.
        max_array_size: most jobs in one array; null: as many as the cluster allows.
        gpus_per_node: a number, or type and number such as ``a100:2``; null: one per rank and node where
            hardware.device is cuda, else none.
        cpus_per_task: cores of one rank; null: the cluster's default.
        memory_gb: memory of one node; null: the cluster's default.
        sbatch: other options of sbatch, such as ``{exclude: n3, mail_type: END}``.
        srun: other options of srun, such as ``[--container-image=IMAGE]``.
        setup: shell commands that a job runs before Python, such as ``module load cuda``; one that fails ends the job.
        python: the command that starts Python on the nodes; null: the submitting one.
    """

    kind: str = MISSING
    jobs: int = 1
    runs_per_job: int = 1
    block: str | None = None
    max_retries: int = 3
    retry: dict[str, Any] = field(default_factory=dict)
    time: Any = None
    timeout_min: int | None = None
    signal_delay_s: int = 120
    max_concurrent_jobs: int | None = None
    max_array_size: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus_per_node: str | None = None
    cpus_per_task: int | None = None
    memory_gb: float | None = None
    sbatch: dict[str, Any] = field(default_factory=dict)
    srun: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    python: str | None = None

    def __post_init__(self) -> None:
        require_choice("cluster.kind", self.kind, ("local", "slurm"))
        for key in ("jobs", "runs_per_job"):
            value = getattr(self, key)
            require(value >= 1, f"cluster.{key}", value, "at least 1")
        require(self.max_retries >= 0, "cluster.max_retries", self.max_retries, "at least 0")
        for key in ("timeout_min", "max_concurrent_jobs", "max_array_size", "cpus_per_task"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"cluster.{key}", value, "null or at least 1")
        require(
            self.memory_gb is None or self.memory_gb > 0, "cluster.memory_gb", self.memory_gb, "null or more than 0"
        )
        if self.gpus_per_node is not None:
            parse_gpus(self.gpus_per_node)
        for key in ("partition", "account", "qos", "constraint", "python"):
            self._check_word(key, getattr(self, key))
        for line in self.setup:
            require(
                "\n" not in line and line.strip() != "", "cluster.setup", self.setup, "a list of single shell lines"
            )
        self._check_block()
        self._check_kind()
        self._check_time_limit()
        _ = self.sbatch_options, self.memory_factor, self.time_factor
        check_srun_options(self.srun)

    @property
    def limit_minutes(self) -> int | None:
        """The time limit of a job in minutes, however it was spelled; None: none. Of several, the longest."""
        return max(self._limits.values(), default=None)

    def minutes_for(self, num_ranks: int) -> int | None:
        """Return the time limit of a job with so many ranks in minutes; None: none.

        Raises:
            ConfigError: if cluster.time has limits for other numbers of ranks only.
        """
        limits = self._limits
        if None in limits or not limits:
            return limits.get(None)
        if num_ranks not in limits:
            raise ConfigError(
                f"cluster.time has limits for {', '.join(map(str, limits))} ranks; it must have one for each number of "
                f"ranks, and a job has {num_ranks}."
            )
        return limits[num_ranks]

    @property
    def _limits(self) -> dict[int | None, int]:
        """The time limits by number of ranks, in minutes; that of all jobs by None; empty: none."""
        if self.time is not None:
            return limits_by_ranks(self.time)
        return {} if self.timeout_min is None else {None: self.timeout_min}

    @property
    def num_gpus(self) -> int | None:
        """The number in gpus_per_node."""
        return None if self.gpus_per_node is None else parse_gpus(self.gpus_per_node)[1]

    @property
    def sbatch_options(self) -> dict[str, OptionValue]:
        """The options of ``sbatch`` by sbatch's names."""
        return sbatch_options(self.sbatch, self.memory_gb is not None, self.gpus_per_node is not None)

    @property
    def memory_factor(self) -> float:
        """By how much memory grows when a run that ran out of it is submitted again."""
        return self._factor("memory")

    @property
    def time_factor(self) -> float:
        """By how much the time limit grows when a run that met it is submitted again."""
        return self._factor("time")

    def _factor(self, name: str) -> float:
        for key in self.retry:
            if key not in ("memory", "time"):
                known = ["memory", "time"]
                raise ConfigError(
                    f"cluster.retry.{key} is unknown; known are memory, time.{suggestion(str(key), known)}"
                )
        value = self.retry.get(name)
        if value is None:
            return 1.0
        match = _FACTOR.fullmatch(str(value))
        factor = float(match.group(1)) if match else 0.0
        require(1 <= factor <= 100, f"cluster.retry.{name}", value, "a factor such as 2x, between 1x and 100x")
        if name == "memory":
            text = "set where cluster.retry.memory is given, which multiplies it"
            require(self.memory_gb is not None, "cluster.memory_gb", None, text)
        return factor

    @staticmethod
    def _check_word(key: str, value: str | None) -> None:
        allowed = "null or one line of printable characters"
        require(
            value is None or (value.strip() == value != "" and value.isprintable()),
            f"cluster.{key}",
            repr(value),
            allowed,
        )

    def _check_block(self) -> None:
        if self.block is not None:
            require(self.block == "seed", "cluster.block", self.block, "null or seed")
            text = "1 where cluster.block is seed: the runs of a block run one after another"
            require(self.runs_per_job == 1, "cluster.runs_per_job", self.runs_per_job, text)

    def _check_time_limit(self) -> None:
        """Check that a job is signalled after its start and before its limit; else it is killed unsaved."""
        if self.time is not None and self.timeout_min is not None:
            raise ConfigError(
                f"cluster.time is {shortened(self.time)} and cluster.timeout_min is {self.timeout_min}; "
                "give one of the two."
            )
        if not self._limits:
            return
        minutes = min(self._limits.values())
        key = f"cluster.timeout_min={self.timeout_min}" if self.time is None else f"cluster.time={shortened(self.time)}"
        allowed = f"between 10 and less than {60 * minutes}, the seconds of {key}"
        require(10 <= self.signal_delay_s < 60 * minutes, "cluster.signal_delay_s", self.signal_delay_s, allowed)

    def _check_kind(self) -> None:
        if self.kind == "slurm":
            require(
                self.jobs == 1,
                "cluster.jobs",
                self.jobs,
                "1 on SLURM, where cluster.max_concurrent_jobs limits concurrent jobs",
            )
            is_limited = self.timeout_min is not None or self.time is not None
            require(
                is_limited, "cluster.timeout_min", None, "a number of minutes on SLURM, unless cluster.time is given"
            )
            return
        retries, allowed = self.max_retries, f"at most {_MAX_LOCAL_RETRIES} where cluster.kind is local"
        require(retries <= _MAX_LOCAL_RETRIES, "cluster.max_retries", retries, allowed)
        allowed = "one time limit where cluster.kind is local, whose jobs train with all numbers of ranks"
        require(not isinstance(self.time, dict), "cluster.time", shortened(self.time), allowed)
        for key in _ONLY_SLURM:
            value = getattr(self, key)
            require(value in (None, {}, []), f"cluster.{key}", value, "left out where cluster.kind is local")
