"""Loss and accuracy, summed over micro-batches and ranks without waiting for the device."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from adabatch.files import write_bytes_atomic
from adabatch.processes.ranks import Ranks
from adabatch.training.engine import Engine
from adabatch.training.own_metrics import OwnMetrics

if TYPE_CHECKING:
    from adabatch.data import Source

#: For testing; inference gives the same numbers for any size, and this one fits in any device's memory.
_TEST_MICRO_BATCH_SIZE = 256
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

    def state(self, ranks: Ranks) -> torch.Tensor:
        """Return the sums over all ranks, float64 of shape (4,), for a checkpoint."""
        return ranks.sum_over_ranks(self._sums.cpu())

    def load_state(self, state: torch.Tensor, is_main: bool) -> None:
        """Restore a state; the main rank takes the sums of all ranks."""
        self._sums.copy_(state if is_main else torch.zeros_like(state))


def evaluate(
    engine: Engine,
    source: Source,
    num_classes: int,
    ranks: Ranks,
    correct: torch.Tensor | None = None,
    own: OwnMetrics | None = None,
) -> Metrics:
    """Return the metrics of the whole source, each rank computing its share of the micro-batches.

    Args:
        correct: uint8 of shape (num_samples,) on the device, zeros; set to 1 for every sample classified correctly, on
            this rank's share.
        own: metrics of the user's, which are shown every batch.
    """
    ranks.broadcast_buffers(engine.network)
    sums = MetricSums(engine.device, num_classes)
    batches = torch.arange(source.num_samples).split(_TEST_MICRO_BATCH_SIZE)[ranks.rank :: ranks.world_size]
    engine.network.eval()
    with torch.inference_mode():
        for indices, (images, labels) in zip(batches, source.iterate(0, 0, batches), strict=True):
            loss, logits = engine.infer(images, labels)
            sums.add(loss, logits, labels)
            if own is not None:
                own.update(logits, labels)
            if correct is not None:
                correct[indices.to(correct.device)] = (logits.argmax(1) == labels).to(torch.uint8)
    engine.network.train()
    return sums.mean(ranks)


def write_correctness(path: Path, correct: torch.Tensor) -> None:
    """Write which test samples were classified correctly: a NumPy file of bits, behind the number of padding bits."""
    bits = np.packbits(correct.numpy().astype(bool))
    content = io.BytesIO()
    np.save(content, np.concatenate([np.array([-len(correct) % 8], dtype=np.uint8), bits]))
    write_bytes_atomic(path, content.getvalue())
