"""Chooses the largest worthwhile micro-batch for this device by measurement: ``max_micro_batch_size=auto``.

On a GPU, a larger micro-batch is faster per sample until the GPU is saturated or its memory full; on a CPU it is often
slower, because the activations leave the caches. So it is measured once; the number is then saved in the run's config,
or in every config of a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adabatch.config import TrainConfig, allocations
from adabatch.measure.cache import cache_key, measured_once
from adabatch.measure.forecast import count_updates
from adabatch.measure.probe import Probe
from adabatch.measure.times import Measurement

#: The largest micro-batch whose samples per second are within this of the best is chosen, to keep growth physical.
TOLERANCE = 0.05


@dataclass(frozen=True)
class MicroBatchChoice:
    """The chosen cap, in samples on one device, and why: one sentence for people."""

    max_micro_batch_size: int
    reason: str
    measurement: Measurement

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        measured = self.measurement.as_dict()
        return {"max_micro_batch_size": self.max_micro_batch_size, "reason": self.reason, **measured}


def largest_rank_share(configs: Sequence[TrainConfig]) -> int:
    """Return the largest number of samples that one rank gets in any update of the configs' schedules."""
    return max(
        -(-max(count_updates(config, part.first_epoch, part.last_epoch)) // part.num_ranks)
        for config in configs
        for part in allocations(config)
    )


def choose_micro_batch(measurement: Measurement, largest: int) -> MicroBatchChoice:
    """Return the largest size whose best samples per second are nearly the best of all.

    Args:
        largest: the largest size that a run could use; the reason mentions unmeasured larger sizes.
    """
    rows = measurement.rows
    best = max(row.samples_per_second for row in rows)
    chosen = [row for row in rows if row.samples_per_second >= (1 - TOLERANCE) * best][-1]
    reason = (
        f"{chosen.samples_per_second:.0f} samples/s; the best of sizes "
        f"{rows[0].micro_batch_size}..{rows[-1].micro_batch_size} is {best:.0f}"
    )
    if measurement.out_of_memory_at is not None:
        reason += f"; {measurement.out_of_memory_at} would fill the memory"
    elif rows[-1].micro_batch_size < largest:
        reason += f"; sizes up to {largest} would have taken too long to measure"
    return MicroBatchChoice(chosen.micro_batch_size, reason, measurement)


def explore_micro_batch(
    configs: Sequence[TrainConfig], device: torch.device, *, again: bool = False
) -> MicroBatchChoice:
    """Measure on ``device``, for a few seconds, which micro-batch cap suits runs that will share it.

    Args:
        configs: equal except for their schedules.
        device: set up by `adabatch.training.device.make_device`.
        again: measure even if the cache has an earlier measurement.

    Raises:
        OutOfMemory: if not even the smallest micro-batch fits.
    """
    largest = largest_rank_share(configs)
    key = cache_key(configs[0], device, explored_up_to=largest)
    measurement = measured_once(
        key, lambda: Probe(configs[0], device).explore(largest), Measurement.as_dict, Measurement.from_dict, again=again
    )
    return choose_micro_batch(measurement, largest)
