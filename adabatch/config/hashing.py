"""The config hash: equal if and only if two configs must give the same result in the same time.

A hash starts with the version of its rule, as in ``2-1f0c53aa81d4``; hashes of version 1 have no prefix. A hash is
checked by the rule of its version, so old runs keep theirs. A key newer than a rule counts only if it is not at its
default, since configs of that time could not have other values.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from adabatch.config.keys import KEYS, changes, flatten
from adabatch.config.schema import TrainConfig
from adabatch.fields import Changes

#: The rule for new hashes.
HASH_RULE = 2
_NUM_DIGITS = 12


def config_hash(config: TrainConfig | Mapping[str, Any], rule: int = HASH_RULE) -> str:
    """Return a config's hash: the rule's version and 12 hexadecimal digits.

    Args:
        config: a config, or its nested plain values.
        rule: version of the rule; 1 is the one of adabatch 0.1.0.
    """
    values = dataclasses.asdict(config) if isinstance(config, TrainConfig) else config
    canonical = json.dumps(_hashed(values, rule), sort_keys=True, separators=(",", ":"))
    digits = hashlib.sha256(canonical.encode()).hexdigest()[:_NUM_DIGITS]
    return digits if rule == 1 else f"{rule}-{digits}"


def hash_rule(recorded: str) -> int | None:
    """Return the version of a hash's rule; None if it is unknown to this version of adabatch."""
    version, dash, _ = recorded.rpartition("-")
    rule = 1 if not dash else int(version) if version.isdecimal() else None
    return rule if rule is not None and 1 <= rule <= HASH_RULE else None


def matches_hash(config: TrainConfig | Mapping[str, Any], recorded: str) -> bool | None:
    """Return whether a config has the recorded hash, by that hash's rule; None if the rule is unknown."""
    rule = hash_rule(recorded)
    return None if rule is None else config_hash(config, rule) == recorded


def defaults_since(recorded: str | None) -> dict[str, Any]:
    """Return the defaults of keys newer than a hash's rule: the values that a config of its time had without saying so.

    They are flat, as those of `adabatch.config.keys.flatten`. Of a rule that is unknown, those newer than the current
    rule are returned: a later version's config states them itself.

    Keys of schedules are left out: they belong to one kind of schedule each.
    """
    if recorded is None:
        return {}
    rule = hash_rule(recorded) or HASH_RULE
    newer = (key for key in KEYS.values() if key.facts.hash_rule > rule and not key.name.startswith("schedule."))
    return flatten({key.name: key.default for key in newer})


def _hashed(values: Mapping[str, Any], rule: int, prefix: str = "") -> dict[str, Any]:
    """Return the nested values that count; groups without any are left out."""
    counted: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in KEYS:
            group = _hashed(value, rule, f"{key}.")
            if group or not value:
                counted[name] = group
        elif _counts(key, value, rule):
            # Names that are numbers in YAML are texts in JSON, and sorted otherwise.
            counted[name] = {str(own): entry for own, entry in value.items()} if isinstance(value, Mapping) else value
    return counted


def _counts(name: str, value: object, rule: int) -> bool:
    if changes(name) is Changes.NOTHING or (name in KEYS and rule in KEYS[name].facts.unhashed_by):
        return False
    return name not in KEYS or KEYS[name].facts.hash_rule <= rule or value != KEYS[name].default
