"""Checks the words of a call, ``key=value`` and options, and says how a call that was mistyped must be."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adabatch.errors import ConfigError
from adabatch.files import user_path


@dataclass(frozen=True)
class CallRules:
    """What the words of a call may be.

    Attributes:
        program: what stands before the words, such as ``adabatch train``.
        takes_value: by option, such as ``--config-dir``, whether a value of its own follows.
        is_key: whether a name is a config key, or a group that has options.
        find_group: the key that an option's name belongs to, such as ``network`` for ``resnet20``; None for no option.
    """

    program: str
    takes_value: dict[str, bool]
    is_key: Callable[[str], bool]
    find_group: Callable[[str], str | None]

    def is_option(self, word: str) -> bool:
        """Return whether a word is an option, or the start of one."""
        name = word.partition("=")[0]
        return name in self.takes_value or (
            name.startswith("--") and len(name) > 2 and any(known.startswith(name) for known in self.takes_value)
        )


def config_dir_of(words: Sequence[str]) -> Path | None:
    """Return the folder of the user's own options, before the words are parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config-dir", "-cd", type=user_path)
    try:
        found: Path | None = parser.parse_known_args(words)[0].config_dir
    except argparse.ArgumentError:  # without a value
        return None
    return found


def options_of(parser: argparse.ArgumentParser) -> dict[str, bool]:
    """Return the options of a parser, and whether a value follows."""
    return {name: action.nargs != 0 for action in parser._actions for name in action.option_strings}


def check_words(words: Sequence[str], rules: CallRules) -> None:
    """Raise ConfigError for words that are neither options nor of the form key=value; name the call that was meant."""
    corrected: list[str] = []
    wrong: str | None = None
    place = 0
    while place < len(words):
        taken, meant = _read(words[place:], rules)
        given = list(words[place : place + taken])
        if not meant:
            raise ConfigError(_unknown(given[0], rules))
        if meant != given and wrong is None:
            wrong = " ".join(given)
        corrected += meant
        place += taken
    if wrong is not None:
        call = f"{rules.program} {shlex.join(corrected)}"
        raise ConfigError(f"{wrong} does not have the form key=value; the call must be: {call}")


def _read(rest: Sequence[str], rules: CallRules) -> tuple[int, list[str]]:
    """Return how many words belong together at the start, and what they must be; nothing if nobody knows."""
    first = rest[0]
    if rules.is_option(first):
        has_own = "=" not in first and rules.takes_value.get(first, False)
        taken = min(2 if has_own else 1, len(rest))
        return taken, list(rest[:taken])
    is_dashed = first.startswith("-")
    key, equals, value = first.lstrip("-").partition("=")
    if not rules.is_key(key.strip()):
        return 1, _read_other(first, is_dashed, bool(key and equals), rules)
    is_right = not is_dashed and key == key.strip() and not value.startswith("=")
    key, value = key.strip(), value.removeprefix("=").strip()
    if value:
        return 1, [first] if is_right else [f"{key}={value}"]
    follower = rest[1] if len(rest) > 1 else ""
    if not equals and follower == "=" and len(rest) > 2:
        return 3, [f"{key}={rest[2]}"]
    if not equals and follower.startswith("="):
        return 2, [f"{key}{follower}"]
    if follower and _is_value(follower, rules):
        return 2, [f"{key}={follower}"]
    return 1, [first] if equals and is_right else []


def _read_other(first: str, is_dashed: bool, has_value: bool, rules: CallRules) -> list[str]:
    """Return what a word must be that does not start with a known key; nothing if nobody knows."""
    if is_dashed:
        return []
    if has_value or first.startswith("~"):  # whoever reads the key says that it is unknown
        return [first]
    key, colon, value = first.partition(":")
    if colon and value and rules.is_key(key):
        return [f"{key}={value}"]
    group = rules.find_group(first)
    return [] if group is None else [f"{group}={first}"]


def _is_value(word: str, rules: CallRules) -> bool:
    return not (word.startswith("-") or "=" in word or rules.is_key(word))


def _unknown(word: str, rules: CallRules) -> str:
    if word.startswith("-"):
        known = ", ".join(name for name in rules.takes_value if name.startswith("--"))
        return f"unknown option {word}; expected key=value or one of {known}."
    return f"{word} does not have the form key=value, such as num_epochs=3; for what there is: {rules.program} --help"
