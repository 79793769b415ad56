"""A run's ``config.yaml``: the resolved config, written once; it loads back equal."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from adabatch.config.schema import GROUPS, TrainConfig
from adabatch.errors import ConfigError
from adabatch.fields import facts_of, require, require_choice
from adabatch.files import write_text_atomic
from adabatch.reading import Unreadable, read_yaml, reason
from adabatch.schedules import SCHEDULE_KINDS, Schedule, ScheduleConfig

#: Several times as fast as the one in Python.
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Return the config as nested plain values, in the order of its fields."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """Build a config from what `to_dict` returned; the schedule's ``kind`` selects its class.

    A key added after the config was saved gets its default.

    Raises:
        ConfigError: for an unknown or missing key, or a value out of range.
    """
    values = dict(values)
    schedule = values.get("schedule")
    kind = schedule.get("kind") if isinstance(schedule, dict) else None
    require_choice("schedule.kind", kind, tuple(SCHEDULE_KINDS))
    for group, schema in {**GROUPS, "schedule": SCHEDULE_KINDS[str(kind)]}.items():
        values[group] = _build(schema, values.get(group), group)
    config: TrainConfig = _build(TrainConfig, values, "")
    return config


def _build(schema: type[Any], values: object, group: str) -> Any:
    where = group or "the config"
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is {values}; it must be a mapping of keys to values.")
    known = {entry.name: entry for entry in dataclasses.fields(schema)}
    for name in values:
        require(name in known, f"{where}'s key", name, "one of " + ", ".join(sorted(known)))
    missing = sorted(name for name, entry in known.items() if name not in values and not _is_newer(entry))
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; a saved config names every key.")
    try:
        return schema(**values)
    except TypeError as error:
        raise ConfigError(f"{where} holds a value of the wrong type: {error}.") from error


def _is_newer(entry: dataclasses.Field[Any]) -> bool:
    """Return whether a key was added after the first version, so old configs lack it."""
    facts = facts_of(entry)
    return facts is not None and facts.hash_rule > 1


def save_config(config: TrainConfig, path: Path) -> None:
    """Write the resolved config as YAML, atomically."""
    write_text_atomic(path, yaml.dump(to_dict(config), Dumper=_DUMPER, sort_keys=False))


def load_config(path: Path) -> TrainConfig:
    """Read a saved config.

    Raises:
        ConfigError: if the file is missing, is not a YAML mapping, or fails a check.
    """
    return from_dict(read_values(path))


def load_schedule(path: Path) -> Schedule:
    """Read the schedule of a saved config, which need not hold more than what determines it.

    Raises:
        ConfigError: like `load_config`.
    """
    values = read_values(path)
    group, optimizer, dataset = (values.get(name) for name in ("schedule", "optimizer", "dataset"))
    if not (isinstance(group, dict) and isinstance(optimizer, dict) and isinstance(dataset, dict)):
        raise ConfigError(f"{path} lacks schedule, optimizer or dataset; they say what its schedule is.")
    numbers = (optimizer.get("learning_rate"), dataset.get("num_train_samples"), values.get("num_epochs"))
    if not all(isinstance(number, int | float) for number in numbers):
        raise ConfigError(f"{path} lacks optimizer.learning_rate, dataset.num_train_samples or num_epochs.")
    kind = group.get("kind")
    require_choice("schedule.kind", kind, tuple(SCHEDULE_KINDS))
    schedule: ScheduleConfig = _build(SCHEDULE_KINDS[str(kind)], group, "schedule")
    return schedule.build(*numbers)  # type: ignore[arg-type]


def read_values(path: Path) -> dict[str, Any]:
    """Return the nested values of a saved config, unchecked.

    Raises:
        ConfigError: if the file is missing or is not a YAML mapping.
    """
    try:
        values = read_yaml(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; a run directory holds its config.yaml.") from error
    except (OSError, Unreadable) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {reason(error)}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no mapping; it must be the config.yaml of a run.")
    return values
