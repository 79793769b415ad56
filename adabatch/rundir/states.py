"""The states of a run, as used in JSON, frames, the dashboard, ``--retry`` and the summary."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from adabatch.errors import EXIT_DONE, EXIT_FAILED, EXIT_INCOMPLETE


class State(StrEnum):
    """The state of a run."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    SEGMENT_END = "segment-end"
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
    def may_change(self) -> bool:
        """Whether the state can become another one without anybody's doing: also where the batch system is silent."""
        return self.is_active or self is State.UNKNOWN

    @property
    def is_failure(self) -> bool:
        """Whether the run ended because of an error, its own or its environment's."""
        return self in (State.FAILED, State.TIMEOUT, State.NODE_FAILURE, State.OUT_OF_MEMORY, State.LOST)


#: The states whose runs a submission may start, as given to ``--retry``. A run in state unknown may be running.
RETRY_STATES = tuple(state for state in State if state not in (State.DONE, State.PENDING, State.RUNNING, State.UNKNOWN))


def exit_status(states: Iterable[State]) -> int:
    """Return the exit status of a command that tells how runs stand: all done, some failed, or incomplete."""
    found = set(states)
    if any(state.is_failure for state in found):
        return EXIT_FAILED
    return EXIT_DONE if found <= {State.DONE} else EXIT_INCOMPLETE
