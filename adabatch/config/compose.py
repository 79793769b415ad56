"""From ``conf/`` and overrides to a checked TrainConfig; Hydra's errors become one sentence."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from adabatch.config.keys import KEYS, key_of_schema, suggestion
from adabatch.config.plugin_words import BY_PATH, plugin_words
from adabatch.config.quick import cut_down
from adabatch.config.schema import GROUPS, TrainConfig
from adabatch.config.value_types import allowed_text
from adabatch.data.sizes import count_used, fill_sizes
from adabatch.errors import ConfigError
from adabatch.files import CONF_DIR
from adabatch.plugins.kinds import Kind
from adabatch.schedules import SCHEDULE_KINDS, ScheduleConfig

#: Schemas by the path that the defaults lists in ``conf/`` use.
_SCHEMAS: dict[str, type[Any]] = {
    **{f"{group}/base_{group}": schema for group, schema in GROUPS.items() if group != "schedule"},
    **{f"schedule/base_{kind}": schema for kind, schema in SCHEDULE_KINDS.items()},
}


@functools.cache
def register_schemas() -> None:
    """Register the dataclasses with Hydra under the names that the defaults lists in ``conf/`` use."""
    store = ConfigStore.instance()
    store.store(name="base_train", node=TrainConfig)
    for path, schema in _SCHEMAS.items():
        group, name = path.split("/")
        store.store(group=group, name=name, node=schema)


def option_names(group: str, config_dir: Path | None = None) -> list[str]:
    """Return the options of a group: the YAML files of ``conf/GROUP`` and of the user's ``config_dir``."""
    folders = [CONF_DIR / group] + ([Path(config_dir) / group] if config_dir else [])
    return sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})


def words_for_hydra(overrides: Sequence[str], config_dir: Path | None = None) -> list[str]:
    """Return overrides in which the user's own networks and the like are named as the schema has it."""
    return plugin_words(overrides, lambda group, name: name in option_names(group, config_dir))


def to_config(composed: DictConfig) -> TrainConfig:
    """Turn what Hydra composed into checked plain dataclasses.

    Raises:
        ConfigError: if a value is missing, of the wrong type or out of range, or if the sizes of the data set must be
            read and cannot be.
    """
    for key in _added_keys(composed):
        raise ConfigError(f"unknown key {key}; only existing keys can be set, and +KEY=VALUE cannot add one.")
    if OmegaConf.is_dict(composed._get_node("dataset")) and not OmegaConf.is_missing(composed, "dataset"):
        fill_sizes(composed.dataset)
        if composed.quick:
            cut_down(composed)
        count_used(composed.dataset, is_quick=bool(composed.quick))
    config = OmegaConf.to_object(composed)
    if not isinstance(config, TrainConfig):
        raise ConfigError("the defaults list lacks base_train; the first entry of train.yaml must be base_train.")
    return config


