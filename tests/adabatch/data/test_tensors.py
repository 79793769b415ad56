"""Arrays of one's own: their layouts and kinds, what is read off them, what is refused."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adabatch.config import DatasetConfig
from adabatch.config.compose import compose
from adabatch.data import Dataset, files, load_dataset
from adabatch.errors import ConfigError, DataError
from tests.adabatch.data.files import CPU, all_of
from tests.adabatch.support import run_command

_LABELS = {"y_train": np.array([0, 1, 2, 0, 1]), "y_test": np.array([[2], [1]])}
_PLAIN = ("dataset.mean=[0.0]", "dataset.std=[1.0]")


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def arrays(train: np.ndarray, test: np.ndarray | None = None) -> dict[str, np.ndarray]:
    return {"x_train": train, "x_test": train[:2] if test is None else test, **_LABELS}


def config_of(root: Path, *words: str) -> DatasetConfig:
    """Return the composed group; its network is never built."""
    return compose(["dataset=tensors", f"dataset.root={root}", "network=my_net:Net", *words]).dataset


def saved(folder: Path, values: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "data.npz", **values)
    return folder / "data.npz"


def load(root: Path, *words: str, channels_last: bool = True) -> Dataset:
    return load_dataset(config_of(root, *words), CPU, channels_last)


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW"])
@pytest.mark.parametrize("form", ["npz", "npy"])
def test_images_of_every_layout(tmp_path, layout, form):
    first = images(5, 6, 6) if layout == "NHW" else images(5, 6, 6, 3)
    stored = np.ascontiguousarray(first.transpose(0, 3, 1, 2)) if layout == "NCHW" else first
    values = arrays(stored)
    if form == "npy":
        for name, array in values.items():
            np.save(tmp_path / f"{name}.npy", array)
    root = tmp_path if form == "npy" else saved(tmp_path, values)
    data = config_of(root)
    assert (data.num_train_samples, data.num_test_samples, data.num_classes) == (5, 2, 3)
    assert (data.image_size, data.num_channels, data.input_shape, data.num_tokens) == (
        6,
        1 if layout == "NHW" else 3,
        None,
        None,
    )
    expected = torch.from_numpy(first.reshape(5, 6, 6, -1)).permute(0, 3, 1, 2).float() / 255
    dataset = load(root, *_PLAIN)
    torch.testing.assert_close(all_of(dataset.train)[0], expected)
    torch.testing.assert_close(all_of(dataset.test)[0], expected[:2])
    assert all_of(dataset.train)[1].tolist() == [0, 1, 2, 0, 1]
    assert all_of(dataset.test)[1].tolist() == [2, 1]


def test_mean_and_std_of_pixels_are_read(tmp_path):
    train = np.zeros((5, 4, 4, 3), dtype=np.uint8)
    train[..., 1] = 51
    train[:, :2, :, 2] = 255
    data = config_of(saved(tmp_path, arrays(train)))
    # Black; 51 of 255; half of the pixels white. The first two do not vary.
    assert data.mean == [0.0, 0.2, 0.5]
    assert data.std == [1.0, 1.0, 0.5]


def test_images_that_are_not_square_keep_their_shape(tmp_path):
    root = saved(tmp_path, arrays(images(5, 8, 12, 3)))
    assert config_of(root).input_shape == [3, 8, 12]
    assert all_of(load(root, "dataset.crop_padding=1").train)[0].shape == (5, 3, 8, 12)


def test_floating_point_values_of_any_shape_stay_as_they_are(tmp_path):
    for shape in ((5, 4), (5, 3, 7), (5, 2, 3, 4, 5)):
        values = np.random.default_rng(0).normal(size=shape)
        root = saved(tmp_path / str(len(shape)), arrays(values))
        data = config_of(root)
        assert data.sample_shape == shape[1:]
        samples, _ = all_of(load(root).train)
        assert samples.dtype == torch.float32
        assert torch.equal(samples, torch.from_numpy(values).float())
    images_shaped = saved(tmp_path, arrays(np.random.default_rng(0).normal(size=(5, 2, 6, 6)).astype(np.float16)))
    samples, _ = all_of(load(images_shaped).train)
    assert samples.is_contiguous(memory_format=torch.channels_last)
    normalized, _ = all_of(load(images_shaped, "dataset.mean=[1.0,2.0]", "dataset.std=[2.0]").train)
    torch.testing.assert_close(normalized[:, 1], (samples[:, 1] - 2) / 2)


def test_token_ids_stay_whole_numbers(tmp_path):
    tokens = np.array([[0, 5], [3, 3], [1, 2], [0, 0], [2, 1]], dtype=np.uint16)
    root = saved(tmp_path, arrays(tokens, np.array([[7, 0], [1, 1]], dtype=np.uint16)))
    assert config_of(root).num_tokens == 8
    samples, _ = all_of(load(root).train)
    assert samples.dtype == torch.int64
    assert samples.tolist() == tokens.tolist()
    with pytest.raises(ConfigError, match="dataset.num_tokens is 6; it must be 8, as found in"):
        config_of(root, "dataset.num_tokens=6")
    with pytest.raises(ConfigError, match="dataset.horizontal_flip is true; it must be false for samples that are not"):
        load(root, "dataset.horizontal_flip=true")


def test_networks_of_adabatch_refuse_samples_that_are_no_images(tmp_path):
    with pytest.raises(ConfigError, match=r"network.name is tiny_cnn; it must be a network of your own .* \[4\]"):
        config_of(saved(tmp_path, arrays(np.zeros((5, 4)))), "network=tiny_cnn")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("y_train", np.array([0, 1, 2, 0]), "x_train holds 5 samples and y_train 4"),
        ("y_train", np.array([0, 1, 3, 0, 1]), "y_train lacks the label 2"),
        ("y_train", np.array([1, 2, 3, 1, 2]), "y_train lacks the label 0"),
        ("y_train", np.array([0, 1, -1, 0, 1]), "y_train: item 2 has the label -1; labels must be 0 or more"),
        ("y_train", np.array([0.0, 1.0, 2.0, 0.0, 1.0]), "y_train is float64 of shape (5,); labels must be whole"),
        ("y_train", np.zeros((5, 3), dtype=int), "y_train is int64 of shape (5, 3)"),
        ("x_train", np.full((5, 4), np.nan), "x_train holds NaN or infinite values"),
        ("x_train", np.full((5, 4), np.inf), "x_train holds NaN or infinite values"),
        ("x_train", np.array([[-1]] * 5), "x_train holds -1; whole numbers"),
        ("x_train", np.zeros((5, 4), dtype=complex), "x_train is complex128; samples must be"),
        ("x_train", np.zeros((5, 4), dtype=np.uint8), "x_train is uint8 of shape (5, 4); images must be"),
        ("x_train", np.zeros((5, 3, 9, 3), dtype=np.uint8), "x_train is uint8 of shape (5, 3, 9, 3); images must be"),
        ("x_train", np.zeros((5, 7)), "x_train is float64 of shape (5, 7), x_test uint8 of (2, 6, 6, 1)"),
        ("x_train", np.array([{}] * 5), "data.npz cannot be read (Object arrays cannot be loaded"),
        ("x_train", np.zeros((), dtype=np.uint8), "x_train holds 0 samples and y_train 5"),
    ],
)
def test_arrays_that_cannot_be_trained_on_are_named(tmp_path, name, value, sentence):
    with pytest.raises(ConfigError) as error:
        config_of(saved(tmp_path, {**arrays(images(5, 6, 6)), name: value}))
    assert str(error.value).startswith(str(tmp_path))
    assert sentence in str(error.value)


def test_labels_beyond_the_given_number_of_classes_are_named(tmp_path):
    root = saved(tmp_path, arrays(images(5, 6, 6)))
    assert config_of(root, "dataset.num_classes=7").num_classes == 7
    with pytest.raises(DataError, match="y_train: item 2 has the label 2; labels must be 0 to 1"):
        load(root, "dataset.num_classes=2")


def test_roots_that_hold_no_arrays_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="dataset.root is null; it must be a .npz or .safetensors file"):
        compose(["dataset=tensors", "network=tiny_cnn"])
    with pytest.raises(ConfigError, match="it must be a file or folder that exists"):
        config_of(tmp_path / "nowhere.npz")
    with pytest.raises(
        ConfigError, match="lacks x_train; it must hold x_train, y_train, x_test and y_test. It holds none"
    ):
        config_of(tmp_path)
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(ConfigError, match="data.csv; it must be a .npz or .safetensors file"):
        config_of(tmp_path / "data.csv")
    root = saved(tmp_path, arrays(images(5, 6, 6)))
    root.write_bytes(root.read_bytes()[:100])
    with pytest.raises(ConfigError, match="data.npz cannot be read"):
        config_of(root)


def test_other_contents_than_those_composed_for_are_refused(tmp_path):
    root = saved(tmp_path, arrays(images(5, 6, 6)))
    config = config_of(root)
    values = arrays(images(5, 6, 6))
    values["x_train"][0, 0, 0] ^= 1
    saved(tmp_path, values)
    with pytest.raises(ConfigError, match="does not hold the data that the config was made for"):
        load_dataset(config, CPU, True)


def write_safetensors(path: Path, values: dict[str, np.ndarray]) -> None:
    """The length of a JSON header, the header, the bytes of the arrays."""
    header: dict[str, Any] = {}
    content = b""
    for name, array in values.items():
        kind = {"uint8": "U8", "int64": "I64"}[str(array.dtype)]
        offsets = [len(content), len(content) + array.nbytes]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        content += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def test_safetensors(tmp_path):
    pytest.importorskip("safetensors", reason="the package safetensors is not installed")
    root = tmp_path / "data.safetensors"
    train = images(5, 6, 6)
    write_safetensors(root, arrays(train))
    samples, _ = all_of(load(root, *_PLAIN).train)
    assert torch.equal((samples[:, 0] * 255).round(), torch.from_numpy(train).float())
    root.write_bytes(root.read_bytes()[:-9])
    with pytest.raises(ConfigError, match="data.safetensors cannot be read"):
        config_of(root)


def test_safetensors_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    write_safetensors(tmp_path / "data.safetensors", arrays(images(5, 6, 6)))
    with pytest.raises(ConfigError, match="data.safetensors; reading it needs the package safetensors: install it"):
        config_of(tmp_path / "data.safetensors")


def test_arrays_too_large_for_the_device_look_the_same(tmp_path, monkeypatch):
    root = saved(tmp_path, arrays(images(5, 6, 6, 3)))
    for channels_last in (True, False):
        resident = load(root, channels_last=channels_last)
        with monkeypatch.context() as small:
            small.setattr(files, "MAX_RESIDENT_BYTES", 10)
            loaded = load(root, channels_last=channels_last)
            augmented = load(root, "dataset.crop_padding=2").train
        assert type(loaded.train) is not type(resident.train)
        for mine, theirs in zip(all_of(loaded.train), all_of(resident.train), strict=True):
            assert torch.equal(mine, theirs)
        assert all_of(augmented)[0].shape == (5, 3, 6, 6)


@pytest.mark.slow
def test_a_run_on_arrays(tmp_path):
    saved(tmp_path, arrays(images(5, 8, 8)))
    words = ("dataset=tensors", "dataset.root=data.npz", "network=tiny_cnn", "num_epochs=1", "schedule.batch_size=2")
    answer = run_command(*words, "run_dir=run", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    answer = run_command("dataset=tensors", "dataset.root=other.npz", cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (
        2,
        "dataset.root is other.npz; it must be a file or folder that exists.\n",
    )
