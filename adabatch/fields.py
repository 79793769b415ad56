"""What a config dataclass declares for each key: range, documentation, and what changing the key affects.

Everything that distinguishes keys (the config hash, the refusal to resume, lint, matching, ``--help``) gets these facts
through `adabatch.config.keys`; there is no other list of keys.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any, ClassVar

from omegaconf import MISSING

from adabatch.errors import ConfigError


class Changes(StrEnum):
    """What changing a key, or a fact about a run, can affect."""

    NOTHING = "nothing"
    TIME = "time"
    RESULT = "result"


class JudgedBy(StrEnum):
    """How the runs of two arms must agree in a key before they are compared."""

    #: The values must be equal.
    EQUALITY = "equality"
    #: The key shapes batch size and learning rate, which are compared as a whole; see `adabatch.schedules.trajectory`.
    TRAJECTORY = "trajectory"
    #: Runs are paired by the key.
    PAIRING = "pairing"


@dataclass(frozen=True, slots=True)
class Difference:
    """A key, or a rule, in which two runs differ.

    Attributes:
        changes: what the difference can affect; with ``TIME`` the qualities stay comparable.
    """

    key: str
    value: object
    other: object
    changes: Changes = Changes.RESULT

    def sentence(self, owner: str = "the baseline's") -> str:
        """Return the difference as a sentence; lint and the tables use the same one."""
        return f"{self.key} is {shown(self.value)}, {owner} is {shown(self.other)}."


@dataclass(frozen=True, slots=True)
class Range:
    """The values a key may have; ``text`` ends the sentence "it must be ..."."""

    text: str
    allows: Callable[[Any], bool]


def at_least(least: float, unit: str = "") -> Range:
    """Return the range of numbers that are at least ``least``."""
    return Range(f"at least {least:g}" + (f" {unit}" if unit else ""), lambda value: isfinite(value) and value >= least)


def count(most: int, unit: str = "", least: int = 1) -> Range:
    """Return the range of whole numbers from ``least`` to ``most``, beyond which a number is a mistake."""
    text = f"at least {least}" + (f" {unit}" if unit else "") + f" and at most {most:,}"
    return Range(text, lambda value: least <= value <= most)


def between(least: float, most: float) -> Range:
    """Return the range of numbers from ``least`` to ``most``, both included."""
    return Range(f"between {least} and {most}", lambda value: least <= value <= most)


def one_of(*choices: str) -> Range:
    """Return the range that consists of the given words."""
    return Range("one of " + ", ".join(choices), lambda value: value in choices)


def null_or(allowed: Range) -> Range:
    """Return a range with null added."""
    return Range(f"null or {allowed.text}", lambda value: value is None or allowed.allows(value))


POSITIVE = Range("a positive number", lambda value: isfinite(value) and value > 0)
BELOW_ONE = Range("at least 0 and less than 1", lambda value: 0 <= value < 1)


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What the schema declares for one key besides its type and default.

    Attributes:
        doc: one line for ``--help``.
        changes: what changing the key can affect.
        judged_by: how two arms must agree in it.
        shapes_micro_batch: whether it can affect how long one micro-batch takes.
        hash_rule: the version of the hash rule that introduced the key; see `adabatch.config.hashing`.
        unhashed_by: older versions of the rule that leave the key out.
    """

    doc: str
    allowed: Range | None
    changes: Changes
    judged_by: JudgedBy
    shapes_micro_batch: bool
    hash_rule: int
    unhashed_by: tuple[int, ...]


_FACTS = "adabatch"


def key(
    default: Any = MISSING,
    *,
    doc: str,
    allowed: Range | None = None,
    changes: Changes = Changes.RESULT,
    judged_by: JudgedBy = JudgedBy.EQUALITY,
    shapes_micro_batch: bool | None = None,
    hash_rule: int = 1,
    unhashed_by: tuple[int, ...] = (),
) -> Any:
    """Return a dataclass field for a config key; see `KeyFacts`.

    ``shapes_micro_batch`` defaults to True unless ``changes`` is ``NOTHING``.
    """
    shapes = changes is not Changes.NOTHING if shapes_micro_batch is None else shapes_micro_batch
    facts = KeyFacts(doc, allowed, changes, judged_by, shapes, hash_rule, unhashed_by)
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=default.copy, metadata={_FACTS: facts})
    return dataclasses.field(default=default, metadata={_FACTS: facts})


def facts_of(entry: dataclasses.Field[Any]) -> KeyFacts | None:
    """Return the facts of a dataclass field; None for a group of keys."""
    facts: KeyFacts | None = entry.metadata.get(_FACTS)
    return facts


@dataclass
class KeyGroup:
    """Base of the config dataclasses: checks the range of every key on construction.

    Raises:
        ConfigError: for a value out of range.
    """

    #: The group's name and a dot, such as ``dataset.``; empty for the config as a whole.
    PREFIX: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            facts = facts_of(entry)
            if facts is not None and facts.allowed is not None:
                value = getattr(self, entry.name)
                require(_is_within(facts.allowed, value), self.PREFIX + entry.name, value, facts.allowed.text)


def _is_within(allowed: Range, value: object) -> bool:
    try:
        return allowed.allows(value)
    except OverflowError:  # an integer beyond the range of a float
        return False


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise ConfigError unless ``condition``; the sentence names the key, the value and what is allowed."""
    if not condition:
        raise ConfigError(f"{name} is {shown(value)}; it must be {allowed}.")


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``."""
    require(value in choices, name, value, "one of " + ", ".join(choices))


def shown(value: object) -> object:
    """Return a value as messages show it: null, true and false as in YAML, and whole numbers without .0."""
    if value is None:
        return "null"
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return str(value).lower() if isinstance(value, bool) else value
