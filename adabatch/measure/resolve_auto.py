"""Replaces ``auto`` in configs by the values measured to be best on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adabatch.config import TrainConfig, with_measured
from adabatch.measure.compile_modes import choose_compile
from adabatch.measure.micro_batch import explore_micro_batch
from adabatch.measure.probe import release_memory


@dataclass(frozen=True)
class Resolved:
    """Configs without ``auto``.

    Attributes:
        configs: in the given order.
        reasons: a sentence for each measured value.
        measured: the measurements by key, as plain values for JSON.
    """

    configs: tuple[TrainConfig, ...]
    reasons: tuple[str, ...]
    measured: dict[str, Any]


def resolve_auto(configs: Sequence[TrainConfig], device: torch.device, *, again: bool = False) -> Resolved:
    """Resolve each ``auto`` to one value for all configs, which differ only in their schedules.

    The micro-batch cap is measured on the uncompiled network, since otherwise every size would have to be compiled.

    Args:
        device: set up by `adabatch.training.device.make_device`.
        again: measure even if the cache has an earlier measurement.

    Raises:
        OutOfMemory: if not even the smallest micro-batch fits.
    """
    try:
        return _resolve(configs, device, again)
    finally:
        release_memory(device)  # libraries other than torch need some


def _resolve(configs: Sequence[TrainConfig], device: torch.device, again: bool) -> Resolved:
    reasons: list[str] = []
    measured: dict[str, Any] = {}
    found = configs[0]
    if found.max_micro_batch_size == "auto":
        uncompiled = dataclasses.replace(found.hardware, compile=False)
        plain = [dataclasses.replace(config, hardware=uncompiled) for config in configs]
        cap = explore_micro_batch(plain, device, again=again)
        found = dataclasses.replace(found, max_micro_batch_size=cap.max_micro_batch_size)
        reasons.append(f"max_micro_batch_size is {cap.max_micro_batch_size}: {cap.reason}")
        measured["max_micro_batch_size"] = cap.as_dict()
    if found.hardware.compile == "auto":
        choice = choose_compile([with_measured(config, found) for config in configs], device, again=again)
        hardware = dataclasses.replace(found.hardware, compile=choice.compile)
        if hardware.cuda_graphs == "auto" and hardware.device == "cuda":
            hardware = dataclasses.replace(hardware, cuda_graphs=choice.cuda_graphs)
        found = dataclasses.replace(found, hardware=hardware)
        with_or_without = "with" if choice.cuda_graphs else "without"
        reasons.append(f"hardware.compile is {choice.compile}, {with_or_without} CUDA graphs: {choice.reason}")
        measured["hardware.compile"] = dataclasses.asdict(choice)
    return Resolved(tuple(with_measured(config, found) for config in configs), tuple(reasons), measured)
