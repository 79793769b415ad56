"""The user's own networks, data sets, optimizers, schedules and trackers: found by import path or by registered name.

Importing this package imports none of them, and not torch. Only the trainer and launch import a plug-in, and only one
that the command line or the user's own YAML names; a run directory brings no code with it.
"""

from adabatch.plugins.arguments import call
from adabatch.plugins.code import OwnCode
from adabatch.plugins.kinds import Kind
from adabatch.plugins.loading import OwnCodeError, import_object, load, own_code
from adabatch.plugins.names import (
    register_dataset,
    register_network,
    register_optimizer,
    register_schedule,
    register_tracker,
    registered_names,
    registered_path,
)

__all__ = [
    "Kind",
    "OwnCode",
    "OwnCodeError",
    "call",
    "import_object",
    "load",
    "own_code",
    "register_dataset",
    "register_network",
    "register_optimizer",
    "register_schedule",
    "register_tracker",
    "registered_names",
    "registered_path",
]
