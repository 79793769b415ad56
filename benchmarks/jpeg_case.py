"""The arms of `jpeg_loading`: ``python -m benchmarks.jpeg_case`` is one of them, whichever its order names.

``loader`` reads an epoch's batches and throws them away, ``steps`` trains an epoch on tensors of the same shape that
lie on the device, ``together`` trains an epoch on the files.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import torch

from adabatch.config import TrainConfig
from adabatch.config.compose import compose
from adabatch.data import Dataset, load_dataset
from adabatch.data.order import epoch_order
from adabatch.rundir.provenance import cpu_model
from adabatch.training.device import make_device
from adabatch.training.engine import DTYPES
from benchmarks.arm_process import Arm, serve
from benchmarks.our_trainer import OurTrainer, resident_images


@dataclasses.dataclass(frozen=True)
class JpegCase:
    """What to measure; see ``python -m benchmarks --help``. ``root`` is where the files lie."""

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


class _LoaderArm:
    """Epochs of the training images, batch by batch as the trainer would ask for them."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self._config = config
        self._device = device
        self._source = _files(config, device).train
        self._epoch = 0
        self.facts = _facts(device)
        self.measure()  # starts the workers

    def measure(self) -> tuple[float, dict[str, Any]]:
        self._epoch += 1
        order = epoch_order(self._source.num_samples, self._config.seed, self._epoch)
        started = time.perf_counter()
        batches = order.split(self._config.schedule.batch_size)
        count = sum(len(labels) for _, labels in self._source.iterate(self._epoch, self._config.seed, batches))
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - started, {"num_samples": count}


class _TrainingArm:
    """Epochs of our trainer on a data set."""

    def __init__(self, config: TrainConfig, device: torch.device, dataset: Dataset) -> None:
        self._trainer = OurTrainer(config, device, dataset)
        self.facts = _facts(device)

    def measure(self) -> tuple[float, dict[str, Any]]:
        seconds, summary = self._trainer.train()
        return seconds, {key: summary[key] for key in ("samples", "data_seconds", "train_seconds")}


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


def _facts(device: torch.device) -> dict[str, Any]:
    return {
        "device_model": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model(),
        "num_threads": torch.get_num_threads(),
    }


def _build(order: dict[str, Any]) -> Arm:
    config = _config(JpegCase(**order["case"]), order["num_workers"])
    device = make_device(config)
    if order["arm"] == "loader":
        return _LoaderArm(config, device)
    dataset = _resident(config, device) if order["arm"] == "steps" else _files(config, device)
    return _TrainingArm(config, device, dataset)


if __name__ == "__main__":
    serve(_build)
