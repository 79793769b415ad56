"""From what Hydra composed to checked dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

from adabatch.config.quick import cut_down
from adabatch.config.schema import GROUPS, TrainConfig
from adabatch.config.values import shortened, typed
from adabatch.data.sizes import count_used, fill_sizes
from adabatch.errors import ConfigError
from adabatch.fields import require_choice
from adabatch.files import CONF_DIR
from adabatch.schedules import SCHEDULE_KINDS

#: Schemas by the path that the defaults lists in ``conf/`` use.
_SCHEMAS: dict[str, type[Any]] = {
    **{f"{group}/base_{group}": schema for group, schema in GROUPS.items() if group != "schedule"},
    **{f"schedule/base_{kind}": schema for kind, schema in SCHEDULE_KINDS.items()},
}


def _untyped(schema: type[Any], groups: Mapping[str, type[Any]] | None = None) -> type[Any]:
    """Return a dataclass with the keys of a schema, of any type but for its groups.

    OmegaConf converts values to the declared types on the way, such as numbers to truth values, so that what was given
    is lost. It only puts the values together; their types are checked by `adabatch.config.values`.
    """
    entries = []
    for entry in dataclasses.fields(schema):
        default: Any = dataclasses.field(default=entry.default, default_factory=entry.default_factory)
        entries.append((entry.name, (groups or {}).get(entry.name, Any), default))
    return dataclasses.make_dataclass(schema.__name__, entries)


#: What Hydra composes over, by the same paths.
UNTYPED: dict[str, type[Any]] = {path: _untyped(schema) for path, schema in _SCHEMAS.items()}
# A schedule's keys are those of its kind, which only the option knows.
UNTYPED["base_train"] = _untyped(
    TrainConfig, {group: UNTYPED[f"{group}/base_{group}"] for group in GROUPS if group != "schedule"}
)


def option_names(group: str, config_dir: Path | None = None) -> list[str]:
    """Return the options of a group: the YAML files of ``conf/GROUP`` and of the user's ``config_dir``."""
    folders = [CONF_DIR / group] + ([Path(config_dir) / group] if config_dir else [])
    return sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})


def known_keys(schema: object) -> list[str]:
    """Return the names of a dataclass's fields; none for anything else."""
    if isinstance(schema, type) and dataclasses.is_dataclass(schema):
        return [entry.name for entry in dataclasses.fields(schema)]
    return []


@contextmanager
def without_resolvers() -> Iterator[None]:
    """Let values refer to other keys only: within the block, OmegaConf has nothing that ``${name:...}`` could call."""
    resolvers = dict(BaseContainer._resolvers)
    BaseContainer._resolvers.clear()
    try:
        yield
    finally:
        BaseContainer._resolvers.update(resolvers)


def to_config(composed: DictConfig) -> TrainConfig:
    """Turn what Hydra composed into checked plain dataclasses.

    Raises:
        ConfigError: if a value is missing, of the wrong type or out of range, or if the sizes of the data set must be
            read and cannot be.
    """
    schemas = _schemas_of(composed)
    with without_resolvers():
        OmegaConf.resolve(composed)
    _set_types("", composed, TrainConfig)
    for group, schema in schemas.items():
        _set_types(f"{group}.", composed[group], schema)
    fill_sizes(composed.dataset)
    if composed.quick:
        cut_down(composed)
    count_used(composed.dataset, is_quick=bool(composed.quick))
    values: dict[str, Any] = OmegaConf.to_container(composed, throw_on_missing=True)  # type: ignore[assignment]
    groups = {group: schema(**values[group]) for group, schema in schemas.items()}
    return TrainConfig(**{**values, **groups})


def _schemas_of(composed: DictConfig) -> dict[str, type[Any]]:
    """Return the dataclass of each group, once every key is known to be in one."""
    if OmegaConf.get_type(composed) is not UNTYPED["base_train"]:
        raise ConfigError("the defaults list lacks base_train; the first entry of train.yaml must be base_train.")
    _refuse_unknown("", composed, TrainConfig)
    schemas = {}
    for group in GROUPS:
        node = composed._get_node(group)
        if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
            raise ConfigError(f"{group} is {shortened(node)}; it must be one of {', '.join(option_names(group))}.")
        schemas[group] = _schema_of(group, node)
        _refuse_unknown(f"{group}.", node, schemas[group])
    return schemas


def _schema_of(group: str, node: DictConfig) -> type[Any]:
    """Return the dataclass of a group; that of a schedule is of the option's kind, whatever ``kind`` then says."""
    if group != "schedule":
        return GROUPS[group]
    for kind, schema in SCHEDULE_KINDS.items():
        if OmegaConf.get_type(node) is UNTYPED[f"schedule/base_{kind}"]:
            return schema
    kind = str(None if node._is_missing() or OmegaConf.is_missing(node, "kind") else node.get("kind"))
    require_choice("schedule.kind", kind, tuple(SCHEDULE_KINDS))
    return SCHEDULE_KINDS[kind]


def _refuse_unknown(prefix: str, node: DictConfig, schema: type[Any]) -> None:
    """Refuse keys added by ``+key=value``; Hydra accepts them even if the schema does not."""
    for name in map(str, node):
        if name not in known_keys(schema):
            raise ConfigError(
                f"unknown key {shortened(prefix + name)}; only existing keys can be set, and +KEY=VALUE cannot add one."
            )


def _set_types(prefix: str, node: DictConfig, schema: type[Any]) -> None:
    """Give the keys of a group that have a value their declared types; groups within it are left out."""
    values: Mapping[Any, Any] = OmegaConf.to_container(node)  # type: ignore[assignment]
    given = {str(name): value for name, value in values.items() if value != "???" and prefix + str(name) not in GROUPS}
    for name, value in typed(schema, given, prefix).items():
        node[name] = value
