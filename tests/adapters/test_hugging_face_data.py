"""Data sets of the real package datasets, from folders and files: columns, splits, sizes, digest, mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from adabatch import ConfigError
from adabatch.config.compose import compose
from adabatch.data import load_dataset
from adabatch.data.config import DatasetConfig
from adabatch.errors import DataError

pytestmark = [pytest.mark.adapters, pytest.mark.slow, pytest.mark.filterwarnings("default")]
datasets = pytest.importorskip("datasets")
PIL = pytest.importorskip("PIL.Image")

CPU = torch.device("cpu")
CLASSES = ["cat", "dog", "owl"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with a cache of its own, and without the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def images_of(count: int, size: tuple[int, int] = (4, 4), mode: str = "RGB") -> Any:
    """Return ``count`` samples; image i has the red value 51 * (i % 6) and class i % 3."""
    colors = [51 * (index % 6) if mode == "L" else (51 * (index % 6), 255, 0) for index in range(count)]
    columns = {
        "image": [PIL.new(mode, size, color) for color in colors],
        "label": [index % 3 for index in range(count)],
    }
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    return datasets.Dataset.from_dict(columns, features=features)


def save(train: Any, name: str = "pets", **splits: Any) -> str:
    """Save splits, and return the path that names them: a whole one, since what was read once in a process is kept."""
    datasets.DatasetDict({"train": train, **splits}).save_to_disk(name)
    return f"hf:{Path(name).resolve()}"


def rows(**columns: list[Any]) -> Any:
    return datasets.Dataset.from_dict(columns)


def config_of(path: str, *words: str) -> DatasetConfig:
    return compose([f"dataset={path}", "network=my_net:Net", *words]).dataset


def samples_of(path: str, *words: str, split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    dataset = load_dataset(config_of(path, *words), CPU, channels_last=False)
    source = getattr(dataset, split)
    ((samples, labels),) = source.iterate(1, 0, [torch.arange(source.num_samples)])
    return samples, labels


def test_a_saved_folder_of_images(tmp_path: Path) -> None:
    path = save(images_of(12), test=images_of(6))
    data = config_of(path)
    assert (data.num_train_samples, data.num_test_samples, data.num_classes) == (12, 6, 3)
    assert (data.num_channels, data.image_size, data.input_shape) == (3, 4, None)
    # Red: 0, 0.2, ... 1, twice, has mean 0.5 and variance (0.25 + 0.09 + 0.01) * 2 / 6 = 0.11667.
    assert (data.mean, data.std) == ([0.5, 1.0, 0.0], [0.3416, 1.0, 1.0])
    samples, labels = samples_of(path, "dataset.mean=[0.0]", "dataset.std=[1.0]", split="test")
    torch.testing.assert_close(samples[:, 0, 2, 3], torch.arange(6) / 5)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.name == f"hf.{'.'.join(tmp_path.parts[1:])}.pets"


def test_images_of_other_sizes_are_scaled_like_those_of_a_folder() -> None:
    grey = datasets.concatenate_datasets([images_of(3, (10, 8), "L"), images_of(3, (6, 20), "L")])
    path = save(grey, test=images_of(3, (9, 9)))
    data = config_of(path)
    # Shorter sides 8, 8, 8, 6, 6, 6; grey since all training images are.
    assert (data.num_channels, data.image_size) == (1, 7)
    assert samples_of(path, split="test")[0].shape == (3, 1, 7, 7)
    words = ("dataset.image_size=5", "dataset.num_channels=3")
    assert samples_of(path, *words)[0].shape == (6, 3, 5, 5)


def test_parquet_files_of_a_folder() -> None:
    for split, count in {"train": 12, "test": 3}.items():
        images_of(count).to_parquet(f"files/{split}-00000-of-00001.parquet")
    folder = Path("files").resolve()
    data = config_of("hf:parquet", f"dataset.root={folder}")
    assert (data.num_train_samples, data.num_test_samples, data.num_classes, data.image_size) == (12, 3, 3, 4)
    # The same data are the same, wherever they lie and however they are stored.
    saved = config_of(save(images_of(12), test=images_of(3)))
    assert saved.digest == data.digest is not None
    assert config_of(f"hf:{folder}").digest == data.digest


def test_a_folder_of_images() -> None:
    for split in ("train", "test"):
        for name in CLASSES:
            (Path("photos") / split / name).mkdir(parents=True)
            PIL.new("RGB", (4, 4), (255, 0, 0)).save(f"photos/{split}/{name}/1.png")
    data = config_of("hf:imagefolder", f"dataset.root={Path('photos').resolve()}")
    assert (data.num_train_samples, data.num_classes, data.image_size, data.mean) == (3, 3, 4, [1.0, 0.0, 0.0])


def test_columns_of_a_csv_file(tmp_path: Path) -> None:
    for split, lines in {"train": ["1,2.5,no", "2,0.5,yes", "3,1.0,yes"], "test": ["4,4.0,no"]}.items():
        Path(f"{split}.csv").write_text("\n".join(["age;size;bought", *lines]).replace(",", ";"))
    words = [
        f"dataset.args.data_files={{train: {tmp_path}/train.csv, test: {tmp_path}/test.csv}}",
        "dataset.args.sep=';'",
        "dataset.args.input_column=[age,size]",
        "dataset.args.label_column=bought",
    ]
    data = config_of("hf:csv", *words)
    assert (data.num_train_samples, data.num_test_samples, data.num_classes, data.input_shape) == (3, 1, 2, [2])
    samples, labels = samples_of("hf:csv", *words)
    assert samples.tolist() == [[1.0, 2.5], [2.0, 0.5], [3.0, 1.0]]
    assert labels.tolist() == [0, 1, 1]  # strings in alphabetical order
    assert samples_of("hf:csv", *words, split="test")[1].tolist() == [0]


def test_arrays_keep_their_dtype() -> None:
    features = datasets.Features({"pixels": datasets.Array2D((4, 4), "uint8"), "label": datasets.Value("int8")})
    grey = datasets.Dataset.from_dict({"pixels": [[[51] * 4] * 4] * 4, "label": [0, 1, 0, 1]}, features=features)
    data = config_of(save(grey, "grey", test=grey))
    assert (data.num_channels, data.image_size, data.num_classes, data.mean) == (1, 4, 2, [0.2])
    values = rows(x=[[0.5, 1.5], [2.5, 3.5]], label=[0, 1])
    samples, _ = samples_of(save(values, "values", test=values))
    assert samples.tolist() == [[0.5, 1.5], [2.5, 3.5]]
    tokens = rows(ids=[[0, 7], [3, 4]], label=[0, 1])
    assert config_of(save(tokens, "tokens", test=tokens)).num_tokens == 8


def test_splits_and_columns_are_named() -> None:
    both = rows(a=[[1.0], [2.0]], b=[[3.0], [4.0]], fine=[0, 1], coarse=[1, 0])
    path = save(both, validation=both)
    words = ["dataset.args.input_column=b", "dataset.args.label_column=coarse", "dataset.args.test_split=validation"]
    samples, labels = samples_of(path, *words, split="test")
    assert (samples.tolist(), labels.tolist()) == ([[3.0], [4.0]], [1, 0])


def test_labels_count_in_the_digest_which_refuses_other_data() -> None:
    path = save(images_of(60), test=images_of(3))
    config = config_of(path)
    labels = [index % 3 for index in range(60)]
    labels[17] = 0  # a sample that is not among the 16 that are read
    other = images_of(60).remove_columns("label").add_column("label", labels)
    save(other.cast_column("label", datasets.ClassLabel(names=CLASSES)), "other", test=images_of(3))
    assert config_of(f"hf:{Path('other').resolve()}").digest != config.digest
    config.path = f"hf:{Path('other').resolve()}"
    with pytest.raises(ConfigError, match="does not hold the data that the config was made for: dataset.digest"):
        load_dataset(config, CPU, channels_last=False)


def test_large_sets_are_read_while_training(monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(images_of(12), test=images_of(6))
    kept = samples_of(path, "dataset.validation=0.25")
    monkeypatch.setattr("adabatch.data.files.MAX_RESIDENT_BYTES", 100)
    read = samples_of(path, "dataset.validation=0.25", "dataset.num_workers=1")
    assert torch.equal(kept[0], read[0])
    assert torch.equal(kept[1], read[1])


@pytest.mark.parametrize(
    ("splits", "words", "sentence"),
    [
        (
            ["train", "validation"],
            [],
            r"it has the splits train, validation, but no test: .*args\.test_split",
        ),
        (["train", "test"], ["dataset.args.train_split=all"], r"the splits train, test, but no all: .*train_split"),
        (["train", "test"], ["dataset.args.input_column=photo"], r"input_column is photo; .* image, label of hf:"),
        (["train", "test"], ["dataset.args.label_column=class"], r"label_column is class; it must be one of the colu"),
        (
            ["train", "test"],
            ["dataset.args.trust_remote_code=true"],
            r"left out: code of data sets is never run",
        ),
        (["train", "test"], ["dataset.args.streaming=true"], r"dataset\.args\.streaming is given; it must be left out"),
        (
            ["train", "test"],
            ["dataset.num_channels=2"],
            r"num_channels is 2; it must be 1 \(grey\) or 3 \(RGB",
        ),
        (
            ["train", "test"],
            ["dataset.num_classes=4"],
            r"num_classes is 4; it must be 3, as found in the data",
        ),
    ],
)
def test_a_mistake_costs_a_sentence(splits: list[str], words: list[str], sentence: str) -> None:
    datasets.DatasetDict(dict.fromkeys(splits, images_of(6))).save_to_disk("pets")
    with pytest.raises(ConfigError, match=sentence):
        config_of(f"hf:{Path('pets').resolve()}", *words)


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        ({"x": [[1.0]], "y": [0]}, None, r"0 of its columns x, y hold classes: .* dataset\.args\.label_column"),
        ({"x": [1.0], "label": [0]}, None, r"0 of its columns x, label hold images or arrays: .*input_column"),
        ({"x": [[1.0]], "z": [[1.0]], "label": [0]}, None, r"2 of its columns x, z, label hold images or arrays"),
        ({"x": [[1.0]], "label": [0]}, {"x": [[1]], "label": [0]}, r"the column x is .*float64.* of the test split"),
        ({"x": [[1.0]] * 2, "label": ["a", "b"]}, {"x": [[1.0]], "label": ["c"]}, r"test set.*row 0 has the label c"),
        ({"x": [[1.0]] * 2, "label": [0, 1]}, {"x": [[1.0]], "label": [-1]}, r"item 0 has the label -1; labels must"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(
    train: dict[str, Any], test: dict[str, Any] | None, sentence: str
) -> None:
    path = save(rows(**train), test=rows(**(test or train)))
    with pytest.raises((ConfigError, DataError), match=sentence):
        config_of(path)


def test_code_that_comes_with_a_data_set_is_not_run() -> None:
    Path("pets").mkdir()
    Path("pets/pets.py").write_text("raise SystemExit('run')\n")
    with pytest.raises(ConfigError, match=r"the package datasets cannot load it .*scripts are no longer"):
        config_of(f"hf:{Path('pets').resolve()}")


def test_an_old_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adabatch.data.hugging_face.version", lambda name: "3.6.0")
    with pytest.raises(ConfigError, match=r"must have version 4\.0 or newer, not 3\.6\.0: older ones may run code"):
        config_of("hf:some/old_pets")


def test_a_name_of_the_hub_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(path: str, **options: Any) -> Any:
        asked.append((path, options))
        return datasets.DatasetDict(train=images_of(6), test=images_of(3))

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = config_of(
        "hf:some/pets", "dataset.args.name=small", "dataset.args.revision=v1", "dataset.args.test_split=test"
    )
    assert asked == [("some/pets", {"name": "small", "revision": "v1"})]
    assert (data.name, data.num_train_samples) == ("hf.some.pets", 6)


def test_a_run_is_like_any_other(tmp_path: Path) -> None:
    save(images_of(60), test=images_of(12))
    words = ["dataset=hf:pets", "network=tiny_cnn", "num_epochs=2", "schedule.batch_size=8", "run_dir=run"]

    def train(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "adabatch", *words, "hardware.num_threads=1", *more]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)

    answer = train()
    assert answer.returncode == 0, answer.stderr
    meta = json.loads(Path("run/meta.json").read_text())
    assert meta["dataset_code"] == f"datasets=={datasets.__version__}"
    assert "already finished" in train().stdout
    save(images_of(60), test=images_of(18))
    changed = train()
    assert changed.returncode == 2
    assert "Traceback" not in changed.stderr
