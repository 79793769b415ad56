"""The names of the data sets. Free of torch, because names are checked where thousands of configs are composed."""

from __future__ import annotations

#: Each name's module; its ``load(config, ImageFormat)`` does the work of `adabatch.data.load_dataset`.
DATASET_MODULES = {
    "cifar10": "adabatch.data.cifar",
    "cifar100": "adabatch.data.cifar",
    "digits": "adabatch.data.digits",
    "fashion_mnist": "adabatch.data.fashion_mnist",
    "imagenet": "adabatch.data.imagenet",
    "synthetic": "adabatch.data.synthetic",
}


def dataset_names() -> list[str]:
    """Return the names that `adabatch.data.load_dataset` knows."""
    return list(DATASET_MODULES)
