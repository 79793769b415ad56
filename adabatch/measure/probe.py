"""Measures how long a micro-batch takes on one device: the real training loop, briefly, on random pixels.

`TrainingLoop.train_epoch` itself is timed, so the numbers include data preparation, metrics and the loop's overhead, as
in a run. Sizes take turns, so that a temporary disturbance affects all of them.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import torch

from adabatch.config import CheckpointConfig, DatasetConfig, StepwiseScheduleConfig, TrainConfig
from adabatch.data import Dataset, Source
from adabatch.data.order import generator
from adabatch.data.resident import ResidentSource, ResidentValues
from adabatch.data.source import ImageFormat
from adabatch.errors import OutOfMemory, is_out_of_memory
from adabatch.measure.times import Measurement, MicroBatchTime
from adabatch.processes.ranks import Ranks
from adabatch.processes.signals import StopRequest
from adabatch.rundir.columns import GRAPH_SPAN, train_seconds
from adabatch.rundir.files import RunDir
from adabatch.rundir.provenance import cpu_model, utc_now
from adabatch.training.engine import DTYPES, Engine
from adabatch.training.evaluation import evaluate
from adabatch.training.loop import TrainingLoop
from adabatch.training.reporting import Reporter
from adabatch.training.stopwatch import Stopwatch

_SMALLEST = 8
_MAX_IMAGES = 1024
_NUM_TEST_SAMPLES = 512
#: So small that the weights do not change, and every repetition computes the same.
_LEARNING_RATE = 1e-12
_REPETITION_SECONDS = 0.1
_MAX_UPDATES = 512
#: While exploring, a size whose best samples per second are below this share of the best is not measured again.
_CONTENDER_SHARE = 0.75
_EXPLORING_SECONDS = 6.0
_SECONDS_PER_SIZE = 1.0
_MIN_ROUNDS = 2
#: What a micro-batch consists of.
_COMPUTING = ("data", "forward", "backward", GRAPH_SPAN)
#: The largest share of a GPU's memory that a chosen micro-batch may use.
_MEMORY_SHARE = 0.9
_log = logging.getLogger(__name__)


def device_model(device: torch.device) -> str:
    """Return the name of the GPU or CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()


