"""Tests a network: the metrics of a whole source, each rank computing its share of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from adabatch.files import write_bytes_atomic
from adabatch.processes.ranks import Ranks
from adabatch.training.engine import Engine, searches_kernels
from adabatch.training.metric_sums import Metrics, MetricSums
from adabatch.training.own_metrics import OwnMetrics

if TYPE_CHECKING:
    from adabatch.data import Source

#: For testing where no kernels are searched for each shape; inference gives the same numbers for any size, and this one
#: fits in any device's memory.
_TEST_MICRO_BATCH_SIZE = 256


def evaluate(
    engine: Engine,
    source: Source,
    num_classes: int,
    ranks: Ranks,
    correct: torch.Tensor | None = None,
    own: OwnMetrics | None = None,
    micro_batch_size: int | None = None,
) -> Metrics:
    """Return the metrics of the whole source, each rank computing its share of the micro-batches.

    A device that searches kernels for every new shape tests in the shape that it trains in, whose kernels it knows; the
    last micro-batch is filled up to it.

    Args:
        correct: uint8 of shape (num_samples,) on the device, zeros; set to 1 for every sample classified correctly, on
            this rank's share.
        own: metrics of the user's, which are shown every batch of every rank, in the order of the source.
        micro_batch_size: samples in one forward of the training.
    """
    ranks.broadcast_buffers(engine.network)
    sums = MetricSums(engine.device, num_classes)
    fills_up = micro_batch_size is not None and searches_kernels(engine.device)
    size = micro_batch_size if micro_batch_size and fills_up else _TEST_MICRO_BATCH_SIZE
    rounds = _rounds(source.num_samples, size, ranks.world_size)
    batches = [by_rank[ranks.rank] for by_rank in rounds if ranks.rank < len(by_rank)]
    asked = [_filled_up(batch, size) for batch in batches] if fills_up else batches
    sizes = [list(map(len, by_rank)) for by_rank in rounds]
    engine.network.eval()
    with torch.inference_mode():
        for number, (images, labels) in enumerate(source.iterate(0, 0, asked)):
            count = len(batches[number])
            loss, logits = engine.infer(images, labels, count)
            labels = labels[:count]
            sums.add(loss, logits, labels)
            if own is not None:
                own.update(logits, labels, sizes[number])
            if correct is not None:
                correct[batches[number].to(correct.device)] = (logits.argmax(1) == labels).to(torch.uint8)
        if own is not None and len(batches) < len(rounds):
            own.update(*engine.no_outputs(num_classes), sizes[-1])
    engine.network.train()
    return sums.mean(ranks)


def _rounds(num_samples: int, size: int, world_size: int) -> list[tuple[torch.Tensor, ...]]:
    """Return the samples of each micro-batch, by rank, of what the ranks compute at the same time.

    In the last round, the last ranks may have none.
    """
    batches = torch.arange(num_samples).split(size)
    return [batches[start : start + world_size] for start in range(0, len(batches), world_size)]


def _filled_up(indices: torch.Tensor, size: int) -> torch.Tensor:
    """Return ``size`` indices: the given ones, and then the first of them again and again."""
    return torch.cat([indices, indices[:1].expand(size - len(indices))])


def write_correctness(path: Path, correct: torch.Tensor) -> None:
    """Write which test samples were classified correctly: a NumPy file of bits, behind the number of padding bits."""
    bits = np.packbits(correct.numpy().astype(bool))
    content = io.BytesIO()
    np.save(content, np.concatenate([np.array([-len(correct) % 8], dtype=np.uint8), bits]))
    write_bytes_atomic(path, content.getvalue())
