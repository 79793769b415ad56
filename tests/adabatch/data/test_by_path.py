"""Torch data sets of one's own: how they are made, what is read off them, when they are read, what is refused."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from adabatch.config import DatasetConfig, load_config
from adabatch.config.compose import compose
from adabatch.data import Dataset, files, load_dataset
from adabatch.data.loaded import LoadedSource
from adabatch.errors import ConfigError, DataError
from adabatch.plugins import OwnCodeError
from adabatch.rundir.files import RunDir
from tests.adabatch.data.files import CPU, all_of
from tests.adabatch.support import assert_equal_bits, read_rows, run_command

#: Six training and three test samples of two numbers; a label says whether the index is odd.
NUMBERS = """
import random
import numpy
import torch
from torch.utils.data import Dataset

class Numbers(Dataset):
    def __init__(self, train, shift=0.0):
        self.count = 6 if train else 3
        self.shift = shift

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.tensor([index + self.shift, 1.0]), index % 2
"""
NOISY = """
class Noisy(Numbers):
    def __getitem__(self, index):
        noise = [torch.rand(()).item(), numpy.random.rand(), random.random()]
        return torch.tensor([float(index), *noise]), index % 2
"""
_names = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module into the working folder, and return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(*parts: str) -> str:
        name = f"user_module_{next(_names)}"
        (tmp_path / f"{name}.py").write_text("\n".join(map(textwrap.dedent, (NUMBERS, *parts))))
        return name

    return write


def config_of(path: str, *words: str) -> DatasetConfig:
    return compose([f"dataset={path}", "network=my_net:Net", *words]).dataset


def load(path: str, *words: str) -> Dataset:
    return load_dataset(config_of(path, *words), CPU, channels_last=True)


def test_a_class_is_made_once_for_each_split(module):
    name = module()
    data = config_of(f"{name}:Numbers")
    assert (data.num_train_samples, data.num_test_samples, data.num_classes) == (6, 3, 2)
    assert (data.input_shape, data.num_tokens, data.mean, data.std) == ([2], None, [0.0], [1.0])
    samples, labels = all_of(load(f"{name}:Numbers", "dataset.args.shift=0.5").train)
    assert samples.tolist() == [[index + 0.5, 1.0] for index in range(6)]
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert config_of(f"{name}:Numbers", "dataset.args.shift=0.5").args == {"shift": 0.5}


@pytest.mark.parametrize(
    "source",
    [
        "def load(): return Numbers(True), Numbers(False)",
        "def load(train): return Numbers(train)",
        "def load(split): return Numbers({'train': True, 'test': False}[split])",
        "def load(root=None): return Numbers(True), Numbers(root is None)",
    ],
)
def test_a_function_returns_both_splits_or_one_for_each_call(module, source):
    name = module(source, "load.__adabatch_plugin__ = 'dataset'")
    words = ["dataset.root=somewhere"] if "root" in source else []
    dataset = load(f"{name}:load", *words)
    assert (dataset.train.num_samples, dataset.test.num_samples) == (6, 3)


def test_pillow_images_and_uint8_tensors_are_pixels(module):
    name = module(
        """
        from PIL import Image

        class Pillow(Numbers):
            def __getitem__(self, index):
                return Image.new("RGB", (4, 4), (51 * index, 255, 0)), index % 2

        class Pixels(Numbers):
            def __getitem__(self, index):
                pixels = torch.zeros(3, 4, 4, dtype=torch.uint8)
                pixels[0], pixels[1] = 51 * index, 255
                return pixels, index % 2
        """
    )
    for path in (f"{name}:Pillow", f"{name}:Pixels"):
        data = config_of(path)
        assert (data.num_channels, data.image_size, data.input_shape) == (3, 4, None)
        # Red: 0, 0.2, ... 1 has mean 0.5 and variance (0.25 + 0.09 + 0.01) * 2 / 6 = 0.11667.
        assert (data.mean, data.std) == ([0.5, 1.0, 0.0], [0.3416, 1.0, 1.0])
        images, _ = all_of(load(path, "dataset.mean=[0.0]", "dataset.std=[1.0]").train)
        torch.testing.assert_close(images[:, 0, 2, 3], torch.arange(6) / 5)
        assert load(path, "dataset.crop_padding=1").train.num_samples == 6


def test_token_ids_are_counted(module):
    name = module(
        """
        class Tokens(Numbers):
            def __getitem__(self, index):
                return numpy.array([index, 10 * index]), index % 2
        """
    )
    assert config_of(f"{name}:Tokens").num_tokens == 51
    assert all_of(load(f"{name}:Tokens").train)[0].dtype == torch.int64


def test_random_samples_depend_on_seed_epoch_and_index_alone(module):
    name = module(NOISY)
    source = load(f"{name}:Noisy").train
    assert isinstance(source, LoadedSource)
    assert not isinstance(load(f"{name}:Numbers").train, LoadedSource)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    whole, _ = next(iter(source.iterate(1, 7, [torch.arange(6)])))
    assert torch.equal(torch.get_rng_state(), before)
    parts = torch.cat([samples for samples, _ in source.iterate(1, 7, [torch.tensor([0]), torch.arange(1, 6)])])
    assert torch.equal(whole, parts)
    for other in ((2, 7), (1, 8)):
        again, _ = next(iter(source.iterate(*other, [torch.arange(6)])))
        assert torch.equal(again[:, 0], whole[:, 0])
        assert not (again[:, 1:] == whole[:, 1:]).any()
    test = load(f"{name}:Noisy").test
    assert torch.equal(next(iter(test.iterate(1, 7, [torch.arange(3)])))[0], all_of(test)[0])


@pytest.mark.slow
def test_workers_change_nothing(module):
    name = module(NOISY)
    here, there = (load(f"{name}:Noisy", f"dataset.num_workers={number}").train for number in (0, 1))
    for mine, theirs in zip(all_of(here), all_of(there), strict=True):
        assert torch.equal(mine, theirs)


def test_large_sets_are_not_kept(module, monkeypatch):
    name = module()
    monkeypatch.setattr(files, "MAX_RESIDENT_BYTES", 71)  # nine samples of two float32 are 72 bytes
    assert isinstance(load(f"{name}:Numbers").train, LoadedSource)
    monkeypatch.setattr(files, "MAX_RESIDENT_BYTES", 72)
    assert not isinstance(load(f"{name}:Numbers").train, LoadedSource)


def test_labels_that_a_data_set_lists_are_used_if_they_are_right(module, monkeypatch):
    name = module(
        """
        FETCHED = []

        class Listed(Numbers):
            targets = property(lambda self: [index % 2 for index in range(self.count)])

            def __init__(self, train):
                self.count = 100

            def __getitem__(self, index):
                FETCHED.append(index)
                return super().__getitem__(index)

            shift = 0

        class Wrong(Listed):
            targets = property(lambda self: [1 - index % 2 for index in range(self.count)])
        """
    )
    monkeypatch.setattr(files, "MAX_RESIDENT_BYTES", 1)
    config_of(f"{name}:Listed")
    fetched = sys.modules[name].FETCHED
    assert len(set(fetched)) == 16  # those that are fetched repeatedly, evenly spread
    config_of(f"{name}:Wrong")
    assert len(set(fetched)) == 100


_BAD = {
    "return torch.zeros(2)": "item 0 is of type Tensor; it must be a pair of a sample and a label",
    "return 'text', 1": "item 0 has a sample of type str; it must be a tensor, an array or a Pillow image",
    "return torch.zeros(2), 0.5": "item 0 has a label of type float; it must be a whole number",
    "return torch.zeros(2), -1": "item 0 has the label -1; labels must be 0 or more",
    "return torch.full((2,), float('nan')), 1": "item 0 holds NaN or infinite values",
    "return torch.zeros(2, dtype=torch.bool), 1": "item 0 is torch.bool; samples must be",
    "return torch.tensor([-1, 2]), 1": "item 0 holds -1; whole numbers",
    "return torch.zeros(2, dtype=torch.uint8), 1": "item 0 is uint8 of shape (1, 2); images must be",
    "return torch.zeros(2 + index), index % 2": "item 1 is torch.float32 of shape (3,); it must be torch.float32 of",
    "return torch.zeros(2), 2 * (index % 2)": "has no sample of class 1; its labels must go from 0 to n - 1",
    "return [][index]": "item 0 raised IndexError: list index out of range.\n",
}


@pytest.mark.parametrize("body", _BAD)
def test_items_that_cannot_be_trained_on_are_named(module, body):
    name = module(f"class Bad(Numbers):\n    def __getitem__(self, index):\n        {body}")
    with pytest.raises(ConfigError) as error:
        config_of(f"{name}:Bad")
    assert str(error.value).startswith(f"{name}:Bad, training set (Bad)")
    assert _BAD[body] in str(error.value)


def test_an_error_of_the_users_code_names_its_line_and_keeps_its_traceback(module, tmp_path):
    name = module("class Bad(Numbers):\n    def __getitem__(self, index):\n        return 1 / 0, 1")
    lines = (tmp_path / f"{name}.py").read_text().splitlines()
    line = 1 + next(place for place, text in enumerate(lines) if "1 / 0" in text)
    place = rf"{name}\.py, line {line}, in __getitem__: return 1 / 0, 1$"
    ending = rf"item 0 raised ZeroDivisionError: division by zero\.\n  .*{place}"
    with pytest.raises(OwnCodeError, match=ending) as error:
        config_of(f"{name}:Bad")
    causes = [error.value]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)  # type: ignore[arg-type]
    assert isinstance(causes[-1], ZeroDivisionError)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_in_the_middle_of_training_names_the_item(module, num_workers):
    """The item that fails is none of those that are looked at when the config is composed."""
    name = module(
        NOISY,
        """
        class Late(Noisy):
            targets = property(lambda self: [index % 2 for index in range(self.count)])

            def __init__(self, train):
                self.count = 100

            def __getitem__(self, index):
                if index == 50:
                    raise RuntimeError("no disk")
                return super().__getitem__(index)
        """,
    )
    source = load(f"{name}:Late", f"dataset.num_workers={num_workers}").train
    ending = r"training set \(Late\): item 50 raised RuntimeError: no disk\.\n  .*in __getitem__: raise RuntimeError"
    with pytest.raises(OwnCodeError, match=ending) as error:
        all_of(source)
    assert "raise RuntimeError" in str(error.value.__cause__) or num_workers == 0
    assert isinstance(error.value.__cause__, RuntimeError)


def test_labels_beyond_the_given_number_of_classes_are_refused(module):
    name = module("class Many(Numbers):\n    def __getitem__(self, index):\n        return torch.zeros(1), index % 3")
    with pytest.raises(DataError, match=r"training set \(Many\): item 2 has the label 2; labels must be 0 to 1"):
        load(f"{name}:Many", "dataset.num_classes=2")


@pytest.mark.parametrize(
    ("source", "attribute", "sentence"),
    [
        ("def load(): return 1", "load", "@adabatch.register_dataset"),
        ("load = 3", "load", "it must be a subclass of torch.utils.data.dataset.Dataset"),
        ("def load(): return 1\nload.__adabatch_plugin__ = 'dataset'", "load", "or return a pair of data sets"),
        (
            "def load(): return 1, 2\nload.__adabatch_plugin__ = 'dataset'",
            "load",
            "its training set is int, but must be",
        ),
        (
            "class Stream(torch.utils.data.IterableDataset):\n    def __init__(self, train): pass\n    __iter__ = None",
            "Stream",
            "__len__",
        ),
        ("class Empty(Numbers):\n    def __len__(self): return 0", "Empty", "has no samples"),
        (
            "class Bad(Numbers):\n    def __init__(self, train): raise OSError('no file')",
            "Bad",
            "whose call raised OSError: no file.\n",
        ),
    ],
)
def test_what_is_no_data_set_is_refused(module, source, attribute, sentence):
    name = module(source)
    with pytest.raises(ConfigError) as error:
        config_of(f"{name}:{attribute}")
    assert sentence in str(error.value)


def test_path_and_arguments_are_checked(module):
    with pytest.raises(ConfigError, match="dataset.path is null; it must be an import path"):
        compose(["dataset=by_path", "network=tiny_cnn"])
    name = module()
    with pytest.raises(ConfigError, match="width"):
        config_of(f"{name}:Numbers", "dataset.args.width=3")
    with pytest.raises(ConfigError, match="dataset.num_test_samples is 4; it must be 3, as found in"):
        config_of(f"{name}:Numbers", "dataset.num_test_samples=4")


def test_data_that_change_after_composing_are_refused(module, monkeypatch):
    name = module()
    config = config_of(f"{name}:Numbers")
    monkeypatch.setattr("adabatch.data.by_path._open_once.cache_clear", lambda: None, raising=False)
    config.args = {"shift": 1.0}
    with pytest.raises(ConfigError, match="does not hold the data that the config was made for"):
        load_dataset(config, CPU, True)


@pytest.mark.long
@pytest.mark.slow
def test_a_run_on_random_samples_resumes_exactly(tmp_path: Path):
    noisy_images = """
class Images(Noisy):
    def __init__(self, train):
        self.count = 12

    def __getitem__(self, index):
        return torch.rand(1, 8, 8) + index % 2, index % 2
"""
    (tmp_path / "my_data.py").write_text(NUMBERS + NOISY + noisy_images)
    words = (
        "dataset=my_data:Images",
        "network=tiny_cnn",
        "schedule.batch_size=4",
        "num_epochs=4",
        "hardware.num_threads=1",
    )
    first = run_command(*words, "run_dir=whole", "dataset.num_workers=1", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    saved = load_config(RunDir(tmp_path / "whole").config).dataset
    assert (saved.num_train_samples, saved.num_channels, saved.image_size) == (12, 1, 8)
    again = run_command(*words, "run_dir=again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert_equal_bits(RunDir(tmp_path / "whole"), RunDir(tmp_path / "again"))
    assert len(read_rows(RunDir(tmp_path / "again"))) == 4
    killed = subprocess.run(
        [sys.executable, "-m", "adabatch.tools.verify_resume", "--kills", "1", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == 0, killed.stdout + killed.stderr
