"""Times the micro-batches that given runs will compute."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import torch

from adabatch.config import TrainConfig
from adabatch.errors import OutOfMemory
from adabatch.measure.averaging import measure_averaging
from adabatch.measure.cache import cache_key, measured_once
from adabatch.measure.forecast import sizes_to_measure
from adabatch.measure.probe import Probe, release_memory
from adabatch.measure.times import Measurement
from adabatch.training.cuda_graphs import why_no_graphs
from adabatch.training.device import make_device
from adabatch.training.engine import searches_kernels


def measure_sizes(configs: Sequence[TrainConfig], device: torch.device, *, again: bool = False) -> Measurement:
    """Time the micro-batches that the configs' runs will compute, or take the times from the cache.

    Where they have several ranks, the averaging of their gradients is timed, too. Where runs can use CUDA graphs, they
    are timed with and without: what growing the batch gains may be launches. Kernels are searched alike in both.

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
    if not _has_both_ways(configs[0], device):
        return _measure_sizes(configs, device, again)
    # Without graphs first: only a machine's first process reads cuDNN's kernels from the disk.
    eager, graphs = (
        _measure_sizes([_with_graphs(config, used) for config in configs], device, again) for used in (False, True)
    )
    if not graphs.uses_graphs:  # the network cannot be recorded
        return eager
    eager = _without_first_reading(eager, graphs)
    own, counterpart = (eager, graphs) if configs[0].hardware.cuda_graphs is False else (graphs, eager)
    return dataclasses.replace(own, counterpart=counterpart)


def _has_both_ways(config: TrainConfig, device: torch.device) -> bool:
    """Return whether runs can compute with CUDA graphs and without; ``reduce-overhead`` is with them."""
    if device.type != "cuda" or config.hardware.compile == "reduce-overhead":
        return False
    return why_no_graphs(_with_graphs(config, True), device, config.hardware.world_size) is None


def _without_first_reading(eager: Measurement, graphs: Measurement) -> Measurement:
    """Return the eager times with growth of at most that with graphs, where recording comes on top of the search."""
    rows = (
        dataclasses.replace(row, growth_seconds=min(row.growth_seconds, other.growth_seconds))
        for row, other in zip(eager.rows, graphs.rows, strict=True)
    )
    return dataclasses.replace(eager, rows=tuple(rows))


def _with_graphs(config: TrainConfig, cuda_graphs: bool) -> TrainConfig:
    return dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, cuda_graphs=cuda_graphs))


def _measure_sizes(configs: Sequence[TrainConfig], device: torch.device, again: bool) -> Measurement:
    sizes = sizes_to_measure(configs)
    key = cache_key(configs[0], device, sizes=sizes)

    def measure() -> Measurement:
        measurement = _probe(configs[0], device, sizes)
        if measurement.out_of_memory_at is not None:
            raise OutOfMemory(
                f"a micro-batch of {measurement.out_of_memory_at} does not fit on {device}; "
                "lower max_micro_batch_size, or set it to auto"
            )
        return measurement

    return measured_once(key, measure, Measurement.as_dict, Measurement.from_dict, again=again)


def _probe(config: TrainConfig, device: torch.device, sizes: Sequence[int]) -> Measurement:
    """Time micro-batches; where kernels are searched, in a process of its own, as each run has one.

    A process searches once for a shape. What this one has searched, for ``auto`` or for the counterpart, would be
    missing in the seconds of growth.
    """
    if not searches_kernels(device):
        return Probe(config, device).measure(sizes)
    release_memory(device)
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_probe_alone, config, device.index or 0, tuple(sizes)).result()


def _probe_alone(config: TrainConfig, gpu: int, sizes: Sequence[int]) -> Measurement:
    return Probe(config, make_device(config, gpu)).measure(sizes)
