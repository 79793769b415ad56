"""The config hash: equal exactly if two configs must give the same result in the same time.

A hash carries the version of the rule that made it, as in ``2-1f0c53aa81d4``; those of version 1 have none. It is
checked by its own version's rule, so that old runs keep theirs. A key that a rule does not know yet counts only where
it is not at its default: then the config is one that the rule's time did not have.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from adabatch.config.keys import KEYS, changes
from adabatch.config.schema import TrainConfig
from adabatch.fields import Changes

#: The rule by which new hashes are made.
RULE = 2
_NUM_DIGITS = 12


def config_hash(config: TrainConfig | Mapping[str, Any], rule: int = RULE) -> str:
    """Return a config's hash: the rule's version and 12 hexadecimal digits.

    Args:
        config: a config, or its values as nested plain ones.
        rule: version of the rule; 1 is that of adabatch 0.1.0.
    """
    values = dataclasses.asdict(config) if isinstance(config, TrainConfig) else config
    canonical = json.dumps(_hashed(values, rule), sort_keys=True, separators=(",", ":"))
    digits = hashlib.sha256(canonical.encode()).hexdigest()[:_NUM_DIGITS]
    return digits if rule == 1 else f"{rule}-{digits}"


def hash_rule(recorded: str) -> int | None:
    """Return the version of the rule that made a hash; None if this version of adabatch does not know it."""
    version, dash, _ = recorded.rpartition("-")
    rule = 1 if not dash else int(version) if version.isdecimal() else None
    return rule if rule is not None and 1 <= rule <= RULE else None


def matches_hash(config: TrainConfig | Mapping[str, Any], recorded: str) -> bool | None:
    """Return whether a config has the recorded hash, by that hash's rule; None if the rule is unknown."""
    rule = hash_rule(recorded)
    return None if rule is None else config_hash(config, rule) == recorded


def _hashed(values: Mapping[str, Any], rule: int, prefix: str = "") -> dict[str, Any]:
    """Return the nested values without those that do not count. A group that is left out as a whole is not named."""
    counted: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            group = _hashed(value, rule, f"{key}.")
            if group or not value:
                counted[name] = group
        elif _counts(key, value, rule):
            counted[name] = value
    return counted


def _counts(name: str, value: object, rule: int) -> bool:
    if changes(name) is Changes.NOTHING or (name in KEYS and rule in KEYS[name].facts.unhashed_by):
        return False
    return name not in KEYS or KEYS[name].facts.hash_rule <= rule or value != KEYS[name].default
