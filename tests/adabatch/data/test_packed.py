"""What is packed is checked before it is unpacked, and data of the right shape by their checksum."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import adabatch.data.arrays
from adabatch.data.arrays import read_arrays
from adabatch.data.fashion_mnist import read_idx
from adabatch.errors import DataError
from tests.adabatch.data.files import load, write_cifar, write_fashion_mnist


def npy(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    """Return an array's .npy, with another shape in its header if one is given."""
    file = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape or array.shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def npz(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return path


def sound() -> dict[str, bytes]:
    images, labels = np.zeros((4, 8, 8), np.uint8), np.arange(4) % 2
    return {"x_train": npy(images), "y_train": npy(labels), "x_test": npy(images), "y_test": npy(labels)}


def test_a_sound_npz_is_read(tmp_path):
    assert read_arrays(str(npz(tmp_path / "a.npz", **sound(), other=b"no array"))).x_train.shape == (4, 8, 8, 1)


@pytest.mark.parametrize("shape", [(10**12, 8, 8), (5, 8, 8), (3, 8, 8)])
def test_a_header_that_says_another_size_than_is_packed_is_refused_unread(shape, tmp_path):
    entries = {**sound(), "x_test": npy(np.zeros((4, 8, 8), np.uint8), shape)}
    path = npz(tmp_path / "a.npz", **entries)
    with pytest.raises(DataError, match=rf"{path}: x_test.npy says that it holds [\d,]+ bytes, and [\d,]+ are packed"):
        read_arrays(str(path))


def test_what_does_not_fit_into_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(adabatch.data.arrays, "_memory_bytes", lambda: 999)
    with pytest.raises(DataError, match=r"a.npz unpacks to 1,[\d]+ bytes, more than this machine's memory"):
        read_arrays(str(npz(tmp_path / "a.npz", **sound())))


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip", b"PK\x03\x04" + bytes(50)])
def test_what_is_no_archive_is_refused_by_name(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a.npz cannot be read \("):
        read_arrays(str(tmp_path / "a.npz"))


def idx(shape: tuple[int, ...], content: bytes) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (idx((2**31, 28, 28), b""), "its header says 1,683,627,180,032 bytes, more than it can hold"),
        (idx((2, 3, 3), bytes(10**7)), "it holds other than the 18 bytes that it says"),  # 10 kB of gzip
        (idx((2, 3, 3), bytes(17)), "it holds other than the 18 bytes that it says"),
        (idx((0, 3, 3), b""), "it holds other than the 0 bytes"),
        (struct.pack(">BBBB3I", 0, 0, 13, 3, 1, 1, 1) + bytes(4), "must hold bytes in 3 dimension"),
    ],
    ids=["huge", "long", "short", "empty", "floats"],  # the bytes themselves would be 40 MB of the test's name
)
def test_no_more_is_unpacked_than_the_header_says(content, sentence, tmp_path):
    for path, packed in ((tmp_path / "a", content), (tmp_path / "a.gz", gzip.compress(content))):
        path.write_bytes(packed)
        with pytest.raises(DataError, match=sentence):
            read_idx(path, 3)


def test_another_data_set_in_the_files_of_fashion_mnist_is_noticed(tmp_path):
    write_fashion_mnist(tmp_path, 60_000, 10_000, gzipped=False)  # random images
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte is not of Fashion-MNIST, or damaged: its checksum"):
        load("fashion_mnist", root=tmp_path)


def test_a_file_of_cifar_with_another_content_is_not_unpickled(tmp_path, monkeypatch):
    write_cifar(tmp_path, monkeypatch, "cifar10", per_file=2)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps(_Hostile(str(tmp_path / "touched"))))
    with pytest.raises(DataError, match=r"test_batch is truncated or corrupt, or of another data set: its checksum"):
        load("cifar10", root=tmp_path, num_train_samples=10, num_test_samples=2)
    assert not (tmp_path / "touched").exists()


class _Hostile:
    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[type[Path], tuple[str]] | tuple[object, ...]:
        return Path.touch, (Path(self._path),)
