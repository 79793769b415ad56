"""Makes updates: the samples of each micro-batch, forward and backward or the replay of a graph, the optimizer step."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Iterator, Sequence

import torch

from adabatch.config import TrainConfig
from adabatch.processes.ranks import Ranks
from adabatch.rundir.columns import GRAPH_SPAN
from adabatch.schedules import PlannedUpdate
from adabatch.schedules.batching import UpdateSplit, split_update
from adabatch.training.cuda_graphs import NotRecordable, Shape
from adabatch.training.engine import Engine, searches_kernels
from adabatch.training.reporting import Reporter
from adabatch.training.stopwatch import Stopwatch

_log = logging.getLogger(__name__)


class UpdateMaker:
    """Makes the updates of this rank, and charges their time to the spans.

    Args:
        config: of the run.
        engine: computes.
        ranks: this process among the run's.
        stopwatch: of the run.
        reporter: is told if CUDA graphs cannot be used.
    """

    def __init__(
        self, config: TrainConfig, engine: Engine, ranks: Ranks, stopwatch: Stopwatch, reporter: Reporter
    ) -> None:
        self._config = config
        self._engine = engine
        self._ranks = ranks
        self._stopwatch = stopwatch
        self._reporter = reporter
        self._planned: Counter[Shape] = Counter()
        self._paid_now: set[tuple[int, ...]] = set()
        self._paid_earlier: set[tuple[int, ...]] = set()

    @property
    def paid_shapes(self) -> list[list[int]]:
        """The sizes of micro-batches, by rank, whose growth is in the run's seconds."""
        return sorted(map(list, self._paid_now | self._paid_earlier))

    def resume(self, paid_shapes: Sequence[Sequence[int]]) -> None:
        """Take over the `paid_shapes` of earlier segments: doing them again counts as setup."""
        self._paid_earlier = set(map(tuple, paid_shapes))

    def split(self, num_samples: int) -> UpdateSplit:
        """Return how an update is divided among ranks and micro-batches."""
        return _cached_split(num_samples, self._ranks.world_size, self._config.max_micro_batch_size)

    def indices(self, update: PlannedUpdate, order: torch.Tensor) -> Sequence[torch.Tensor]:
        """Return the indices of the samples of each of this rank's micro-batches, from an epoch's order."""
        split = self.split(update.num_samples)
        sizes = split.micro_batches[self._ranks.rank]
        start = update.start + split.rank_start(self._ranks.rank)
        return order[start : start + sum(sizes)].split(sizes)

    def plan(self, indices: Sequence[Sequence[torch.Tensor]]) -> None:
        """Take note of the micro-batches of an epoch, by update: what comes often is worth recording."""
        graphs = self._engine.graphs
        if graphs is not None:
            self._planned = Counter(graphs.shape(len(part), len(parts) == 1) for parts in indices for part in parts)

    def make(
        self,
        update: PlannedUpdate,
        parts: Sequence[torch.Tensor],
        batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
    ) -> None:
        """Make one update.

        Args:
            parts: the indices of each micro-batch, from `indices`.
            batches: yields the samples and labels of each micro-batch that has some.
        """
        engine, stopwatch = self._engine, self._stopwatch
        engine.set_learning_rate(update.learning_rate)
        sizes_by_rank = self.split(update.num_samples).micro_batches
        is_stepped = False
        for number, (part, *sizes) in enumerate(zip(parts, *sizes_by_rank, strict=True), 1):
            stopwatch.switch("data")
            images, labels = next(batches) if len(part) else engine.placeholder(self._config.dataset.sample_shape)
            self._warm_up(images, labels, tuple(sizes))
            shape = self._recorded(images, labels, is_whole_update=len(parts) == 1)
            if engine.graphs is not None and shape is not None:
                stopwatch.switch(GRAPH_SPAN)
                engine.graphs.replay(shape, images, labels, 1 / update.num_samples)
                is_stepped = shape.holds_step
            else:
                self._compute(images, labels, len(part), update.num_samples, synchronize=number == len(parts))
        if not is_stepped:
            stopwatch.switch("update")
            engine.update()
        stopwatch.switch("data")

    def _compute(
        self, images: torch.Tensor, labels: torch.Tensor, num_samples: int, update_samples: int, synchronize: bool
    ) -> None:
        """Add a micro-batch's gradient and metrics without a graph; without samples, this rank only takes part."""
        engine, stopwatch = self._engine, self._stopwatch
        with engine.gradients(synchronize):
            stopwatch.switch("forward")
            loss, logits = engine.forward(images, labels)
            if num_samples:
                engine.sums.add(loss, logits, labels)
            stopwatch.switch("backward")
            engine.backward(loss if num_samples else loss * 0.0, update_samples)

    def _warm_up(self, images: torch.Tensor, labels: torch.Tensor, sizes: tuple[int, ...]) -> None:
        """Compile and tune for a new micro-batch shape before training on it, and charge the time to growth.

        Args:
            sizes: of this micro-batch on every rank; the ranks warm up together.
        """
        device, graphs = self._engine.device, self._engine.graphs
        known = self._engine.warm_shapes
        starts = device.type == "cuda" and not known
        is_new = self._config.hardware.compile or searches_kernels(device) or starts or graphs is not None
        if sizes in known or not is_new:
            return
        with self._stopwatch.during(self._price_of(sizes)):
            try:
                self._engine.warm_up(images, labels)
            except NotRecordable as error:
                self._stop_recording(str(error))
        known.add(sizes)
        self._paid_now.add(sizes)

    def _price_of(self, sizes: tuple[int, ...]) -> str:
        """Return the span that pays for a new shape."""
        return "setup" if sizes in self._paid_earlier else "growth"

    def _recorded(self, images: torch.Tensor, labels: torch.Tensor, is_whole_update: bool) -> Shape | None:
        """Return the key of a micro-batch's graph, recorded now if that pays; None to compute without one."""
        graphs = self._engine.graphs
        if graphs is None:
            return None
        shape = graphs.shape(len(labels), is_whole_update)
        if graphs.knows(shape):
            return shape
        if not graphs.pays(shape, self._planned[shape]):
            return None
        with self._stopwatch.during(self._price_of((len(labels),))):
            try:
                graphs.record(shape, images, labels)
            except NotRecordable as error:
                self._stop_recording(str(error))
                return None
        return shape

    def _stop_recording(self, reason: str) -> None:
        _log.warning("CUDA graphs are not used: %s", reason)
        self._engine.stop_recording(reason)
        self._reporter.on_graphs_refused(reason)


_cached_split = functools.lru_cache(maxsize=1024)(split_update)
