"""Schedules of batch size and learning rate; nothing here imports torch."""

from adabatch.schedules.base import Decision, Schedule, Signals
from adabatch.schedules.coupled import build_schedule, twin
from adabatch.schedules.plan import EpochPlan, PlannedUpdate, plan_updates, tabulate

__all__ = [
    "Decision",
    "EpochPlan",
    "PlannedUpdate",
    "Schedule",
    "Signals",
    "build_schedule",
    "plan_updates",
    "tabulate",
    "twin",
]
