"""Arrays in files: ``.npz``, safetensors, or a folder of ``.npy``; read and checked without torch."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adabatch.data.inputs import shape_keys
from adabatch.data.labels import require_labels
from adabatch.data.statistics import NUM_IMAGES, mean_and_std
from adabatch.errors import ConfigError, DataError
from adabatch.terminal import counted

#: What each array may be called; the first name is the one that Keras uses.
_NAMES = {
    "x_train": ("x_train", "train_images"),
    "y_train": ("y_train", "train_labels"),
    "x_test": ("x_test", "test_images"),
    "y_test": ("y_test", "test_labels"),
}
_NEEDED = "x_train, y_train, x_test and y_test"
#: Bytes that are checked and digested at a time, since files may be larger than the memory.
_CHUNK_BYTES = 1 << 26


@dataclass(frozen=True)
class Arrays:
    """Samples and labels of both splits.

    Attributes:
        x_train, x_test: (N, ...): uint8 images (N, H, W, C), floating-point values, or whole numbers such as token ids.
        y_train, y_test: int64 of shape (N,).
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def are_images(self) -> bool:
        """Whether samples are pixels, which are divided by 255, cropped and mirrored."""
        return self.x_train.dtype == np.uint8

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of a sample as a network gets it; (C, H, W) for images."""
        height_first = self.x_train.shape[1:]
        return (height_first[2], *height_first[:2]) if self.are_images else height_first

    @property
    def num_tokens(self) -> int | None:
        """One more than the largest whole number among the samples; None for images and floating-point values."""
        if self.are_images or self.x_train.dtype.kind == "f":
            return None
        return int(max(self.x_train.max(), self.x_test.max())) + 1


def read_arrays(root: str | None) -> Arrays:
    """Read and check the arrays that ``dataset.root`` names.

    Raises:
        ConfigError: if the file is missing, or of another kind.
        DataError: if an array is missing, or holds what cannot be trained on; the sentence names file and array.
    """
    if root is None:
        raise ConfigError("dataset.root is null; it must be a .npz or .safetensors file, or a folder of .npy files.")
    path = Path(root).expanduser()
    if not path.exists():
        raise ConfigError(f"dataset.root is {root}; it must be a file or folder that exists.")
    named = _read(path)
    found = {}
    for name, allowed in _NAMES.items():
        chosen = next((other for other in allowed if other in named), None)
        if chosen is None:
            raise DataError(
                f"{path} lacks {name}; it must hold {_NEEDED}. It holds {', '.join(sorted(named)) or 'none'}."
            )
        found[name] = named[chosen]
    return _checked(path, found)


def read_sizes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of the arrays that ``dataset.root`` names; see `adabatch.data.sizes`."""
    arrays = read_arrays(values.get("root"))
    found = facts(arrays)
    if "num_classes" not in values:
        _require_all_labels(values["root"], arrays.y_train)
    mean, std = [0.0], [1.0]
    if arrays.are_images and not {"mean", "std"} <= values.keys():
        places = np.unique(np.linspace(0, len(arrays.x_train) - 1, NUM_IMAGES).astype(int))
        mean, std = mean_and_std(arrays.x_train[place] for place in places)
    return {**found, "num_classes": values.get("num_classes", int(arrays.y_train.max()) + 1), "mean": mean, "std": std}


def facts(arrays: Arrays) -> dict[str, Any]:
    """Return the keys of a config that the arrays determine; the number of classes is not among them."""
    return {
        "num_train_samples": len(arrays.x_train),
        "num_test_samples": len(arrays.x_test),
        **shape_keys(arrays.sample_shape),
        "num_tokens": arrays.num_tokens,
        "digest": _digest(arrays),
    }


def check_labels(root: str | None, arrays: Arrays, num_classes: int) -> None:
    """Raise DataError unless all labels are below ``num_classes``."""
    for name in ("y_train", "y_test"):
        require_labels(getattr(arrays, name), num_classes, f"{root}: {name}")


def _require_all_labels(root: str, labels: np.ndarray) -> None:
    used = np.unique(labels)
    if len(used) < 2 or used[-1] != len(used) - 1:
        missing = next(label for label in range(len(used) + 2) if label not in used)
        raise DataError(
            f"{root}: y_train lacks the label {missing};"
            " labels must go from 0 to n - 1, unless dataset.num_classes is given."
        )


def _read(path: Path) -> Mapping[str, np.ndarray]:
    try:
        if path.is_dir():
            return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in sorted(path.glob("*.npy"))}
        if path.suffix == ".npz":
            _check_packed(path)
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                return {
                    name: archive[name] for name in archive.files if any(name in names for names in _NAMES.values())
                }
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
    except DataError:
        raise
    except (OSError, ValueError, EOFError, MemoryError, zlib.error, NotImplementedError, RuntimeError,
            zipfile.BadZipFile) as error:  # fmt: skip
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(f"{path} cannot be read ({reason}).") from error
    raise ConfigError(f"dataset.root is {path}; it must be a .npz or .safetensors file, or a folder of .npy files.")


