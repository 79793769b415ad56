"""The dataclasses behind ``conf/schedule``."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from omegaconf import MISSING

from adabatch.checks import require, require_choice
from adabatch.errors import ConfigError


@dataclass
class ScheduleConfig:
    """What every schedule has: a first batch size, a cap, a warm-up and the coupling of learning rate and batch.

    ``learning_rate_exponent`` p couples them: a batch n times as large carries n**p times the learning rate
    (1 for SGD, 0.5 for Adam-like optimizers). With ``warmup_epochs`` > 0 the learning rate rises per update
    from its base value to base * (batch_size / warmup_base_batch_size)**p, and keeps that factor.
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
            require(
                self.max_batch_size >= self.batch_size,
                "schedule.max_batch_size",
                self.max_batch_size,
                allowed,
            )
        require(
            isfinite(self.learning_rate_decay) and self.learning_rate_decay > 0,
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
        require(isfinite(growth) and growth > 0, "schedule.batch_growth", growth, "a positive number")
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
            require(
                rising and all(m >= 1 for m in self.milestones),
                "schedule.milestones",
                self.milestones,
                allowed,
            )


@dataclass
class RampScheduleConfig(ScheduleConfig):
    """The batch moves from ``batch_size`` to ``final_batch_size`` with the samples seen, then stays.

    ``shape`` is linear, polynomial (of degree ``power``) or cosine. The way takes ``ramp_epochs`` epochs or
    ``ramp_samples`` samples; with neither, the whole run. On the way the batch is rounded to a multiple of
    ``batch_size_multiple`` samples. ``learning_rate_decay`` is the factor of the learning rate over the whole way.
    ``hold_batch_size`` keeps the batch at its first value with the same learning rate per sample: the fixed-batch twin.
    """

    kind: str = "ramp"
    final_batch_size: int = MISSING
    shape: str = "linear"
    power: float = 1.0
    ramp_epochs: int | None = None
    ramp_samples: int | None = None
    batch_size_multiple: int = 1
    hold_batch_size: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("schedule.kind", self.kind, ("ramp",))
        require_choice("schedule.shape", self.shape, ("linear", "polynomial", "cosine"))
        require(isfinite(self.power) and self.power > 0, "schedule.power", self.power, "a positive number")
        require(
            self.final_batch_size >= 1,
            "schedule.final_batch_size",
            self.final_batch_size,
            "at least 1 sample",
        )
        for key in ("ramp_epochs", "ramp_samples"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"schedule.{key}", value, "null or at least 1")
        if self.ramp_epochs is not None and self.ramp_samples is not None:
            raise ConfigError(
                f"schedule.ramp_epochs is {self.ramp_epochs} and schedule.ramp_samples is {self.ramp_samples}; "
                "at most one of the two may be given."
            )
        multiple = self.batch_size_multiple
        ends = f"schedule.batch_size={self.batch_size} and schedule.final_batch_size={self.final_batch_size}"
        divides = multiple >= 1 and self.batch_size % multiple == self.final_batch_size % multiple == 0
        require(divides, "schedule.batch_size_multiple", multiple, f"at least 1 and divide {ends}")
        if self.final_batch_size == self.batch_size:
            allowed = "1 where schedule.final_batch_size equals schedule.batch_size"
            decay = self.learning_rate_decay
            require(decay == 1, "schedule.learning_rate_decay", decay, allowed)


SCHEDULE_KINDS: dict[str, type[ScheduleConfig]] = {"stepwise": StepwiseScheduleConfig, "ramp": RampScheduleConfig}
