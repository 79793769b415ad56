"""Times the micro-batches that given runs will compute."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from adabatch.config import TrainConfig
from adabatch.errors import OutOfMemory
from adabatch.measure.cache import cache_key, measured_once
from adabatch.measure.forecast import sizes_to_measure
from adabatch.measure.probe import Probe
from adabatch.measure.times import Measurement


def measure_sizes(configs: Sequence[TrainConfig], device: torch.device, *, again: bool = False) -> Measurement:
    """Time the micro-batches that the configs' runs will compute, or take the times from the cache.

    Args:
        configs: equal except for their schedules, without ``auto``.
        device: set up by `adabatch.training.device.make_device`.
        again: measure even if the cache has an earlier measurement.

    Raises:
        OutOfMemory: if one of the sizes does not fit.
    """
    sizes = sizes_to_measure(configs)
    key = cache_key(configs[0], device, sizes=sizes)

    def measure() -> Measurement:
        measurement = Probe(configs[0], device).measure(sizes)
        if measurement.out_of_memory_at is not None:
            raise OutOfMemory(
                f"a micro-batch of {measurement.out_of_memory_at} does not fit on {device}; "
                "lower max_micro_batch_size, or set it to auto"
            )
        return measurement

    return measured_once(key, measure, Measurement.as_dict, Measurement.from_dict, again=again)
