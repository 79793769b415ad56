"""Fashion-MNIST (Xiao et al., arXiv 1708.07747), from torchvision's folders or from plain IDX files."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import torch
from torchvision.datasets import FashionMNIST

from adabatch.data.config import DatasetConfig
from adabatch.data.files import MAX_RESIDENT_BYTES, download_once, locate, search_folders, verify_sizes
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
_NUM_SAMPLES = {"train": 60_000, "test": 10_000}
#: SHA-256 of what follows the headers. MNIST and others have files of the same names and sizes.
_SUMS = {
    "train-images-idx3-ubyte": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    "train-labels-idx1-ubyte": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "t10k-images-idx3-ubyte": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    "t10k-labels-idx1-ubyte": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}
#: The code of unsigned bytes in IDX files.
_BYTES = 8


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """Load images and labels from the first folder that has them. See `adabatch.data.load_dataset`."""
    folder = _find(config)
    splits = {split: _read_split(folder, *names) for split, names in _FILES.items()}
    _check_sums(folder, splits)
    train, test = splits["train"], splits["test"]
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
    """Read an IDX file of bytes, gzipped if its name ends in .gz, as uint8; no more is unpacked than its header says.

    Raises:
        DataError: if the file is truncated or not an IDX file of bytes; the message names it.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            magic = file.read(4)
            if magic != bytes((0, 0, _BYTES, num_dimensions)) and len(magic) == 4:
                raise DataError(f"{path} is corrupt: it must hold bytes in {num_dimensions} dimension(s).")
            shape = struct.unpack(f">{num_dimensions}I", file.read(4 * num_dimensions))
            num_bytes = math.prod(shape)
            if num_bytes > MAX_RESIDENT_BYTES:
                raise DataError(f"{path} is corrupt: its header says {num_bytes:,} bytes, more than it can hold.")
            content = file.read(num_bytes + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error) as error:
        raise DataError(f"{path} is truncated or corrupt; fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) != num_bytes or not num_bytes:
        raise DataError(f"{path} is truncated or corrupt: it holds other than the {num_bytes:,} bytes that it says.")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(shape)


def _check_sums(folder: Path, splits: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Raise DataError if the files have the sizes of Fashion-MNIST and hold something else, such as MNIST."""
    if {split: len(images) for split, (images, _) in splits.items()} != _NUM_SAMPLES:
        return
    for split, parts in splits.items():
        for name, part in zip(_FILES[split], parts, strict=True):
            if hashlib.sha256(part.numpy().tobytes()).hexdigest() != _SUMS[name]:
                raise DataError(
                    f"{_file(folder, name)} is not of Fashion-MNIST, or damaged: its checksum (SHA-256) is another one."
                    " For images of your own, MNIST among them, use dataset=tensors or dataset=image_folder."
                )
