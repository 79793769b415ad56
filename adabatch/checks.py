"""Checks on values that users set."""

from __future__ import annotations

from collections.abc import Sequence

from adabatch.errors import ConfigError


def require(condition: bool, key: str, value: object, allowed: str) -> None:
    """Raise ConfigError unless ``condition``; the sentence names the key, the value and what is allowed."""
    if not condition:
        shown = "null" if value is None else value
        raise ConfigError(f"{key} is {shown}; it must be {allowed}.")


def require_choice(key: str, value: object, choices: Sequence[str]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``."""
    require(value in choices, key, value, "one of " + ", ".join(choices))
