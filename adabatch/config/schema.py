"""The dataclasses behind ``conf/``: each key once, with its type, range, documentation and what it affects.

The values are in YAML. Nothing in this package imports torch, so a thousand configs can be composed, checked and
compared in seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from adabatch.config.devices import DEVICES, check_devices, nodes_for, ranks_for
from adabatch.data.config import DatasetConfig
from adabatch.fields import (
    BELOW_ONE,
    POSITIVE,
    Changes,
    JudgedBy,
    KeyGroup,
    Range,
    at_least,
    between,
    count,
    key,
    null_or,
    one_of,
    require,
    require_choice,
)
from adabatch.networks import check_network_name, network_names
from adabatch.plugins.config import PluginGroup, args_key, path_key
from adabatch.plugins.kinds import Kind
from adabatch.schedules import Schedule, ScheduleConfig
from adabatch.schedules.base import MOST_EPOCHS
from adabatch.schedules.coupled import check_every_epoch

#: The optimizers that are chosen by name.
OPTIMIZERS = ("sgd", "adamw")
#: The trackers that are chosen by name.
TRACKERS = ("none", "wandb", "tensorboard")
#: Modes of ``torch.compile`` besides its default one: with CUDA graphs, which are recorded as for
#: ``hardware.cuda_graphs=true``, and a search for the fastest kernels.
COMPILE_MODES = ("reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")

_MOST_RANKS = 16_384


def _is_count_or_auto(value: object) -> bool:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return value is None or value == "auto" or is_count


def _is_compile(value: object) -> bool:
    return isinstance(value, bool) or value in ("auto", *COMPILE_MODES)


@dataclass
class NetworkConfig(PluginGroup):
    """A network by name or import path; channels, classes and image size come from the data set."""

    PREFIX: ClassVar[str] = "network."
    KIND: ClassVar[Kind] = Kind.NETWORK

    name: str = key("", doc="the network; torchvision.NAME for a classification model of torchvision")
    path: str | None = path_key()
    args: dict[str, Any] = args_key()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is None:
            check_network_name(self.name)

    @classmethod
    def own_names(cls) -> Sequence[str]:
        return network_names()


@dataclass
class OptimizerConfig(PluginGroup):
    """``sgd`` with momentum, ``adamw``, or one by import path. The schedule multiplies the learning rate."""

    PREFIX: ClassVar[str] = "optimizer."
    KIND: ClassVar[Kind] = Kind.OPTIMIZER

    kind: str = key("", doc="the optimizer: sgd, adamw, or any name for one by path")
    path: str | None = path_key()
    args: dict[str, Any] = args_key()
    learning_rate: float = key(
        doc="learning rate for a batch of schedule.batch_size",
        allowed=POSITIVE,
        judged_by=JudgedBy.TRAJECTORY,
        shapes_micro_batch=False,
    )
    weight_decay: float = key(0.0, doc="weight decay", allowed=at_least(0), shapes_micro_batch=False)
    momentum: float = key(0.0, doc="momentum of sgd", allowed=BELOW_ONE)
    nesterov: bool = key(False, doc="Nesterov momentum, for sgd")
    beta1: float = key(0.9, doc="beta1 of adamw", allowed=BELOW_ONE, shapes_micro_batch=False)
    beta2: float = key(0.999, doc="beta2 of adamw", allowed=BELOW_ONE, shapes_micro_batch=False)
    epsilon: float = key(1e-8, doc="epsilon of adamw", allowed=POSITIVE, shapes_micro_batch=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is None:
            require_choice("optimizer.kind", self.kind, OPTIMIZERS)
        if self.nesterov:
            require(self.momentum > 0, "optimizer.nesterov", True, "false where optimizer.momentum is 0")

    @classmethod
    def own_names(cls) -> Sequence[str]:
        return OPTIMIZERS


@dataclass
class HardwareConfig(KeyGroup):
    """The hardware of a run and how it is used."""

    PREFIX: ClassVar[str] = "hardware."

    device: str = key(doc="the kind of device", allowed=one_of("cpu", "cuda"))
    precision: str = key(
        "fp32",
        doc="precision of convolutions and matrix products: tf32 rounds their inputs on a GPU, bf16 is autocast",
        allowed=one_of("fp32", "tf32", "bf16", "fp64"),
    )
    compile: Any = key(
        False,
        doc="torch.compile: on, off, one of its modes, or auto for the fastest as measured",
        allowed=Range(f"false, true, auto, {' or '.join(COMPILE_MODES)}", _is_compile),
        changes=Changes.TIME,
    )
    cuda_graphs: Any = key(
        "auto",
        doc="replay each micro-batch and update as one CUDA graph; auto: on one GPU, where the network allows it",
        allowed=Range("auto, true or false", lambda value: value == "auto" or isinstance(value, bool)),
        changes=Changes.TIME,
        hash_rule=3,
    )
    channels_last: bool = key(True, doc="store images in memory as (n, H, W, C)")
    deterministic: bool = key(False, doc="on a GPU: equal runs give equal weights, at some cost in speed")
    num_threads: int | None = key(
        None,
        doc="threads of one rank; null: the cores this process may use, shared by the node's ranks",
        allowed=null_or(count(1_024)),
        changes=Changes.TIME,
    )
    num_nodes: int = key(1, doc="number of nodes", allowed=count(10_000))
    num_devices: int = key(1, doc="ranks per node, one GPU each", allowed=count(1_024))
    devices: dict[int, int] | None = key(
        None,
        doc="how many of the ranks train, by the batch size from which on, such as {128: 1, 512: 4}; null: all of them",
        allowed=DEVICES,
        shapes_micro_batch=False,
        hash_rule=3,
    )
    profile: bool = key(
        False,
        doc="write a profiler trace of a few updates into the run directory",
        changes=Changes.TIME,
        shapes_micro_batch=False,
        unhashed_by=(1,),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision == "tf32":
            require(self.device == "cuda", "hardware.precision", "tf32", "fp32, bf16 or fp64 on a CPU")
        if self.cuda_graphs is True:
            require(self.device == "cuda", "hardware.cuda_graphs", True, "auto or false on a CPU")
        if self.compile == "reduce-overhead":
            require(
                self.cuda_graphs is not False,
                "hardware.cuda_graphs",
                False,
                "auto or true where hardware.compile is reduce-overhead",
            )
        most = _MOST_RANKS // self.num_devices
        allowed = f"at most {most:,} with hardware.num_devices={self.num_devices}: {_MOST_RANKS:,} ranks"
        require(self.num_nodes <= most, "hardware.num_nodes", self.num_nodes, allowed)
        if self.devices is not None:
            check_devices(self.devices, self.num_nodes, self.num_devices)

    @property
    def world_size(self) -> int:
        """Ranks over all nodes; the most that the run has, where ``devices`` lets their number grow with the batch."""
        return self.num_nodes * self.num_devices

    def ranks_for(self, batch_size: int) -> int:
        """Return how many ranks train a batch."""
        return ranks_for(self.devices, batch_size) if self.devices else self.world_size

    def with_ranks(self, num_ranks: int) -> HardwareConfig:
        """Return the same hardware with another number of ranks, throughout."""
        nodes, devices = nodes_for(num_ranks, self.num_devices)
        return dataclasses.replace(self, num_nodes=nodes, num_devices=devices, devices=None)


def _are_tags(tags: Sequence[object]) -> bool:
    return all(isinstance(tag, str) and 1 <= len(tag) <= 64 for tag in tags)


@dataclass
class TrackerConfig(PluginGroup):
    """A mirror of the run's numbers; the run directory stays authoritative."""

    PREFIX: ClassVar[str] = "tracker."
    KIND: ClassVar[Kind] = Kind.TRACKER

    kind: str = key(
        "none", doc="the tracker: none, wandb, tensorboard, or any name for one by path", changes=Changes.NOTHING
    )
    path: str | None = path_key(changes=Changes.NOTHING)
    args: dict[str, Any] = args_key(changes=Changes.NOTHING)
    mode: str = key(
        "offline",
        doc="wandb mode; the variable WANDB_MODE goes before it",
        allowed=one_of("online", "offline", "disabled"),
        changes=Changes.NOTHING,
    )
    project: str = key("adabatch", doc="wandb project", changes=Changes.NOTHING)
    entity: str | None = key(None, doc="wandb entity; null: the account's default", changes=Changes.NOTHING)
    tags: list[str] = key(
        [],
        doc="wandb tags",
        allowed=Range("a list of words of 1 to 64 characters", _are_tags),
        changes=Changes.NOTHING,
        hash_rule=3,
    )
    notes: str | None = key(None, doc="wandb notes", changes=Changes.NOTHING, hash_rule=3)
    run_name: str | None = key(
        None,
        doc="the run's name; null: data set and network, arm or schedule, seed",
        changes=Changes.NOTHING,
        hash_rule=3,
    )
    system_metrics: bool = key(
        False, doc="whether wandb logs the use of CPU, memory and GPU", changes=Changes.NOTHING, hash_rule=3
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is None:
            require_choice("tracker.kind", self.kind, TRACKERS)

    @classmethod
    def own_names(cls) -> Sequence[str]:
        return TRACKERS


@dataclass
class CheckpointConfig(KeyGroup):
    """How often a run saves its state, besides at its end and when a signal stops it."""

    PREFIX: ClassVar[str] = "checkpoint."

    every_epochs: int | None = key(
        None,
        doc="save after every n-th epoch",
        allowed=Range("null or more than 0", lambda value: value is None or value > 0),
        changes=Changes.NOTHING,
    )
    every_seconds: float | None = key(
        None,
        doc="seconds between saves; at most this much work is lost if the run is killed",
        allowed=null_or(POSITIVE),
        changes=Changes.NOTHING,
    )


@dataclass
class TrainConfig(KeyGroup):
    """One run."""

    seed: int = key(
        0,
        doc="seed of weights, sample order and augmentation",
        allowed=between(0, 2**31 - 1),
        judged_by=JudgedBy.PAIRING,
        shapes_micro_batch=False,
    )
    num_epochs: int = key(doc="number of epochs", allowed=count(MOST_EPOCHS), shapes_micro_batch=False)
    run_dir: str | None = key(
        None, doc="the run's folder; null: a readable one below runs/single", changes=Changes.NOTHING
    )
    max_micro_batch_size: Any = key(
        None,
        doc="cap on the samples of one forward and backward on one device; null: none; auto: measured",
        allowed=Range("null, auto or at least 1", _is_count_or_auto),
    )
    quick: bool = key(
        False,
        doc="cut the run down to a look of about a minute that proves nothing; --quick",
        shapes_micro_batch=False,
        hash_rule=3,
    )
    batch_norm: str = key(
        "micro",
        doc="what BatchNorm normalizes over: micro-batch, ghost batches within it, or all ranks",
        allowed=one_of("micro", "ghost", "sync"),
    )
    ghost_batch_size: int = key(32, doc="samples of a ghost batch", allowed=at_least(2, "samples"))
    metrics: dict[str, str] = key(
        {},
        doc="columns of your own: metrics.f1=my_metrics:F1, computed on the test set after each epoch",
        changes=Changes.NOTHING,
        hash_rule=3,
    )
    network: NetworkConfig = MISSING
    dataset: DatasetConfig = MISSING
    schedule: ScheduleConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    hardware: HardwareConfig = MISSING
    tracker: TrackerConfig = MISSING
    checkpoint: CheckpointConfig = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = self.dataset.sample_shape
        is_image = len(shape) == 3 and self.dataset.num_tokens is None
        require(
            is_image or self.network.path is not None,
            "network.name",
            self.network.name,
            f"a network of your own where samples have the shape {list(shape)}, which is not that of images",
        )

    def build_schedule(self, num_samples: int | None = None) -> Schedule:
        """Return the run's schedule.

        Args:
            num_samples: size of the training set; by default the declared one.

        Raises:
            ConfigError: if it cannot be computed in every epoch.
        """
        samples = self.dataset.num_train_samples if num_samples is None else num_samples
        schedule = self.schedule.build(self.optimizer.learning_rate, samples, self.num_epochs)
        check_every_epoch(schedule, self.num_epochs, samples)
        return schedule


#: The groups of keys by name, in their order; the schedule's class depends on its kind.
GROUPS: dict[str, type[KeyGroup]] = {
    "network": NetworkConfig,
    "dataset": DatasetConfig,
    "schedule": ScheduleConfig,
    "optimizer": OptimizerConfig,
    "hardware": HardwareConfig,
    "tracker": TrackerConfig,
    "checkpoint": CheckpointConfig,
}


def is_auto(config: TrainConfig) -> bool:
    """Return whether any value of the config is still ``auto``."""
    return "auto" in (config.max_micro_batch_size, config.hardware.compile)


def with_measured(config: TrainConfig, measured: TrainConfig) -> TrainConfig:
    """Return the config with each ``auto`` replaced by another config's value."""
    if config.max_micro_batch_size == "auto":
        config = dataclasses.replace(config, max_micro_batch_size=measured.max_micro_batch_size)
    if config.hardware.compile == "auto":
        graphs = config.hardware.cuda_graphs
        graphs = measured.hardware.cuda_graphs if graphs == "auto" else graphs  # it was chosen with the compiling
        hardware = dataclasses.replace(config.hardware, compile=measured.hardware.compile, cuda_graphs=graphs)
        config = dataclasses.replace(config, hardware=hardware)
    return config
