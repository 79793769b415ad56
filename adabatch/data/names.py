"""The names of the data sets. Does not import torch, since names are checked for thousands of configs at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The module of data sets that are named by their import path.
BY_PATH = "adabatch.data.by_path"
#: Each name's module; its ``load(config, ImageFormat)`` implements `adabatch.data.load_dataset`.
DATASET_MODULES = {
    "cifar10": "adabatch.data.cifar",
    "cifar100": "adabatch.data.cifar",
    "digits": "adabatch.data.digits",
    "fashion_mnist": "adabatch.data.fashion_mnist",
    "image_folder": "adabatch.data.image_folder",
    "imagenet": "adabatch.data.imagenet",
    "synthetic": "adabatch.data.synthetic",
    "tensors": "adabatch.data.tensors",
}
_SIZE_MODULES = {"image_folder": "adabatch.data.image_files", "tensors": "adabatch.data.arrays"}


def dataset_names() -> list[str]:
    """Return the names that `adabatch.data.load_dataset` accepts."""
    return list(DATASET_MODULES)


def size_module(values: Mapping[str, Any]) -> str | None:
    """Return the module whose ``read_sizes(values)`` reads the sizes of a data set; None if they must be given.

    The function gets the values of the group's keys, without the missing ones, and returns values for those and for
    others.
    """
    return BY_PATH if values.get("path") is not None else _SIZE_MODULES.get(str(values.get("name")))