def _added_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield keys added by ``+key=value``; Hydra accepts them even if the schema does not."""
    known = _known_keys(OmegaConf.get_type(node))
    for name in map(str, node):
        key = f"{prefix}{name}"
        if name not in known:
            yield key
        elif _is_group(node, name):
            yield from _added_keys(node[name], f"{key}.")


def _is_group(node: DictConfig, name: str) -> bool:
    """Return whether a key holds a group of keys; the arguments of a plug-in are free."""
    is_mapping = OmegaConf.is_dict(node._get_node(name)) and not OmegaConf.is_missing(node, name)
    return is_mapping and OmegaConf.get_type(node, name) is not dict


@contextmanager
def composer(config_dir: Path | None = None) -> Iterator[None]:
    """Keep Hydra initialized for many calls of `compose`, as in a sweep."""
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield


def compose(overrides: Sequence[str], config_dir: Path | None = None) -> TrainConfig:
    """Compose a run's config as ``python -m adabatch OVERRIDES --config-dir CONFIG_DIR`` would.

    Raises:
        ConfigError: for an unknown option, key or value; the sentence names it and what is allowed.
    """
    searchpath = [] if config_dir is None else [f"hydra.searchpath=[{str(Path(config_dir).resolve())!r}]"]
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(f"--config-dir is {config_dir}; it must be an existing folder.")
    words = [*searchpath, *words_for_hydra(overrides, config_dir)]
    with translated_errors(overrides, config_dir):
        if GlobalHydra.instance().is_initialized():
            return to_config(hydra_compose("train", words))
        with composer():
            return to_config(hydra_compose("train", words))


def compose_schedule(name: str, values: Mapping[str, Any]) -> ScheduleConfig:
    """Return the schedule that an option of ``conf/schedule``, or a kind, and values by key give.

    Args:
        name: such as ``adabatch`` or ``stepwise``.
        values: by key without ``schedule.``, such as ``{"batch_size": 64}``.

    Raises:
        ConfigError: for an unknown name or key, or a value out of range.
    """
    known = [*option_names("schedule"), *SCHEDULE_KINDS]
    if name not in known:
        raise ConfigError(f"schedule is {name}; it must be one of {', '.join(known)}.{suggestion(str(name), known)}")
    kind, option = (name, {}) if name in SCHEDULE_KINDS else _schedule_option(name)
    given = [f"schedule.{key}={value}" for key, value in values.items()]
    with translated_errors(given):
        # Below its own key, so that messages name keys in full.
        node = OmegaConf.structured({"schedule": SCHEDULE_KINDS[kind]})
        merged = OmegaConf.merge(node, {"schedule": option}, {"schedule": dict(values)})
        composed = OmegaConf.to_object(merged)
    assert isinstance(composed, dict)
    config: ScheduleConfig = composed["schedule"]
    return config


def _schedule_option(name: str) -> tuple[str, dict[str, Any]]:
    """Return the kind of an option of ``conf/schedule``, and its values."""
    values = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "schedule" / f"{name}.yaml"))
    assert isinstance(values, dict)
    base = values.pop("defaults")[0]
    return base.removeprefix("base_"), {str(key): value for key, value in values.items()}


@contextmanager
def translated_errors(overrides: Sequence[str] = (), config_dir: Path | None = None) -> Iterator[None]:
    """Turn exceptions of Hydra and OmegaConf into ConfigError."""
    try:
        yield
    except MissingConfigException as error:
        raise ConfigError(_missing_option(error, overrides, config_dir)) from error
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            raise cause from error
        if isinstance(cause, OmegaConfBaseException):
            raise ConfigError(_refused_value(cause, overrides)) from error
        raise ConfigError(_refused_call(error, overrides)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_refused_value(error, overrides)) from error
    except ValueError as error:
        chosen = next((given for given in overrides if given.partition("=")[0] in GROUPS), "")
        if isinstance(error, ConfigError) or not str(error).startswith("Config group override must be"):
            raise
        group, _, name = chosen.partition("=")
        raise ConfigError(f"{group} is {name}; it must be the name of one of its options, a text.") from error


def _missing_option(error: MissingConfigException, overrides: Sequence[str], config_dir: Path | None) -> str:
    missing = error.missing_cfg_file or ""
    group, _, name = str(missing).partition("/")
    if group in GROUPS and name:
        known = option_names(group, config_dir)
        own = ", or your own: module:Name" if group in tuple(Kind) else ""
        named = [option for option in known if option != BY_PATH]
        return f"{group} is {name}; it must be one of {', '.join(named)}{own}.{suggestion(name.lower(), named)}"
    return f"the config {missing or str(error).splitlines()[0]} does not exist."


def unknown_key(key: str, known: Sequence[str], prefix: str = "") -> str:
    """Return the error sentence for an unknown key; ``prefix`` precedes a suggested name."""
    name = key.rpartition(".")[2]
    return f"unknown key {key}; expected one of {', '.join(sorted(known))}.{suggestion(name, known, prefix)}"


def _known_keys(schema: object) -> list[str]:
    if isinstance(schema, type) and hasattr(schema, "__dataclass_fields__"):
        return [entry.name for entry in dataclasses.fields(schema)]
    return []


def _refused_value(error: OmegaConfBaseException, overrides: Sequence[str]) -> str:
    key = str(error.full_key or error.key or "the config")
    if isinstance(error, MissingMandatoryValue):
        return f"{key} has no value; give it one with {key}=VALUE."
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        return unknown_key(key, _known_keys(error.object_type))
    value = next((given.split("=", 1)[1] for given in overrides if given.lstrip("+").split("=", 1)[0] == key), None)
    known = key_of_schema(error.object_type, re.sub(r"\[\d+\]$", "", key))
    if value is not None and known is not None and isinstance(error, ValidationError):
        return f"{key} is {value}; it must be {allowed_text(known.declared, known.facts.allowed)}."
    reason = str(error.msg or error).splitlines()[0].rstrip(".")
    return f"{key} is {value}; {reason}." if value is not None else f"{key} is wrong: {reason}."


def _refused_call(error: HydraException, overrides: Sequence[str]) -> str:
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read; the value must be a word, a number, null, [a, b] or {{a: b}}, with "
            "other characters in quotes."
        )
    first_line = str(error).splitlines()[0].rstrip(".")
    unmatched = re.match(r"Could not override '([^']+)'", first_line)
    if unmatched:
        key = unmatched.group(1)
        known = sorted({*(name.rpartition(".")[2] for name in KEYS), *GROUPS})
        return f"unknown key {key}.{suggestion(key.rpartition('.')[2], known)} Keys: python -m adabatch --help."
    added = next((given for given in overrides if given.startswith("+")), None)
    if (added and "+" in first_line) or (added and "append" in first_line):
        return f"{added} adds a key; only existing keys can be set, without the plus sign."
    return f"the overrides cannot be used: {first_line}."
