"""Data sets of Hugging Face's package datasets: ``dataset.path=hf:NAME_OR_FOLDER``; none brings code with it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adabatch.data.hugging_face_columns import check_columns, input_columns, is_kind, label_column, string_classes
from adabatch.data.hugging_face_split import HuggingFaceSplit, look_of
from adabatch.errors import ConfigError
from adabatch.plugins.loading import one_line

_PREFIX = "hf"
#: Arguments that say what is done with what ``datasets.load_dataset`` returns; all others are its own.
_OWN_ARGS = {"input_column": None, "label_column": None, "train_split": "train", "test_split": "test"}
#: Arguments of ``load_dataset`` that a config does not set, and why.
_REFUSED = {
    "path": "it stands behind hf:",
    "split": "dataset.args.train_split and dataset.args.test_split name the splits",
    "streaming": "samples are read in another order in each epoch",
    "token": "configs are kept and handed on; log in with hf auth login",
    "trust_remote_code": "code of data sets is never run",
}
#: The first version that runs no code of data sets.
_FIRST_VERSION = 4


def is_hugging_face(path: str) -> bool:
    """Return whether ``dataset.path`` names a data set of the package datasets."""
    return path.partition(":")[0] == _PREFIX


def open_hugging_face(path: str, args: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[HuggingFaceSplit, ...]:
    """Return the training and the test split of ``hf:NAME_OR_FOLDER``.

    Args:
        args: the columns, the splits, and arguments of ``datasets.load_dataset``.
        values: of the config: ``root``, and ``num_channels`` and ``image_size`` if given.

    Raises:
        ConfigError: if there is no such data set, split or column, or the package is missing.
    """
    own = {**_OWN_ARGS, **{name: value for name, value in args.items() if name in _OWN_ARGS}}
    name = path.partition(":")[2]
    found = _load(name, {key: value for key, value in args.items() if key not in _OWN_ARGS}, values.get("root"))
    train, test = (_split(path, found, key, own[key]) for key in ("train_split", "test_split"))
    columns = input_columns(path, train.features, own), label_column(path, train.features, own)
    check_columns(path, (train, test), columns)
    class_names = string_classes(train, columns[1])
    is_image = is_kind(train.features[columns[0][0]], "Image")
    look = look_of(train, columns[0][0], values) if is_image else None
    places = (f"{path}, training set", train), (f"{path}, test set", test)
    return tuple(HuggingFaceSplit(place, rows, columns, class_names, look) for place, rows in places)


def _load(name: str, options: dict[str, Any], root: str | None) -> Any:
    """Return what was saved in a folder by ``save_to_disk``, or what ``load_dataset`` finds."""
    datasets = _package(name)
    for key, reason in _REFUSED.items():
        if key in options:
            raise ConfigError(f"dataset.args.{key} is given; it must be left out: {reason}.")
    folder = Path(name).expanduser()
    is_saved = any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))
    try:
        datasets.disable_progress_bars()
        if is_saved:
            found = datasets.load_from_disk(str(folder), **options)
            return found if isinstance(found, Mapping) else {"train": found}
        place = str(folder) if folder.is_dir() else name
        return datasets.load_dataset(place, **({"data_dir": root} if root is not None else {}), **options)
    except Exception as error:  # of files, networks and arguments of any kind
        raise ConfigError(
            f"dataset.path is {_PREFIX}:{name}; the package datasets cannot load it ({one_line(error)})."
        ) from error


def _package(name: str) -> Any:
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise ConfigError(
            f"dataset.path is {_PREFIX}:{name}, but the package datasets is not installed; install it with pip install"
            " datasets."
        ) from error
    if int(version("datasets").partition(".")[0]) < _FIRST_VERSION:
        raise ConfigError(
            f"dataset.path is {_PREFIX}:{name}; the package datasets must have version {_FIRST_VERSION}.0 or newer, not"
            f" {version('datasets')}: older ones may run code that comes with a data set."
        )
    return datasets


def _split(path: str, found: Mapping[str, Any], key: str, name: str) -> Any:
    if name not in found:
        raise ConfigError(
            f"dataset.path is {path}; it has the splits {', '.join(found)}, but no {name}: name one by"
            f" dataset.args.{key}."
        )
    return found[name]
