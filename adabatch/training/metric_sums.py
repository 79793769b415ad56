"""Loss and accuracy, summed over micro-batches and ranks without waiting for the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from adabatch.processes.ranks import Ranks

#: With fewer classes, top-5 accuracy says little.
TOP5_MIN_CLASSES = 100


@dataclass(frozen=True)
class Metrics:
    """Means over samples: cross-entropy, accuracy, top-5 accuracy."""

    loss: float
    accuracy: float
    top5_accuracy: float | None
    num_samples: int


class MetricSums:
    """Running sums on the device, in float64.

    The sums are samples, loss, correct, correct in the top 5.
    """

    def __init__(self, device: torch.device, num_classes: int) -> None:
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)
        self._top5 = num_classes >= TOP5_MIN_CLASSES

    def add(self, summed_loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add one micro-batch: its summed loss, logits (n, num_classes) and labels (n,)."""
        with torch.no_grad():
            self._sums[0] += len(labels)
            self._sums[1] += summed_loss.detach()
            self._sums[2] += (logits.argmax(1) == labels).sum()
            if self._top5:
                self._sums[3] += (logits.topk(5, dim=1).indices == labels[:, None]).sum()

    @property
    def loss_is_finite(self) -> bool:
        """Whether every loss so far was finite; waits for the device."""
        return bool(torch.isfinite(self._sums[1]))

    def mean(self, ranks: Ranks) -> Metrics:
        """Return the means over the samples of all ranks."""
        samples, loss, correct, top5 = ranks.sum_over_ranks(self._sums.cpu()).tolist()
        if samples == 0:
            raise ValueError("no sample was counted")
        return Metrics(loss / samples, correct / samples, top5 / samples if self._top5 else None, int(samples))

    def reset(self) -> None:
        """Forget all samples. The tensor stays the same one, since a CUDA graph may add to it."""
        self._sums.zero_()

    def state(self, ranks: Ranks) -> torch.Tensor:
        """Return the sums of each rank, float64 of shape (world_size, 4), for a checkpoint."""
        return torch.stack(ranks.gather(self._sums.cpu()))

    def load_state(self, state: torch.Tensor, ranks: Ranks) -> None:
        """Restore a state: each rank's own sums, so that adding goes on in the same order as without a stop.

        If the number of ranks has changed, the main rank takes the sums of all.
        """
        state = state.reshape(-1, len(self._sums))  # version 0.1.0 kept the sums over all ranks
        if len(state) == ranks.world_size:
            self._sums.copy_(state[ranks.rank])
        else:
            self._sums.copy_(state.sum(0) if ranks.is_main else torch.zeros_like(self._sums))
