"""Data sets of a few samples in the formats that the real ones come in."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

from adabatch.config import DatasetConfig
from adabatch.config.compose import compose
from adabatch.data import Dataset, load_dataset

CPU = torch.device("cpu")


def dataset_config(name: str, **values: object) -> DatasetConfig:
    """The option's config, with other values for some keys."""
    given = ["null" if value is None else str(value).lower() for value in values.values()]
    return compose([f"dataset={name}", *(f"dataset.{k}={v}" for k, v in zip(values, given, strict=True))]).dataset


def load(name: str, channels_last: bool = True, **values: object) -> Dataset:
    config = dataset_config(name, **{key: value for key, value in values.items() if key != "root"})
    config.root = None if values.get("root") is None else str(values["root"])
    return load_dataset(config, CPU, channels_last)


def all_of(source, batch_size: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    """The images and labels of a source in their own order."""
    batches = list(source.iterate(1, 0, torch.arange(source.num_samples).split(batch_size)))
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def idx_bytes(array: np.ndarray) -> bytes:
    """The IDX format of bytes: two zeros, 8 for unsigned bytes, the dimensions, big-endian sizes, the data."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_fashion_mnist(folder: Path, num_train: int, num_test: int, gzipped: bool) -> dict[str, np.ndarray]:
    """Write the four files, and return what is in them by the file's name."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", num_train), ("t10k", num_test)):
        arrays[f"{split}-images-idx3-ubyte"] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}-labels-idx1-ubyte"] = random.integers(0, 10, count, dtype=np.uint8)
    for name, array in arrays.items():
        data = idx_bytes(array)
        path = folder / (f"{name}.gz" if gzipped else name)
        path.write_bytes(gzip.compress(data) if gzipped else data)
    return arrays


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, name: str, per_file: int) -> dict[str, np.ndarray]:
    """Write the pickled files, make torchvision expect their MD5 sums, and return images (n, 3, 32, 32) and labels."""
    cifar = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    folder = root / cifar.base_folder
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    num_classes = 10 if name == "cifar10" else 100
    label_key = "labels" if name == "cifar10" else "fine_labels"
    arrays: dict[str, list[np.ndarray]] = {"train": [], "train_labels": [], "test": [], "test_labels": []}

    def write(file_name: str, values: dict) -> str:
        data = pickle.dumps(values)
        (folder / file_name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    for attribute, split in (("train_list", "train"), ("test_list", "test")):
        sums = []
        for file_name, _ in getattr(cifar, attribute):
            images = random.integers(0, 256, (per_file, 3, 32, 32), dtype=np.uint8)
            labels = random.integers(0, num_classes, per_file)
            arrays[split].append(images)
            arrays[f"{split}_labels"].append(labels)
            sums.append(
                [file_name, write(file_name, {"data": images.reshape(per_file, -1), label_key: labels.tolist()})]
            )
        monkeypatch.setattr(cifar, attribute, sums)
    key = cifar.meta["key"]
    md5 = write(cifar.meta["filename"], {key: [f"class {number}" for number in range(num_classes)]})
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": md5})
    return {key: np.concatenate(values) for key, values in arrays.items()}


def write_image_folder(root: Path, num_train: int, num_test: int, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    """Write JPEGs of 40 x 50 pixels, each class in its folder; a file's number says how grey it is."""
    for split, count in (("train", num_train), ("val", num_test)):
        for place, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                grey = np.linspace(20 * number, 20 * number + 60, 40 * 50).reshape(40, 50) + 60 * place
                pixels = np.stack([grey, grey[::-1], grey[:, ::-1]], -1).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.JPEG", quality=95)
