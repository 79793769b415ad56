"""Training progress, counted in samples seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training has come.

    Attributes:
        epoch: current epoch, 1-based.
        samples_in_epoch: samples used by updates in this epoch.
        samples: samples used by updates since the start.
        updates: optimizer steps since the start.
    """

    epoch: int = 1
    samples_in_epoch: int = 0
    samples: int = 0
    updates: int = 0

    def after_update(self, batch_size: int) -> Progress:
        """Return the progress after one more update of ``batch_size`` samples."""
        return Progress(self.epoch, self.samples_in_epoch + batch_size, self.samples + batch_size, self.updates + 1)

    def next_epoch(self) -> Progress:
        """Return the progress at the start of the next epoch."""
        return Progress(self.epoch + 1, 0, self.samples, self.updates)
