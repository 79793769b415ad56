"""The dataclasses behind ``conf/``, the checks on their values, and a run's saved ``config.yaml``.

Values live in YAML; types, ranges and what a key means live here. Nothing in this module imports torch, so
that a thousand configs can be composed, checked and compared in seconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING

from adabatch.errors import ConfigError

CONF_DIR = Path(__file__).resolve().parent.parent / "conf"


def require(condition: bool, key: str, value: object, allowed: str) -> None:
    """Raise ConfigError unless ``condition``; the sentence names the key, the value and what is allowed."""
    if not condition:
        shown = "null" if value is None else value
        raise ConfigError(f"{key} is {shown}; it must be {allowed}.")


def require_choice(key: str, value: object, choices: Sequence[str]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``."""
    require(value in choices, key, value, "one of " + ", ".join(choices))


def _finite(value: float) -> bool:
    return math.isfinite(value)


@dataclass
class NetworkConfig:
    """A network by name; channels, classes and image size come from the data set."""

    name: str = MISSING

    def __post_init__(self) -> None:
        from adabatch.networks import check_network_name

        check_network_name(self.name)


@dataclass
class DatasetConfig:
    """A data set by name. Its sizes are declared so that a plan needs no data; loading verifies them.

    ``partial_batch`` says what happens to an epoch's last, smaller batch: ``keep`` makes an update of it,
    ``drop`` leaves its samples out, and the ledger counts them.
    """

    name: str = MISSING
    root: str | None = None
    download: bool = False
    partial_batch: str = "keep"
    num_train_samples: int = MISSING
    num_test_samples: int = MISSING
    image_size: int = MISSING
    num_channels: int = MISSING
    num_classes: int = MISSING
    crop_padding: int = 0
    horizontal_flip: bool = False
    mean: list[float] = MISSING
    std: list[float] = MISSING
    num_workers: int = 0

    def __post_init__(self) -> None:
        from adabatch.data import check_dataset_name

        check_dataset_name(self.name)
        require_choice("dataset.partial_batch", self.partial_batch, ("keep", "drop"))
        for key in ("num_train_samples", "num_test_samples", "image_size", "num_channels"):
            value = getattr(self, key)
            require(value >= 1, f"dataset.{key}", value, "at least 1")
        require(self.num_classes >= 2, "dataset.num_classes", self.num_classes, "at least 2")
        require(self.crop_padding >= 0, "dataset.crop_padding", self.crop_padding, "at least 0 pixels")
        require(self.num_workers >= 0, "dataset.num_workers", self.num_workers, "at least 0")
        for key in ("mean", "std"):
            values = getattr(self, key)
            allowed = f"a list of 1 or dataset.num_channels={self.num_channels} finite numbers"
            require(len(values) in (1, self.num_channels) and all(map(_finite, values)), f"dataset.{key}", values, allowed)
        require(all(value > 0 for value in self.std), "dataset.std", self.std, "a list of positive numbers")


@dataclass
class ScheduleConfig:
    """What every schedule has: a first batch size, a cap, a warm-up and the coupling of learning rate and batch.

    ``learning_rate_exponent`` p couples them: a batch n times as large carries n**p times the learning rate
    (1 for SGD, 0.5 for Adam-like optimizers). With ``warmup_epochs`` > 0 the learning rate rises per update
    from its base value to base * batch_size / warmup_base_batch_size, and keeps that factor.
    """

    kind: str = MISSING
    batch_size: int = MISSING
    max_batch_size: int | None = None
    learning_rate_decay: float = 1.0
    learning_rate_exponent: float = 1.0
    warmup_epochs: int = 0
    warmup_base_batch_size: int = 128

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "schedule.batch_size", self.batch_size, "at least 1 sample")
        if self.max_batch_size is not None:
            allowed = f"null or at least schedule.batch_size={self.batch_size}"
            require(self.max_batch_size >= self.batch_size, "schedule.max_batch_size", self.max_batch_size, allowed)
        require(
            _finite(self.learning_rate_decay) and self.learning_rate_decay > 0,
            "schedule.learning_rate_decay",
            self.learning_rate_decay,
            "a positive number",
        )
        exponent = self.learning_rate_exponent
        require(0 <= exponent <= 1, "schedule.learning_rate_exponent", exponent, "between 0 and 1")
        require(self.warmup_epochs >= 0, "schedule.warmup_epochs", self.warmup_epochs, "at least 0")
        base = self.warmup_base_batch_size
        require(base >= 1, "schedule.warmup_base_batch_size", base, "at least 1 sample")


