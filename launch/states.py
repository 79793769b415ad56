"""The states a run can be in, and which of them a submission repeats."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from adabatch.checks import require


class State(StrEnum):
    """What became of a run, as ``status`` says it."""

    DONE = "done"
    RUNNING = "running"
    PENDING = "pending"
    FAILED = "failed"
    PREEMPTED = "preempted"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    NODE_FAILURE = "node failure"
    OUT_OF_MEMORY = "out of memory"
    LOST = "lost"
    MISSING = "missing"


#: Ended by an error, so that ``status`` exits with 1.
FAILURES = (State.FAILED, State.TIMED_OUT, State.NODE_FAILURE, State.OUT_OF_MEMORY, State.LOST)
#: Somebody is working on them, or nobody needs to any more.
SETTLED = (State.DONE, State.RUNNING, State.PENDING)
#: The words of ``--retry``.
RETRY_WORDS = {
    "failed": State.FAILED,
    "preempted": State.PREEMPTED,
    "timeout": State.TIMED_OUT,
    "cancelled": State.CANCELLED,
    "node-failure": State.NODE_FAILURE,
    "out-of-memory": State.OUT_OF_MEMORY,
    "lost": State.LOST,
    "missing": State.MISSING,
}


def states_to_submit(retry: Sequence[str] | None) -> set[State]:
    """Return the states whose runs a submission starts: ``--retry`` and missing ones; by default all unsettled.

    Raises:
        ConfigError: for a word that is none of `RETRY_WORDS`.
    """
    if retry is None:
        return set(State) - set(SETTLED)
    for word in retry:
        require(word in RETRY_WORDS, "--retry", word, "a list of " + ", ".join(RETRY_WORDS))
    return {State.MISSING, *(RETRY_WORDS[word] for word in retry)}
