"""The engine: a network and its optimizer on one device; computes losses, gradients and updates."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from adabatch.config import TrainConfig
from adabatch.errors import ConfigError
from adabatch.networks import build_by_path, build_network
from adabatch.networks.batch_norm_mode import set_batch_norm_mode
from adabatch.plugins.loading import translated
from adabatch.training.compiler import compile_network, shielded_compiling
from adabatch.training.cuda_graphs import CudaGraphs, make_recorder, why_no_graphs
from adabatch.training.metric_sums import MetricSums
from adabatch.training.optimizers import build_optimizer

#: The dtype of weights and images, by ``hardware.precision``.
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}
#: A kernel search returns the allocator's memory to the driver, so it needs a second run.
_RUNS_AFTER_A_SEARCH = 2


def build_network_of(config: TrainConfig) -> nn.Module:
    """Return the network of a config with fresh weights; the user's own is tried out on two samples."""
    data, network = config.dataset, config.network
    if network.path is None:
        return build_network(network.name, data.num_channels, data.num_classes, data.image_size)
    built = build_by_path(network.path, network.args, data.sample_shape, data.num_classes, data.num_tokens)
    dtype = torch.float32 if data.num_tokens is None else torch.int64
    _check_output(built, network.path, torch.zeros((2, *data.sample_shape), dtype=dtype), data.num_classes)
    return built


def _check_output(network: nn.Module, path: str, samples: torch.Tensor, num_classes: int) -> None:
    """Raise ConfigError unless a network of the user's maps two samples to logits (2, num_classes)."""
    was_training = network.training
    network.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad(), translated(f"network.path is {path}, whose forward"):
        logits = network(samples)
    network.train(was_training)
    found = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
    if found != f"shape {(2, num_classes)}":
        raise ConfigError(
            f"network.path is {path}; for 2 samples of shape {tuple(samples.shape[1:])} it returns {found}; it must "
            f"return logits of shape (2, {num_classes}), one column a class."
        )


def memory_layout(config: TrainConfig) -> torch.memory_format:
    """Return how images and the weights of convolutions over them are stored; other samples have one layout only."""
    channels_last = config.hardware.channels_last and len(config.dataset.sample_shape) == 3
    return torch.channels_last if channels_last else torch.contiguous_format


def searches_kernels(device: torch.device) -> bool:
    """Return whether a device benchmarks kernels for each new shape."""
    return device.type == "cuda" and torch.backends.cudnn.benchmark


