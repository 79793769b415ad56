"""A data set of the user's own, by import path, ``dataset.path=my_data:load``, or of Hugging Face's datasets."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch

from adabatch.data import files
from adabatch.data.config import DatasetConfig
from adabatch.data.division import divided, test_indices
from adabatch.data.files import refuse_augmentation, verify_sizes
from adabatch.data.hugging_face import is_hugging_face
from adabatch.data.inputs import shape_keys
from adabatch.data.labels import allowed_labels, require_labels
from adabatch.data.loaded import LoadedSource, chosen
from adabatch.data.pixels import finished_pixels, finished_values
from adabatch.data.resident import ResidentValues, pixel_source, taken
from adabatch.data.sample_transforms import pixel_augmentation, transformed_pixels
from adabatch.data.source import Dataset, ImageFormat, Source
from adabatch.data.statistics import NUM_IMAGES, mean_and_std
from adabatch.data.user_splits import UserSplit, check_like, fetch, open_splits
from adabatch.errors import DataError


class _Opened:
    """The splits of a data set, each read at most once."""

    def __init__(self, path: str, args: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        self.train, self.test = open_splits(path, args, wanted)
        check_like(self.test.first, self.train.first, self.test.place, 0)
        self.is_small = self.train.num_bytes + self.test.num_bytes <= files.MAX_RESIDENT_BYTES
        self._read: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def is_resident(self, split: UserSplit) -> bool:
        """Return whether a split is read once: it is small, and its samples are always the same."""
        return self.is_small and split.is_fixed

    def read_all(self, split: UserSplit) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all samples and labels of a split."""
        if split.place not in self._read:
            self._read[split.place] = split.read_all()
        return self._read[split.place]

    def labels(self, split: UserSplit) -> torch.Tensor:
        """Return the labels of a split."""
        return self.read_all(split)[1] if self.is_resident(split) else split.labels()


@functools.lru_cache(maxsize=1)
def _open_once(given: str) -> _Opened:
    """Return the splits; composing a config and loading its data read them once."""
    values = json.loads(given)
    return _Opened(values["path"], values["args"], values["wanted"])


def _opened(values: Mapping[str, Any]) -> _Opened:
    wanted = {"download": values["download"], **({"root": values["root"]} if values.get("root") is not None else {})}
    if is_hugging_face(values["path"]):
        wanted |= {key: values.get(key) for key in ("num_channels", "image_size")}
    return _open_once(json.dumps({"path": values["path"], "args": values["args"], "wanted": wanted}, sort_keys=True))


def read_sizes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of the data set at ``dataset.path``; see `adabatch.data.sizes`."""
    opened = _opened(values)
    train = opened.train
    found = _facts(opened)
    declared = train.num_classes
    if declared is not None:
        found["num_classes"] = declared
    elif "num_classes" not in values:
        used = opened.labels(train).unique().tolist()
        if len(used) < 2 or used[-1] != len(used) - 1:
            missing = next(label for label in range(len(used) + 2) if label not in used)
            raise DataError(
                f"{train.place} has no sample of class {missing}; its labels must go from 0 to n - 1, unless"
                " dataset.num_classes is given."
            )
        found["num_classes"] = len(used)
    if train.first.dtype == torch.int64 and values.get("num_tokens") is None:
        found["num_tokens"] = 1 + max(_largest_token(opened, split) for split in (train, opened.test))
    mean, std = [0.0], [1.0]
    if train.first.dtype == torch.uint8 and not {"mean", "std"} <= values.keys():
        step = -(-train.num_samples // NUM_IMAGES)
        mean, std = mean_and_std(train.fetch(index)[0].numpy() for index in range(0, train.num_samples, step))
    return {**found, "mean": mean, "std": std}


def _facts(opened: _Opened) -> dict[str, Any]:
    """Return the keys of a config that are known without reading every sample."""
    first = opened.train.first
    shape = tuple(first.permute(2, 0, 1).shape if first.dtype == torch.uint8 else first.shape)
    digest = hashlib.blake2b(digest_size=8)
    for split in (opened.train, opened.test):
        digest.update(f"{split.num_samples}{first.dtype}{shape}".encode())
        digest.update(split.classes_and_labels)
        for sample, label in split.probed.values():
            digest.update(label.to_bytes(8, "big") + sample.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return {
        "num_train_samples": opened.train.num_samples,
        "num_test_samples": opened.test.num_samples,
        **shape_keys(shape),
        "digest": digest.hexdigest(),
    }


def _largest_token(opened: _Opened, split: UserSplit) -> int:
    if opened.is_resident(split):
        return int(opened.read_all(split)[0].max())
    return max(int(split.fetch(index)[0].max()) for index in range(split.num_samples))


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """Read a small data set once, or have the samples of another one fetched while training.

    See `adabatch.data.load_dataset`.
    """
    opened = _opened(vars(config))
    verify_sizes(config, str(config.path), **_facts(opened))
    if opened.train.first.dtype != torch.uint8:
        refuse_augmentation(config)
    is_divided = config.limit is not None or config.validation > 0
    labels = opened.labels(opened.train) if is_divided else torch.empty(0)

    def make(indices: torch.Tensor | None, augment: bool) -> Source:
        return _source(opened, opened.train, config, image_format, augment, indices)

    trained, validation = divided(labels, config, make) if is_divided else (make(None, True), None)
    tested = None if config.test_limit is None else test_indices(opened.labels(opened.test), config)
    dataset = Dataset(trained, _source(opened, opened.test, config, image_format, False, tested), validation)
    _open_once.cache_clear()  # what was read lies on the device now
    return dataset


def _source(
    opened: _Opened,
    split: UserSplit,
    config: DatasetConfig,
    image_format: ImageFormat,
    augment: bool,
    indices: torch.Tensor | None = None,
) -> Source:
    are_images = split.first.dtype == torch.uint8
    if opened.is_resident(split):
        require_labels(opened.read_all(split)[1], config.num_classes, split.place)
        samples, labels = taken(opened.read_all(split), indices)
        _check_tokens(samples, config, split.place)
        if are_images:
            return pixel_source(samples, labels, config, image_format, augment)
        return ResidentValues(samples, labels, config, image_format)
    finish = (finished_pixels if are_images else finished_values)(config, image_format)
    fetched = chosen(_Fetched(split, config, augment and are_images), indices)
    return LoadedSource(fetched, finish, image_format.device, config.num_workers, is_random=augment)


def _check_tokens(samples: torch.Tensor, config: DatasetConfig, where: str) -> None:
    if config.num_tokens is not None and int(samples.max()) >= config.num_tokens:
        raise DataError(f"{where} holds {int(samples.max())}; it must be below dataset.num_tokens={config.num_tokens}.")


class _Fetched:
    """Samples of a user's data set; see `adabatch.data.loaded.Samples`."""

    def __init__(self, split: UserSplit, config: DatasetConfig, augment: bool) -> None:
        self._dataset = split.dataset
        self._place = split.place
        self._num_samples = split.num_samples
        self._first = split.first
        self._config = config
        self._augment = pixel_augmentation(config) if augment else None

    def __len__(self) -> int:
        return self._num_samples

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        """Return a sample and its label; raise DataError, naming the data set and the index, if it is a wrong one."""
        sample, label = fetch(self._dataset, index, self._place)
        check_like(sample, self._first, self._place, index)
        where, num_classes = f"{self._place}: item {index}", self._config.num_classes
        if label >= num_classes:
            raise DataError(f"{where} has the label {label}; {allowed_labels(num_classes)}.")
        _check_tokens(sample, self._config, where)
        return transformed_pixels(sample, self._augment), label
