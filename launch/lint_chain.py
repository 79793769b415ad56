"""What lint notes of a chain before it runs."""

from __future__ import annotations

from collections.abc import Iterator

from adabatch.config import TrainConfig
from adabatch.schedules import listens_to_signals
from adabatch.terminal import counted
from launch.chain_plan import shrinking_shares


def chain_notes(config: TrainConfig) -> Iterator[tuple[str, str, str]]:
    """Yield code, sentence and remedy of what makes a chain cost more than it saves."""
    if config.hardware.devices is None or listens_to_signals(config.build_schedule(), config.num_epochs):
        return
    for epoch, ranks, share, before in shrinking_shares(config):
        yield (
            "chain-costs-more",
            f"From epoch {epoch} on {ranks} ranks have {counted(share, 'sample')} of a batch each, and {before:,} "
            "before: with less work for each device, the chain costs more device-hours than it saves.",
            f"Let hardware.devices grow later, when each rank has at least {counted(before, 'sample')}.",
        )
