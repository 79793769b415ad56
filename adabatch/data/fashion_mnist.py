"""Fashion-MNIST (Xiao et al., arXiv 1708.07747), from torchvision's folders or from plain IDX files."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from pathlib import Path

import torch
from torchvision.datasets import FashionMNIST
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from adabatch.data.config import DatasetConfig
from adabatch.data.files import download_once, locate, search_folders, verify_sizes
from adabatch.data.labels import require_labels
from adabatch.data.resident import resident_dataset
from adabatch.data.source import Dataset, ImageFormat
from adabatch.errors import DataError

#: Where Debian's package dataset-fashion-mnist puts the files.
_DEBIAN_FOLDER = "/usr/share/datasets/fashion-mnist"
_TORCHVISION_FOLDER = Path("FashionMNIST", "raw")
_NUM_CLASSES = 10
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """Load images and labels from the first folder that has them. See `adabatch.data.load_dataset`."""
    folder = _find(config)
    train, test = (_read_split(folder, *names) for names in _FILES.values())
    verify_sizes(
        config,
        str(folder),
        num_train_samples=len(train[0]),
        num_test_samples=len(test[0]),
        image_size=train[0].shape[1],
        num_channels=1,
        num_classes=_NUM_CLASSES,
    )
    return resident_dataset(train, test, config, image_format)


def _find(config: DatasetConfig) -> Path:
    roots = search_folders(config, extra=(_DEBIAN_FOLDER,))
    folders = [folder for root in roots for folder in (root, root / _TORCHVISION_FOLDER)]
    if config.download and not any(map(_is_complete, folders)):
        download_once("fashion_mnist", roots[0], lambda: FashionMNIST(str(roots[0]), download=True))
    remedy = "set dataset.download=true, or dataset.root to a folder with the four IDX files, gzipped or not"
    return locate(config, folders, _is_complete, remedy)


def _is_complete(folder: Path) -> bool:
    return all(_file(folder, name) is not None for names in _FILES.values() for name in names)


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read_split(folder: Path, images_name: str, labels_name: str) -> tuple[torch.Tensor, torch.Tensor]:
    images_file, labels_file = _file(folder, images_name), _file(folder, labels_name)
    assert images_file is not None
    assert labels_file is not None
    images, labels = read_idx(images_file, num_dimensions=3), read_idx(labels_file, num_dimensions=1)
    if len(images) != len(labels):
        raise DataError(f"{labels_file} is corrupt: it holds {len(labels)} labels for {len(images)} images.")
    require_labels(labels, _NUM_CLASSES, str(labels_file))
    return images.unsqueeze(-1), labels


def read_idx(path: Path, num_dimensions: int) -> torch.Tensor:
    """Read an IDX file of bytes, gzipped if its name ends in .gz, as uint8.

    Raises:
        DataError: if the file is truncated or not an IDX file of bytes; the message names it.
    """
    try:
        if path.suffix == ".gz":
            with tempfile.NamedTemporaryFile() as plain:
                plain.write(gzip.decompress(path.read_bytes()))
                plain.flush()
                tensor = read_sn3_pascalvincent_tensor(plain.name)
        else:
            tensor = read_sn3_pascalvincent_tensor(str(path))
    except (
        EOFError,
        gzip.BadGzipFile,
        zlib.error,
        AssertionError,
        ValueError,
        KeyError,
        RuntimeError,
    ) as error:
        raise DataError(f"{path} is truncated or corrupt; fetch it again.") from error
    if tensor.dtype != torch.uint8 or tensor.ndim != num_dimensions:
        raise DataError(f"{path} is corrupt: it must hold bytes in {num_dimensions} dimension(s).")
    return tensor
