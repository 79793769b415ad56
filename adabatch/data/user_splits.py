"""The user's own torch data sets: making them, fetching their samples, and what can be known about them."""

from __future__ import annotations

import contextlib
import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from adabatch.data.arrays import with_channels_last
from adabatch.data.decoding import pixels_of
from adabatch.data.hugging_face import is_hugging_face, open_hugging_face
from adabatch.data.hugging_face_split import HuggingFaceSplit
from adabatch.data.labels import allowed_labels
from adabatch.data.loaded import seeded
from adabatch.data.tensors import as_tensor
from adabatch.errors import ConfigError, DataError
from adabatch.plugins import Kind, call, load
from adabatch.plugins.loading import translated

_KEY = "dataset.path"
#: So many samples are fetched repeatedly, with other random numbers each time, to see whether they are always the same.
_NUM_PROBED, _PROBE_SEEDS = 16, (1, 2, 3)
#: Where data sets of torchvision and others keep their labels.
_LABEL_ATTRIBUTES = ("targets", "labels")


class UserSplit:
    """The training or the test samples of a user's data set.

    Args:
        dataset: of map style.
        place: where it comes from, for messages.
    """

    def __init__(self, dataset: TorchDataset[Any], place: str) -> None:
        self.dataset = dataset
        self.place = f"{place} ({type(dataset).__name__})"
        with translated(f"{self.place}: its length"):
            self.num_samples = len(dataset)  # type: ignore[arg-type]
        if self.num_samples < 1:
            raise DataError(f"{self.place} has no samples.")
        places = np.unique(np.linspace(0, self.num_samples - 1, _NUM_PROBED).astype(int)).tolist()
        fetched = {index: [self.fetch(index, seed) for seed in _PROBE_SEEDS] for index in places}
        #: Some samples and their labels, by index.
        self.probed = {index: times[0] for index, times in fetched.items()}
        #: Whether these samples did not depend on random numbers.
        self.is_fixed = all(_are_equal(times[0], other) for times in fetched.values() for other in times[1:])

    def fetch(self, index: int, seed: int = 0) -> tuple[torch.Tensor, int]:
        """Return a sample, images as uint8 (H, W, C), and its label, with random numbers drawn from ``seed``.

        Raises:
            OwnCodeError: if the user's code raises.
            DataError: if it returns something else.
        """
        with seeded(seed):
            return fetch(self.dataset, index, self.place)

    @property
    def first(self) -> torch.Tensor:
        """The first sample."""
        return self.probed[0][0]

    @property
    def num_classes(self) -> int | None:
        """The number of classes that the data set itself declares; None if it declares none."""
        return self.dataset.num_classes if isinstance(self.dataset, HuggingFaceSplit) else None

    @property
    def classes_and_labels(self) -> bytes:
        """The names of classes and all labels, for the digest; empty where they cannot be had without reading."""
        if not isinstance(self.dataset, HuggingFaceSplit):
            return b""
        return "\n".join([*self.dataset.class_names, *map(str, self.dataset.targets)]).encode()

    @property
    def num_bytes(self) -> int:
        """What all samples would take in memory."""
        return self.num_samples * self.first.numel() * self.first.element_size()

    def read_all(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all samples (N, ...) and labels, int64 of shape (N,)."""
        samples = torch.empty((self.num_samples, *self.first.shape), dtype=self.first.dtype)
        labels = torch.empty(self.num_samples, dtype=torch.int64)
        for index in range(self.num_samples):
            sample, label = self.fetch(index)
            check_like(sample, self.first, self.place, index)
            samples[index], labels[index] = sample, label
        return samples, labels

    def labels(self) -> torch.Tensor:
        """Return all labels, int64 of shape (N,), from the data set's own list if it has one, which saves reading."""
        for name in _LABEL_ATTRIBUTES:
            listed = getattr(self.dataset, name, None)
            with contextlib.suppress(TypeError, ValueError, RuntimeError):
                labels = torch.as_tensor(listed)
                is_whole = not (labels.is_floating_point() or labels.is_complex()) and labels.shape == (
                    self.num_samples,
                )
                if is_whole and all(int(labels[index]) == label for index, (_, label) in self.probed.items()):
                    return labels.to(torch.int64)
        return torch.tensor([self.fetch(index)[1] for index in range(self.num_samples)])


def open_splits(path: str, args: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[UserSplit, UserSplit]:
    """Return the training and the test samples of the data set at ``MODULE:NAME``, or ``hf:NAME_OR_FOLDER``.

    Args:
        args: the user's arguments.
        wanted: arguments that are given if the signature has them.

    Raises:
        ConfigError: if there is no such data set, or it cannot be called like this.
        OwnCodeError: if the user's code raises.
    """
    if is_hugging_face(path):
        train, test = open_hugging_face(path, args, wanted)
        return UserSplit(train, f"{path}, training set"), UserSplit(test, f"{path}, test set")
    made = load(Kind.DATASET, path, TorchDataset)
    splits = _make(made, path, args, wanted)
    for name, split in zip(("training", "test"), splits, strict=True):
        if not isinstance(split, TorchDataset) or isinstance(split, IterableDataset) or not hasattr(split, "__len__"):
            raise ConfigError(
                f"{_KEY} is {path}; its {name} set is {type(split).__name__}, but must be a torch.utils.data.Dataset"
                " with __getitem__ and __len__."
            )
    train, test = splits
    return UserSplit(train, f"{path}, training set"), UserSplit(test, f"{path}, test set")


def _make(made: Callable[..., Any], path: str, args: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[Any, Any]:
    names = inspect.signature(made).parameters
    by_split: dict[str, tuple[Any, Any]] = {"train": (True, False), "split": ("train", "test")}
    chooser = next((name for name in by_split if name in names), None)
    if chooser is not None:
        one, other = (call(made, Kind.DATASET, args, {**wanted, chooser: value}) for value in by_split[chooser])
        return one, other
    result = call(made, Kind.DATASET, args, wanted)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise ConfigError(
            f"{_KEY} is {path}; it must take train=True or False, or split=train or test, or return a pair of data"
            " sets."
        )
    return result[0], result[1]


def fetch(dataset: TorchDataset[Any], index: int, place: str) -> tuple[torch.Tensor, int]:
    """Return a sample, images as uint8 (H, W, C), and its label; random numbers come from the global generators.

    Raises:
        OwnCodeError: if the user's code raises.
            DataError: if it returns something else.
    """
    where = f"{place}: item {index}"
    with translated(where):
        item = dataset[index]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"{where} is of type {type(item).__name__}; it must be a pair of a sample and a label.")
    return _sample(item[0], where), _label(item[1], where)


def check_like(sample: torch.Tensor, first: torch.Tensor, place: str, index: int) -> None:
    """Raise DataError unless a sample has the shape and dtype of the first one."""
    if sample.shape != first.shape or sample.dtype != first.dtype:
        raise DataError(
            f"{place}: item {index} is {sample.dtype} of shape {tuple(sample.shape)}; it must be {first.dtype} of"
            f" {tuple(first.shape)}, like item 0."
        )


def _sample(value: object, where: str) -> torch.Tensor:
    if isinstance(value, Image.Image):
        return torch.from_numpy(pixels_of(value, where))
    if isinstance(value, torch.Tensor):
        sample = value.detach().cpu()
    elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiu":
        sample = as_tensor(np.asarray(value))
    else:
        raise DataError(
            f"{where} has a sample of type {_kind(value)}; it must be a tensor, an array or a Pillow image."
        )
    if sample.dtype == torch.uint8:
        return torch.from_numpy(with_channels_last(sample.numpy()[None], where)[0].copy())
    if sample.is_floating_point():
        if not bool(torch.isfinite(sample).all()):
            raise DataError(f"{where} holds NaN or infinite values; every value must be finite.")
        return sample
    if sample.is_complex() or sample.dtype == torch.bool:
        raise DataError(f"{where} is {sample.dtype}; samples must be uint8 images, floating-point or whole numbers.")
    if bool((sample < 0).any()):
        raise DataError(f"{where} holds {int(sample.min())}; whole numbers, such as token ids, must be 0 or more.")
    return sample.to(torch.int64)


def _label(value: Any, where: str) -> int:
    try:
        label = operator.index(value)
    except TypeError as error:
        raise DataError(f"{where} has a label of type {_kind(value)}; it must be a whole number.") from error
    if label < 0:
        raise DataError(f"{where} has the label {label}; {allowed_labels(None)}.")
    return label


def _kind(value: object) -> str:
    dtype = getattr(value, "dtype", None)
    return type(value).__name__ + (f" of {dtype}" if dtype is not None else "")


def _are_equal(one: tuple[torch.Tensor, int], other: tuple[torch.Tensor, int]) -> bool:
    return one[1] == other[1] and torch.equal(one[0], other[0])
