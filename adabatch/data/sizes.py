"""Fills in what a config leaves out about its data set, by looking at the data; imports torch only if a data set does.

Composing a config calls `fill_sizes`, so a run's ``config.yaml`` holds plain numbers, and planning, lint, the config
hash and resuming work as for data sets with sizes in YAML. Loading compares them with the data again.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from adabatch.data.names import SIZE_MODULES
from adabatch.errors import ConfigError, DataError
from adabatch.fields import shown

#: Keys that may be given although they can be read off the data; they must agree with the data.
_FACTS = ("num_train_samples", "num_test_samples", "num_classes", "input_shape", "num_tokens", "digest")
_MISSING = "???"


def fill_sizes(dataset: DictConfig) -> None:
    """Fill in the missing keys of a composed ``dataset`` group.

    Raises:
        ConfigError: if the data cannot be read, or differ from a given size.
    """
    values: dict[str, Any] = OmegaConf.to_container(dataset, throw_on_missing=False)  # type: ignore[assignment]
    given = {key: value for key, value in values.items() if value != _MISSING}
    if len(given) < len(values) and given.get("name") in SIZE_MODULES:
        _fill(dataset, given)


def _fill(dataset: DictConfig, given: Mapping[str, Any]) -> None:
    found = _read_once(json.dumps(given, sort_keys=True))
    for key, value in found.items():
        if given.get(key) is None:
            dataset[key] = value
        elif key in _FACTS and given[key] != value:
            raise ConfigError(f"dataset.{key} is {given[key]}; it must be {shown(value)}, as found in the data.")


@functools.cache
def _read_once(given: str) -> dict[str, Any]:
    """Return what the data set's own module reads; a sweep of a thousand runs reads once."""
    values: dict[str, Any] = json.loads(given)
    module = importlib.import_module(SIZE_MODULES[values["name"]])
    try:
        sizes: dict[str, Any] = module.read_sizes(values)
    except DataError as error:
        raise ConfigError(str(error)) from error
    return sizes
