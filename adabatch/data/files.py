"""The files of data sets: finding them, downloading them, and verifying them against the config."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from adabatch.data.config import DatasetConfig
from adabatch.data.shares import divided_counts
from adabatch.errors import ConfigError
from adabatch.fields import require, shown

ENVIRONMENT_VARIABLE = "ADABATCH_DATA"
#: Sets that are no larger are kept on the device.
MAX_RESIDENT_BYTES = 1 << 30


def search_folders(config: DatasetConfig, extra: Sequence[str] = ()) -> list[Path]:
    """Return ``dataset.root`` if given, else ``data/``, the folder in ADABATCH_DATA if set, and ``extra``."""
    if config.root is not None:
        return [Path(config.root).expanduser()]
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return [Path("data"), *([Path(named).expanduser()] if named else []), *map(Path, extra)]


def locate(config: DatasetConfig, folders: Sequence[Path], is_there: Callable[[Path], bool], remedy: str) -> Path:
    """Return the first folder for which ``is_there`` is true.

    Args:
        config: of the data set.
        folders: from `search_folders`.
        is_there: returns whether a folder holds the data set.
        remedy: how to get the data; ends the error sentence.

    Raises:
        ConfigError: if there is no such folder.
    """
    for folder in folders:
        if is_there(folder):
            return folder
    looked = ", ".join(str(folder) for folder in folders)
    key = "dataset.root" if config.root is not None else f"data/ and {ENVIRONMENT_VARIABLE}"
    raise ConfigError(f"dataset {config.name} was not found in {looked} ({key}); {remedy}.")


def download_once(name: str, folder: Path, fetch: Callable[[], object]) -> None:
    """Call ``fetch``, which puts the data set below ``folder`` unless it is already there, under a file lock.

    Raises:
        ConfigError: if the download fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):
            fetch()
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ConfigError(
            f"dataset.download is true, but {name} could not be fetched into {folder} ({reason});"
            " put the files there by hand and set it to false."
        ) from error


def fits_on_device(config: DatasetConfig) -> bool:
    """Return whether the images, as bytes, are few enough to be decoded once and kept on the device."""
    num_samples = config.num_train_samples + config.num_validation_samples + config.num_test_samples
    return num_samples * config.num_channels * config.image_size**2 <= MAX_RESIDENT_BYTES


def verify_sizes(config: DatasetConfig, place: str, **found: Any) -> None:
    """Compare keys of ``config``, such as ``num_train_samples``, with what was found at ``place``.

    A digest is only compared if the config has one.

    Raises:
        ConfigError: for the first key that differs; names the key, its value, and the value found.
    """
    for key, value in found.items():
        if key == "num_train_samples":
            _verify_division(config, place, value)
            continue
        if key == "num_test_samples" and config.test_limit is not None:
            value = min(value, config.test_limit)
        declared = getattr(config, key)
        if key == "digest" and declared not in (None, value):
            raise ConfigError(f"{place} does not hold the data that the config was made for: dataset.digest differs.")
        if declared != value and key != "digest":
            raise ConfigError(f"dataset.{key} is {shown(declared)}; it must be {shown(value)}, as found in {place}.")


def _verify_division(config: DatasetConfig, place: str, num_found: int) -> None:
    trained, held_out = divided_counts(num_found, config.validation, config.limit)
    is_divided = (trained, held_out) != (num_found, 0)
    found = (
        f"{num_found} found in {place}, after dataset.validation and dataset.limit"
        if is_divided
        else f"found in {place}"
    )
    for key, value in (("num_train_samples", trained), ("num_validation_samples", held_out)):
        declared = getattr(config, key)
        if declared != value:
            raise ConfigError(
                f"dataset.{key} is {declared}; it must be {value}, {'of' if is_divided else 'as'} {found}."
            )


def refuse_augmentation(config: DatasetConfig) -> None:
    """Raise ConfigError if a config asks for crops or mirroring, for samples that are no pixels."""
    for key in ("crop_padding", "horizontal_flip", "transforms"):
        value = getattr(config, key)
        require(not value, f"dataset.{key}", value, f"{shown(type(value)())} for samples that are not uint8 images")
