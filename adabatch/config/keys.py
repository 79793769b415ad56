"""Every config key by its full name, and functions that answer questions about keys."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_type_hints

from adabatch.config.schema import GROUPS, TrainConfig
from adabatch.errors import ConfigError
from adabatch.fields import Changes, Difference, JudgedBy, KeyFacts, KeyGroup, facts_of
from adabatch.schedules import SCHEDULE_KINDS


@dataclass(frozen=True, slots=True)
class Key:
    """One config key.

    Attributes:
        name: including its group, such as ``dataset.root``.
        default: ``MISSING`` if a value must be given.
        by_kind: of a key that kinds of schedules document differently, what each of them says; else empty.
    """

    name: str
    declared: Any
    default: Any
    facts: KeyFacts
    by_kind: Mapping[str, KeyFacts] = field(default_factory=dict)

    def texts(self) -> Iterator[str]:
        """Yield the documentation with the range in brackets: once, and for each kind of schedule that differs."""
        kinds_by_text: dict[str, list[str]] = {}
        for kind, facts in self.by_kind.items():
            kinds_by_text.setdefault(_text_of(facts), []).append(kind)
        own = _text_of(self.facts)
        if own not in kinds_by_text:  # it is said of all kinds, or it is no key of schedules
            yield own
        for text, kinds in kinds_by_text.items():
            yield f"{', '.join(kinds)}: {text}"


def _text_of(facts: KeyFacts) -> str:
    return facts.doc + (f" [{facts.allowed.text}]" if facts.allowed else "")


def _keys_of(schema: type[KeyGroup]) -> Iterator[Key]:
    types = get_type_hints(schema)
    for entry in dataclasses.fields(schema):
        facts = facts_of(entry)
        if facts is not None:
            made = entry.default_factory
            default = entry.default if made is dataclasses.MISSING else made()
            yield Key(schema.PREFIX + entry.name, types[entry.name], default, facts)


def all_keys(kinds: Mapping[str, type[KeyGroup]] = SCHEDULE_KINDS) -> dict[str, Key]:
    """Return every key by full name.

    Args:
        kinds: of schedules, by name.
    """
    keys: dict[str, Key] = {}
    by_kind: dict[str, dict[str, KeyFacts]] = {}
    schemas: dict[str, type[KeyGroup]] = {"": TrainConfig, **GROUPS}
    for group, schema in schemas.items():
        keys |= {found.name: found for found in _keys_of(schema)}
        if group != "schedule":
            continue
        for kind, schedule in kinds.items():
            for found in _keys_of(schedule):
                keys.setdefault(found.name, found)
                by_kind.setdefault(found.name, {})[kind] = found.facts
    for name, facts in by_kind.items():
        if len(set(map(_text_of, facts.values()))) > 1:
            keys[name] = replace(keys[name], by_kind=facts)
    return keys


def key_of_schema(schema: object, name: str) -> Key | None:
    """Return a key as the schema declares it that a value was refused by; None if it is unknown there and elsewhere."""
    if isinstance(schema, type) and issubclass(schema, KeyGroup):
        declared = _keys_of(schema)
        return next((found for found in declared if found.name == name), KEYS.get(name))
    return KEYS.get(name)


#: All keys by full name, including those of every kind of schedule.
KEYS: dict[str, Key] = all_keys()


def is_key(name: str) -> bool:
    """Return whether a column of a frame or a file is a config key: in the schema, or in one of its groups."""
    group, dot, _ = name.partition(".")
    return name in KEYS or (bool(dot) and group in GROUPS)


def is_key_or_group(name: str) -> bool:
    """Return whether ``name=VALUE`` sets something: a key, the option of a group, or an argument of a plug-in."""
    return name in GROUPS or is_key(name) or name.startswith("metrics.")


def _facts(name: str) -> KeyFacts | None:
    """Return the facts of a key, or of the mapping that it is in, such as ``network.args``; None if it is unknown."""
    parts = name.split(".")
    declared = (KEYS.get(".".join(parts[:length])) for length in range(len(parts), 0, -1))
    return next((key.facts for key in declared if key), None)


def changes(name: str) -> Changes:
    """Return what changing a key can affect; for a key unknown to the schema, the result."""
    facts = _facts(name)
    return facts.changes if facts else Changes.RESULT


def judged_by_equality(names: Iterable[str]) -> list[str]:
    """Return the keys, among some, that must be equal in two compared arms and that affect time or result."""
    known = ((name, _facts(name)) for name in names)
    return [
        name
        for name, facts in known
        if facts is None or (facts.changes is not Changes.NOTHING and facts.judged_by is JudgedBy.EQUALITY)
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested config by full key; lists as JSON."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by full key as a nested config.

    Raises:
        ConfigError: if a key has a value, and keys of its own.
    """
    config: dict[str, Any] = {}
    for key, value in values.items():
        *groups, name = key.split(".")
        target = config
        for group in groups:
            target = target.setdefault(group, {})
            if not isinstance(target, dict):
                raise ConfigError(f"{key} is given, and what stands before its last dot has a value; it must be one.")
        if isinstance(target.get(name), dict):
            raise ConfigError(f"{key} has a value, and keys of its own; it must be one of them.")
        target[name] = value
    return config


def differences(own: Mapping[str, Any], other: Mapping[str, Any], *, arms: bool = False) -> Iterator[Difference]:
    """Yield the differences between two nested configs in keys that can affect a run's time or result.

    Args:
        arms: whether the two are compared arms; then only keys that must be equal count.
    """
    mine, theirs = flatten(own), flatten(other)
    names = list(mine | theirs)
    counted = judged_by_equality(names) if arms else [name for name in names if changes(name) is not Changes.NOTHING]
    for name in counted:
        if mine.get(name) != theirs.get(name):
            yield Difference(name, mine.get(name), theirs.get(name), changes(name))


def micro_batch_keys(config: TrainConfig) -> dict[str, Any]:
    """Return, by full key, the values that can affect how long one micro-batch takes."""
    flat = flatten(dataclasses.asdict(config))
    known = {name: _facts(name) for name in flat}
    shaping = {name: flat[name] for name, facts in known.items() if facts is None or facts.shapes_micro_batch}
    # All momenta above 0 take the same time.
    return {**shaping, "optimizer.momentum": config.optimizer.momentum > 0}


def suggestion(name: str, known: Sequence[str], prefix: str = "") -> str:
    """Return a sentence that suggests the closest known name; empty if none is close."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {prefix}{close[0]}?" if close else ""
