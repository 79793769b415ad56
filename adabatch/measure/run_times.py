"""Times the micro-batches that given runs will compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from adabatch.config import TrainConfig
from adabatch.errors import OutOfMemory
from adabatch.measure.averaging import measure_averaging
from adabatch.measure.cache import cache_key, measured_once
from adabatch.measure.forecast import sizes_to_measure
from adabatch.measure.probe import Probe
from adabatch.measure.times import Measurement
from adabatch.training.cuda_graphs import why_no_graphs


def measure_sizes(configs: Sequence[TrainConfig], device: torch.device, *, again: bool = False) -> Measurement:
    """Time the micro-batches that the configs' runs will compute, or take the times from the cache.

    Where they have several ranks, the averaging of their gradients is timed, too. Where runs can use CUDA graphs, they
    are timed with and without: what growing the batch gains may be launches.

    Args:
        configs: equal except for their schedules, without ``auto``.
        device: set up by `adabatch.training.device.make_device`.
        again: measure even if the cache has an earlier measurement.

    Raises:
        OutOfMemory: if one of the sizes does not fit.
    """
    averaging = measure_averaging(configs, device, again=again)
    return _with_counterpart(configs, device, again).with_averaging(averaging)


def _with_counterpart(configs: Sequence[TrainConfig], device: torch.device, again: bool) -> Measurement:
    own = _measure_sizes(configs, device, again)
    other = [_with_graphs(config, not own.uses_graphs) for config in configs]
    if not own.uses_graphs and why_no_graphs(other[0], device, other[0].hardware.world_size) is not None:
        return own
    counterpart = _measure_sizes(other, device, again)
    # A network that cannot be recorded has no times with graphs.
    return own if counterpart.uses_graphs is own.uses_graphs else dataclasses.replace(own, counterpart=counterpart)


def _with_graphs(config: TrainConfig, cuda_graphs: bool) -> TrainConfig:
    if cuda_graphs and config.hardware.device != "cuda":
        return config
    return dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, cuda_graphs=cuda_graphs))


def _measure_sizes(configs: Sequence[TrainConfig], device: torch.device, again: bool) -> Measurement:
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
