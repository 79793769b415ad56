"""One network and batch size, as every arm of `training_speed` gets it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from adabatch.config import TrainConfig
from adabatch.config.compose import compose
from benchmarks.images import CROP_PADDING, IMAGE_SIZE, MEAN, NUM_CHANNELS, NUM_CLASSES, NUM_TEST_SAMPLES, STD


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


def train_config(case: Case, precision: str, more: Sequence[str] = ()) -> TrainConfig:
    """Return the config of our trainer's run: one epoch, with the cap on the micro-batch that was asked for.

    Args:
        more: overrides, which win over those of the case.
    """
    return compose(
        [
            f"network={case.network}",
            "dataset=synthetic",
            f"dataset.num_train_samples={case.num_samples}",
            f"dataset.num_test_samples={NUM_TEST_SAMPLES}",
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
            f"hardware.compile={'auto' if case.device == 'cuda' else 'false'}",
            f"max_micro_batch_size={case.max_micro_batch_size}",
            *more,
        ]
    )
