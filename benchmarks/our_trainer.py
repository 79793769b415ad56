"""This package's trainer, measured as a run puts it together: ``python -m benchmarks.our_trainer`` is an arm.

The arm of `training_speed` trains on the images that all its arms share.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch

from adabatch.config import TrainConfig
from adabatch.data import Dataset
from adabatch.data.resident import ResidentSource
from adabatch.data.source import ImageFormat
from adabatch.measure.resolve_auto import resolve_auto
from adabatch.processes.ranks import Ranks
from adabatch.processes.signals import StopRequest
from adabatch.rundir.files import RunDir
from adabatch.rundir.provenance import cpu_model
from adabatch.schedules.batching import split_update
from adabatch.training.device import make_device
from adabatch.training.engine import DTYPES, Engine
from adabatch.training.loop import TrainingLoop
from adabatch.training.reporting import MainReporter
from adabatch.training.stopwatch import TRAIN_SPANS, Stopwatch
from adabatch.training.tracking import Tracker
from benchmarks.arm_process import serve
from benchmarks.images import load_images
from benchmarks.training_case import Case, train_config


class OurTrainer:
    """Trains one network on and on, each time as a run of its own that ends after the config's epochs.

    Args:
        config: with the micro-batch resolved.
        device: from `make_device`.
        dataset: as the config declares it.
    """

    def __init__(self, config: TrainConfig, device: torch.device, dataset: Dataset) -> None:
        self._config = config
        self._device = device
        self._dataset = dataset
        self._engine = Engine(config, device)
        cap = config.max_micro_batch_size
        self.micro_batch_size = split_update(config.schedule.batch_size, 1, cap).micro_batch_size
        self._warm_up()

    def _warm_up(self) -> None:
        indices = torch.arange(self.micro_batch_size)
        for micro_images, labels in self._dataset.train.iterate(1, 0, [indices, indices]):
            self._engine.warm_up(micro_images, labels)

    def train(self) -> tuple[float, dict[str, Any]]:
        """Train with all that belongs to a run.

        Returns:
            The seconds without growth, which is paid for before, the test and the last saving; and the run's summary.
        """
        with tempfile.TemporaryDirectory() as folder:
            run_dir = RunDir(folder)
            reporter = MainReporter(run_dir, self._config.num_epochs, Tracker())
            stopwatch = Stopwatch(use_device_events=self._device.type == "cuda")
            trainer = TrainingLoop(
                self._config, self._dataset, self._engine, Ranks(), run_dir, reporter, StopRequest(), stopwatch
            )
            started = time.perf_counter()
            trainer.train()
            summary = trainer.summary()
            seconds = time.perf_counter() - started
            reporter.close()
        return seconds - sum(summary[f"{span}_seconds"] for span in ("growth", "test", "save")), summary


def resident_images(config: TrainConfig, device: torch.device, pixels: torch.Tensor, labels: torch.Tensor) -> Dataset:
    """Return uint8 ``pixels`` (N, H, W, C) and ``labels`` (N,) as a data set that lies on the device.

    The first of them are the test images, as many as the config declares.
    """
    hardware, data = config.hardware, config.dataset
    image_format = ImageFormat(device, hardware.channels_last, DTYPES[hardware.precision])
    some = slice(data.num_test_samples)
    return Dataset(
        ResidentSource(pixels, labels, data, image_format, 255.0, augment=True),
        ResidentSource(pixels[some], labels[some], data, image_format, 255.0, augment=False),
    )


class _TrainerArm:
    def __init__(self, order: dict[str, Any]) -> None:
        case = Case(**order["case"])
        config = train_config(case, order["precision"])
        device = make_device(config)
        resolved = resolve_auto([config], device)
        (config,) = resolved.configs
        images = load_images(case.num_samples, case.fashion_mnist)
        self._trainer = OurTrainer(config, device, resident_images(config, device, images.pixels, images.labels))
        self.facts = {
            "device_model": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model(),
            "num_threads": torch.get_num_threads(),
            "max_micro_batch_size": config.max_micro_batch_size,
            "micro_batch_size": self._trainer.micro_batch_size,
            "compile": config.hardware.compile,
            "micro_batch_reason": "; ".join(resolved.reasons) or "as asked for",
        }

    def measure(self) -> tuple[float, dict[str, Any]]:
        seconds, summary = self._trainer.train()
        return seconds, {span: summary[f"{span}_seconds"] for span in (*TRAIN_SPANS, "growth")}


if __name__ == "__main__":
    serve(_TrainerArm)
