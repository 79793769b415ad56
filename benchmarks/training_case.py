"""One network and batch size, measured in a process of its own: ``python -m benchmarks.training_case CASE.json``.

The arms take turns: the reference's loop, then for each precision this package's trainer and bare steps.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from adabatch.batching import split_update
from adabatch.compose import compose
from adabatch.config import TrainConfig
from adabatch.data import Dataset
from adabatch.data.resident import ResidentSource
from adabatch.data.source import ImageFormat
from adabatch.distributed import Ranks
from adabatch.environment import cpu_model
from adabatch.learner import DTYPES, Learner
from adabatch.measure.micro_batch import explore_micro_batch
from adabatch.networks import build_network
from adabatch.reporting import MainReporter
from adabatch.run_dir import RunDir
from adabatch.session import make_device
from adabatch.stop_signals import StopRequest
from adabatch.stopwatch import TRAIN_SPANS, Stopwatch
from adabatch.tracking import Tracker
from adabatch.trainer import Trainer
from benchmarks.bare_steps import BareSteps, best_matmul_flops_per_second
from benchmarks.images import (
    CROP_PADDING,
    IMAGE_SIZE,
    MEAN,
    NUM_CHANNELS,
    NUM_CLASSES,
    STD,
    LabelledImages,
    load_images,
)
from benchmarks.machine import OthersLoad
from benchmarks.measure import alternate
from benchmarks.reference_loop import ReferenceLoop

#: Few, since testing is no part of what is compared.
_NUM_TEST_SAMPLES = 16


@dataclasses.dataclass(frozen=True)
class Case:
    """What to measure; see ``python -m benchmarks --help``."""

    network: str
    batch_size: int
    num_samples: int
    precisions: list[str]
    device: str
    repetitions: int
    num_workers: int
    max_micro_batch_size: str
    fashion_mnist: bool = True


class OurTrainer:
    """This package's trainer, put together as a run puts it together, on given images.

    Attributes:
        config: with the micro-batch settled.
        spans: the share of each of the stopwatch's spans in the last epoch.
        forward_backward_seconds: by the run's own stopwatch, of all epochs so far.
    """

    def __init__(self, case: Case, precision: str, images: LabelledImages) -> None:
        config = _train_config(case, precision)
        self._device = make_device(config)
        self.cap_reason = "as asked for"
        if config.max_micro_batch_size == "auto":
            measured = explore_micro_batch([config], self._device)
            config = dataclasses.replace(config, max_micro_batch_size=measured.max_micro_batch_size)
            self.cap_reason = measured.reason
        self.config = config
        hardware = config.hardware
        image_format = ImageFormat(self._device, hardware.channels_last, DTYPES[hardware.precision])
        some = slice(_NUM_TEST_SAMPLES)
        self._dataset = Dataset(
            ResidentSource(images.pixels, images.labels, config.dataset, image_format, 255.0, augment=True),
            ResidentSource(
                images.pixels[some], images.labels[some], config.dataset, image_format, 255.0, augment=False
            ),
        )
        self._learner = Learner(config, self._device)
        self.micro_batch_size = split_update(case.batch_size, 1, config.max_micro_batch_size).micro_batch_size
        self.spans: dict[str, float] = {}
        self.forward_backward_seconds: list[tuple[float, float]] = []
        self._warm_up()

    def _warm_up(self) -> None:
        indices = torch.arange(self.micro_batch_size)
        for micro_images, labels in self._dataset.train.iterate(1, 0, [indices, indices]):
            self._learner.warm_up(micro_images, labels)

    def epoch_seconds(self) -> float:
        """Train an epoch with all that belongs to a run; return its seconds without the test and the last saving."""
        with tempfile.TemporaryDirectory() as folder:
            run_dir = RunDir(folder)
            reporter = MainReporter(run_dir, self.config.num_epochs, Tracker())
            stopwatch = Stopwatch(use_device_events=self._device.type == "cuda")
            trainer = Trainer(
                self.config, self._dataset, self._learner, Ranks(), run_dir, reporter, StopRequest(), stopwatch
            )
            started = time.perf_counter()
            trainer.train()
            summary = trainer.summary()
            seconds = time.perf_counter() - started
            reporter.close()
        self.spans = {span: summary[f"{span}_seconds"] for span in (*TRAIN_SPANS, "growth")}
        self.forward_backward_seconds.append((summary["forward_seconds"], summary["backward_seconds"]))
        return float(seconds - summary["test_seconds"] - summary["save_seconds"])


def _train_config(case: Case, precision: str) -> TrainConfig:
    return compose(
        [
            f"network={case.network}",
            "dataset=synthetic",
            f"dataset.num_train_samples={case.num_samples}",
            f"dataset.num_test_samples={_NUM_TEST_SAMPLES}",
            f"dataset.image_size={IMAGE_SIZE}",
            f"dataset.num_channels={NUM_CHANNELS}",
            f"dataset.num_classes={NUM_CLASSES}",
            f"dataset.crop_padding={CROP_PADDING}",
            "dataset.horizontal_flip=true",
            f"dataset.mean=[{MEAN}]",
            f"dataset.std=[{STD}]",
            "schedule=fixed",
            f"schedule.batch_size={case.batch_size}",
            "num_epochs=1",
            f"hardware={'gpu' if case.device == 'cuda' else 'cpu'}",
            f"hardware.precision={precision}",
            f"max_micro_batch_size={case.max_micro_batch_size}",
        ]
    )


def measure(case: Case) -> dict[str, Any]:
    """Return the rounds' seconds of every arm, and what is needed to read them."""
    images = load_images(case.num_samples, case.fashion_mnist)
    device = torch.device(case.device)
    ours = {precision: OurTrainer(case, precision, images) for precision in case.precisions}
    bare = {name: BareSteps(case.network, case.batch_size, arm.config, device) for name, arm in ours.items()}
    reference = _reference(case, images, device)
    reference_times: list[dict[str, float]] = []
    num_updates = case.num_samples // case.batch_size

    def reference_seconds() -> float:
        with _plain_tuning():
            times = reference.train_epoch()
        reference_times.append(dataclasses.asdict(times))
        return times.seconds

    arms: dict[str, Callable[[], float]] = {"reference": reference_seconds}
    for precision, trainer in ours.items():
        arms[f"ours {precision}"] = trainer.epoch_seconds
        arms[f"bare {precision}"] = lambda steps=bare[precision]: steps.seconds(num_updates)  # type: ignore[misc]
    others = {name: OthersLoad() for name in arms}
    watched = {name: partial(_watched, arm, others[name]) for name, arm in arms.items()}
    measured = alternate(watched, case.repetitions)
    return {
        **dataclasses.asdict(case),
        "data": images.name,
        "device_model": torch.cuda.get_device_name() if device.type == "cuda" else cpu_model(),
        "num_threads": torch.get_num_threads(),
        "flops_per_sample": _flops_per_sample(case.network),
        "others_cores": {name: load.cores for name, load in others.items()},
        "reference": {"seconds": measured["reference"], "epochs": reference_times},
        "precision": {
            precision: {
                "micro_batch_size": trainer.micro_batch_size,
                "micro_batch_reason": trainer.cap_reason,
                "seconds": measured[f"ours {precision}"],
                "span_seconds": trainer.spans,
                "forward_backward_seconds": trainer.forward_backward_seconds,
                "bare_seconds": measured[f"bare {precision}"],
                "matmul_flops_per_second": best_matmul_flops_per_second(precision, device),
            }
            for precision, trainer in ours.items()
        },
    }


def _watched(arm: Callable[[], float], others: OthersLoad) -> float:
    with others.watch():
        return arm()


def _reference(case: Case, images: LabelledImages, device: torch.device) -> ReferenceLoop:
    torch.manual_seed(0)
    network = build_network(case.network, NUM_CHANNELS, NUM_CLASSES, IMAGE_SIZE).to(device)
    return ReferenceLoop(network, images, case.batch_size, 1, case.num_workers, device)


@contextmanager
def _plain_tuning() -> Iterator[None]:
    """Keep cuDNN from searching for the fastest kernels: the reference does not ask for it, our trainer does."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _flops_per_sample(network_name: str, count: int = 2) -> float:
    """Return the floating-point operations of one sample's forward and backward."""
    network = build_network(network_name, NUM_CHANNELS, NUM_CLASSES, IMAGE_SIZE)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(count, NUM_CHANNELS, IMAGE_SIZE, IMAGE_SIZE)).sum().backward()
    return counter.get_total_flops() / count


def main() -> None:
    """Measure the case of a JSON file and put the result beside it."""
    path = Path(sys.argv[1])
    result = measure(Case(**json.loads(path.read_text(encoding="utf-8"))))
    path.with_suffix(".result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
