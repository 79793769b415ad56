"""What the device can do: training steps on tensors that already lie there, and a large matrix product.

``python -m benchmarks.bare_steps`` is one turn of an arm of `training_speed`. Its process is set up as our trainer's,
so that the two differ in nothing but the trainer.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from adabatch.config import TrainConfig
from adabatch.networks import build_network
from adabatch.schedules.batching import split_update
from adabatch.training.compiler import compile_network
from adabatch.training.optimizers import build_optimizer
from benchmarks.arm import Measured, print_measured
from benchmarks.images import IMAGE_SIZE, NUM_CHANNELS, NUM_CLASSES
from benchmarks.our_trainer import resolved_run
from benchmarks.training_case import Case

_MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}
_MATMUL_REPETITIONS = 5


class BareSteps:
    """Forward, backward and optimizer step on the same images again and again, without loader, trainer or metrics.

    Args:
        network_name: built anew.
        batch_size: samples per update.
        config: for micro-batch, precision, memory format, compiling and optimizer.
        device: where to compute.
    """

    def __init__(self, network_name: str, batch_size: int, config: TrainConfig, device: torch.device) -> None:
        self._device = device
        self._batch_size = batch_size
        self._is_bf16 = config.hardware.precision == "bf16"
        self._sizes = split_update(batch_size, 1, config.max_micro_batch_size).micro_batches[0]
        layout = torch.channels_last if config.hardware.channels_last else torch.contiguous_format
        network = build_network(network_name, NUM_CHANNELS, NUM_CLASSES, IMAGE_SIZE)
        self._network = network.to(device).to(memory_format=layout)
        if config.hardware.compile:
            compile_network(self._network, config.hardware)
        self._optimizer = build_optimizer(config.optimizer, self._network.parameters())
        shape = (self._sizes[0], NUM_CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
        self._images = torch.randn(shape, device=device).contiguous(memory_format=layout)
        self._labels = torch.zeros(self._sizes[0], dtype=torch.int64, device=device)
        self.seconds(num_updates=2)

    def seconds(self, num_updates: int) -> float:
        """Return how long this number of updates takes."""
        self._wait_for_device()
        started = time.perf_counter()
        for _ in range(num_updates):
            for size in self._sizes:
                self._forward_and_backward(size)
            self._optimizer.step()
            self._optimizer.zero_grad()
        self._wait_for_device()
        return time.perf_counter() - started

    def _forward_and_backward(self, size: int) -> None:
        with torch.autocast(self._device.type, torch.bfloat16) if self._is_bf16 else nullcontext():
            logits = self._network(self._images[:size])
        loss = torch.nn.functional.cross_entropy(logits.float(), self._labels[:size], reduction="sum")
        (loss / self._batch_size).backward()

    def _wait_for_device(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def best_matmul_flops_per_second(precision: str, device: torch.device) -> float:
    """Return the rate of a large square matrix product: the median of a few."""
    size = _MATRIX_SIZE[device.type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    durations = []
    for _ in range(_MATMUL_REPETITIONS + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        durations.append(time.perf_counter() - started)
    return 2.0 * size**3 / statistics.median(durations[1:])


def _flops_per_sample(network_name: str, count: int = 2) -> float:
    """Return the floating-point operations of one sample's forward and backward."""
    network = build_network(network_name, NUM_CHANNELS, NUM_CLASSES, IMAGE_SIZE)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(count, NUM_CHANNELS, IMAGE_SIZE, IMAGE_SIZE)).sum().backward()
    return counter.get_total_flops() / count


def _build(order: dict[str, Any]) -> Callable[[], Measured]:
    case = Case(**order["case"])
    config, device, _ = resolved_run(case, order["precision"])
    compiled = config.hardware.compile or case.device == "cuda"
    config = dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, compile=compiled))
    rates = {
        "flops_per_sample": _flops_per_sample(case.network),
        "matmul_flops_per_second": best_matmul_flops_per_second(order["precision"], device),
    }
    steps = BareSteps(case.network, case.batch_size, config, device)
    return lambda: {"seconds": steps.seconds(case.num_samples // case.batch_size), **rates}


if __name__ == "__main__":
    print_measured(_build)
