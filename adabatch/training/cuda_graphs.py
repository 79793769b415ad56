"""Records micro-batches and optimizer steps as CUDA graphs, and replays them.

A replay launches all kernels of a micro-batch at once. Small batches are otherwise bound by the launches: then growing
the batch saves launches, not computation. All that a graph reads or writes stays in place: samples and labels are
copied into its inputs, and gradients, metric sums, the learning rate and the loss's weight are never replaced.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

from adabatch.config import TrainConfig
from adabatch.errors import is_out_of_memory
from adabatch.training.graph_step import GraphStep

#: Cap on the graphs that are kept; the one that was not replayed for longest goes first. Their tensors share memory, so
#: a graph costs little but its inputs.
_MAX_GRAPHS = 64
#: From torch's message for an operation that waits for the device, where that is an error.
_WAITS = "synchronizing CUDA operation"


class NotRecordable(Exception):
    """A network or optimizer does what a CUDA graph cannot; the message ends the sentence "... are not used: "."""


class Recorder(Protocol):
    """Turns a callable into one that does the same on the same tensors."""

    def aside(self) -> AbstractContextManager[None]:
        """Compute where recording does, so that nothing is left on the stream of the training."""

    def watch(self) -> AbstractContextManager[None]:
        """Raise `NotRecordable` from the block if something in it waits for the device."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """Return the replay of ``run``, which may itself not be run.

        Raises:
            NotRecordable: if it cannot be recorded.
        """


class CudaRecorder:
    """Records on a stream of its own; all graphs share one pool of memory, since they never run at the same time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """See `Recorder.aside`."""
        training = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(training)
        with torch.cuda.stream(self._stream):
            yield
        training.wait_stream(self._stream)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """See `Recorder.watch`; tried first, since a failed recording can leave torch's random generator unusable."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():  # that this mode is a prototype
            warnings.simplefilter("ignore", UserWarning)
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        except RuntimeError as error:
            if _WAITS not in str(error):
                raise
            raise NotRecordable("the network waits for values on the GPU, as .item() does") from error
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """See `Recorder.record`."""
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads, such as a loader's, may meanwhile allocate and copy.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                run()
        except RuntimeError as error:
            # What ends the recording after an error may raise another one.
            if is_out_of_memory(error) or (error.__context__ and is_out_of_memory(error.__context__)):
                raise
            raise NotRecordable(f"recording failed ({str(error).splitlines()[0]})") from error
        return graph.replay


def why_no_graphs(config: TrainConfig, device: torch.device, world_size: int) -> str | None:
    """Return what prevents CUDA graphs, as far as it is known before the start.

    Returns:
        None if nothing does, and an empty text if they are not wanted or there is no GPU.
    """
    if device.type != "cuda" or config.hardware.cuda_graphs is False:
        return ""
    if world_size > 1:
        return "the run has several ranks"
    if config.batch_norm == "sync":
        return "synchronized BatchNorm"
    return None


def graphs_text(why_not: str | None) -> str:
    """Return the value of ``cuda_graphs`` in ``meta.json``: yes, no, or no and what prevents them."""
    if why_not is None:
        return "yes"
    return f"no: {why_not}" if why_not else "no"


def make_recorder(device: torch.device) -> Recorder:
    """Return the recorder for a device."""
    return CudaRecorder(device)


class GraphedEngine(Protocol):
    """What the graphs need of an engine."""

    optimizer: torch.optim.Optimizer
    dtype: torch.dtype
    device: torch.device

    def accumulate(self, samples: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor) -> None:
        """Add a micro-batch to the metric sums, and its gradient times ``weight`` to the gradients."""

    def run_without_effect(
        self, samples: torch.Tensor, labels: torch.Tensor, around: AbstractContextManager[None] | None = None
    ) -> None:
        """Compute a micro-batch, ``around`` its computation, and undo what it changed."""

    def keep_gradients(self) -> None:
        """Give every parameter that gets a gradient one that stays where it is, zeros."""


@dataclass
class _Graph:
    """A recorded micro-batch: its inputs, and its replay."""

    samples: torch.Tensor
    labels: torch.Tensor
    replay: Callable[[], None]


class Shape(NamedTuple):
    """What a graph is recorded for: a micro-batch's samples, and whether the optimizer step is in the graph."""

    num_samples: int
    holds_step: bool


