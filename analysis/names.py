"""Names of groups and arms as people read them: a swept value is named once, as a column or in a heading."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

#: A swept value in a group's name; its key is dotted, or one word.
_LEVEL = re.compile(r" ([A-Za-z_][\w.@/]*)=")
#: Behind what a long name may go on in the next line; a number such as 1,000, 1.03 or seed_0's stays where it is.
_BREAKS = re.compile(r"(?<=[/=])(?=\w)|(?<=_)(?=[^\W\d])|(?<=\D,)(?=\w)|(?<=,)(?=[^\W\d])|(?<=\w\.)(?=[a-z_])")
_LEVEL_OF_ARM = re.compile(r",([A-Za-z_][\w.@/]*)=")


def pieces(text: str) -> list[str]:
    """Return the pieces of a text between which a long name may go on in the next line."""
    return _BREAKS.split(text)


def plain_arm(arm: object) -> str:
    """Return an arm's name without the swept values that its folder carries."""
    return str(arm).partition(",")[0]


def cell_and_levels(group: str) -> tuple[str, dict[str, str]]:
    """Return what a group's name is made of: data set and network, and the swept values by key."""
    cell, *parts = _LEVEL.split(group)
    return cell, dict(zip(parts[::2], parts[1::2], strict=True))


def arm_in(group: str, arm: str) -> str:
    """Return an arm's name without the swept values that its group names already."""
    keys = set(_LEVEL_OF_ARM.findall(arm))
    return plain_arm(arm) if keys and keys <= cell_and_levels(group)[1].keys() else arm


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return by key its last words, as many as tell it from the others: ``weight_decay``."""
    known = list(dict.fromkeys(keys))
    return {key: _short_key(key, [other for other in known if other != key]) for key in known}


def _short_key(key: str, others: Sequence[str]) -> str:
    words = key.split(".")
    for count in range(1, len(words)):
        short = ".".join(words[-count:])
        if not any(other == short or other.endswith(f".{short}") for other in others):
            return short
    return key


def group_labels(groups: Iterable[str], level: Callable[[str, str], str] = "{}={}".format) -> dict[str, str]:
    """Return by group what tells it from the others: cell, swept values, or both.

    Args:
        level: writes a swept value, given its key.
    """
    parts = {group: cell_and_levels(group) for group in groups}
    several_cells = len({cell for cell, _ in parts.values()}) > 1
    keys = short_keys(key for _, levels in parts.values() for key in levels)
    differ = [key for key in keys if len({levels.get(key) for _, levels in parts.values()}) > 1]
    labels = {}
    for group, (cell, levels) in parts.items():
        words = [level(keys[key], levels[key]) for key in differ if key in levels]
        labels[group] = ", ".join([cell, *words] if several_cells or not words else words)
    return labels


def level_text(levels: Iterable[tuple[str, str]]) -> str:
    """Return swept values in one line, with their whole keys."""
    return ", ".join(f"{key}={value}" for key, value in levels)
