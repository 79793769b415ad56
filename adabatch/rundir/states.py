"""The states a run can be in: one vocabulary for JSON, frames, pages, ``--retry`` and the summary."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What became of a run."""

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
        """Whether somebody works on the run, or will without being asked."""
        return self in (State.PENDING, State.RUNNING)

    @property
    def is_failure(self) -> bool:
        """Whether the run ended by an error of its own or of its surroundings."""
        return self in (State.FAILED, State.TIMEOUT, State.NODE_FAILURE, State.OUT_OF_MEMORY, State.LOST)
