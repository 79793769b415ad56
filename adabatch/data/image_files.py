"""Folders of images: which files there are, their classes and splits, and the sizes read off them, without torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from adabatch.data.decoding import MODES, decode_square, is_grey, open_image
from adabatch.data.shares import rounded_share, stratified_counts
from adabatch.data.statistics import NUM_IMAGES, mean_and_std
from adabatch.errors import ConfigError, DataError

_TRAIN = "train"
_TEST = ("test", "val", "valid", "validation")
#: What file managers leave behind.
_IGNORED = ("Thumbs.db", "desktop.ini")
#: Larger images than this are only made on request.
_LARGEST_IMAGE_SIZE = 224
#: Of how many training images the headers are read.
_NUM_HEADERS = 4096


@dataclass(frozen=True)
class ImageFiles:
    """The images of a split.

    Attributes:
        folder: holds a folder for each class.
        classes: names of the classes' folders, sorted; a label is a place in this list.
        names: path of each image below ``folder``, sorted within its class.
        labels: of the images.
    """

    folder: Path
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]

    def taken(self, places: Iterable[int]) -> ImageFiles:
        """Return the images at some places, in that order."""
        chosen = list(places)
        names = tuple(self.names[place] for place in chosen)
        return ImageFiles(self.folder, self.classes, names, tuple(self.labels[place] for place in chosen))


def check_channels(num_channels: int) -> None:
    """Raise ConfigError unless images can be decoded to so many channels."""
    if num_channels not in MODES:
        raise ConfigError(f"dataset.num_channels is {num_channels}; it must be 1 (grey) or 3 (RGB) for image_folder.")


def list_images(root: str | None, test_fraction: float) -> tuple[ImageFiles, ImageFiles]:
    """Return the training and the test images below ``dataset.root``.

    ``root/train/CLASS`` and one of ``root/{test,val,valid,validation}/CLASS`` are the splits, the first of them that
    is there. Without ``root/train``, the classes' folders lie in ``root`` itself, and ``test_fraction`` of the images
    of each class are test images. Which ones depends on nothing but their names.

    Raises:
        ConfigError: if the folders are laid out in another way.
        DataError: if a file is no image, by its name.
    """
    if root is None:
        raise ConfigError("dataset.root is null; it must be the folder with the images.")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"dataset.root is {root}; it must be a folder that exists.")
    if not (folder / _TRAIN).is_dir():
        return _divided(_list_split(folder), test_fraction)
    test_folder = next((folder / name for name in _TEST if (folder / name).is_dir()), None)
    if test_folder is None:
        raise ConfigError(f"dataset.root is {root}; beside train/ it must hold one of {', '.join(_TEST)}.")
    train, test = _list_split(folder / _TRAIN), _list_split(test_folder)
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))[0]
        names = f"{_TRAIN}/ and {test_folder.name}/"
        raise ConfigError(f"dataset.root is {root}; {names} must hold the same classes, but only one has {odd}.")
    return train, test


def read_sizes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of the folder that ``dataset.root`` names; see `adabatch.data.sizes`.

    The image size is that of the training images if all are square and equally large, otherwise the median of their
    shorter sides, but at most 224 pixels.
    """
    train, test = list_images(values.get("root"), values["test_fraction"])
    by_chance = sorted(range(len(train.names)), key=lambda place: _digest(train.names[place]))
    sizes, all_grey = _read_headers(train, by_chance[:_NUM_HEADERS])
    found = {
        "num_train_samples": len(train.names),
        "num_test_samples": len(test.names),
        "num_classes": len(train.classes),
        "num_channels": values.get("num_channels", 1 if all_grey else 3),
        "image_size": values.get("image_size", common_size(sizes)),
        "digest": digest_of(train, test),
    }
    check_channels(found["num_channels"])
    if not {"mean", "std"} <= values.keys():
        decoded = sorted(by_chance[:NUM_IMAGES])
        look = (found["num_channels"], found["image_size"])
        mean, std = mean_and_std(decode_square(train.folder / train.names[place], *look) for place in decoded)
        found |= {"mean": mean, "std": std}
    return found


def digest_of(train: ImageFiles, test: ImageFiles) -> str:
    """Return a digest of the names of all images, their classes and splits."""
    return _digest("\n".join("\n".join((*split.classes, *split.names, "")) for split in (train, test)))


def _digest(text: str) -> str:
    return hashlib.blake2b(os.fsencode(text), digest_size=8).hexdigest()


def _list_split(folder: Path) -> ImageFiles:
    with os.scandir(folder) as entries:
        found = {entry.name: entry.is_dir() for entry in entries if not _is_ignored(entry.name)}
    classes = tuple(sorted(name for name, is_folder in found.items() if is_folder))
    if len(classes) < 2:
        odd = f", not files such as {min(found)}" if found and not classes else ""
        raise ConfigError(f"{folder} must hold at least two folders, one for each class{odd}; it holds {len(classes)}.")
    extensions = tuple(Image.registered_extensions())
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = sorted(_files_below(folder, name))
        if not images:
            raise ConfigError(
                f"{folder / name} holds no images; remove the folder, or put the images of its class there."
            )
        odd_file = next((image for image in images if not image.lower().endswith(extensions)), None)
        if odd_file is not None:
            raise DataError(
                f"{folder / odd_file} is no image by its name; remove it, or name it as what it is, such as .png."
            )
        names += images
        labels += [label] * len(images)
    return ImageFiles(folder, classes, tuple(names), tuple(labels))


def _files_below(folder: Path, name: str) -> Iterable[str]:
    for place, folders, files in os.walk(folder / name, followlinks=True):
        folders[:] = [entry for entry in folders if not _is_ignored(entry)]
        below = Path(place).relative_to(folder).as_posix()
        yield from (f"{below}/{file}" for file in files if not _is_ignored(file))


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED


def _divided(whole: ImageFiles, test_fraction: float) -> tuple[ImageFiles, ImageFiles]:
    """Split the images of one folder; the order of their names' digests decides."""
    by_class: list[list[int]] = [[] for _ in whole.classes]
    for place, label in enumerate(whole.labels):
        by_class[label].append(place)
    counts = [len(places) for places in by_class]
    test_counts = stratified_counts(counts, rounded_share(sum(counts), test_fraction))
    is_test = np.zeros(len(whole.names), dtype=bool)
    for name, places, count in zip(whole.classes, by_class, test_counts, strict=True):
        if count in (0, len(places)):
            raise ConfigError(
                f"dataset.test_fraction is {test_fraction}; of the {len(places)} image(s) in {whole.folder / name},"
                " at least one must be for training and one for testing."
            )
        is_test[sorted(places, key=lambda place: _digest(whole.names[place]))[:count]] = True
    return whole.taken(np.flatnonzero(~is_test).tolist()), whole.taken(np.flatnonzero(is_test).tolist())


def _read_headers(files: ImageFiles, places: Sequence[int]) -> tuple[list[tuple[int, int]], bool]:
    """Return widths and heights in pixels, and whether all images are grey."""
    sizes = []
    all_grey = True
    for place in places:
        with open_image(files.folder / files.names[place]) as image:
            sizes.append(image.size)
            all_grey = all_grey and is_grey(image)
    return sizes, all_grey


def common_size(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the size of a set of images, from their widths and heights in pixels; see `read_sizes`."""
    width, height = sizes[0]
    if width == height and len(set(sizes)) == 1:
        return width
    return min(_LARGEST_IMAGE_SIZE, int(median(min(size) for size in sizes)))
