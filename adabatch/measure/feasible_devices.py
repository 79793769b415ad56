"""What is known before a run starts of batches that do not go with the ranks that ``hardware.devices`` gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adabatch.config import TrainConfig
from adabatch.measure.doubt import Doubt
from adabatch.schedules import Schedule, listens_to_signals
from adabatch.schedules.batching import split_update
from adabatch.schedules.trajectory import planned_trajectory
from adabatch.terminal import counted


def device_doubts(config: TrainConfig) -> Iterator[Doubt]:
    """Yield what speaks against the ranks of a run's batches; nothing where their number is always the same.

    Raises:
        ConfigError: if the schedule cannot be computed.
    """
    devices, schedule = config.hardware.devices, config.build_schedule()
    if devices is None:
        return
    if listens_to_signals(schedule, config.num_epochs):
        yield Doubt(
            "devices-not-planned",
            True,
            "hardware.devices gives ranks to batches, but the schedule decides its batches by what training measures,"
            " so that nobody can ask for the devices before.",
            "Set hardware.devices=null, or choose a schedule that is known before the run.",
        )
        return
    batches = sorted(set(planned_trajectory(config.build_schedule(), config.num_epochs).batch_sizes.tolist()))
    yield from _uncovered(devices, batches)
    yield from _uneven(config, schedule, batches)


def _uncovered(devices: Mapping[int, int], batches: list[int]) -> Iterator[Doubt]:
    least = min(devices)
    if batches[0] < least:
        yield Doubt(
            "devices-not-planned",
            True,
            f"hardware.devices begins with a batch of {least:,}, but the schedule has one of {batches[0]:,}.",
            f"Give hardware.devices an entry for {batches[0]}, such as {batches[0]}: 1.",
        )


def _uneven(config: TrainConfig, schedule: Schedule, batches: list[int]) -> Iterator[Doubt]:
    """Yield the batches that their ranks, and micro-batches under the cap, do not divide evenly."""
    if not schedule.constant_within_epoch:  # a ramp has batches of every size; the exact mean copes with them
        return
    cap = config.max_micro_batch_size
    for batch in batches:
        ranks = config.hardware.ranks_for(batch)
        split = split_update(batch, ranks, cap if isinstance(cap, int) else None)
        sizes = {size for rank in split.micro_batches for size in rank}
        if batch % ranks:
            yield Doubt(
                "ranks-do-not-divide",
                True,
                f"A batch of {batch:,} does not divide evenly over the {ranks} ranks that hardware.devices gives it.",
                f"Choose batch sizes and growth so that it is a multiple of {ranks}, or give it another number.",
            )
        elif len(sizes) > 1:
            yield Doubt(
                "ranks-do-not-divide",
                True,
                f"A batch of {batch:,} over {counted(ranks, 'rank')} is {counted(batch // ranks, 'sample')} on each,"
                f" which {split.accumulation_steps} micro-batches of at most {cap:,} do not divide evenly.",
                f"Choose max_micro_batch_size so that it divides {batch // ranks}.",
            )
