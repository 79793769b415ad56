"""The config keys of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

from adabatch.data.names import dataset_names
from adabatch.fields import (
    BELOW_ONE,
    Changes,
    Range,
    at_least,
    count,
    key,
    null_or,
    one_of,
    require,
    require_choice,
    shown,
)
from adabatch.plugins.config import PluginGroup, args_key, path_key
from adabatch.plugins.kinds import Kind

#: A data set of more samples is a mistake.
MOST_SAMPLES = 1_000_000_000


@dataclass
class DatasetConfig(PluginGroup):
    """A data set by name or import path.

    Its sizes are declared, or read off the data when a config is composed, so planning needs no data; loading verifies
    them.
    """

    PREFIX: ClassVar[str] = "dataset."
    KIND: ClassVar[Kind] = Kind.DATASET

    name: str = key("", doc="the data set")
    path: str | None = path_key()
    args: dict[str, Any] = args_key()
    root: str | None = key(None, doc="the folder with the files; null: the usual places", changes=Changes.NOTHING)
    download: bool = key(False, doc="fetch the files if they are missing", changes=Changes.NOTHING)
    partial_batch: str = key(
        "keep",
        doc="an epoch's last, smaller batch: keep makes an update of it, drop leaves its samples out",
        allowed=one_of("keep", "drop"),
        shapes_micro_batch=False,
    )
    num_train_samples: int = key(
        doc="training samples; filled in where some are held out or left out",
        allowed=count(MOST_SAMPLES),
        shapes_micro_batch=False,
    )
    limit: int | None = key(
        None,
        doc="train on at most so many samples, an equal share of each class; null: on all",
        allowed=null_or(at_least(1, "sample")),
        shapes_micro_batch=False,
        hash_rule=3,
    )
    validation: float = key(
        0.0,
        doc="share of the training samples, of each class alike, that is held out to tune and to steer schedules by",
        allowed=BELOW_ONE,
        shapes_micro_batch=False,
        hash_rule=3,
    )
    test_limit: int | None = key(
        None,
        doc="test on at most so many samples, an equal share of each class; null: on all; for quick looks",
        allowed=null_or(at_least(1, "sample")),
        shapes_micro_batch=False,
        hash_rule=3,
    )
    num_validation_samples: int = key(
        0, doc="samples held out, filled in", allowed=at_least(0), shapes_micro_batch=False, hash_rule=3
    )
    num_test_samples: int = key(doc="test samples", allowed=count(MOST_SAMPLES), shapes_micro_batch=False)
    image_size: int = key(doc="height and width in pixels", allowed=count(65_536))
    num_channels: int = key(doc="channels of an image", allowed=count(65_536))
    input_shape: list[int] | None = key(
        None,
        doc="shape of one sample; null: (num_channels, image_size, image_size)",
        allowed=null_or(Range("a list of sizes from 1", lambda value: bool(value) and min(value) >= 1)),
        hash_rule=3,
    )
    num_tokens: int | None = key(
        None,
        doc="samples are whole numbers below this one, such as token ids; null: they are real numbers",
        allowed=null_or(at_least(1)),
        hash_rule=3,
    )
    num_classes: int = key(doc="classes", allowed=count(10_000_000, least=2))
    crop_padding: int = key(
        0, doc="pixels of padding for random crops; 0: no crops", allowed=count(65_536, "pixels", least=0)
    )
    horizontal_flip: bool = key(False, doc="mirror training images at random")
    transforms: list[Any] = key(
        [],
        doc="transforms of torchvision.transforms.v2 for training images, instead of crops and mirroring",
        shapes_micro_batch=False,
        hash_rule=3,
    )
    mean: list[float] = key(doc="subtracted from pixels between 0 and 1; one number or one per channel")
    std: list[float] = key(doc="what pixels are then divided by; one number or one per channel")
    test_fraction: float = key(
        0.2,
        doc="share of each class that is for testing, in a folder of images without splits",
        allowed=Range("more than 0 and less than 1", lambda value: 0 < value < 1),
        shapes_micro_batch=False,
        hash_rule=3,
    )
    digest: str | None = key(
        None,
        doc="of what was read off the data, filled in; other data are then refused; null: not read",
        shapes_micro_batch=False,
        hash_rule=3,
    )
    num_workers: int = key(
        0,
        doc="processes that decode files, for each of training and test",
        allowed=count(1_024, least=0),
        changes=Changes.NOTHING,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is None:
            require_choice("dataset.name", self.name, self.own_names())
        for name in ("mean", "std"):
            values = getattr(self, name)
            is_list = len(values) in (1, self.num_channels) and all(map(isfinite, values))
            allowed = f"a list of 1 or dataset.num_channels={self.num_channels} finite numbers"
            require(is_list, f"dataset.{name}", values, allowed)
        for name, unused in (("crop_padding", 0), ("horizontal_flip", False)):
            value = getattr(self, name)
            is_alone = value == unused or not self.transforms
            require(is_alone, f"dataset.{name}", value, f"{shown(unused)} where dataset.transforms are given")
        require(all(value > 0 for value in self.std), "dataset.std", self.std, "a list of positive numbers")

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample, as the network gets it; (C, H, W) for images."""
        if self.input_shape is None:
            return self.num_channels, self.image_size, self.image_size
        return tuple(self.input_shape)

    @classmethod
    def own_names(cls) -> Sequence[str]:
        return dataset_names()