def _check_packed(path: Path) -> None:
    """Check what the arrays of a .npz file unpack to, before they are unpacked.

    Raises:
        DataError: if an array's header says another size than is packed, or all do not fit into the memory.
    """
    total = 0
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not any(entry.filename == f"{name}.npy" for names in _NAMES.values() for name in names):
                continue
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                of_version = {(1, 0): np.lib.format.read_array_header_1_0}
                shape, _, dtype = of_version.get(version, np.lib.format.read_array_header_2_0)(file)
                num_bytes = math.prod(shape) * dtype.itemsize
                if not dtype.hasobject and file.tell() + num_bytes != entry.file_size:
                    raise DataError(
                        f"{path}: {entry.filename} says that it holds {num_bytes:,} bytes, and {entry.file_size:,} are "
                        "packed; it is corrupt."
                    )
            total += entry.file_size
    if total > _memory_bytes():
        raise DataError(
            f"{path} unpacks to {total:,} bytes, more than this machine's memory; use a folder of .npy files."
        )


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _read_safetensors(path: Path) -> Mapping[str, np.ndarray]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ConfigError(f"dataset.root is {path}; reading it needs the package safetensors: install it.") from error
    try:
        arrays: Mapping[str, np.ndarray] = load_file(path)
    except (SafetensorError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({str(error).rstrip('.')}).") from error
    return arrays


def _checked(path: Path, found: dict[str, np.ndarray]) -> Arrays:
    for name in ("y_train", "y_test"):
        found[name] = _labels(f"{path}: {name}", found[name])
    for split in ("train", "test"):
        samples, labels = len(found[f"x_{split}"]) if found[f"x_{split}"].ndim else 0, len(found[f"y_{split}"])
        if samples != labels or not samples:
            raise DataError(
                f"{path}: x_{split} holds {counted(samples, 'sample')} and y_{split} {counted(labels, 'label')}; both "
                "must hold equally many."
            )
    for name in ("x_train", "x_test"):
        found[name] = _samples(f"{path}: {name}", found[name])
    arrays = Arrays(**found)
    one, other = arrays.x_train, arrays.x_test
    if (
        one.shape[1:] != other.shape[1:]
        or one.dtype.kind != other.dtype.kind
        or arrays.are_images != (other.dtype == np.uint8)
    ):
        raise DataError(
            f"{path}: x_train is {one.dtype} of shape {one.shape}, x_test {other.dtype} of {other.shape};"
            " only the first size may differ."
        )
    return arrays


def _labels(place: str, labels: np.ndarray) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{place} is {labels.dtype} of shape {labels.shape}; labels must be whole numbers of shape (N,)."
        )
    require_labels(labels, None, place)
    return np.asarray(labels).astype(np.int64)


def _samples(place: str, samples: np.ndarray) -> np.ndarray:
    if samples.dtype == np.uint8:
        return with_channels_last(samples, place)
    if samples.dtype.kind == "f":
        if not all(np.isfinite(chunk).all() for chunk in _chunks(samples)):
            raise DataError(f"{place} holds NaN or infinite values; every value must be finite.")
        return samples
    if samples.dtype.kind not in "iu":
        raise DataError(f"{place} is {samples.dtype}; samples must be uint8 images, floating-point or whole numbers.")
    if samples.min() < 0:
        raise DataError(f"{place} holds {samples.min()}; whole numbers, such as token ids, must be 0 or more.")
    return samples


def with_channels_last(images: np.ndarray, place: str) -> np.ndarray:
    """Return images (N, H, W, C); which dimension holds the channels is seen from its being the smallest.

    Raises:
        DataError: if it cannot be seen; ``place`` begins the sentence.
    """
    if images.ndim == 3:
        return images[..., None]
    if images.ndim == 4:
        _, first, middle, last = images.shape
        if last < min(first, middle):
            return images
        if first < min(middle, last):
            return images.transpose(0, 2, 3, 1)
    raise DataError(
        f"{place} is uint8 of shape {images.shape}; images must be (N, H, W), (N, H, W, C) or (N, C, H, W), with fewer"
        " channels than pixels. Save other values as float32, and token ids as int64."
    )


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _CHUNK_BYTES * len(array) // max(1, array.nbytes))
    return (array[start : start + step] for start in range(0, len(array), step))


def _digest(arrays: Arrays) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for array in dataclasses.astuple(arrays):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        for chunk in _chunks(array):
            digest.update(np.ascontiguousarray(chunk).data)
    return digest.hexdigest()
