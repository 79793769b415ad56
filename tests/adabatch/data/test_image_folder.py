"""Folders of images of one's own: layouts, sizes read off the files, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adabatch.config import TrainConfig, config_hash, load_config
from adabatch.config.compose import compose
from adabatch.data import Dataset, files, load_dataset
from adabatch.errors import ConfigError, DataError
from adabatch.rundir.files import RunDir
from tests.adabatch.data.files import CPU, all_of
from tests.adabatch.support import read_rows, run_command

_PLAIN = ("dataset.mean=[0.0]", "dataset.std=[1.0]")


def write(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path)


def grey(value: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.full((height, width), value, dtype=np.uint8)


def write_splits(root: Path, test_name: str = "test") -> None:
    """Three training images and one test image a class: pixels 0, 20, 40 for cats, 100, 120, 140 for dogs."""
    for split, count in (("train", 3), (test_name, 1)):
        for place, name in enumerate(("cat", "dog")):
            for number in range(count):
                write(root / split / name / f"{number}.png", grey(100 * place + 20 * number))


def composed(root: Path, *words: str) -> TrainConfig:
    return compose(["dataset=image_folder", f"dataset.root={root}", "network=tiny_cnn", *words])


def load(root: Path, *words: str) -> Dataset:
    return load_dataset(composed(root, *words).dataset, CPU, channels_last=True)


@pytest.mark.parametrize("test_name", ["test", "val", "valid", "validation"])
def test_sizes_are_read_off_the_files(tmp_path, test_name):
    write_splits(tmp_path, test_name)
    data = composed(tmp_path).dataset
    assert (data.num_train_samples, data.num_test_samples, data.num_classes) == (6, 2, 2)
    assert (data.image_size, data.num_channels) == (8, 1)
    # The mean of 0, 20, 40, 100, 120, 140 is 70; the mean of their squares is 46,000 / 6, so the variance is 2,766.67.
    assert data.mean == [round(70 / 255, 4)] == [0.2745]
    assert data.std == [round(2766.67**0.5 / 255, 4)] == [0.2063]
    images, labels = all_of(load(tmp_path, *_PLAIN).train)
    assert (images[:, 0, 0, 0] * 255).round().tolist() == [0, 20, 40, 100, 120, 140]
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert all_of(load(tmp_path).test)[1].tolist() == [0, 1]


def test_images_of_other_shapes_are_scaled_and_cropped_to_the_median_shorter_side(tmp_path):
    write_splits(tmp_path)
    for name, (height, width) in {"a": (10, 30), "b": (12, 40), "c": (20, 16)}.items():
        write(tmp_path / "train" / "cat" / f"{name}.jpg", np.full((height, width, 3), (200, 100, 0), dtype=np.uint8))
    data = composed(tmp_path).dataset
    # Shorter sides: six of 8, then 10, 12 and 16.
    assert (data.image_size, data.num_channels) == (8, 3)
    assert composed(tmp_path, "dataset.num_channels=1", "dataset.image_size=5").dataset.mean != data.mean
    images, _ = all_of(load(tmp_path, "dataset.image_size=11", *_PLAIN).train)
    assert images.shape == (9, 3, 11, 11)
    # "a.jpg" comes behind "0.png" to "2.png"; one color stays what it is, as far as JPEG keeps it.
    torch.testing.assert_close(images[3, :, 5, 5] * 255, torch.tensor([200.0, 100.0, 0.0]), atol=3.0, rtol=0.0)


def test_large_images_are_made_smaller_unless_a_size_is_given(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            write(tmp_path / split / name / "1.png", grey(9, 300, 400))
    assert composed(tmp_path).dataset.image_size == 224
    assert composed(tmp_path, "dataset.image_size=280").dataset.image_size == 280


def test_without_splits_a_share_of_each_class_is_for_testing_whatever_the_seed(tmp_path):
    for name, count in (("cat", 10), ("dog", 5)):
        for number in range(count):
            write(tmp_path / name / f"{number}.png", grey(10 * number))
    config = composed(tmp_path, "seed=7")
    # 20 % of 15 are 3, divided 2 to 1.
    assert (config.dataset.num_train_samples, config.dataset.num_test_samples) == (12, 3)
    assert all_of(load(tmp_path, "seed=1").test)[1].tolist() == [0, 0, 1]
    first, second = (all_of(load(tmp_path, f"seed={seed}").test)[0] for seed in (1, 2))
    assert torch.equal(first, second)
    # 40 % of 15 are 6, divided 4 to 2.
    half = composed(tmp_path, "dataset.test_fraction=0.4")
    assert half.dataset.num_test_samples == 6
    assert config_hash(half) != config_hash(composed(tmp_path))
    dataset = load(tmp_path, *_PLAIN)
    together = torch.cat([all_of(source)[0] for source in (dataset.train, dataset.test)])
    assert sorted((together[:, 0, 0, 0] * 255).round().tolist()) == sorted([*range(0, 100, 10), *range(0, 50, 10)])


def test_what_is_given_must_agree_with_the_files(tmp_path):
    write_splits(tmp_path)
    with pytest.raises(ConfigError, match="dataset.num_train_samples is 7; it must be 6, as found in"):
        composed(tmp_path, "dataset.num_train_samples=7")
    assert composed(tmp_path, "dataset.num_train_samples=6") == composed(tmp_path)
    with pytest.raises(ConfigError, match=r"dataset.num_channels is 2; it must be 1 \(grey\) or 3"):
        composed(tmp_path, "dataset.num_channels=2")


def test_files_that_change_after_composing_are_refused(tmp_path):
    write_splits(tmp_path)
    config = composed(tmp_path)
    os.rename(tmp_path / "train" / "cat" / "1.png", tmp_path / "train" / "cat" / "other.png")
    with pytest.raises(ConfigError, match="does not hold the data that the config was made for"):
        load_dataset(config.dataset, CPU, channels_last=True)
    (tmp_path / "train" / "cat" / "other.png").unlink()
    with pytest.raises(ConfigError, match="dataset.num_train_samples is 6; it must be 5, as found in"):
        load_dataset(config.dataset, CPU, channels_last=True)


def test_layouts_that_cannot_be_meant_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="dataset.root is null; it must be the folder"):
        compose(["dataset=image_folder", "network=tiny_cnn"])
    with pytest.raises(ConfigError, match="it must be a folder that exists"):
        composed(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="must hold at least two folders, one for each class; it holds 0"):
        composed(tmp_path)
    write(tmp_path / "train" / "cat" / "1.png", grey(1))
    with pytest.raises(ConfigError, match="beside train/ it must hold one of test, val, valid, validation"):
        composed(tmp_path)
    (tmp_path / "val").mkdir()
    with pytest.raises(ConfigError, match="train must hold at least two folders.*it holds 1"):
        composed(tmp_path)
    write(tmp_path / "train" / "dog" / "1.png", grey(1))
    write(tmp_path / "val" / "cat" / "1.png", grey(1))
    write(tmp_path / "val" / "fox" / "1.png", grey(1))
    with pytest.raises(ConfigError, match="train/ and val/ must hold the same classes, but only one has dog"):
        composed(tmp_path)
    (tmp_path / "val" / "dog").mkdir()
    with pytest.raises(ConfigError, match="dog holds no images"):
        composed(tmp_path)


def test_a_class_too_small_to_be_split_is_refused(tmp_path):
    for name, count in (("cat", 20), ("dog", 1)):
        for number in range(count):
            write(tmp_path / name / f"{number}.png", grey(number))
    with pytest.raises(ConfigError, match=r"of the 1 image\(s\) in .*dog, at least one must be for training"):
        composed(tmp_path)


def test_files_that_are_no_images_are_named(tmp_path):
    write_splits(tmp_path)
    (tmp_path / "train" / "cat" / ".DS_Store").write_text("left out")
    odd = tmp_path / "train" / "dog" / "notes.txt"
    odd.write_text("a text")
    with pytest.raises(ConfigError, match="notes.txt is no image by its name"):
        composed(tmp_path)
    odd.rename(odd.with_suffix(".png"))
    with pytest.raises(ConfigError, match="notes.png cannot be read as an image: it is truncated or corrupt"):
        composed(tmp_path)


def test_images_of_16_bits_are_refused_not_cut_off(tmp_path):
    write_splits(tmp_path)
    deep = tmp_path / "train" / "cat" / "deep.png"
    Image.fromarray(np.full((8, 8), 40000, dtype=np.uint16)).save(deep)
    with pytest.raises(ConfigError, match=r"deep.png has pixels of Pillow's mode I;16; they must have 8 bits"):
        composed(tmp_path)


def test_transparent_and_palette_images_are_read(tmp_path):
    write_splits(tmp_path)
    color = np.full((8, 8, 4), (10, 20, 30, 128), dtype=np.uint8)
    write(tmp_path / "train" / "cat" / "x.png", color)
    Image.fromarray(color[:, :, :3]).quantize(2).save(tmp_path / "train" / "cat" / "y.gif")
    images, _ = all_of(load(tmp_path, *_PLAIN).train)
    assert (images[3:5, :, 0, 0] * 255).round().tolist() == [[10, 20, 30], [10, 20, 30]]


@pytest.mark.slow
def test_large_sets_are_decoded_by_workers_and_look_the_same(tmp_path, monkeypatch):
    write_splits(tmp_path)
    resident = load(tmp_path, "dataset.num_workers=1")
    monkeypatch.setattr(files, "MAX_RESIDENT_BYTES", 100)
    loaded = load(tmp_path, "dataset.num_workers=1")
    assert type(loaded.train) is not type(resident.train)
    for one, other in ((loaded.train, resident.train), (loaded.test, resident.test)):
        for mine, theirs in zip(all_of(one), all_of(other), strict=True):
            assert torch.equal(mine, theirs)
    corrupt = tmp_path / "test" / "dog" / "0.png"
    corrupt.write_bytes(corrupt.read_bytes()[:50])
    with pytest.raises(DataError, match="0.png cannot be read as an image"):
        all_of(load(tmp_path, "dataset.num_workers=1").test)


def test_random_crops_of_large_sets_depend_on_seed_epoch_and_index_alone(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            for number in range(4):
                write(tmp_path / split / name / f"{number}.png", random.integers(0, 256, (8, 8), dtype=np.uint8))
    monkeypatch.setattr(files, "MAX_RESIDENT_BYTES", 100)
    words = ("dataset.num_workers=0", "dataset.crop_padding=2", "dataset.horizontal_flip=true")
    source = load(tmp_path, *words).train
    whole, _ = next(iter(source.iterate(2, 5, [torch.arange(8)])))
    parts = torch.cat([images for images, _ in source.iterate(2, 5, [torch.arange(5), torch.arange(5, 8)])])
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, next(iter(source.iterate(3, 5, [torch.arange(8)])))[0])


@pytest.mark.slow
def test_a_run_records_what_was_read_and_resumes(tmp_path):
    write_splits(tmp_path / "pets")
    words = ("dataset=image_folder", "dataset.root=pets", "network=tiny_cnn", "run_dir=run", "schedule.batch_size=2")
    answer = run_command(*words, "num_epochs=2", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    run = RunDir(tmp_path / "run")
    assert load_config(run.config).dataset.num_train_samples == 6
    assert [row["samples"] for row in read_rows(run)] == ["6", "12"]
    assert "is already finished" in run_command(*words, "num_epochs=2", cwd=tmp_path).stdout
    write(tmp_path / "pets" / "train" / "cat" / "new.png", grey(3))
    answer = run_command(*words, "num_epochs=2", cwd=tmp_path)
    assert answer.returncode == 2
    assert "dataset.num_train_samples is 7, the saved one is 6" in answer.stderr
    answer = run_command(*words, "dataset.root=nowhere", cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr == "dataset.root is nowhere; it must be a folder that exists.\n"
