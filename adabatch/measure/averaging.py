"""Measures how long ranks need to average a network's gradients: one exchange for each update."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

from adabatch.config import TrainConfig, allocations
from adabatch.measure.cache import cache_key, measured_once
from adabatch.training.engine import DTYPES, build_network_of

_WARM_UP, _REPETITIONS = 3, 20
_log = logging.getLogger(__name__)
#: Numbers of ranks, and the seconds of one averaging.
Averaging = tuple[tuple[int, float], ...]


def measure_averaging(configs: Sequence[TrainConfig], device: torch.device, *, again: bool = False) -> Averaging:
    """Time the averaging of gradients for every number of ranks of some runs, or take the times from the cache.

    Numbers that this machine cannot start are left out: those on several nodes, with more GPUs than there are, and all
    within a job of SLURM, which has the device of one rank; `adabatch.measure.averaging_of_ranks` times them there.

    Args:
        configs: equal except for their schedules.
        device: of the first rank.
        again: measure even if the cache has an earlier measurement.
    """
    counts = sorted({count for config in configs for count in _counts(config, device)})
    if not counts or os.environ.get("SLURM_JOB_ID"):
        return ()
    key = cache_key(configs[0], device, averaging=counts)
    return measured_once(key, lambda: _measure(configs[0], device, counts), _encode, _decode, again=again)


def _counts(config: TrainConfig, device: torch.device) -> set[int]:
    here = [part for part in allocations(config) if part.hardware.num_nodes == 1 and part.num_ranks > 1]
    most = torch.cuda.device_count() if device.type == "cuda" else None
    return {part.num_ranks for part in here if most is None or part.num_ranks <= most}


def _encode(found: Averaging) -> dict[str, Any]:
    return {"averaging": [list(pair) for pair in found]}


def _decode(values: dict[str, Any]) -> Averaging:
    return tuple((int(count), float(seconds)) for count, seconds in values["averaging"])


def num_gradients(config: TrainConfig) -> int:
    """Return how many numbers a gradient of a config's network has."""
    network = build_network_of(config)
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def time_averaging(gradients: torch.Tensor) -> float:
    """Return the median of the seconds in which the ranks of the default process group add their gradients.

    Every rank must call it, and keep its tensor until it has left the group: torch 2.6 can hang there while a thread of
    gloo frees a tensor of Python's.
    """
    durations = []
    for _ in range(_WARM_UP + _REPETITIONS):
        started = time.perf_counter()
        dist.all_reduce(gradients)
        if gradients.is_cuda:
            torch.cuda.synchronize(gradients.device)
        durations.append(time.perf_counter() - started)
    return median(durations[_WARM_UP:])


def _measure(config: TrainConfig, device: torch.device, counts: Sequence[int]) -> Averaging:
    size = num_gradients(config)
    found = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            arguments = (count, size, device.type, config.hardware.precision, folder)
            try:
                torch.multiprocessing.spawn(_rank, arguments, nprocs=count)
                found.append((count, float(Path(folder, "seconds").read_text(encoding="utf-8"))))
            except Exception as error:  # a measurement that fails is no reason not to train
                _log.warning("the averaging of gradients over %d ranks could not be timed: %s", count, error)
    return tuple(found)


def _rank(rank: int, count: int, size: int, kind: str, precision: str, folder: str) -> None:
    """Average numbers with the other ranks; the first one writes the seconds."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    backend = "nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=rank, world_size=count)
    gradients = torch.zeros(size, dtype=DTYPES[precision], device=device)
    seconds = time_averaging(gradients)
    if rank == 0:
        Path(folder, "seconds").write_text(str(seconds), encoding="utf-8")
    dist.destroy_process_group()
