"""The sample ledger: counts how often each training sample was used in an epoch."""

from __future__ import annotations

from typing import Any

import torch


class SampleLedger:
    """Counts uses per sample and epoch.

    Args:
        num_samples: size of the training set.
    """

    def __init__(self, num_samples: int) -> None:
        self._uses = torch.zeros(num_samples, dtype=torch.uint8)
        self.epochs: list[dict[str, int]] = []

    def count(self, indices: torch.Tensor) -> None:
        """Count one use of each of ``indices`` (1-D int64, on the CPU, each at most once)."""
        self._uses[indices] += 1

    @property
    def uses(self) -> torch.Tensor:
        """This epoch's uses so far, uint8 of shape (num_samples,), on this rank."""
        return self._uses

    def close_epoch(self, epoch: int, batch_size: int, uses: torch.Tensor) -> int:
        """Record the epoch from the ``uses`` summed over all ranks, start the next, and return the samples dropped."""
        dropped = int((uses == 0).sum())
        self.epochs.append(
            {
                "epoch": epoch,
                "batch_size": batch_size,
                "samples_used_once": int((uses == 1).sum()),
                "samples_used_repeatedly": int((uses > 1).sum()),
                "samples_dropped": dropped,
            }
        )
        self._uses.zero_()
        return dropped

    def by_stage(self) -> list[dict[str, int]]:
        """Return the counts summed over consecutive epochs with the same batch size."""
        stages: list[dict[str, int]] = []
        for row in self.epochs:
            if not stages or stages[-1]["batch_size"] != row["batch_size"]:
                counts = {key: 0 for key in row if key.startswith("samples_")}
                stages.append({"first_epoch": row["epoch"], "last_epoch": 0, "batch_size": row["batch_size"], **counts})
            stages[-1]["last_epoch"] = row["epoch"]
            for key in row:
                if key.startswith("samples_"):
                    stages[-1][key] += row[key]
        return stages

    def state_dict(self, uses: torch.Tensor) -> dict[str, Any]:
        """Return the finished epochs and this one's ``uses`` summed over all ranks."""
        return {"uses": uses, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any], is_main: bool) -> None:
        """Restore a saved state; the main rank takes the counts of all ranks."""
        self.epochs = state["epochs"]
        if is_main:
            self._uses.copy_(state["uses"])
