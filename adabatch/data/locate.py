"""Where the files of a data set are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from adabatch.config import DatasetConfig
from adabatch.errors import ConfigError

ENVIRONMENT_VARIABLE = "ADABATCH_DATA"


def search_folders(config: DatasetConfig, extra: Sequence[str] = ()) -> list[Path]:
    """Return ``dataset.root`` if given; else ``data/``, the folder in ADABATCH_DATA if set, and ``extra``."""
    if config.root is not None:
        return [Path(config.root).expanduser()]
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return [Path("data"), *([Path(named).expanduser()] if named else []), *map(Path, extra)]


def locate(config: DatasetConfig, folders: Sequence[Path], is_there: Callable[[Path], bool], remedy: str) -> Path:
    """Return the first folder for which ``is_there``.

    Args:
        config: of the data set.
        folders: from `search_folders`.
        is_there: tells whether a folder holds the data set.
        remedy: how to get the data, the end of the sentence that says they are missing.

    Raises:
        ConfigError: if no folder does.
    """
    for folder in folders:
        if is_there(folder):
            return folder
    looked = ", ".join(str(folder) for folder in folders)
    key = "dataset.root" if config.root is not None else f"data/ and {ENVIRONMENT_VARIABLE}"
    raise ConfigError(f"dataset {config.name} was not found in {looked} ({key}); {remedy}.")
