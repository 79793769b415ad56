"""Fetching a data set with torchvision, once, however many runs ask for it at the same time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from adabatch.errors import ConfigError


def download_once(name: str, folder: Path, fetch: Callable[[], object]) -> None:
    """Call ``fetch``, which puts the data set below ``folder`` and does nothing if it is there already.

    Raises:
        ConfigError: if it could not be fetched.
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
