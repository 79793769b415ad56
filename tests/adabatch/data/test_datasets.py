"""The data sets that lie on the device, read from files in their own formats."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from adabatch.config.compose import compose, option_names
from adabatch.data import dataset_names, load_dataset
from adabatch.data.names import size_module
from adabatch.errors import ConfigError, DataError
from tests.adabatch.data.files import CPU, all_of, dataset_config, idx_bytes, load, write_cifar, write_fashion_mnist

PLAIN: dict[str, Any] = {"crop_padding": 0, "horizontal_flip": False, "mean": [0.0], "std": [1.0]}
SMALL: dict[str, Any] = {"num_train_samples": 12, "num_test_samples": 5}
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def _nothing_is_found_by_chance(monkeypatch, tmp_path):
    monkeypatch.delenv("ADABATCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def test_every_name_has_an_option():
    assert option_names("dataset") == sorted([*dataset_names(), "by_path"])
    for name in [name for name in dataset_names() if size_module({"name": name}) is None]:  # the others read the data
        assert compose([f"dataset={name}", "network=tiny_cnn"]).dataset.name == name


def test_unknown_name():
    with pytest.raises(ConfigError, match="dataset.name is mnist; it must be one of cifar10, "):
        compose(["dataset.name=mnist"])


def test_digits_are_split_evenly_and_always_alike():
    train, labels = all_of(load("digits").train)
    test, test_labels = all_of(load("digits").test)
    assert (train.shape, test.shape) == ((1438, 1, 8, 8), (359, 1, 8, 8))
    # every fifth of 174 to 183 images a class
    assert set(test_labels.bincount().tolist()) == {35, 36, 37}
    assert int(labels.bincount().min()) == 139
    assert train.mean().item() == pytest.approx(0.0, abs=1e-3)
    assert train.std().item() == pytest.approx(1.0, abs=1e-3)
    together = torch.cat([train, test]).flatten(1)
    assert len(together.unique(dim=0)) == 1797
    # white is 16
    white = all_of(load("digits", mean=[0.0], std=[1.0]).train)[0]
    assert white.unique().tolist() == [value / 16 for value in range(17)]


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("layout", ["", "FashionMNIST/raw"])
def test_fashion_mnist_files(tmp_path, gzipped, layout):
    arrays = write_fashion_mnist(tmp_path / layout, 12, 5, gzipped)
    dataset = load("fashion_mnist", root=tmp_path, **SMALL, **PLAIN)
    for source, split in ((dataset.train, "train"), (dataset.test, "t10k")):
        images, labels = all_of(source)
        expected = torch.from_numpy(arrays[f"{split}-images-idx3-ubyte"]).unsqueeze(1)
        torch.testing.assert_close(images * 255, expected.float())
        assert labels.tolist() == arrays[f"{split}-labels-idx1-ubyte"].tolist()


@pytest.mark.parametrize("place", ["data/FashionMNIST/raw", "named"])
def test_fashion_mnist_is_looked_for(tmp_path, monkeypatch, place):
    write_fashion_mnist(tmp_path / place, 12, 5, gzipped=True)
    if place == "named":
        monkeypatch.setenv("ADABATCH_DATA", str(tmp_path / place))
    assert load("fashion_mnist", **SMALL).train.num_samples == 12


def test_root_is_the_only_place_if_given(tmp_path):
    write_fashion_mnist(tmp_path / "data", 12, 5, gzipped=True)
    with pytest.raises(ConfigError) as error:
        load("fashion_mnist", root=tmp_path / "elsewhere", **SMALL)
    assert str(error.value).startswith(f"dataset fashion_mnist was not found in {tmp_path / 'elsewhere'}")
    assert "dataset.download=true" in str(error.value)


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("left", [0.0, 0.7])
def test_truncated_idx_file_is_named(tmp_path, gzipped, name, left):
    write_fashion_mnist(tmp_path, 12, 5, gzipped)
    path = tmp_path / (f"{name}.gz" if gzipped else name)
    data = path.read_bytes()
    path.write_bytes(data[: int(left * len(data))])
    with pytest.raises(DataError, match="is truncated or corrupt") as error:
        load("fashion_mnist", root=tmp_path, **SMALL)
    assert str(path) in str(error.value)


def test_corrupt_gzip_and_wrong_contents_are_named(tmp_path):
    arrays = write_fashion_mnist(tmp_path, 12, 5, gzipped=True)
    labels_file = tmp_path / "train-labels-idx1-ubyte.gz"
    labels = arrays["train-labels-idx1-ubyte"]
    damaged = bytearray(labels_file.read_bytes())
    damaged[-8] ^= 0xFF  # the checksum
    for data, complaint in (
        (bytes(damaged), "is truncated or corrupt"),
        (gzip.compress(idx_bytes(labels[:-1])), "holds 11 labels for 12 images"),
        (gzip.compress(idx_bytes(labels + 10)), r"item 0 has the label 1\d; labels must be 0 to 9"),
        (gzip.compress(idx_bytes(labels.reshape(3, 2, 2))), "must hold bytes in 1 dimension"),
    ):
        labels_file.write_bytes(data)
        with pytest.raises(DataError, match=complaint) as error:
            load("fashion_mnist", root=tmp_path, **SMALL)
        assert str(labels_file) in str(error.value)


@pytest.mark.slow
def test_real_fashion_mnist():
    if not DEBIAN_FOLDER.is_dir():
        message = f"Fashion-MNIST is not in {DEBIAN_FOLDER}; Debian's package dataset-fashion-mnist puts it there."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    dataset = load("fashion_mnist", crop_padding=0, horizontal_flip=False)
    images, labels = all_of(dataset.train)
    assert images.shape == (60_000, 1, 28, 28)
    assert labels.bincount().tolist() == [6000] * 10
    assert labels[:5].tolist() == [9, 0, 0, 3, 0]
    assert images.mean().item() == pytest.approx(0.0, abs=1e-3)
    assert images.std().item() == pytest.approx(1.0, abs=1e-3)
    assert dataset.test.num_samples == 10_000


@pytest.mark.parametrize(("name", "num_classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_files(tmp_path, monkeypatch, name, num_classes):
    arrays = write_cifar(tmp_path / "data", monkeypatch, name, per_file=4)
    sizes: dict[str, Any] = {"num_train_samples": len(arrays["train"]), "num_test_samples": 4}
    dataset = load(name, **sizes, **PLAIN)
    for source, split in ((dataset.train, "train"), (dataset.test, "test")):
        images, labels = all_of(source)
        torch.testing.assert_close(images * 255, torch.from_numpy(arrays[split]).float())
        assert labels.tolist() == arrays[f"{split}_labels"].tolist()
    with pytest.raises(ConfigError, match=f"dataset.num_classes is 7; it must be {num_classes}, as "):
        load(name, **sizes, num_classes=7)


@pytest.mark.parametrize("file_name", ["data_batch_3", "batches.meta"])
def test_truncated_cifar_file_is_named(tmp_path, monkeypatch, file_name):
    write_cifar(tmp_path, monkeypatch, "cifar10", per_file=2)
    path = tmp_path / "cifar-10-batches-py" / file_name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="is truncated or corrupt") as error:
        load("cifar10", root=tmp_path, num_train_samples=10, num_test_samples=2)
    assert str(path) in str(error.value)


def test_missing_cifar_says_how_to_get_it():
    with pytest.raises(ConfigError, match=r"not found in data \(.*set dataset.download=true"):
        load("cifar100")


def test_a_download_that_fails_is_a_sentence(monkeypatch):
    from torchvision.datasets import CIFAR10

    # nothing listens on port 1 of this machine
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:1/cifar-10-python.tar.gz")
    with pytest.raises(ConfigError, match="dataset.download is true, but cifar10 could not be fetched into data"):
        load("cifar10", download=True)


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [
        ("num_train_samples", 1437, 1438),
        ("num_test_samples", 360, 359),
        ("image_size", 28, 8),
        ("num_channels", 3, 1),
        ("num_classes", 11, 10),
    ],
)
def test_declared_sizes_are_checked(key, value, needed):
    with pytest.raises(ConfigError, match=f"dataset.{key} is {value}; it must be {needed}, as "):
        load("digits", **{key: value})


def test_synthetic_has_any_shape_and_is_always_the_same():
    sizes = {"num_train_samples": 300, "num_test_samples": 50, "image_size": 11, "num_channels": 2, "num_classes": 7}
    first, second = (load("synthetic", channels_last=True, **sizes) for _ in range(2))
    images, labels = all_of(first.train)
    assert images.shape == (300, 2, 11, 11)
    assert labels.unique().tolist() == list(range(7))
    assert torch.equal(images, all_of(second.train)[0])
    assert all_of(first.test)[0].shape == (50, 2, 11, 11)
    assert not torch.equal(images[:50], all_of(first.test)[0])


@pytest.mark.slow
def test_synthetic_labels_can_be_learnt():
    dataset = load("synthetic", num_train_samples=2000, num_test_samples=500, image_size=8, num_channels=1)
    images, labels = (part.numpy() for part in all_of(dataset.train))
    test, test_labels = (part.numpy() for part in all_of(dataset.test))
    from sklearn.neighbors import NearestCentroid

    model = NearestCentroid().fit(images.reshape(2000, -1), labels)
    assert model.score(test.reshape(500, -1), test_labels) > 0.9


def test_images_come_in_the_type_asked_for():
    for dtype in (None, torch.float64):
        dataset = load_dataset(dataset_config("digits"), CPU, True, *([dtype] if dtype else []))
        assert all_of(dataset.test)[0].dtype == (dtype or torch.float32)
