"""Image files to pixels, with Pillow; nothing here needs torch."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from adabatch.errors import DataError

#: Pillow's modes of 8 bits or less a channel. Converting the others would cut off pixel values.
_GREY_MODES = ("1", "L", "LA")
_COLOR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
#: What Pillow raises for files that it cannot read.
_REFUSALS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
#: The mode that an image is converted to, by its number of channels.
MODES = {1: "L", 3: "RGB"}


def is_grey(image: Image.Image) -> bool:
    """Return whether an image has no colors."""
    return image.mode in _GREY_MODES


def open_image(path: str | Path) -> Image.Image:
    """Open a file and read its size and mode, but not its pixels yet.

    Raises:
        DataError: if the file is no image, or has more than 8 bits a channel.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError(f"{path} is no regular file; it must be an image.")  # a pipe would be waited for
        image: Image.Image = Image.open(path)
    except _REFUSALS as error:
        raise unreadable(path, error) from error
    if image.mode not in _GREY_MODES + _COLOR_MODES:
        mode = image.mode
        image.close()
        raise DataError(
            f"{path} has pixels of Pillow's mode {mode}; they must have 8 bits a channel, since others would lose"
            " values: convert the file."
        )
    return image


def decode(path: str | Path, num_channels: int) -> Image.Image:
    """Return a file's image, grey for one channel and RGB for three; transparency is dropped.

    Raises:
        DataError: if the file is truncated, corrupt, no image, or has more than 8 bits a channel.
    """
    with open_image(path) as image:
        try:
            return image.convert(MODES[num_channels])
        except _REFUSALS as error:
            raise unreadable(path, error) from error


def decode_square(path: str | Path, num_channels: int, size: int) -> np.ndarray:
    """Return the middle square of a file's image, scaled to ``size`` pixels: uint8 of shape (size, size, C).

    Raises:
        DataError: as for `decode`.
    """
    image = decode(path, num_channels)
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, num_channels)


def pixels_of(image: Image.Image, place: str) -> np.ndarray:
    """Return the pixels of an image in memory, uint8 of shape (H, W, C): one channel if it is grey, otherwise three.

    Raises:
        DataError: if it has more than 8 bits a channel; ``place`` begins the sentence.
    """
    if image.mode not in _GREY_MODES + _COLOR_MODES:
        raise DataError(f"{place} has pixels of Pillow's mode {image.mode}; they must have 8 bits a channel.")
    num_channels = 1 if is_grey(image) else 3
    return np.array(image.convert(MODES[num_channels])).reshape(image.height, image.width, num_channels)


def unreadable(path: str | Path, error: Exception) -> DataError:
    """Return the error for a file that cannot be decoded, with the reason: not every such file is damaged."""
    return DataError(f"{path} cannot be read as an image: {_reason(error)}.")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = str(error).partition("\n")[0].rstrip(".")
    if isinstance(error, UnidentifiedImageError):
        return "it is truncated or corrupt, or of no format that Pillow knows"
    is_damage = isinstance(error, OSError | SyntaxError | EOFError | IndexError | struct.error)
    return f"it is truncated or corrupt ({said})" if is_damage else said or type(error).__name__
