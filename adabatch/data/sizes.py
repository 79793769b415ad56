"""Fills in what a config leaves out about its data set, by looking at the data; imports torch only if a data set does.

Composing a config calls `fill_sizes` and `count_used`, so a run's ``config.yaml`` holds plain numbers, and planning,
lint, the config hash and resuming work as for data sets with sizes in YAML. Loading compares them with the data again.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from adabatch.data.names import size_module
from adabatch.data.shares import divided_counts, refuse_too_few
from adabatch.errors import ConfigError, DataError
from adabatch.fields import shown
from adabatch.plugins.config import require_path
from adabatch.plugins.kinds import Kind

#: Keys that may be given although they can be read off the data; they must agree with the data.
_FACTS = ("num_train_samples", "num_test_samples", "num_classes", "input_shape", "num_tokens", "digest")
#: Keys that say what is done with the samples; what the data hold does not depend on them.
_DIVIDING = (
    "limit",
    "test_limit",
    "validation",
    "num_validation_samples",
    "transforms",
    "partial_batch",
    "num_workers",
)
_MISSING = "???"


def fill_sizes(dataset: DictConfig) -> None:
    """Fill in the missing keys of a composed ``dataset`` group.

    Raises:
        ConfigError: if the data cannot be read, or differ from a given size.
    """
    values: dict[str, Any] = OmegaConf.to_container(dataset, throw_on_missing=False)  # type: ignore[assignment]
    given = {key: value for key, value in values.items() if value != _MISSING}
    require_path(Kind.DATASET, given.get("name", ""), given.get("path"))
    if len(given) < len(values) and size_module(given) is not None:
        _fill(dataset, given)


def count_used(dataset: DictConfig, *, is_quick: bool = False) -> None:
    """Let the numbers of a composed ``dataset`` group be those of the samples that are used.

    Args:
        is_quick: whether classes may be left out, as in a quick look at a data set of many classes.

    Raises:
        ConfigError: if ``validation`` holds out no sample, or all, or fewer are left than there are classes.
    """
    if not OmegaConf.is_missing(dataset, "num_train_samples"):
        _divide(dataset, is_quick)
    if not OmegaConf.is_missing(dataset, "num_test_samples") and (dataset.test_limit or 0) > 0:
        dataset.num_test_samples = min(dataset.num_test_samples, dataset.test_limit)


def _fill(dataset: DictConfig, given: Mapping[str, Any]) -> None:
    found = _read_once(json.dumps({key: value for key, value in given.items() if key not in _DIVIDING}, sort_keys=True))
    for key, value in found.items():
        if given.get(key) is None:
            dataset[key] = value
        elif key in _FACTS and given[key] != value:
            raise ConfigError(f"dataset.{key} is {given[key]}; it must be {shown(value)}, as found in the data.")


def _divide(dataset: DictConfig, is_quick: bool) -> None:
    """Let ``num_train_samples`` be what is left after validation samples are held out and the limit is applied."""
    validation, limit = dataset.validation, dataset.limit
    if not 0 <= validation < 1 or (limit is not None and limit < 1) or not (validation or limit):
        return  # out of range, which is reported with the other keys, or nothing to do
    trained, held_out = divided_counts(dataset.num_train_samples, validation, limit)
    if dataset.num_validation_samples not in (0, held_out):
        raise ConfigError(f"dataset.num_validation_samples is {dataset.num_validation_samples}; it must be {held_out}.")
    if not is_quick and not OmegaConf.is_missing(dataset, "num_classes"):
        refuse_too_few(trained, dataset.num_classes, validation, limit)
    dataset.num_train_samples, dataset.num_validation_samples = trained, held_out


@functools.cache
def _read_once(given: str) -> dict[str, Any]:
    """Return what the data set's own module reads; a sweep of a thousand runs reads once."""
    values: dict[str, Any] = json.loads(given)
    module = importlib.import_module(str(size_module(values)))
    try:
        sizes: dict[str, Any] = module.read_sizes(values)
    except DataError as error:
        raise ConfigError(str(error)) from error
    return sizes
