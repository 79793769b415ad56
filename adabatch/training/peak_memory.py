"""The most memory of its GPU that a rank held at once, epoch by epoch."""

from __future__ import annotations

import torch

from adabatch.processes.ranks import Ranks


class PeakMemory:
    """Tells how much memory torch has taken from this rank's GPU at most; on a CPU nothing is counted.

    What tensors occupy ("allocated") would be too little: what a replayed CUDA graph computes lies in memory that is
    taken from the GPU ("reserved"), but belongs to no tensor. Torch counts both anyway, and nothing waits for the GPU.

    Args:
        device: of this rank.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # An allocator of the user's own counts nothing.
        self._is_counted = device.type == "cuda" and torch.cuda.get_allocator_backend() != "pluggable"

    def restart(self) -> None:
        """Count from now on, beginning at what is held now."""
        if self._is_counted:
            torch.cuda.reset_peak_memory_stats(self._device)

    def take(self, ranks: Ranks) -> int | None:
        """Return the bytes of the rank that held most since the last restart, and restart; every rank must call this.

        Returns:
            None where it is not known.
        """
        if self._device.type != "cuda":
            return None
        # Without its cache, torch's own allocator counts nothing either.
        largest = ranks.max_over_ranks(torch.cuda.max_memory_reserved(self._device) if self._is_counted else 0)
        self.restart()
        return largest or None
