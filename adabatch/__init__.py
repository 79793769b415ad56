"""Trains one run: one network, one data set, one schedule of batch size and learning rate, one seed.

For plug-ins there are the decorators ``register_network`` and so on, and the base classes `Schedule`, with what it
needs, and `Tracker`. For a training loop of your own there are `BatchSchedule`, `GrowingBatchSampler`, `record` and the
`ConfigError` that they raise; see ``docs/own_loop.md``. They are imported on first use, so that ``import adabatch``
costs nothing.
"""

import importlib

__version__ = "0.1.0"

#: Where each public name is defined; ``__init__.pyi`` says the same to type checkers.
_EXPORTS = {
    "BatchSchedule": "adabatch.library.batch_schedule",
    "ConfigError": "adabatch.errors",
    "Decision": "adabatch.schedules.base",
    "GrowingBatchSampler": "adabatch.library.sampler",
    "Progress": "adabatch.schedules.progress",
    "Schedule": "adabatch.schedules.base",
    "Signals": "adabatch.schedules.base",
    "Tracker": "adabatch.trackers.base",
    **dict.fromkeys(
        (f"register_{kind}" for kind in ("dataset", "network", "optimizer", "schedule", "tracker")),
        "adabatch.plugins.names",
    ),
    "record": "adabatch.library.record",
}
__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
