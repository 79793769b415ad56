"""A split of a data set of the package datasets, as a torch data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torch.utils.data import Dataset as TorchDataset

from adabatch.data.decoding import MODES, is_grey, pixels_of
from adabatch.data.image_files import common_size
from adabatch.errors import ConfigError, DataError

#: Of how many training images the sizes are looked at.
_NUM_LOOKED_AT = 512


class HuggingFaceSplit(TorchDataset[tuple[Any, int]]):
    """One split; an item is an image or an array, and a label.

    Args:
        place: where it comes from, for messages.
        rows: a ``datasets.Dataset``.
        columns: of the input, several of which make a vector, and of the label.
        class_names: of string labels, sorted; None for numbers.
        look: channels and size in pixels of all images; None for arrays.
    """

    def __init__(
        self,
        place: str,
        rows: Any,
        columns: tuple[list[str], str],
        class_names: Sequence[str] | None = None,
        look: tuple[int, int] | None = None,
    ) -> None:
        self._place = place
        self._inputs, self._label = columns
        self._rows = rows.select_columns([*self._inputs, self._label])
        self._places = None if class_names is None else {name: place for place, name in enumerate(class_names)}
        self._look = look
        self._dtype = _dtype(rows.features, self._inputs)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = self._rows[index]
        label = self._number(row[self._label], index)
        if self._look is not None:
            return _fitted(row[self._inputs[0]], self._look, f"{self._place}: row {index}"), label
        values = row[self._inputs[0]] if len(self._inputs) == 1 else [row[name] for name in self._inputs]
        return np.array(values, dtype=self._dtype), label

    @property
    def targets(self) -> list[Any]:
        """All labels, without decoding an image."""
        values = self._rows.select_columns([self._label])[self._label]
        return [self._number(value, index) for index, value in enumerate(values)]

    @property
    def num_classes(self) -> int | None:
        """The number of classes that the data set declares; None if it declares none."""
        if self._places is not None:
            return len(self._places)
        declared: int | None = getattr(self._rows.features[self._label], "num_classes", None)
        return declared

    @property
    def class_names(self) -> list[str]:
        """Names of the classes; empty for numbers."""
        if self._places is not None:
            return list(self._places)
        return list(getattr(self._rows.features[self._label], "names", None) or [])

    def _number(self, label: Any, index: int) -> Any:
        if self._places is None:
            return label
        if label not in self._places:
            raise DataError(
                f"{self._place}: row {index} has the label {label}; it must be one of the training set's:"
                f" {', '.join(self._places)}."
            )
        return self._places[label]


def look_of(rows: Any, column: str, values: Mapping[str, Any]) -> tuple[int, int]:
    """Return channels and size of all images, as a folder of images has them, unless the config gives both."""
    channels, size = values.get("num_channels"), values.get("image_size")
    if channels is None or size is None:
        images = list(_some_images(rows, column))
        if not images:
            raise DataError(f"the column {column} of the training set holds no image.")
        channels = channels or (1 if all(is_grey for _, is_grey in images) else 3)
        size = size or common_size([size for size, _ in images])
    if channels not in MODES:
        raise ConfigError(f"dataset.num_channels is {channels}; it must be 1 (grey) or 3 (RGB) for images.")
    return channels, size


def _some_images(rows: Any, column: str) -> Iterator[tuple[tuple[int, int], bool]]:
    """Yield width and height in pixels of some images, and whether they are grey."""
    step = -(-len(rows) // _NUM_LOOKED_AT)
    chosen = rows.select_columns([column])
    for index in range(0, len(rows), max(step, 1)):
        image = chosen[index][column]
        if image is not None:
            yield image.size, is_grey(image)


def _fitted(image: Image.Image | None, look: tuple[int, int], place: str) -> Image.Image:
    """Return the middle square of an image, scaled to the size of all."""
    if image is None:
        raise DataError(f"{place} has no image; it must have one.")
    channels, size = look
    pixels_of(image, place)  # refuses more than 8 bits a channel
    converted = image.convert(MODES[channels])
    if converted.size == (size, size):
        return converted
    return ImageOps.fit(converted, (size, size), Image.Resampling.BILINEAR)


def _dtype(features: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """Return the dtype of a sample that is an array; several columns make a vector of floating-point numbers."""
    if len(columns) > 1:
        return np.float32
    feature = features[columns[0]]
    while not isinstance(getattr(feature, "dtype", None), str) and hasattr(feature, "feature"):
        feature = feature.feature
    dtype = getattr(feature, "dtype", None)
    return np.dtype(dtype) if dtype in np.sctypeDict else None
