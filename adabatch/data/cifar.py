"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), read and downloaded with torchvision."""

from __future__ import annotations

from pathlib import Path

import torch
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import check_integrity

from adabatch.data.config import DatasetConfig
from adabatch.data.files import download_once, locate, search_folders, verify_sizes
from adabatch.data.labels import require_labels
from adabatch.data.resident import resident_dataset
from adabatch.data.source import Dataset, ImageFormat
from adabatch.errors import DataError

_CLASSES: dict[str, type[CIFAR10]] = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """Load the data set from the first folder that has it. See `adabatch.data.load_dataset`."""
    cifar = _CLASSES[config.name]
    roots = search_folders(config)
    if config.download and not any(_is_complete(cifar, root) for root in roots):
        download_once(config.name, roots[0], lambda: cifar(str(roots[0]), download=True))
    remedy = f"set dataset.download=true, or dataset.root to the folder that holds {cifar.base_folder}"
    root = locate(config, roots, lambda folder: _is_complete(cifar, folder), remedy)
    train, test = (_read(cifar, root, is_train) for is_train in (True, False))
    verify_sizes(
        config,
        str(root / cifar.base_folder),
        num_train_samples=len(train[0]),
        num_test_samples=len(test[0]),
        image_size=train[0].shape[1],
        num_channels=train[0].shape[3],
        num_classes=train[2],
    )
    return resident_dataset(train[:2], test[:2], config, image_format)


def _files(cifar: type[CIFAR10], root: Path) -> dict[Path, str]:
    """Return the expected MD5 sum of each file."""
    sums = [*cifar.train_list, *cifar.test_list, [cifar.meta["filename"], cifar.meta["md5"]]]
    return {root / cifar.base_folder / name: md5 for name, md5 in sums}


def _is_complete(cifar: type[CIFAR10], root: Path) -> bool:
    return all(path.is_file() for path in _files(cifar, root))


def _read(cifar: type[CIFAR10], root: Path, is_train: bool) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return images (N, 32, 32, 3), labels (N,) and the number of classes."""
    try:
        # Checks the sums before it unpickles anything.
        split = cifar(str(root), train=is_train)
    except RuntimeError as error:
        for path, md5 in _files(cifar, root).items():
            if not check_integrity(path, md5):
                raise DataError(
                    f"{path} is truncated or corrupt, or of another data set: its checksum (MD5) is not that of"
                    f" {cifar.__name__}; fetch it again."
                ) from error
        raise
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror or error}.") from error
    num_classes = len(split.classes)
    require_labels(split.targets, num_classes, str(root / cifar.base_folder))
    images = torch.from_numpy(split.data).contiguous()
    return images, torch.tensor(split.targets), num_classes
