"""The names under which a run is shown to people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adabatch.config import TrainConfig

_HASH_DIGITS = 8


@dataclass(frozen=True, slots=True)
class RunLabels:
    """How a run is called, and with which others it belongs.

    Attributes:
        name: differs between runs that differ in a result.
        group: the sweep; for a run outside of any, data set and network.
        job_type: the arm; for a run outside of any sweep, its schedule.
    """

    name: str
    group: str
    job_type: str


def run_labels(config: TrainConfig, meta: Mapping[str, Any]) -> RunLabels:
    """Return a run's labels; ``tracker.run_name`` replaces the name.

    Args:
        meta: what ``meta.json`` holds.
    """
    launch = meta.get("launch") or {}
    cell = launch.get("cell") or f"{config.dataset.name}-{config.network.name}"
    arm = launch.get("arm") or config.schedule.label(dataclasses.asdict(config.schedule))
    seed = f"seed_{config.seed}"
    if not launch.get("arm"):  # an arm names every swept value; a schedule's label does not
        seed += f"-{meta['config_hash'].rpartition('-')[2][:_HASH_DIGITS]}"
    return RunLabels(config.tracker.run_name or f"{cell}/{arm}/{seed}", launch.get("sweep") or cell, arm)
