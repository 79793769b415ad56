"""The kinds of schedules. To add one, put a file next to `stepwise` and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adabatch.schedules.base import ScheduleConfig
from adabatch.schedules.custom import CustomScheduleConfig
from adabatch.schedules.ramp import RampScheduleConfig
from adabatch.schedules.stepwise import StepwiseScheduleConfig

#: By ``schedule.kind``.
SCHEDULE_KINDS: dict[str, type[ScheduleConfig]] = {
    "stepwise": StepwiseScheduleConfig,
    "ramp": RampScheduleConfig,
    "custom": CustomScheduleConfig,
}


def label(values: Mapping[str, Any]) -> str:
    """Return a name for a schedule outside a sweep, from its values by key."""
    return SCHEDULE_KINDS.get(str(values.get("kind")), StepwiseScheduleConfig).label(values)


def changes_within_epoch(kind: object) -> bool:
    """Return whether a kind of schedule also changes within epochs; False for an unknown kind."""
    return kind in SCHEDULE_KINDS and SCHEDULE_KINDS[str(kind)].CHANGES_WITHIN_EPOCH
