"""``dataset.limit`` and ``dataset.validation``: which samples are used, and what planning, runs and schedules see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adabatch.config import config_hash, from_dict, load_config, to_dict
from adabatch.config.compose import compose
from adabatch.data import Dataset, files, load_dataset
from adabatch.data.shares import stratified_counts
from adabatch.errors import ConfigError
from adabatch.schedules import Signals
from adabatch.schedules.coupled import CoupledSchedule
from tests.adabatch.data.files import CPU, all_of, write_image_folder
from tests.adabatch.support import read_rows, read_summary

DIGITS = ("dataset=digits", "network=tiny_cnn")


def load(*words: str) -> Dataset:
    return load_dataset(compose([*words]).dataset, CPU, channels_last=True)


@pytest.mark.parametrize(
    ("counts", "total", "expected"),
    [
        # 10 of 6 + 3 + 1 is everything; half is 3, 1.5 and 0.5, and of equal remainders the first comes first.
        ([6, 3, 1], 10, [6, 3, 1]),
        ([6, 3, 1], 5, [3, 2, 0]),
        # 7 of 100 are 3.5, 2.1 and 1.4: 3 + 2 + 1, and one more for the largest remainder.
        ([50, 30, 20], 7, [4, 2, 1]),
        ([0, 4, 4], 3, [0, 2, 1]),
    ],
)
def test_largest_remainders(counts: list[int], total: int, expected: list[int]) -> None:
    assert stratified_counts(counts, total) == expected


def rows_of(source: Any) -> set[bytes]:
    return {sample.numpy().tobytes() for sample in all_of(source)[0]}


def test_a_limit_takes_the_same_share_of_each_class_whatever_the_seed():
    config = compose([*DIGITS, "dataset.limit=100", "seed=3"])
    assert (config.dataset.num_train_samples, config.dataset.num_test_samples) == (100, 359)
    limited, whole = load(*DIGITS, "dataset.limit=100"), load(*DIGITS)
    _, labels = all_of(limited.train)
    # 100 of 1,438, of which each class has 139 to 147 samples: 9.67 to 10.22.
    counts = all_of(whole.train)[1].bincount().tolist()
    assert all(
        abs(count - 100 * size / 1438) < 1 for count, size in zip(labels.bincount().tolist(), counts, strict=True)
    )
    assert len(labels) == 100
    assert rows_of(limited.train) < rows_of(whole.train)
    assert rows_of(limited.train) < rows_of(load(*DIGITS, "dataset.limit=200").train)
    assert limited.test.num_samples == 359
    assert limited.validation is None
    assert torch.equal(all_of(load(*DIGITS, "dataset.limit=100", "seed=9").train)[0], all_of(limited.train)[0])


def test_a_limit_beyond_the_data_is_none():
    assert compose([*DIGITS, "dataset.limit=5000"]).dataset.num_train_samples == 1438
    assert load(*DIGITS, "dataset.limit=5000").train.num_samples == 1438


def test_validation_samples_are_held_out_of_training_and_not_augmented():
    words = (*DIGITS, "dataset.validation=0.1", "dataset.crop_padding=1")
    data = compose(words).dataset
    # 143.8 are rounded to 144.
    assert (data.num_train_samples, data.num_validation_samples) == (1294, 144)
    dataset, whole = load(*words), load(*DIGITS)
    assert dataset.validation is not None
    assert rows_of(dataset.validation) < rows_of(whole.train)
    assert all(13 <= count <= 15 for count in all_of(dataset.validation)[1].bincount().tolist())
    plain = load(*DIGITS, "dataset.validation=0.1")
    assert rows_of(plain.train) | rows_of(plain.validation) == rows_of(whole.train)
    assert not rows_of(plain.train) & rows_of(plain.validation)
    # A limit takes of the others.
    both = load(*DIGITS, "dataset.validation=0.1", "dataset.limit=50")
    assert rows_of(both.validation) == rows_of(plain.validation)
    assert both.train.num_samples == 50


def _arrays(folder: Path, **values: Any) -> str:
    samples = np.arange(20, dtype=np.float32).reshape(20, 1, 1, 1) * np.ones((1, 1, 8, 8), dtype=np.float32)
    labels = np.arange(20) % 2
    np.savez(folder / "data.npz", x_train=samples, y_train=labels, x_test=samples[:2], y_test=labels[:2])
    return f"dataset.root={folder / 'data.npz'}"


@pytest.mark.parametrize("most_bytes", [1 << 30, 10])
@pytest.mark.parametrize("name", ["tensors", "image_folder", "imagenet", "by_path", "synthetic"])
def test_every_kind_of_data_set_is_divided(tmp_path, monkeypatch, name, most_bytes):
    monkeypatch.setattr(files, "MAX_RESIDENT_BYTES", most_bytes)
    words = [f"dataset={name}", "network=tiny_cnn", "dataset.num_workers=0"]
    if name == "tensors":
        words.append(_arrays(tmp_path))
    elif name == "by_path":
        monkeypatch.syspath_prepend(str(tmp_path))
        (tmp_path / "divided_data.py").write_text(
            "import torch\nclass Data(torch.utils.data.Dataset):\n"
            "    def __init__(self, train): self.count = 20 if train else 2\n"
            "    def __len__(self): return self.count\n"
            "    def __getitem__(self, i): return torch.full((1, 8, 8), float(i)), i % 2\n"
        )
        words.append("dataset.path=divided_data:Data")
    elif name == "synthetic":
        words += ["dataset.num_train_samples=20", "dataset.num_test_samples=2", "dataset.image_size=8"]
        words += ["dataset.num_classes=2", "dataset.num_channels=1"]
    else:
        write_image_folder(tmp_path, num_train=10, num_test=1)
        words.append(f"dataset.root={tmp_path}")
        if name == "imagenet":
            words += ["dataset.num_train_samples=20", "dataset.num_test_samples=2", "dataset.num_classes=2"]
            words += ["dataset.image_size=8"]
    dataset = load(*words, "dataset.validation=0.2", "dataset.limit=6")
    assert dataset.validation is not None
    assert [source.num_samples for source in (dataset.train, dataset.validation, dataset.test)] == [6, 4, 2]
    assert load(*words, "dataset.test_limit=1").test.num_samples == 1
    if name != "synthetic":
        assert all_of(dataset.train)[1].tolist().count(0) == 3
        assert all_of(dataset.validation)[1].tolist().count(0) == 2
    if name in ("tensors", "by_path"):
        used = {
            float(sample.flatten()[0]) for part in (dataset.train, dataset.validation) for sample in all_of(part)[0]
        }
        assert len(used) == 10  # no sample is in both


def test_both_count_in_the_hash_and_a_saved_config_stays_what_it_is():
    plain = compose(DIGITS)
    hashes = {config_hash(plain)}
    for words in (["dataset.limit=100"], ["dataset.limit=101"], ["dataset.validation=0.1"], ["dataset.validation=0.2"]):
        config = compose([*DIGITS, *words])
        hashes.add(config_hash(config))
        assert from_dict(to_dict(config)) == config
    assert len(hashes) == 5
    older = to_dict(plain)
    for key in ("limit", "validation", "num_validation_samples", "test_fraction", "digest", "path", "args"):
        del older["dataset"][key]
    assert config_hash(older) == config_hash(plain) == config_hash(from_dict(older))


def test_what_cannot_be_held_out_is_refused():
    with pytest.raises(
        ConfigError, match="dataset.validation is 0.0001; of 1,438 training samples, it must hold out at"
    ):
        compose([*DIGITS, "dataset.validation=0.0001"])
    with pytest.raises(ConfigError, match="dataset.validation is 1; it must be at least 0 and less than 1"):
        compose([*DIGITS, "dataset.validation=1"])
    with pytest.raises(ConfigError, match="dataset.limit is 0; it must be null or at least 1"):
        compose([*DIGITS, "dataset.limit=0"])
    with pytest.raises(ConfigError, match="dataset.num_validation_samples is 7; it must be 144"):
        compose([*DIGITS, "dataset.validation=0.1", "dataset.num_validation_samples=7"])
    config = compose([*DIGITS, "dataset.limit=100"]).dataset
    config.num_train_samples = 99
    with pytest.raises(ConfigError, match="dataset.num_train_samples is 99; it must be 100, of 1438 found in"):
        load_dataset(config, CPU, True)


@pytest.mark.slow
def test_a_run_records_validation_and_steers_by_it(monkeypatch, train):
    seen = []
    decide = CoupledSchedule.decide

    def recorded(self, progress, signals=None):
        if signals is not None and signals not in seen:
            seen.append(signals)
        return decide(self, progress, signals)

    monkeypatch.setattr(CoupledSchedule, "decide", recorded)
    # 10 % of 60 are held out, and 30 of the 54 others are used.
    run = train("dataset.validation=0.1", "dataset.limit=30", "num_epochs=3")
    rows = read_rows(run)
    assert [row["samples"] for row in rows] == ["30", "60", "90"]
    for row in rows:
        right = 6 * float(row["validation_accuracy"])
        assert right == pytest.approx(round(right), abs=1e-9)
    assert read_summary(run)["validation_loss"] == float(rows[-1]["validation_loss"])
    assert load_config(run.config).dataset.num_validation_samples == 6
    expected = [Signals()]
    for row in rows[:2]:
        measured = (row["train_loss"], row["validation_loss"], row["validation_accuracy"])
        expected.append(Signals(*map(float, measured)))
    assert seen == expected
    plain = train("num_epochs=1", name="plain")
    assert read_rows(plain)[0]["validation_accuracy"] == ""
    assert read_summary(plain)["validation_accuracy"] is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["dataset.limit=9"], "dataset.limit is 9; it must be null or at least 10, so that each of the 10 classes"),
        (["dataset.limit=3", "dataset.validation=0.5"], "dataset.limit is 3; it must be null or at least 10"),
        (["dataset.validation=0.995"], "dataset.validation is 0.995; it must be smaller, .*: it leaves 7 samples"),
    ],
)
def test_fewer_samples_than_classes_are_refused(words, sentence):
    # digits has 1,438 training samples of 10 classes; 1438 * 0.995 = 1430.81 are held out
    with pytest.raises(ConfigError, match=sentence):
        compose([*DIGITS, *words])
    assert compose([*DIGITS, "dataset.limit=10"]).dataset.num_train_samples == 10
    assert compose([*DIGITS, "dataset.limit=9", "quick=true"]).dataset.num_train_samples == 9


def test_a_small_class_keeps_a_sample():
    # of 101 in all, 10 are 9.80, 0.10 and 0.10 of the classes: 10, 0, 0 by remainders
    assert stratified_counts([99, 1, 1], 10) == [10, 0, 0]
    assert stratified_counts([99, 1, 1], 10, one_of_each=True) == [8, 1, 1]
    assert stratified_counts([99, 0, 1], 10, one_of_each=True) == [9, 0, 1]
    assert stratified_counts([99, 1, 1], 2, one_of_each=True) == [2, 0, 0]  # not enough for all


def _uneven(folder: Path, labels: list[int]) -> list[str]:
    samples = np.ones((len(labels), 1, 8, 8), dtype=np.float32)
    np.savez(folder / "data.npz", x_train=samples, y_train=labels, x_test=samples[:2], y_test=[0, 1])
    return ["dataset=tensors", "network=tiny_cnn", f"dataset.root={folder / 'data.npz'}"]


def test_a_limit_trains_on_a_class_of_a_single_sample(tmp_path):
    words = _uneven(tmp_path, [0] * 40 + [1] * 40 + [2])
    assert all_of(load(*words, "dataset.limit=6").train)[1].bincount().tolist() == [2, 3, 1]


def test_validation_that_takes_a_whole_class_is_refused(tmp_path):
    # 0.8 of 22 samples are 18: 8.18, 8.18 and 1.64 of the classes, so 8, 8 and 2
    words = _uneven(tmp_path, [0] * 10 + [1] * 10 + [2] * 2)
    with pytest.raises(ConfigError, match="dataset.validation is 0.8; .* it holds out all samples of class 2"):
        load(*words, "dataset.validation=0.8")
