"""Pixels mean what the file says: every mode is scaled by its range or refused, and a file keeps its own reason."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adabatch.data.decoding import decode, pixels_of
from adabatch.errors import DataError


def png(depth: int, color: int, rows: bytes, width: int = 2) -> bytes:
    """Return a PNG of one row, which starts with its filter, 0."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, 1, depth, color, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def pixels(path: Path, num_channels: int = 1) -> list[int]:
    return np.asarray(decode(path, num_channels)).flatten().tolist()


@pytest.mark.parametrize(
    ("content", "num_channels", "expected"),
    [
        (png(1, 0, bytes([0b01_000000])), 1, [0, 255]),
        (png(2, 0, bytes([0b01_10_0000])), 1, [85, 170]),  # of 3
        (png(4, 0, bytes([0x3C])), 1, [51, 204]),  # of 15
        (png(8, 0, bytes([7, 250])), 1, [7, 250]),
        (png(8, 4, bytes([7, 0, 250, 255])), 1, [7, 250]),  # grey and transparency
        # 16 bits and colors: 0x1234 and 0xFEDC of 0xFFFF are 18 and 254 of 255, as Pillow scales them
        (png(16, 2, bytes.fromhex("1234 8000 fedc ffff 0000 00ff")), 3, [0x12, 0x80, 0xFE, 0xFF, 0, 0]),
        (b"P5 2 1 100\n" + bytes([50, 100]), 1, [128, 255]),  # of 100
    ],
)
def test_few_and_many_bits_are_scaled_by_their_range(content, num_channels, expected, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    assert pixels(path, num_channels) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("L", 100, [100, 100, 100]),
        ("LA", (100, 7), [100, 100, 100]),
        ("RGB", (10, 20, 30), [10, 20, 30]),
        ("RGBA", (10, 20, 30, 0), [10, 20, 30]),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
    ],
)
def test_files_of_every_mode_of_8_bits_become_rgb(mode, color, expected, tmp_path):
    path = tmp_path / "image.tiff"
    Image.new(mode, (2, 2), color).save(path)
    assert pixels(path, 3)[:3] == pytest.approx(expected, abs=1)


# In memory: Pillow opens a JPEG as RGB, and an old one reads no uncompressed TIFF of YCbCr.
@pytest.mark.parametrize(("mode", "red"), [("YCbCr", (76, 85, 255)), ("HSV", (0, 255, 255))])
def test_images_of_a_mode_that_files_lack_become_rgb(mode, red):
    assert pixels_of(Image.new(mode, (1, 1), red), "sample 3").tolist() == [[pytest.approx([255, 0, 0], abs=1)]]


def test_a_palette_is_its_colors(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 200, 100, 50])
    image.putdata([1, 0])
    image.save(tmp_path / "image.png")
    assert pixels(tmp_path / "image.png", 3) == [200, 100, 50, 9, 8, 7]


@pytest.mark.parametrize(
    ("name", "dtype"), [("a.png", np.uint16), ("a.tiff", np.uint16), ("a.tiff", np.int32), ("a.tiff", np.float32)]
)
def test_what_would_be_cut_off_is_refused_with_file_and_mode(name, dtype, tmp_path):
    image = Image.fromarray(np.full((2, 2), 3000, dtype=dtype))
    image.save(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name} has pixels of Pillow's mode (I;16|I|F); they must have 8 bits"):
        decode(tmp_path / name, 1)
    with pytest.raises(DataError, match="sample 3 has pixels of Pillow's mode"):
        pixels_of(image, "sample 3")


def test_a_file_keeps_the_reason_why_it_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "large.png").write_bytes(png(8, 0, b"", width=400_000_001))
    Image.effect_noise((64, 64), 50).save(tmp_path / "short.png")
    (tmp_path / "short.png").write_bytes((tmp_path / "short.png").read_bytes()[:900])
    (tmp_path / "text.png").write_text("a text")
    reasons = {
        "dangling.png": "No such file or directory",
        "loop.png": "Too many levels of symbolic links",
        "folder.png": "is no regular file",
        "pipe.png": "is no regular file",
        "large.png": r"Image size \(400000001 pixels\) exceeds limit",
        "short.png": r"it is truncated or corrupt \(.*truncated",
        "text.png": "it is truncated or corrupt, or of no format that Pillow knows",
    }
    for name, reason in reasons.items():
        with pytest.raises(DataError, match=f"{name} .*{reason}"):
            decode(tmp_path / name, 3)


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"a.png cannot be read as an image: Permission denied\."):
        decode(tmp_path / "a.png", 1)