class CudaGraphs:
    """The recorded micro-batches and the recorded optimizer step of an engine.

    Args:
        engine: whose computation is recorded.
        recorder: by which it is recorded.

    Attributes:
        joins_step: whether a whole update, with its optimizer step, is one graph.
    """

    def __init__(self, engine: GraphedEngine, recorder: Recorder) -> None:
        self._engine = engine
        self._recorder = recorder
        self._step = GraphStep(engine.optimizer, engine.device)
        self._weight = torch.zeros((), dtype=engine.dtype, device=engine.device)
        self._weight_value = 0.0
        self._graphs: OrderedDict[Shape, _Graph] = OrderedDict()
        self._replay_step: Callable[[], None] | None = None
        self._eager_seconds: dict[int, float] = {}
        self._record_seconds: float | None = None
        self._missed: Counter[Shape] = Counter()
        self.joins_step = True

    def shape(self, num_samples: int, is_whole_update: bool) -> Shape:
        """Return the key of a micro-batch's graph; the optimizer step is in it if it is a whole update."""
        return Shape(num_samples, self.joins_step and is_whole_update and self._step.is_recordable)

    def warm_up(self, samples: torch.Tensor, labels: torch.Tensor) -> None:
        """Search kernels for a shape, compile it, and time it without a graph; nothing is changed.

        Raises:
            NotRecordable: if the network waits for the device.
        """
        with self._recorder.aside():
            self._engine.run_without_effect(samples, labels)
            started = time.perf_counter()
            self._engine.run_without_effect(samples, labels, around=self._recorder.watch())
            self._eager_seconds[len(labels)] = time.perf_counter() - started

    def pays(self, shape: Shape, planned: int) -> bool:
        """Return whether recording a shape is worth it, by what recordings and eager micro-batches took so far.

        The first shape is always recorded, which tells what it costs. A shape is expected ``planned`` times in this
        epoch, and as often again as it came without being recorded.
        """
        eager = self._eager_seconds.get(shape.num_samples)
        if self._record_seconds is None or eager is None:
            return True
        expected = self._missed[shape] + planned
        self._missed[shape] += 1
        return expected * eager >= self._record_seconds

    def knows(self, shape: Shape) -> bool:
        """Return whether a shape is recorded."""
        return shape in self._graphs

    def record(self, shape: Shape, samples: torch.Tensor, labels: torch.Tensor) -> None:
        """Record a shape, warmed up before, and the optimizer step if need be; nothing is changed.

        Raises:
            NotRecordable: if it cannot be recorded.
        """
        started = time.perf_counter()
        self._engine.keep_gradients()
        self._step.start()
        # Preserved formats keep the inputs in the layout of the data path.
        graph = _Graph(torch.empty_like(samples), torch.empty_like(labels), _not_recorded)
        graph.samples.copy_(samples)
        graph.labels.copy_(labels)

        def run() -> None:
            self._engine.accumulate(graph.samples, graph.labels, self._weight)
            if shape.holds_step:
                self._step.run()

        with self._step.being_recorded():
            graph.replay = self._recorder.record(run)
            if self._step.is_recordable and not shape.holds_step and self._replay_step is None:
                self._replay_step = self._recorder.record(self._step.run)
        self._graphs[shape] = graph
        if len(self._graphs) > _MAX_GRAPHS:
            self._graphs.popitem(last=False)
        self._record_seconds = time.perf_counter() - started

    def replay(self, shape: Shape, samples: torch.Tensor, labels: torch.Tensor, weight: float) -> None:
        """Compute a micro-batch by its graph.

        Args:
            weight: of the summed loss: the inverse of the update's number of samples.
        """
        graph = self._graphs[shape]
        self._graphs.move_to_end(shape)
        if weight != self._weight_value:
            self._weight.fill_(weight)
            self._weight_value = weight
        # Samples are prepared for many micro-batches at once, so each is copied here, at a thousandth of its cost.
        graph.samples.copy_(samples)
        graph.labels.copy_(labels)
        graph.replay()

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next update."""
        self._step.set_learning_rate(learning_rate)

    def step(self) -> None:
        """Make an optimizer step with the accumulated gradients, then set them to zero."""
        if self._replay_step is not None:
            self._replay_step()
        else:
            self._step.run()

    def give_up(self) -> None:
        """Forget all graphs, and make the optimizer an ordinary one again."""
        self._graphs.clear()
        self._replay_step = None
        self._step.release()

    def plain(self, optimizer_state: dict[str, Any]) -> dict[str, Any]:
        """Return the state of the optimizer as it would be without graphs."""
        return self._step.plain(optimizer_state)

    def forget(self) -> None:
        """Forget all graphs, because the optimizer's state was replaced."""
        self._graphs.clear()
        self._replay_step = None
        self._step.attach()


def _not_recorded() -> None:
    raise AssertionError("the graph is not recorded yet")
