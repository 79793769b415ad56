"""This package's trainer, put together as in a run.

``python -m benchmarks.our_trainer`` is one turn of an arm of `training_speed`. It trains on the images of all arms.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from adabatch.config import TrainConfig
from adabatch.data import Dataset
from adabatch.data.resident import ResidentSource
from adabatch.data.source import ImageFormat
from adabatch.measure.resolve_auto import resolve_auto
from adabatch.processes.ranks import Ranks
from adabatch.processes.signals import StopRequest
from adabatch.rundir.columns import TRAIN_SPANS
from adabatch.rundir.files import RunDir
from adabatch.rundir.provenance import cpu_model
from adabatch.schedules.batching import split_update
from adabatch.trackers import Tracker
from adabatch.training.cuda_graphs import NotRecordable
from adabatch.training.device import make_device
from adabatch.training.engine import DTYPES, Engine
from adabatch.training.loop import TrainingLoop
from adabatch.training.reporting import MainReporter
from adabatch.training.stopwatch import Stopwatch
from benchmarks.arm import Measured, print_measured
from benchmarks.images import load_images
from benchmarks.training_case import Case, train_config


class OurTrainer:
    """A run that is ready to train.

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
        try:
            for micro_images, labels in self._dataset.train.iterate(1, 0, [indices, indices]):
                self._engine.warm_up(micro_images, labels)
        except NotRecordable as error:
            self._engine.stop_recording(str(error))

    @property
    def no_graphs(self) -> str | None:
        """Why nothing is replayed as CUDA graphs; None if it is, empty if that is not wanted or there is no GPU."""
        return self._engine.why_no_graphs

    def train(self) -> tuple[float, dict[str, Any]]:
        """Train for the config's epochs, with everything that belongs to a run.

        Returns:
            The seconds without growth (paid for in the warm-up), test and saving; and the run's summary.
        """
        with self._loop() as loop:
            started = time.perf_counter()
            loop.train()
            summary = loop.summary()
            seconds = time.perf_counter() - started
        return seconds - sum(summary[f"{span}_seconds"] for span in ("growth", "test", "save")), summary

    def train_epoch(self) -> tuple[float, float]:
        """Make the updates of one epoch, and neither test nor save, for which a compiled network would compile again.

        Returns:
            The seconds without growth, and those of growth, such as recording.
        """
        with self._loop() as loop:
            started = time.perf_counter()
            loop.train_epoch()
            growth: float = loop.seconds()["growth"]
            seconds = time.perf_counter() - started
        return seconds - growth, growth

    @contextmanager
    def _loop(self) -> Iterator[TrainingLoop]:
        with tempfile.TemporaryDirectory() as folder:
            run_dir = RunDir(folder)
            reporter = MainReporter(run_dir, self._config.num_epochs, Tracker())
            stopwatch = Stopwatch(use_device_events=self._device.type == "cuda")
            try:
                yield TrainingLoop(
                    self._config, self._dataset, self._engine, Ranks(), run_dir, reporter, StopRequest(), stopwatch
                )
            finally:
                reporter.close()


def resident_images(config: TrainConfig, device: torch.device, pixels: torch.Tensor, labels: torch.Tensor) -> Dataset:
    """Return uint8 ``pixels`` (N, H, W, C) and ``labels`` (N,) as a data set that lies on the device.

    The first images, as many as the config declares, are also the test images.
    """
    hardware, data = config.hardware, config.dataset
    image_format = ImageFormat(device, hardware.channels_last, DTYPES[hardware.precision])
    some = slice(data.num_test_samples)
    return Dataset(
        ResidentSource(pixels, labels, data, image_format, 255.0, augment=True),
        ResidentSource(pixels[some], labels[some], data, image_format, 255.0, augment=False),
    )


def resolved_run(case: Case, precision: str) -> tuple[TrainConfig, torch.device, str]:
    """Set this process up as for a run; return the config without ``auto``, the device, and why these values.

    What is measured for ``auto`` is kept in ``$XDG_CACHE_HOME``, so that all turns of a case share one measurement.
    """
    asked = train_config(case, precision)
    device = make_device(asked)
    resolved = resolve_auto([asked], device)
    return resolved.configs[0], device, "; ".join(resolved.reasons) or "as asked for"


def device_facts(device: torch.device) -> dict[str, Any]:
    """Return what a results file tells of the device."""
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()
    return {"device_model": model, "num_threads": torch.get_num_threads()}


def _build(order: dict[str, Any]) -> Callable[[], Measured]:
    case = Case(**order["case"])
    config, device, reason = resolved_run(case, order["precision"])
    images = load_images(case.num_samples, case.fashion_mnist)
    trainer = OurTrainer(config, device, resident_images(config, device, images.pixels, images.labels))
    facts = {"micro_batch_size": trainer.micro_batch_size, "micro_batch_reason": reason, **device_facts(device)}

    def measure() -> Measured:
        seconds, summary = trainer.train()
        spans = {span: summary[f"{span}_seconds"] for span in (*TRAIN_SPANS, "growth")}
        return {"seconds": seconds, "span_seconds": spans, **facts}

    return measure


if __name__ == "__main__":
    print_measured(_build)
