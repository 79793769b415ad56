"""The states of a run, as used in JSON, frames, the dashboard, ``--retry`` and the summary."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The state of a run."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out-of-memory"
    NODE_FAILURE = "node-failure"
    LOST = "lost"
    MISSING = "missing"
    UNKNOWN = "unknown"

    @property
    def is_active(self) -> bool:
        """Whether the run is running or queued."""
        return self in (State.PENDING, State.RUNNING)

    @property
    def is_failure(self) -> bool:
        """Whether the run ended because of an error, its own or its environment's."""
        return self in (State.FAILED, State.TIMEOUT, State.NODE_FAILURE, State.OUT_OF_MEMORY, State.LOST)
