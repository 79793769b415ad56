"""Overrides as Hydra gets them: only of adabatch's keys, and texts as they were written."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException, OverrideParseException

from adabatch.config.keys import KEYS
from adabatch.config.schema import GROUPS
from adabatch.config.values import shortened
from adabatch.errors import ConfigError

_MOST_CHARACTERS = 10_000
_HYDRA = re.compile(r"[+~]*hydra([./@=]|$)")
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def checked_words(words: Sequence[str]) -> list[str]:
    """Return overrides in which a value for a text is in quotes where Hydra would take it for a number.

    Raises:
        ConfigError: for a word that sets what is Hydra's, chooses several options of a group, or is no override.
    """
    return [_checked(word) for word in words]


def _checked(word: str) -> str:
    if len(word) > _MOST_CHARACTERS:
        raise ConfigError(f"{shortened(word)} is too long; an override has at most {_MOST_CHARACTERS:,} characters.")
    if _UNFIT.search(word):
        raise ConfigError(f"{shortened(word)} holds control characters or bytes that are not UTF-8.")
    if _HYDRA.match(word):
        key = word.partition("=")[0].lstrip("+~")
        raise ConfigError(
            f"{shortened(key)} is a setting of Hydra's, which cannot be changed; only adabatch's keys can."
        )
    key, equals, value = word.partition("=")
    if "@" in key:
        raise ConfigError(f"{shortened(key)} puts an option in another place; it must be GROUP=OPTION.")
    if key.rpartition(".")[2] in ("_target_", "_partial_", "_args_", "_recursive_", "_convert_"):
        raise ConfigError(f"{shortened(key)} is an instruction of Hydra's; a config is data and calls nothing.")
    if key.lstrip("+") in GROUPS and equals:
        _check_choice(word, key, value)
    if key in KEYS and _is_text(key) and not isinstance(_parsed(word).value(), str | QuotedString | list | dict | None):
        return f"{key}='{value.strip()}'" if not _parsed(word).is_sweep_override() else word
    return word


def _check_choice(word: str, key: str, value: str) -> None:
    parsed = _parsed(word)
    if not parsed.is_sweep_override() and not isinstance(parsed.value(), str | None):
        raise ConfigError(f"{key} is {shortened(value)}; it must be the name of one of its options, a text.")


def _is_text(key: str) -> bool:
    return KEYS[key].declared in (str, str | None)


@functools.lru_cache(maxsize=4096)
def _parsed(word: str) -> Override:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise OverrideParseException(word, str(error)) from error
