"""Schedules of batch size and learning rate; nothing here imports torch."""

from adabatch.schedules.base import Decision, Schedule, ScheduleConfig, Signals
from adabatch.schedules.kinds import SCHEDULE_KINDS
from adabatch.schedules.plan import EpochPlan, PlannedUpdate, listens_to_signals, plan_updates, tabulate
from adabatch.schedules.progress import Progress
from adabatch.schedules.ramp import RampScheduleConfig
from adabatch.schedules.stepwise import StepwiseScheduleConfig

__all__ = [
    "SCHEDULE_KINDS",
    "Decision",
    "EpochPlan",
    "PlannedUpdate",
    "Progress",
    "RampScheduleConfig",
    "Schedule",
    "ScheduleConfig",
    "Signals",
    "StepwiseScheduleConfig",
    "listens_to_signals",
    "plan_updates",
    "tabulate",
]
