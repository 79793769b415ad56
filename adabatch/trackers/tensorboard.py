"""TensorBoard: event files in the run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adabatch.trackers.base import Tracker

#: A killed process loses the scalars of at most this time.
_FLUSH_SECONDS = 10


class TensorBoardTracker(Tracker):
    """Writes scalars: the columns of ``epochs.csv`` by epoch, batch size and learning rate by updates.

    They are in two folders, since a resume voids whatever was written from some step on in a folder, and the two count
    their steps differently.

    Args:
        folder: ``tensorboard`` in the run directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_epoch: Any = None
        self._by_update: Any = None

    def start(self, epoch: int, updates: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        def writer(name: str, purge_step: int) -> Any:
            return SummaryWriter(str(self._folder / name), purge_step=purge_step, flush_secs=_FLUSH_SECONDS)

        self._by_epoch = writer("by_epoch", epoch)
        self._by_update = writer("by_update", updates)

    def decide(self, updates: int, samples: int, batch_size: int, learning_rate: float) -> None:
        self._by_update.add_scalar("batch_size", batch_size, updates)
        self._by_update.add_scalar("learning_rate", learning_rate, updates)

    def log(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name != "epoch" and value is not None:
                self._by_epoch.add_scalar(name, value, row["epoch"])

    def finish(self, summary: dict[str, Any], exit_status: int) -> None:
        for writer in (self._by_epoch, self._by_update):
            if writer is not None:  # else the set-up failed before the start
                writer.close()