def release_memory(device: torch.device) -> None:
    """Return a GPU's unused memory to the driver, and reset the peak statistics."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


class _Repeated:
    """A source of any length that repeats another one's samples; see `Source`."""

    def __init__(self, source: Source, num_samples: int) -> None:
        self._source = source
        self.num_samples = num_samples

    def iterate(
        self, epoch: int, seed: int, batches: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield images and labels for each batch of indices; see `Source.iterate`."""
        return self._source.iterate(epoch, seed, [batch % self._source.num_samples for batch in batches])


class Probe:
    """Times micro-batches of one config's network and image shape on one device.

    Args:
        config: gives network, image shape, augmentation, optimizer and hardware; its schedule does not matter.
        device: set up by `adabatch.training.device.make_device`.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        hardware = dataclasses.replace(config.hardware.with_ranks(1), profile=False)
        optimizer = dataclasses.replace(config.optimizer, learning_rate=_LEARNING_RATE)
        self._config = dataclasses.replace(
            config,
            num_epochs=1,
            max_micro_batch_size=None,
            hardware=hardware,
            optimizer=optimizer,
            checkpoint=CheckpointConfig(),
        )
        self._device = device
        self._engine = Engine(self._config, device)
        if self._engine.graphs is not None:
            self._engine.graphs.joins_step = False  # to time the step on its own, as with accumulation
        self._source = _random_source(self._config, device)
        self._seconds: dict[int, list[dict[str, float]]] = {}
        self._first: dict[int, dict[str, float]] = {}
        self._growth: defaultdict[int, float] = defaultdict(float)
        self._out_of_memory_at: int | None = None
        # Training only: starting a GPU and tuning for a size would use up the time for the sizes themselves.
        self._spent_seconds = 0.0

    def explore(self, largest: int) -> Measurement:
        """Time powers of two up to ``largest``, and ``largest`` itself, within a few seconds of training.

        Raises:
            OutOfMemory: if not even the smallest size fits.
        """
        powers = [1 << power for power in range(_SMALLEST.bit_length() - 1, largest.bit_length())]
        for size in sorted({min(size, largest) for size in [*powers, largest]}):
            # Each size is first computed twice, and takes at most about twice as long as the one before.
            expected = 4 * self._fastest(max(self._seconds)) if self._seconds else 0.0
            if self._spent_seconds + expected > _EXPLORING_SECONDS or not self._try(size):
                break
            if self._memory_is_nearly_full() and len(self._seconds) > 1:
                self._leave_out(size)
                break
        while self._spent_seconds < _EXPLORING_SECONDS:
            best = max(size / self._fastest(size) for size in self._seconds)
            for size in self._seconds:
                if size / self._fastest(size) >= _CONTENDER_SHARE * best:
                    self._repeat(size)
        return self._measurement()

    def measure(self, sizes: Sequence[int]) -> Measurement:
        """Time the given sizes for about a second each, and at least a few times.

        Raises:
            OutOfMemory: if none fits; if only some fit, the measurement says so.
        """
        fitting = [size for size in sorted(sizes) if self._out_of_memory_at is None and self._try(size)]
        deadline = time.perf_counter() + _SECONDS_PER_SIZE * len(fitting)
        rounds = 0
        while rounds < _MIN_ROUNDS or time.perf_counter() < deadline:
            for size in fitting:
                self._repeat(size)
            rounds += 1
        return self._measurement()

    def _try(self, size: int) -> bool:
        """Compute a size for the first time; return False if it does not fit into memory."""
        release_memory(self._device)
        refusal = self._compute_first(size)
        if refusal is None:
            return True
        release_memory(self._device)
        _log.info("a micro-batch of %d does not fit: %s", size, refusal)
        self._out_of_memory_at = size
        if not self._seconds:
            raise OutOfMemory(f"not even a micro-batch of {size} fits on {self._device}")
        return False

    def _compute_first(self, size: int) -> str | None:
        """Return the message of an out-of-memory error, whose frames would keep the memory, or None."""
        try:
            first = self._train(size, 1)
            release_memory(self._device)  # the kernel search used more than is needed from now on
            second = self._train(size, 1)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return str(error).splitlines()[0] if str(error) else type(error).__name__
        self._first[size], self._seconds[size] = first, [second]
        return None

    def _memory_is_nearly_full(self) -> bool:
        """Return whether the size tried last leaves too little memory for the rest of a run, such as its data."""
        if self._device.type != "cuda":
            return False
        total = torch.cuda.get_device_properties(self._device).total_memory
        return torch.cuda.max_memory_reserved(self._device) > _MEMORY_SHARE * total

    def _leave_out(self, size: int) -> None:
        del self._seconds[size], self._first[size]
        self._out_of_memory_at = size

    def _repeat(self, size: int) -> None:
        count = min(max(1, round(_REPETITION_SECONDS / self._fastest(size))), _MAX_UPDATES)
        self._seconds[size].append(self._train(size, count))

    def _fastest(self, size: int) -> float:
        return min(train_seconds(seconds) for seconds in self._seconds[size])

    def _train(self, size: int, num_updates: int) -> dict[str, float]:
        """Make updates of one micro-batch each; return the seconds per update by span."""
        config = dataclasses.replace(self._config, schedule=StepwiseScheduleConfig(batch_size=size, every_epochs=1))
        stopwatch = Stopwatch(use_device_events=self._device.type == "cuda")
        dataset = Dataset(_Repeated(self._source, size * num_updates), self._source)
        unused = RunDir(Path())  # nothing is written without a reporter or a checkpoint
        trainer = TrainingLoop(config, dataset, self._engine, Ranks(), unused, Reporter(), StopRequest(), stopwatch)
        trainer.train_epoch()
        seconds = trainer.seconds()
        self._spent_seconds += train_seconds(seconds)
        self._growth[size] += seconds["growth"]
        return {span: value / num_updates for span, value in seconds.items()}

    def _measurement(self) -> Measurement:
        return Measurement(
            rows=tuple(self._row(size) for size in sorted(self._seconds)),
            test_seconds_per_sample=self._test_seconds_per_sample(),
            out_of_memory_at=self._out_of_memory_at,
            device_model=device_model(self._device),
            measured_at=utc_now(),
            uses_graphs=self._engine.graphs is not None,
        )

    def _row(self, size: int) -> MicroBatchTime:
        # In the first repetition, a single update carries the whole epoch's overhead.
        taken = self._seconds[size][1:] or self._seconds[size]
        return MicroBatchTime(
            micro_batch_size=size,
            data_seconds=median(one["data"] for one in taken),
            forward_seconds=median(one["forward"] for one in taken),
            backward_seconds=median(one["backward"] for one in taken),
            update_seconds=median(one["update"] for one in taken),
            fastest_seconds=min(sum(one[span] for span in _COMPUTING) for one in taken),
            growth_seconds=self._growth[size],
            first_seconds=max(0.0, train_seconds(self._first[size]) - train_seconds(self._seconds[size][0])),
            graph_seconds=median(one[GRAPH_SPAN] for one in taken),
        )

    def _test_seconds_per_sample(self) -> float:
        source = _Repeated(self._source, min(_NUM_TEST_SAMPLES, self._config.dataset.num_test_samples))
        durations = []
        for _ in range(3):
            started = time.perf_counter()
            evaluate(self._engine, source, self._config.dataset.num_classes, Ranks())
            durations.append(time.perf_counter() - started)
        return median(durations) / source.num_samples


def random_samples(data: DatasetConfig, count: int, source: torch.Generator) -> torch.Tensor:
    """Return samples (count, ...) of the data set's shape: token ids, int64, or normally distributed values."""
    shape = (count, *data.sample_shape)
    if data.num_tokens is not None:
        return torch.randint(0, data.num_tokens, shape, generator=source)
    return torch.randn(shape, generator=source)


def _random_source(config: TrainConfig, device: torch.device) -> ResidentSource | ResidentValues:
    data, hardware = config.dataset, config.hardware
    count = min(data.num_train_samples, _MAX_IMAGES)
    source = generator("probe")
    image_format = ImageFormat(device, hardware.channels_last, DTYPES[hardware.precision])
    if len(data.sample_shape) != 3 or data.num_tokens is not None:
        samples = random_samples(data, count, source)
        labels = torch.randint(0, data.num_classes, (count,), generator=source)
        return ResidentValues(samples, labels, data, image_format)
    channels, height, width = data.sample_shape
    pixels = torch.randint(0, 256, (count, height, width, channels), dtype=torch.uint8, generator=source)
    labels = torch.randint(0, data.num_classes, (count,), generator=source)
    return ResidentSource(pixels, labels, data, image_format, white=255.0, augment=True)
