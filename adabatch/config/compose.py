"""From ``conf/`` and overrides to a checked TrainConfig; Hydra's errors become one sentence."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
)

from adabatch.config.composed import UNTYPED, known_keys, option_names, to_config, without_resolvers
from adabatch.config.keys import KEYS, suggestion
from adabatch.config.option_files import check_option_files
from adabatch.config.plugin_words import BY_PATH, plugin_words
from adabatch.config.schema import GROUPS, TrainConfig
from adabatch.config.values import shortened, typed
from adabatch.config.words import checked_words
from adabatch.errors import ConfigError
from adabatch.files import CONF_DIR
from adabatch.plugins.kinds import Kind
from adabatch.schedules import SCHEDULE_KINDS, ScheduleConfig

#: A multirun of more is a mistake.
_MOST_RUNS = 10_000
#: Of Hydra's own words in a sentence.
_READABLE = (
    "the value must be a word, a number, null, [a, b] or {a: b}, with other characters in quotes that Hydra sees, too"
)
_MOST_CHARACTERS = 200


@functools.cache
def register_schemas() -> None:
    """Register the dataclasses with Hydra under the names that the defaults lists in ``conf/`` use."""
    store = ConfigStore.instance()
    for path, schema in UNTYPED.items():
        group, _, name = path.rpartition("/")
        store.store(group=group or None, name=name, node=schema)


def words_for_hydra(overrides: Sequence[str], config_dir: Path | None = None) -> list[str]:
    """Return overrides as Hydra and the schema have them: plug-ins by their paths, texts in quotes.

    Raises:
        ConfigError: for an override of Hydra's own settings, or one that is not of the form key=value.
    """
    plain = checked_words(overrides)
    return checked_words(plugin_words(plain, lambda group, name: name in option_names(group, config_dir)))


def hydra_config(words: Sequence[str]) -> DictConfig:
    """Return what Hydra composes from words of `words_for_hydra`, within `composer`.

    No resolver is there meanwhile: a value may refer to another key, but cannot call anything, nor read the
    environment. Hydra's own settings are left out, so that its callbacks, plug-ins and logging have no effect.
    """
    with without_resolvers():
        composed: DictConfig = hydra_compose("train", list(words))
    return composed


@contextmanager
def composer() -> Iterator[None]:
    """Keep Hydra initialized for many calls of `compose`, as in a sweep."""
    register_schemas()
    if GlobalHydra.instance().is_initialized():
        yield
        return
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield


def compose(overrides: Sequence[str], config_dir: Path | None = None) -> TrainConfig:
    """Compose a run's config as ``python -m adabatch OVERRIDES --config-dir CONFIG_DIR`` would.

    Raises:
        ConfigError: for an unknown option, key or value; the sentence names it and what is allowed.
    """
    with translated_errors(overrides, config_dir), composer():
        return to_config(hydra_config([*search_words(config_dir), *words_for_hydra(overrides, config_dir)]))


def composed_text(overrides: Sequence[str], config_dir: Path | None = None) -> str:
    """Return the composed config as YAML, with values that refer to others as they are written.

    Raises:
        ConfigError: for an unknown option or key, or a value that Hydra cannot read.
    """
    with translated_errors(overrides, config_dir), composer():
        return OmegaConf.to_yaml(hydra_config([*search_words(config_dir), *words_for_hydra(overrides, config_dir)]))


def each_run(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each run of a multirun: all combinations of values such as ``1,2`` and ``range(3)``.

    Raises:
        ConfigError: for a value that Hydra cannot read, or too many runs.
    """
    with translated_errors(overrides):
        choices = [_each_value(word) for word in checked_words(overrides)]
        if math.prod(map(len, choices)) > _MOST_RUNS:
            raise ConfigError(f"the multirun has more than {_MOST_RUNS:,} runs; give it fewer values.")
        return [list(words) for words in itertools.product(*choices)]


def _each_value(word: str) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(config_loader=loader).parse_override(word)
    if not parsed.is_sweep_override():
        return [word]
    if not parsed.is_discrete_sweep():
        raise ConfigError(f"{shortened(word)} is an interval; list its values, such as 1,2,3 or range(1,4).")
    values = itertools.islice(parsed.sweep_string_iterator(), _MOST_RUNS + 1)
    return [f"{parsed.get_key_element()}={value}" for value in values]


