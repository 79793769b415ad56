"""The user's own schedule, by import path or registered name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from adabatch.errors import ConfigError
from adabatch.fields import JudgedBy, one_of, require
from adabatch.plugins import Kind, call, load
from adabatch.plugins.config import PluginGroup, args_key, path_key
from adabatch.plugins.loading import translated
from adabatch.schedules.base import Decision, Schedule, ScheduleConfig, Signals, schedule_key
from adabatch.schedules.progress import Progress


@dataclass
class CustomScheduleConfig(PluginGroup, ScheduleConfig):
    """A class or function of the user's that returns a `Schedule`."""

    KIND: ClassVar[Kind] = Kind.SCHEDULE

    kind: str = schedule_key("custom", doc="your own schedule", allowed=one_of("custom"))
    name: str = schedule_key("", doc="a name for your own schedule", hash_rule=3)
    path: str | None = path_key(judged_by=JudgedBy.TRAJECTORY, shapes_micro_batch=False)
    args: dict[str, Any] = args_key(judged_by=JudgedBy.TRAJECTORY, shapes_micro_batch=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("learning_rate_decay", "warmup_epochs"):
            value, default = getattr(self, key), getattr(ScheduleConfig, key)
            require(value == default, f"schedule.{key}", value, f"{default:g}: your own schedule has its own arguments")

    def build(self, learning_rate: float, num_samples: int, num_epochs: int) -> Schedule:
        """Return the user's schedule; see `ScheduleConfig.build`.

        Raises:
            ConfigError: if it cannot be imported, is no schedule, or does not take its arguments.
        """
        plugin = load(Kind.SCHEDULE, str(self.path), Schedule)
        wanted: dict[str, Any] = {
            "batch_size": self.batch_size,
            "learning_rate": learning_rate,
            "num_samples": num_samples,
            "num_epochs": num_epochs,
        }
        if self.max_batch_size is not None:  # else the plug-in's own default holds
            wanted["max_batch_size"] = self.max_batch_size
        schedule = call(plugin, "schedule", self.args, wanted)
        if not isinstance(schedule, Schedule):
            raise ConfigError(
                f"schedule.path is {self.path}, which returned a {type(schedule).__name__}; "
                "it must return an adabatch.Schedule."
            )
        return CheckedSchedule(schedule, str(self.path), num_samples)

    @classmethod
    def label(cls, values: Mapping[str, Any]) -> str:
        return f"{values.get('name')}_{values.get('batch_size')}"


class CheckedSchedule(Schedule):
    """A schedule of the user's whose decisions are checked.

    Args:
        path: where it comes from, for messages.
        num_samples: size of the training set, which caps every batch.
    """

    def __init__(self, schedule: Schedule, path: str, num_samples: int) -> None:
        self._schedule = schedule
        self._path = path
        self._num_samples = num_samples

    @property
    def constant_within_epoch(self) -> bool:
        return self._schedule.constant_within_epoch

    def decide(self, progress: Progress, signals: Signals | None = None) -> Decision:
        with translated(f"schedule.path is {self._path}, whose decide"):
            # A plan has no signals; a training has none either in its first epoch, and passes an empty object.
            decision = self._schedule.decide(progress, Signals() if signals is None else signals)
        if not isinstance(decision, Decision):
            raise ConfigError(
                f"schedule.path is {self._path}, whose decide returned a {type(decision).__name__}; "
                "it must return an adabatch.Decision."
            )
        batch_size, learning_rate = decision.batch_size, decision.learning_rate
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            self._refuse("batch_size", batch_size, "a whole number of at least 1", progress)
        if not isinstance(learning_rate, int | float) or not (math.isfinite(learning_rate) and learning_rate >= 0):
            self._refuse("learning_rate", learning_rate, "a finite number of at least 0", progress)
        return Decision(min(batch_size, self._num_samples), float(learning_rate))

    def _refuse(self, name: str, value: object, allowed: str, progress: Progress) -> None:
        raise ConfigError(
            f"schedule.path is {self._path}, which decides {name}={value!r} in epoch {progress.epoch}; "
            f"it must be {allowed}."
        )

    def state_dict(self) -> dict[str, Any]:
        return self._schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._schedule.load_state_dict(state)
