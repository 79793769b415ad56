"""What the device can do with a whole update in one CUDA graph: no loader, no trainer, no metrics, and no launches."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from adabatch.config import TrainConfig
from adabatch.networks import build_network
from adabatch.training.optimizers import build_optimizer
from benchmarks.images import IMAGE_SIZE, NUM_CHANNELS, NUM_CLASSES

#: Updates before the recording, in which kernels are chosen and the momenta are made.
_WARM_UP_UPDATES = 3


class BareUpdate:
    """One update on the same images again and again, recorded once and replayed; run as it is where there is no GPU.

    It is recorded by torch alone, so that it tells what the trainer's own recording leaves unused.

    Args:
        network_name: built anew.
        config: for batch size, precision, memory format and optimizer; the batch is one micro-batch.
        device: where to compute.
    """

    def __init__(self, network_name: str, config: TrainConfig, device: torch.device) -> None:
        self._device = device
        self._is_bf16 = config.hardware.precision == "bf16"
        self._batch_size = config.schedule.batch_size
        layout = torch.channels_last if config.hardware.channels_last else torch.contiguous_format
        network = build_network(network_name, NUM_CHANNELS, NUM_CLASSES, IMAGE_SIZE)
        self._network = network.to(device).to(memory_format=layout)
        self._optimizer = build_optimizer(config.optimizer, self._network.parameters())
        learning_rate = torch.full((), config.optimizer.learning_rate, device=device)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate  # so that a schedule could change it between replays
        shape = (self._batch_size, NUM_CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
        self._images = torch.randn(shape, device=device).contiguous(memory_format=layout)
        self._labels = torch.randint(0, NUM_CLASSES, (self._batch_size,), device=device)
        for parameter in self._network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self._replay = self._recorded() if device.type == "cuda" else self._update

    def seconds(self, num_updates: int) -> float:
        """Return how long this number of updates takes."""
        self._wait_for_device()
        started = time.perf_counter()
        for _ in range(num_updates):
            self._replay()
        self._wait_for_device()
        return time.perf_counter() - started

    def _update(self) -> None:
        self._optimizer.zero_grad(set_to_none=False)
        # A cache of cast weights would outlive the recording, and the graph would read old weights.
        with torch.autocast(self._device.type, torch.bfloat16, self._is_bf16, cache_enabled=False):
            logits = self._network(self._images)
        loss = torch.nn.functional.cross_entropy(logits.float(), self._labels, reduction="sum")
        (loss / self._batch_size).backward()
        self._optimizer.step()

    def _recorded(self) -> Callable[[], None]:
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_UPDATES):
                self._update()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            self._update()
        return graph.replay

    def _wait_for_device(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
