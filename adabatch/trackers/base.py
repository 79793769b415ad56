"""The interface of trackers."""

from __future__ import annotations

from typing import Any


class Tracker:
    """Receives what happens in a run; this base class ignores it.

    A subclass overrides the methods that it needs. They are called in a thread of their own, one after another, so a
    slow one does not delay the training. After an exception the tracker is not called again, and the run goes on.
    """

    def start(self, epoch: int, updates: int) -> None:
        """Training starts or, after earlier calls by another process, resumes; called once, before the others.

        Args:
            epoch: the epoch that is trained next, from 1. Rows of it and of later epochs are void.
            updates: made so far. Decisions for later updates are void.
        """

    def decide(self, updates: int, samples: int, batch_size: int, learning_rate: float) -> None:
        """The schedule decided something else than before, and at the start of every process.

        Called whenever the batch size changes; for the learning rate alone, at most once a second.

        Args:
            updates: made before the first one that the decision is for.
            samples: used by those updates.
            batch_size: samples per update, over all devices.
        """

    def log(self, row: dict[str, Any]) -> None:
        """An epoch was finished.

        Args:
            row: of ``epochs.csv``, by column; a repeated epoch replaces the earlier one.
        """

    def finish(self, summary: dict[str, Any], exit_status: int) -> None:
        """The process ends; the run may resume later.

        Args:
            summary: what ``summary.json`` holds; ``state`` is ``done``, ``failed`` or ``preempted``.
            exit_status: of the process.
        """
