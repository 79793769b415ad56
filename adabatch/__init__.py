"""Trains one run: one network, one data set, one schedule of batch size and learning rate, one seed.

The names below are for code outside of adabatch: plug-ins, and schedules in a loop of one's own. None imports torch.
"""

from adabatch.plugins import (
    register_dataset,
    register_network,
    register_optimizer,
    register_schedule,
    register_tracker,
)
from adabatch.schedules import Decision, Progress, Schedule, Signals

__version__ = "0.1.0"

__all__ = [
    "Decision",
    "Progress",
    "Schedule",
    "Signals",
    "register_dataset",
    "register_network",
    "register_optimizer",
    "register_schedule",
    "register_tracker",
]
