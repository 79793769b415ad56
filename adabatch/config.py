"""The dataclasses behind ``conf/``, the checks on their values, and a run's saved ``config.yaml``.

Values live in YAML; types, ranges and what a key means live here. Nothing in this module imports torch, so
that a thousand configs can be composed, checked and compared in seconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING

from adabatch.checks import require, require_choice
from adabatch.errors import ConfigError
from adabatch.schedules.config import (
    SCHEDULE_KINDS,
    RampScheduleConfig,
    ScheduleConfig,
    StepwiseScheduleConfig,
)

__all__ = [
    "CONF_DIR",
    "CheckpointConfig",
    "DatasetConfig",
    "HardwareConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "RampScheduleConfig",
    "ScheduleConfig",
    "StepwiseScheduleConfig",
    "TrackerConfig",
    "TrainConfig",
    "config_hash",
    "from_dict",
    "is_auto",
    "load_config",
    "save_config",
    "to_dict",
    "with_measured",
]

CONF_DIR = Path(__file__).resolve().parent.parent / "conf"


#: Modes of ``torch.compile`` besides its default one: CUDA graphs, and a search for the fastest kernels.
COMPILE_MODES = ("reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


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
            require(
                len(values) in (1, self.num_channels) and all(map(isfinite, values)),
                f"dataset.{key}",
                values,
                allowed,
            )
        require(all(value > 0 for value in self.std), "dataset.std", self.std, "a list of positive numbers")


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
        require(isfinite(rate) and rate > 0, "optimizer.learning_rate", rate, "a positive number")
        decay = self.weight_decay
        require(isfinite(decay) and decay >= 0, "optimizer.weight_decay", decay, "at least 0")
        for key in ("momentum", "beta1", "beta2"):
            value = getattr(self, key)
            require(0 <= value < 1, f"optimizer.{key}", value, "at least 0 and less than 1")
        require(self.epsilon > 0, "optimizer.epsilon", self.epsilon, "a positive number")
        if self.nesterov:
            require(self.momentum > 0, "optimizer.nesterov", True, "false where optimizer.momentum is 0")


@dataclass
class HardwareConfig:
    """Where and how a run computes. ``num_devices`` counts the ranks of one node; ``num_threads`` is per rank.

    ``precision`` is that of convolutions and matrix products: ``fp32`` is IEEE single precision on a GPU too, ``tf32``
    lets a GPU round their inputs, ``bf16`` is autocast. ``compile`` is false, true, a mode of ``torch.compile``, or
    ``auto`` (the fastest for the run, compiling included, by measurement, then recorded).
    """

    device: str = MISSING
    precision: str = "fp32"
    compile: Any = False
    channels_last: bool = True
    deterministic: bool = False
    num_threads: int | None = None
    num_nodes: int = 1
    num_devices: int = 1
    profile: bool = False

    def __post_init__(self) -> None:
        require_choice("hardware.device", self.device, ("cpu", "cuda"))
        require_choice("hardware.precision", self.precision, ("fp32", "tf32", "bf16", "fp64"))
        if self.precision == "tf32":
            require(self.device == "cuda", "hardware.precision", "tf32", "fp32, bf16 or fp64 on a CPU")
        is_compile = isinstance(self.compile, bool) or self.compile in ("auto", *COMPILE_MODES)
        allowed = f"false, true, auto, {' or '.join(COMPILE_MODES)}"
        require(is_compile, "hardware.compile", self.compile, allowed)
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
    network: NetworkConfig = MISSING
    dataset: DatasetConfig = MISSING
    schedule: ScheduleConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    hardware: HardwareConfig = MISSING
    tracker: TrackerConfig = MISSING
    checkpoint: CheckpointConfig = MISSING

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
            require(
                channels == 3,
                "network.name",
                self.network.name,
                f"one of ours where images have {channels} channel(s)",
            )


def is_auto(config: TrainConfig) -> bool:
    """Return whether a value of the config is still to be measured."""
    return "auto" in (config.max_micro_batch_size, config.hardware.compile)


def with_measured(config: TrainConfig, measured: TrainConfig) -> TrainConfig:
    """Return the config with each ``auto`` replaced by the value that another config has there."""
    if config.max_micro_batch_size == "auto":
        config = dataclasses.replace(config, max_micro_batch_size=measured.max_micro_batch_size)
    if config.hardware.compile == "auto":
        hardware = dataclasses.replace(config.hardware, compile=measured.hardware.compile)
        config = dataclasses.replace(config, hardware=hardware)
    return config


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
