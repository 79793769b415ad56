"""The child process of `gpu_speed` that holds our trainer's arms and the bare update; see `benchmarks.served`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from adabatch.data import Dataset
from adabatch.training.device import make_device
from benchmarks.arm import Measured
from benchmarks.gpu_bare import BareUpdate
from benchmarks.gpu_case import BARE, OUR_ARMS, OurArm
from benchmarks.images import load_images
from benchmarks.measure import BenchmarkFailed
from benchmarks.our_trainer import OurTrainer, device_facts, resident_images
from benchmarks.served import Build, serve
from benchmarks.training_case import Case, train_config


def start(order: dict[str, Any]) -> Build:
    """Return how an arm is built. All share this process's settings, which are those of any run, and the images."""
    case = Case(**order["case"])
    config = train_config(case, "bf16", ("hardware.compile=false",))
    device = make_device(config)

    @cache
    def images() -> Dataset:
        loaded = load_images(case.num_samples, case.fashion_mnist)
        return resident_images(config, device, loaded.pixels, loaded.labels)

    def build(name: str) -> Callable[[], Measured]:
        if name == BARE:
            return _bare(case, device)
        return _ours(case, OUR_ARMS[name], device, images())

    return build


def _ours(case: Case, arm: OurArm, device: torch.device, images: Dataset) -> Callable[[], Measured]:
    trainer = OurTrainer(train_config(case, arm.precision, arm.words), device, images)

    def measure() -> Measured:
        seconds, growth = trainer.train_epoch()
        if arm.uses_graphs and trainer.no_graphs is not None:
            raise BenchmarkFailed(f"CUDA graphs are not used: {trainer.no_graphs or 'there is no GPU'}")
        return {"seconds": seconds, "growth_seconds": growth, "num_samples": case.num_samples, **device_facts(device)}

    return measure


def _bare(case: Case, device: torch.device) -> Callable[[], Measured]:
    update = BareUpdate(case.network, train_config(case, "bf16", ("hardware.compile=false",)), device)
    count = case.num_samples // case.batch_size
    return lambda: {"seconds": update.seconds(count), "num_samples": count * case.batch_size}


if __name__ == "__main__":
    serve(start)