@dataclass
class StepwiseScheduleConfig(ScheduleConfig):
    """At each boundary between two epochs the batch is multiplied by ``batch_growth`` and the learning rate by
    ``learning_rate_decay``. Boundaries lie after every ``every_epochs`` epochs, or after those in ``milestones``."""

    kind: str = "stepwise"
    batch_growth: float = 1.0
    every_epochs: int | None = None
    milestones: list[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("schedule.kind", self.kind, ("stepwise",))
        growth = self.batch_growth
        require(_finite(growth) and growth > 0, "schedule.batch_growth", growth, "a positive number")
        if (self.every_epochs is None) == (self.milestones is None):
            raise ConfigError(
                f"schedule.every_epochs is {self.every_epochs} and schedule.milestones is {self.milestones}; "
                "exactly one of the two must be given, the other null."
            )
        if self.every_epochs is not None:
            require(self.every_epochs >= 1, "schedule.every_epochs", self.every_epochs, "at least 1")
        if self.milestones is not None:
            rising = all(a < b for a, b in zip(self.milestones, self.milestones[1:], strict=False))
            allowed = "a list of rising epoch numbers, each at least 1"
            require(rising and all(m >= 1 for m in self.milestones), "schedule.milestones", self.milestones, allowed)


@dataclass
class RampScheduleConfig(ScheduleConfig):
    """The batch moves from ``batch_size`` to ``final_batch_size`` with the samples seen, then stays.

    ``shape`` is linear, polynomial (of degree ``power``) or cosine. The way takes ``ramp_epochs`` epochs or
    ``ramp_samples`` samples; with neither, the whole run. ``learning_rate_decay`` is the factor of the learning
    rate over the whole way. ``hold_batch_size`` keeps the batch at its first value with the same learning rate
    per sample: the fixed-batch twin.
    """

    kind: str = "ramp"
    final_batch_size: int = MISSING
    shape: str = "linear"
    power: float = 1.0
    ramp_epochs: int | None = None
    ramp_samples: int | None = None
    hold_batch_size: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("schedule.kind", self.kind, ("ramp",))
        require_choice("schedule.shape", self.shape, ("linear", "polynomial", "cosine"))
        require(_finite(self.power) and self.power > 0, "schedule.power", self.power, "a positive number")
        require(self.final_batch_size >= 1, "schedule.final_batch_size", self.final_batch_size, "at least 1 sample")
        for key in ("ramp_epochs", "ramp_samples"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"schedule.{key}", value, "null or at least 1")
        if self.ramp_epochs is not None and self.ramp_samples is not None:
            raise ConfigError(
                f"schedule.ramp_epochs is {self.ramp_epochs} and schedule.ramp_samples is {self.ramp_samples}; "
                "at most one of the two may be given."
            )
        if self.final_batch_size == self.batch_size:
            allowed = "1 where schedule.final_batch_size equals schedule.batch_size"
            decay = self.learning_rate_decay
            require(decay == 1, "schedule.learning_rate_decay", decay, allowed)


@dataclass
class OptimizerConfig:
    """``sgd`` with momentum, or ``adamw``. The learning rate is the base that the schedule multiplies."""

    kind: str = MISSING
    learning_rate: float = MISSING
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        require_choice("optimizer.kind", self.kind, ("sgd", "adamw"))
        rate = self.learning_rate
        require(_finite(rate) and rate > 0, "optimizer.learning_rate", rate, "a positive number")
        decay = self.weight_decay
        require(_finite(decay) and decay >= 0, "optimizer.weight_decay", decay, "at least 0")
        for key in ("momentum", "beta1", "beta2"):
            value = getattr(self, key)
            require(0 <= value < 1, f"optimizer.{key}", value, "at least 0 and less than 1")
        require(self.epsilon > 0, "optimizer.epsilon", self.epsilon, "a positive number")
        if self.nesterov:
            require(self.momentum > 0, "optimizer.nesterov", True, "false where optimizer.momentum is 0")


@dataclass
class HardwareConfig:
    """Where and how a run computes. ``num_devices`` counts the ranks of one node; ``num_threads`` is per rank."""

    device: str = MISSING
    precision: str = "fp32"
    compile: bool = False
    channels_last: bool = True
    deterministic: bool = False
    num_threads: int | None = None
    num_nodes: int = 1
    num_devices: int = 1
    profile: bool = False

    def __post_init__(self) -> None:
        require_choice("hardware.device", self.device, ("cpu", "cuda"))
        require_choice("hardware.precision", self.precision, ("fp32", "bf16", "fp64"))
        threads = self.num_threads
        require(threads is None or threads >= 1, "hardware.num_threads", threads, "null or at least 1")
        require(self.num_nodes >= 1, "hardware.num_nodes", self.num_nodes, "at least 1")
        require(self.num_devices >= 1, "hardware.num_devices", self.num_devices, "at least 1")

    @property
    def world_size(self) -> int:
        """Ranks over all nodes."""
        return self.num_nodes * self.num_devices


@dataclass
class TrackerConfig:
    """A mirror of the run's numbers; the run directory stays the truth."""

    kind: str = "none"
    mode: str = "offline"
    project: str = "adabatch"
    entity: str | None = None

    def __post_init__(self) -> None:
        require_choice("tracker.kind", self.kind, ("none", "wandb"))
        require_choice("tracker.mode", self.mode, ("online", "offline"))


@dataclass
class CheckpointConfig:
    """How often a run saves its state besides its end and the signals that stop it."""

    every_epochs: int | None = None
    every_seconds: float | None = None

    def __post_init__(self) -> None:
        for key in ("every_epochs", "every_seconds"):
            value = getattr(self, key)
            require(value is None or value > 0, f"checkpoint.{key}", value, "null or more than 0")


@dataclass
class TrainConfig:
    """One run. ``max_micro_batch_size`` is a number, null (no cap) or ``auto`` (measured once, then recorded)."""

    seed: int = 0
    num_epochs: int = MISSING
    run_dir: str | None = None
    max_micro_batch_size: Any = None
    batch_norm: str = "micro"
    ghost_batch_size: int = 32
    network: NetworkConfig = field(default_factory=NetworkConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**31, "seed", self.seed, "between 0 and 2147483647")
        require(self.num_epochs >= 1, "num_epochs", self.num_epochs, "at least 1")
        cap = self.max_micro_batch_size
        is_count = isinstance(cap, int) and not isinstance(cap, bool) and cap >= 1
        require(cap is None or cap == "auto" or is_count, "max_micro_batch_size", cap, "null, auto or at least 1")
        require_choice("batch_norm", self.batch_norm, ("micro", "ghost", "sync"))
        require(self.ghost_batch_size >= 2, "ghost_batch_size", self.ghost_batch_size, "at least 2 samples")
        if self.network.name.startswith("torchvision."):
            channels = self.dataset.num_channels
            require(channels == 3, "network.name", self.network.name, f"one of ours where images have {channels} channel(s)")


SCHEDULE_KINDS: dict[str, type[ScheduleConfig]] = {"stepwise": StepwiseScheduleConfig, "ramp": RampScheduleConfig}

_GROUPS: dict[str, type[Any]] = {
    "network": NetworkConfig,
    "dataset": DatasetConfig,
    "optimizer": OptimizerConfig,
    "hardware": HardwareConfig,
    "tracker": TrackerConfig,
    "checkpoint": CheckpointConfig,
}


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Return the config as nested plain values, in the order of its fields."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """Build a config from what `to_dict` returned; the schedule's class follows from its ``kind``.

    Raises:
        ConfigError: for an unknown or missing key, or a value out of range.
    """
    values = dict(values)
    for group, kind in _GROUPS.items():
        values[group] = _build(kind, values.get(group), group)
    schedule = values.get("schedule")
    schedule_kind = schedule.get("kind") if isinstance(schedule, dict) else None
    require_choice("schedule.kind", schedule_kind, tuple(SCHEDULE_KINDS))
    values["schedule"] = _build(SCHEDULE_KINDS[str(schedule_kind)], schedule, "schedule")
    config: TrainConfig = _build(TrainConfig, values, "")
    return config


def _build(kind: type[Any], values: object, key: str) -> Any:
    where = key or "the config"
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is {values}; it must be a mapping of keys to values.")
    known = {entry.name for entry in dataclasses.fields(kind)}
    for name in values:
        require(name in known, f"{where}'s key", name, "one of " + ", ".join(sorted(known)))
    missing = sorted(known - values.keys())
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; a saved config names every key.")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where} holds a value of the wrong type: {error}.") from error


def save_config(config: TrainConfig, path: Path) -> None:
    """Write the resolved config as YAML, atomically."""
    from adabatch.run_dir import write_text_atomic

    write_text_atomic(path, yaml.safe_dump(to_dict(config), sort_keys=False))


def load_config(path: Path) -> TrainConfig:
    """Read a saved config; equal to the one that was saved.

    Raises:
        ConfigError: if the file is missing, is no YAML mapping, or fails a check.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; a run directory holds its config.yaml.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no mapping; it must be the config.yaml of a run.")
    return from_dict(values)


def config_hash(config: TrainConfig) -> str:
    """Return 12 hexadecimal digits that two configs share exactly if they must give the same result.

    Paths, the tracker, the cadence of checkpoints, the number of loader workers and the profiler are left out:
    none of them can change a number.
    """
    values = to_dict(config)
    for key in ("run_dir", "tracker", "checkpoint"):
        del values[key]
    for key in ("root", "download", "num_workers"):
        del values["dataset"][key]
    del values["hardware"]["profile"]
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