class Engine:
    """Computes losses, gradients and updates; independent of epochs, files and timing.

    Args:
        config: of the run.
        device: of this rank.
        world_size: number of ranks; above 1, DistributedDataParallel averages the gradients.

    Attributes:
        sums: the metrics of the samples trained on since they were last reset.
        graphs: the recorded micro-batches; None where CUDA graphs are not used, or no longer.
        warm_shapes: the sizes of micro-batches, by rank, that are compiled and tuned for.
        why_no_graphs: None while they are used; otherwise what prevents them, empty if nobody wants them.
    """

    def __init__(self, config: TrainConfig, device: torch.device, world_size: int = 1) -> None:
        torch.manual_seed(config.seed)
        network = build_network_of(config)
        set_batch_norm_mode(network, config.batch_norm, config.ghost_batch_size)
        layout = memory_layout(config)
        self.device = device
        self.dtype = DTYPES[config.hardware.precision]
        self._input_dtype = self.dtype if config.dataset.num_tokens is None else torch.int64
        self.network = network.to(device=device, dtype=self.dtype).to(memory_format=layout)
        self.optimizer = build_optimizer(config.optimizer, self.network.parameters())
        self._world_size = world_size
        self._autocast = config.hardware.precision == "bf16"
        self._empty_allowed = config.batch_norm == "sync"
        self._is_compiled = bool(config.hardware.compile)
        if self._is_compiled:
            compile_network(self.network, config.hardware, world_size)
        self.sums = MetricSums(device, config.dataset.num_classes)
        self.warm_shapes: set[tuple[int, ...]] = set()
        self._keeps_gradients = False
        self._with_gradient: list[nn.Parameter] = []
        self.why_no_graphs = why_no_graphs(config, device, world_size)
        self.graphs = CudaGraphs(self, make_recorder(device)) if self.why_no_graphs is None else None
        self._model: nn.Module = self.network
        if world_size > 1:
            device_ids = [device] if device.type == "cuda" else None
            with warnings.catch_warnings():  # torch 2.14 has another name for it, which older versions do not know
                warnings.simplefilter("ignore", FutureWarning)
                self._model = DistributedDataParallel(self.network, device_ids=device_ids, broadcast_buffers=False)
            self._build_gradient_buckets(config.dataset.sample_shape)

    def _build_gradient_buckets(self, sample_shape: tuple[int, ...]) -> None:
        """Make DistributedDataParallel rebuild its gradient buckets now, as it does after a process's first backward.

        Otherwise the first update after a resume would sum the ranks' gradients in another order than without it.
        """
        images = torch.zeros((2, *sample_shape), device=self.device, dtype=self._input_dtype)
        labels = torch.zeros(2, device=self.device, dtype=torch.int64)
        # This shape never recurs; don't compile it.
        with torch.compiler.set_stance("force_eager") if self._is_compiled else nullcontext():
            self.run_without_effect(images, labels, synchronize=True)

    @property
    def num_parameters(self) -> int:
        """The number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters() if parameter.requires_grad)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next update."""
        if self.graphs is not None:
            self.graphs.set_learning_rate(learning_rate)
            return
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    @contextmanager
    def gradients(self, synchronize: bool) -> Iterator[None]:
        """Wrap one forward and backward; with ``synchronize`` the backward averages gradients over the ranks."""
        if isinstance(self._model, DistributedDataParallel) and not synchronize:
            with self._model.no_sync():
                yield
        else:
            yield

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the summed cross-entropy (a scalar) and the logits (n, num_classes) of n samples."""
        return self._loss_and_logits(self._model, images, labels)

    def infer(
        self, images: torch.Tensor, labels: torch.Tensor, count: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `forward` returns, for the first ``count`` of the samples; for all, if it is not given.

        Ranks are not synchronized: each may call it any number of times.
        """
        with shielded_compiling() if self._is_compiled else nullcontext():
            return self._loss_and_logits(self.network, images, labels[:count])

    def _loss_and_logits(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Graphs must cast the weights themselves, not read what was cast before they were recorded.
        cast = torch.autocast(self.device.type, torch.bfloat16, self._autocast, cache_enabled=self.graphs is None)
        with cast if self._autocast else nullcontext():
            logits: torch.Tensor = model(images)
        logits = logits[: len(labels)].to(self.dtype)
        return nn.functional.cross_entropy(logits, labels, reduction="sum"), logits

    def backward(self, summed_loss: torch.Tensor, update_samples: int) -> None:
        """Add to the gradients this micro-batch's share of the mean over the update's ``update_samples``.

        DistributedDataParallel divides by the number of ranks, so the share is multiplied by it.
        """
        (summed_loss * (self._world_size / update_samples)).backward()

    def accumulate(self, images: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor) -> None:
        """Add a micro-batch to the metric sums, and its gradient times ``weight``, a scalar, to the gradients."""
        loss, logits = self.forward(images, labels)
        self.sums.add(loss, logits, labels)
        (loss * weight).backward()

    def placeholder(self, sample_shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return samples and labels for a rank that has no samples in a micro-batch; their loss is weighted by 0.

        Every rank must take part in the collectives. Synchronized BatchNorm counts samples, so the batch must be empty;
        the other modes reject an empty batch, and this rank's statistics are not used there.
        """
        count = 0 if self._empty_allowed else 2
        images = torch.zeros((count, *sample_shape), device=self.device, dtype=self._input_dtype)
        return images, torch.zeros(count, device=self.device, dtype=torch.int64)

    def no_outputs(self, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (0, num_classes) and labels (0,), for a rank that has no samples in a micro-batch."""
        logits = torch.empty((0, num_classes), device=self.device, dtype=self.dtype)
        return logits, torch.empty(0, device=self.device, dtype=torch.int64)

    def update(self) -> None:
        """Make one optimizer step with the accumulated gradients, then reset them."""
        if self.graphs is not None:
            self.graphs.step()
            return
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not self._keeps_gradients)

    def keep_gradients(self) -> None:
        """Give every parameter that gets a gradient one that stays where it is from now on, zeros at first.

        A parameter that gets none keeps none: the optimizer must leave it as it is. Which those are, the last warm-up
        has shown.
        """
        if not self._keeps_gradients:
            for parameter in self._with_gradient:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self._keeps_gradients = True

    def stop_recording(self, reason: str) -> None:
        """Compute without CUDA graphs from now on."""
        if self.graphs is not None:
            self.graphs.give_up()
            self.graphs, self.why_no_graphs = None, reason

    def warm_up(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Run forward and backward without side effects, to compile and tune for a new shape.

        It may run within an update: gradients accumulated so far are kept. With synchronized BatchNorm all ranks must
        call it at the same time.

        Raises:
            NotRecordable: if graphs are used, and the network does what they cannot.
        """
        with shielded_compiling() if self._is_compiled else nullcontext():
            if self.graphs is not None:
                self.graphs.warm_up(images, labels)
                return
            for _ in range(_RUNS_AFTER_A_SEARCH if searches_kernels(self.device) else 1):
                self.run_without_effect(images, labels)

    def run_without_effect(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        around: AbstractContextManager[None] | None = None,
        synchronize: bool = False,
    ) -> None:
        """Run forward and backward, ``around`` them, and restore gradients, statistics and random numbers.

        Args:
            synchronize: whether the backward averages gradients over the ranks.
        """
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        parameters = list(self.network.parameters())
        accumulated = [parameter.grad for parameter in parameters]
        self.network.zero_grad(set_to_none=True)
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices), self.gradients(synchronize), around or nullcontext():
                loss, _ = self.forward(images, labels)
                self.backward(loss, max(1, len(labels)))
            self._with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
        finally:  # restore the state, so that the engine stays usable after an out-of-memory error
            for parameter, gradient in zip(parameters, accumulated, strict=True):
                parameter.grad = gradient
            for buffer, saved in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(saved)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of network and optimizer; the same with and without graphs."""
        optimizer = self.optimizer.state_dict()
        if self.graphs is not None:
            optimizer = self.graphs.plain(optimizer)
        return {"network": self.network.state_dict(), "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.graphs is not None:
            self.graphs.forget()