def search_words(config_dir: Path | None) -> list[str]:
    """Return the words by which Hydra finds the options of a folder, once they are checked.

    Raises:
        ConfigError: if there is no such folder, or an option file in it is not data alone.
    """
    if config_dir is None:
        return []
    folder = Path(config_dir).resolve()
    if not folder.is_dir():
        raise ConfigError(f"--config-dir is {shortened(str(config_dir))}; it must be an existing folder.")
    check_option_files(folder)
    return [f"hydra.searchpath=[{str(folder)!r}]"]


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
    schema = SCHEDULE_KINDS[kind]
    for key in values:
        if key not in known_keys(schema):
            raise ConfigError(unknown_key(f"schedule.{key}", known_keys(schema)))
    merged = OmegaConf.create({**option, **values})
    with translated_errors(), without_resolvers():
        plain: dict[str, Any] = OmegaConf.to_container(merged, resolve=True)  # type: ignore[assignment]
    given = typed(schema, plain, "schedule.")
    missing = [
        entry.name for entry in dataclasses.fields(schema) if entry.default == MISSING and entry.name not in given
    ]
    for key in missing:
        raise ConfigError(f"schedule.{key} has no value; give it one with schedule.{key}=VALUE.")
    config: ScheduleConfig = schema(**given)
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
    except ConfigError:
        raise
    except (ValueError, TypeError, AttributeError, AssertionError, OSError, RecursionError) as error:
        # Hydra's and OmegaConf's own, for words that they do not expect.
        chosen = next((given for given in overrides if given.partition("=")[0] in GROUPS), "")
        if str(error).startswith("Config group override must be"):
            group, _, name = chosen.partition("=")
            raise ConfigError(f"{group} is {name}; it must be the name of one of its options, a text.") from error
        reason = str(shortened(error, _MOST_CHARACTERS)).rstrip(".")
        raise ConfigError(f"the overrides cannot be used: {reason}.") from error


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
    if not known:
        group = key.partition(".")[0]
        return f"unknown key {key}; the file of the option of {group} lacks its keys: defaults: [base_{group}, _self_]."
    return f"unknown key {key}; expected one of {', '.join(sorted(known))}.{suggestion(name, known, prefix)}"


def _refused_value(error: OmegaConfBaseException, overrides: Sequence[str]) -> str:
    key = str(error.full_key or error.key or "the config")
    if isinstance(error, MissingMandatoryValue):
        return f"{key} has no value; give it one with {key}=VALUE."
    if isinstance(error, UnsupportedInterpolationType):
        resolver = str(error.msg or error).splitlines()[0].rpartition(" ")[2]
        calling = (given.split("=", 1)[0] for given in overrides if f"{resolver}:" in given)
        key = next(calling, str(error.full_key or "an option"))
        return f"{key} calls {resolver}; a value may refer to another key, as in ${{seed}}, and call nothing."
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        return unknown_key(key, known_keys(error.object_type))
    value = next((given.split("=", 1)[1] for given in overrides if given.lstrip("+").split("=", 1)[0] == key), None)
    reason = str(error.msg or error).splitlines()[0].rstrip(".")
    return f"{key} is {shortened(value)}; {reason}." if value is not None else f"{key} is wrong: {reason}."


def _in_quotes(override: str) -> str:
    """Return how a shell gives an override's value as a text, as the end of a sentence."""
    key, _, value = override.partition("=")
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f"; in a shell: '{key}=\"{quoted}\"'" if value and "'" not in value else ""


def _refused_call(error: HydraException, overrides: Sequence[str]) -> str:
    if isinstance(error, OverrideParseException):
        return f"{shortened(error.override)} cannot be read; {_READABLE}{_in_quotes(error.override)}."
    first_line = str(shortened(next(iter(str(error).splitlines()), ""), _MOST_CHARACTERS)).rstrip(".")
    unmatched = re.match(r"Could not override '([^']+)'", first_line)
    if unmatched:
        key = unmatched.group(1)
        known = sorted({*(name.rpartition(".")[2] for name in KEYS), *GROUPS})
        return f"unknown key {key}.{suggestion(key.rpartition('.')[2], known)} Keys: adabatch train --help."
    of_option = re.match(r"In '([^']+)': \w+ raised while composing config:?$", first_line)
    if of_option:
        reason = str(shortened(str(error).splitlines()[1], _MOST_CHARACTERS)).rstrip(".")
        return f"the option {of_option.group(1)} cannot be used: {reason}."
    several = re.match(r"Ambiguous value for argument '(.+)'", first_line)
    if several:
        return f"{several.group(1)} gives several values; that needs -m, and a list needs brackets: KEY=[1,2]."
    added = next((given for given in overrides if given.startswith("+")), None)
    if (added and "+" in first_line) or (added and "append" in first_line):
        return f"{added} adds a key; only existing keys can be set, without the plus sign."
    return f"the overrides cannot be used: {first_line}."
