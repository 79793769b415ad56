"""How long a run will take, based on measurements of the device; nothing here imports torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from adabatch.config import Allocation, TrainConfig, allocations
from adabatch.measure.times import Measurement
from adabatch.rundir.columns import device_seconds
from adabatch.schedules import plan_updates, tabulate
from adabatch.schedules.batching import split_update
from adabatch.schedules.progress import Progress

#: Sizes with a smaller share of a run's samples than this are not measured separately, ...
_MIN_SHARE = 0.05
#: ... unless the other sizes have less than this share, as on a ramp; then powers of two represent all.
_MIN_COVERED_SHARE = 0.75


@dataclass(frozen=True)
class Forecast:
    """Seconds of one run, named as in ``summary.json``.

    Attributes:
        uses_graphs: whether it replays CUDA graphs.
        counterpart: the same without graphs, or with them; None where that was not measured.
        fixed_seconds, seconds_per_sample: of the line through the times of a micro-batch, see
            `adabatch.measure.times.LinearFit`; None where fewer than three sizes were measured.
        update_seconds: of one optimizer step.
        device_seconds: training and growth times the ranks.
    """

    train_seconds: float
    growth_seconds: float
    test_seconds: float
    uses_graphs: bool = False
    counterpart: Forecast | None = None
    fixed_seconds: float | None = None
    seconds_per_sample: float | None = None
    update_seconds: float | None = None
    device_seconds: float = 0.0

    @property
    def elapsed_seconds(self) -> float:
        """Training and growth, the basis of speedups."""
        return self.train_seconds + self.growth_seconds


def count_updates(config: TrainConfig, first_epoch: int = 1, last_epoch: int | None = None) -> Counter[int]:
    """Return the number of updates by their number of samples, of the whole run or of some of its epochs."""
    last_epoch = config.num_epochs if last_epoch is None else last_epoch
    data = config.dataset
    samples = data.num_train_samples
    schedule = config.build_schedule()
    counts: Counter[int] = Counter()
    if schedule.constant_within_epoch:
        for row in tabulate(schedule, last_epoch, samples, data.partial_batch)[first_epoch - 1 :]:
            full, partial = divmod(row.num_samples, row.batch_size)
            counts[row.batch_size] += full
            counts[partial] += 1
        del counts[0]
        return +counts
    for epoch in range(first_epoch, last_epoch + 1):
        updates = plan_updates(schedule, Progress(epoch=epoch), samples, data.partial_batch)
        counts.update(update.num_samples for update in updates)
    return counts


def micro_batch_counts(config: TrainConfig) -> Counter[int]:
    """Return the number of micro-batches by size on the first rank, which computes the most."""
    return sum((_part_counts(config, part) for part in allocations(config)), Counter())


def _part_counts(config: TrainConfig, part: Allocation) -> Counter[int]:
    counts: Counter[int] = Counter()
    for num_samples, updates in count_updates(config, part.first_epoch, part.last_epoch).items():
        split = split_update(num_samples, part.num_ranks, config.max_micro_batch_size)
        for size in split.micro_batches[0]:
            counts[size] += updates
    return counts


def sizes_to_measure(configs: Sequence[TrainConfig]) -> list[int]:
    """Return the micro-batch sizes that determine how long these runs take, in increasing order."""
    sizes: set[int] = set()
    for config in configs:
        samples = Counter({size: size * count for size, count in micro_batch_counts(config).items()})
        common = {size for size in samples if samples[size] >= _MIN_SHARE * samples.total()}
        if sum(samples[size] for size in common) < _MIN_COVERED_SHARE * samples.total():
            smallest = _smallest_common_size(samples)
            common = {1 << power for power in range(smallest.bit_length() - 1, max(samples).bit_length())}
        sizes |= {*common, max(samples), *_grown_sizes(config)}
    return sorted(sizes)


def _grown_sizes(config: TrainConfig) -> set[int]:
    """Return the micro-batch size of every stage, where each costs growth; for ramps, they are too many."""
    hardware, samples = config.hardware, config.dataset.num_train_samples
    schedule = config.build_schedule()
    if not schedule.constant_within_epoch or (hardware.device == "cpu" and not hardware.compile):
        return set()
    rows = tabulate(schedule, config.num_epochs, samples, config.dataset.partial_batch)
    batches = {(min(row.batch_size, samples), hardware.ranks_for(row.batch_size)) for row in rows}
    splits = (split_update(batch, ranks, config.max_micro_batch_size) for batch, ranks in batches)
    return {split.micro_batch_size for split in splits}


def _smallest_common_size(samples: Counter[int]) -> int:
    so_far = 0
    for size in sorted(samples):
        so_far += samples[size]
        if so_far >= _MIN_SHARE * samples.total():
            break
    return size


def forecast(config: TrainConfig, measurement: Measurement) -> Forecast:
    """Predict a run's seconds and device-seconds; where its ranks grow, from the micro-batches of each allocation.

    The time to average gradients over ranks is added in full, where it was measured: a backward pass may hide part of
    it. It excludes the time to decode files in a loader.
    """
    parts = [_of_part(config, part, measurement) for part in allocations(config)]
    fit = measurement.fit()
    return Forecast(
        train_seconds=sum(part.train_seconds for part in parts),
        growth_seconds=sum(part.growth_seconds for part in parts),
        test_seconds=sum(part.test_seconds for part in parts),
        uses_graphs=measurement.uses_graphs,
        counterpart=forecast(config, measurement.counterpart) if measurement.counterpart else None,
        fixed_seconds=fit.fixed_seconds if fit else None,
        seconds_per_sample=fit.seconds_per_sample if fit else None,
        update_seconds=measurement.update_seconds,
        device_seconds=sum(part.device_seconds for part in parts),
    )


def _of_part(config: TrainConfig, part: Allocation, measurement: Measurement) -> Forecast:
    """Predict the epochs of one allocation, whose processes compute, and tune for, each size anew."""
    counts = _part_counts(config, part)
    computing = sum(count * measurement.micro_batch_seconds(size) for size, count in counts.items())
    starting = sum(row.first_seconds for row in {measurement.nearest(size) for size in counts})
    updates = sum(count_updates(config, part.first_epoch, part.last_epoch).values())
    tested = config.dataset.num_test_samples + config.dataset.num_validation_samples
    averaging = measurement.averaging_seconds(part.num_ranks) or 0.0
    train = computing + starting + updates * (measurement.update_seconds + averaging)
    growth = sum(measurement.nearest(size).growth_seconds for size in counts)
    return Forecast(
        train_seconds=train,
        growth_seconds=growth,
        test_seconds=part.num_epochs * math.ceil(tested / part.num_ranks) * measurement.test_seconds_per_sample,
        device_seconds=device_seconds(train, growth, part.num_ranks),
    )
