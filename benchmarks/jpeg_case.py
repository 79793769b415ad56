"""``python -m benchmarks.jpeg_case`` is one turn of an arm of `jpeg_loading`; its order names the arm.

``loader`` only reads the batches of an epoch, ``steps`` trains an epoch on tensors of the same shape that lie on the
device, ``together`` trains an epoch on the files.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch

from adabatch.config import TrainConfig
from adabatch.config.compose import compose
from adabatch.data import Dataset, Source, load_dataset
from adabatch.data.order import epoch_order
from adabatch.training.device import make_device
from adabatch.training.engine import DTYPES
from benchmarks.arm import Measured, print_measured
from benchmarks.our_trainer import OurTrainer, device_facts, resident_images


@dataclasses.dataclass(frozen=True)
class JpegCase:
    """What to measure; see ``python -m benchmarks --help``. The files lie in ``root``."""

    root: str
    network: str
    batch_size: int
    image_size: int
    num_images: int
    num_test_images: int
    num_classes: int
    precision: str
    device: str
    repetitions: int
    workers: list[int]


def _read_epoch(config: TrainConfig, device: torch.device, source: Source, epoch: int) -> Measured:
    """Read the training images, batch by batch as the trainer would ask for them."""
    order = epoch_order(source.num_samples, config.seed, epoch)
    started = time.perf_counter()
    batches = order.split(config.schedule.batch_size)
    count = sum(len(labels) for _, labels in source.iterate(epoch, config.seed, batches))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return {"seconds": time.perf_counter() - started, "num_samples": count}


def _train(trainer: OurTrainer) -> Measured:
    seconds, summary = trainer.train()
    return {"seconds": seconds, **{key: summary[key] for key in ("samples", "data_seconds", "train_seconds")}}


def _config(case: JpegCase, num_workers: int) -> TrainConfig:
    return compose(
        [
            "network=torchvision",
            f"network.name={case.network}",
            "dataset=imagenet",
            f"dataset.root={case.root}",
            f"dataset.num_train_samples={case.num_images}",
            f"dataset.num_test_samples={case.num_test_images}",
            f"dataset.num_classes={case.num_classes}",
            f"dataset.image_size={case.image_size}",
            f"dataset.num_workers={num_workers}",
            "schedule=fixed",
            f"schedule.batch_size={case.batch_size}",
            "num_epochs=1",
            f"hardware={'gpu' if case.device == 'cuda' else 'cpu'}",
            f"hardware.precision={case.precision}",
        ]
    )


def _files(config: TrainConfig, device: torch.device) -> Dataset:
    return load_dataset(config.dataset, device, config.hardware.channels_last, DTYPES[config.hardware.precision])


def _resident(config: TrainConfig, device: torch.device) -> Dataset:
    data = config.dataset
    source = torch.Generator().manual_seed(0)
    shape = (data.num_train_samples, data.image_size, data.image_size, data.num_channels)
    pixels = torch.randint(0, 256, shape, generator=source, dtype=torch.uint8)
    labels = torch.randint(0, data.num_classes, shape[:1], generator=source)
    return resident_images(config, device, pixels, labels)


def _build(order: dict[str, Any]) -> Callable[[], Measured]:
    config = _config(JpegCase(**order["case"]), order["num_workers"])
    device = make_device(config)
    if order["arm"] == "loader":
        source = _files(config, device).train
        _read_epoch(config, device, source, 1)  # starts the workers
        return lambda: _read_epoch(config, device, source, 2)
    dataset = _resident(config, device) if order["arm"] == "steps" else _files(config, device)
    trainer = OurTrainer(config, device, dataset)
    return lambda: {**_train(trainer), **device_facts(device)}


if __name__ == "__main__":
    print_measured(_build)
