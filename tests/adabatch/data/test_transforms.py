"""``dataset.transforms``: torchvision's transforms by name, one sample at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from adabatch.config import config_hash
from adabatch.config.compose import compose
from adabatch.data import Dataset, load_dataset
from adabatch.errors import ConfigError
from tests.adabatch.data.files import CPU, all_of, write_image_folder
from tests.adabatch.support import assert_equal_bits, read_rows

DIGITS = ("dataset=digits", "network=tiny_cnn", "dataset.mean=[0.0]", "dataset.std=[1.0]")
FLIP = "dataset.transforms=[{RandomHorizontalFlip:{p:1.0}}]"


def load(*words: str) -> Dataset:
    return load_dataset(compose([*words]).dataset, CPU, channels_last=True)


def test_training_images_are_changed_and_others_are_not():
    plain, changed = load(*DIGITS), load(*DIGITS, FLIP, "dataset.validation=0.1")
    flipped, labels = all_of(load(*DIGITS, FLIP).train)
    images, expected = all_of(plain.train)
    assert torch.equal(flipped, images.flip(3))
    assert torch.equal(labels, expected)
    assert torch.equal(all_of(changed.test)[0], all_of(plain.test)[0])
    assert torch.equal(all_of(changed.validation)[0], all_of(load(*DIGITS, "dataset.validation=0.1").validation)[0])


def test_random_ones_depend_on_seed_epoch_and_index_alone():
    crop = "{RandomApply:{transforms:[{RandomCrop:{size:8,padding:3}}],p:0.9}}"
    source = load(*DIGITS, f"dataset.transforms=[{crop},RandomInvert]").train
    indices = torch.arange(40)
    whole, _ = next(iter(source.iterate(1, 5, [indices])))
    parts = torch.cat([images for images, _ in source.iterate(1, 5, indices.split(7))])
    assert torch.equal(whole, parts)
    for epoch, seed in ((2, 5), (1, 6)):
        assert not torch.equal(next(iter(source.iterate(epoch, seed, [indices])))[0], whole)


def test_a_folder_of_images_gives_them_the_whole_file(tmp_path):
    """The left half of the file is black, the right one white; its middle square holds both."""
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            pixels = np.repeat(np.array([0, 255], dtype=np.uint8), 16)[None].repeat(8, 0)
            Image.fromarray(pixels).save(tmp_path / split / name / "1.png")
    words = ["dataset=image_folder", f"dataset.root={tmp_path}", *DIGITS[1:], "dataset.num_workers=0"]
    square, _ = all_of(load(*words, "dataset.image_size=8").train)
    assert square[0, 0, 0].tolist() == [0.0] * 4 + [1.0] * 4
    padded = "dataset.transforms=[{Pad:{padding:[0,0,32,0],fill:255}},{CenterCrop:{size:8}}]"
    moved, _ = all_of(load(*words, padded, "dataset.image_size=8").train)
    assert moved[0, 0, 0].tolist() == [1.0] * 8  # the middle of 64 columns
    scaled, _ = all_of(load(*words, "dataset.transforms=[{CenterCrop:{size:4}}]", "dataset.image_size=8").train)
    assert scaled.shape == (2, 1, 8, 8)


def test_imagenet_takes_them_instead_of_its_own_crops(tmp_path):
    write_image_folder(tmp_path, num_train=1, num_test=1)
    words = ["dataset=imagenet", f"dataset.root={tmp_path}", "network=tiny_cnn", "dataset.horizontal_flip=false"]
    sizes = ["dataset.num_train_samples=2", "dataset.num_test_samples=2", "dataset.num_classes=2"]
    sizes += ["dataset.image_size=16", "dataset.num_workers=0"]
    source = load(*words, *sizes, "dataset.transforms=[{Resize:{size:20}}]").train
    one, other = (next(iter(source.iterate(epoch, 0, [torch.arange(2)])))[0] for epoch in (1, 2))
    assert one.shape == (2, 3, 16, 16)
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("transforms", "sentence"),
    [
        ("[RandomHorizontalFlop]", "holds RandomHorizontalFlop; it must be a transform of torchvision.transforms.v2"),
        ("[Transform]", "holds Transform; it must be"),
        ("[functional]", "holds functional; it must be"),
        ("[InterpolationMode]", "holds InterpolationMode; it must be"),
        ("[os.system]", "holds os.system; it must be"),
        ("[{RandomCrop:{size:8},RandomInvert:{}}]", "it must be a transform of"),
        ("[{RandomCrop:8}]", "it must be a transform of"),
        ("[3]", "holds 3; it must be"),
        ("[{RandomCrop:{width:8}}]", "RandomCrop does not accept that"),
        ("[{Lambda:{lambd:print}}]", "they cannot be applied to an image of shape (1, 8, 8)"),
        ("[{RandomApply:{transforms:[exec]}}]", "holds exec; it must be"),
        ("[{MixUp:{num_classes:10}}]", "they cannot be applied to an image of shape (1, 8, 8)"),
        ("[{RandomCrop:{size:6}}]", "make an image of shape (6, 6, 1)"),
        ("[{ToDtype:{dtype:float}}]", "ToDtype does not accept that"),
    ],
)
def test_what_cannot_be_meant_is_refused(transforms, sentence):
    with pytest.raises(ConfigError) as error:
        load(*DIGITS, f"dataset.transforms={transforms}")
    assert str(error.value).startswith("dataset.transforms")
    assert sentence in str(error.value)


def test_they_take_the_place_of_crops_and_count_in_the_hash():
    with pytest.raises(ConfigError, match="dataset.crop_padding is 1; it must be 0 where dataset.transforms are given"):
        compose([*DIGITS, FLIP, "dataset.crop_padding=1"])
    assert config_hash(compose([*DIGITS, FLIP])) != config_hash(compose(DIGITS))


@pytest.mark.slow
def test_a_run_is_the_same_with_and_without_workers(train):
    words = ("dataset.transforms=[RandomInvert,RandomHorizontalFlip]", "num_epochs=2")
    one = train(*words, name="one")
    other = train(*words, "dataset.num_workers=1", name="other")
    assert_equal_bits(one, other)
    assert len(read_rows(one)) == 2
