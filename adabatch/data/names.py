"""The names of the data sets. Does not import torch, since names are checked for thousands of configs at a time."""

from __future__ import annotations

#: Each name's module; its ``load(config, ImageFormat)`` implements `adabatch.data.load_dataset`.
DATASET_MODULES = {
    "by_path": "adabatch.data.by_path",
    "cifar10": "adabatch.data.cifar",
    "cifar100": "adabatch.data.cifar",
    "digits": "adabatch.data.digits",
    "fashion_mnist": "adabatch.data.fashion_mnist",
    "image_folder": "adabatch.data.image_folder",
    "imagenet": "adabatch.data.imagenet",
    "synthetic": "adabatch.data.synthetic",
    "tensors": "adabatch.data.tensors",
}

#: The data sets whose sizes need not be given: the module whose ``read_sizes(values)`` reads them off the data. It gets
#: the values of the group's keys, without the missing ones, and returns values for those and for others.
SIZE_MODULES = {
    "by_path": "adabatch.data.by_path",
    "image_folder": "adabatch.data.image_files",
    "tensors": "adabatch.data.arrays",
}


def dataset_names() -> list[str]:
    """Return the names that `adabatch.data.load_dataset` accepts."""
    return list(DATASET_MODULES)
