"""What a value from YAML, a command line or a saved config means: the one rule for all of them.

A value is taken as it is meant or refused by a sentence, and never changed: a text is no number's spelling, a number is
no truth value, a list is no single value. The types are those of the schema.
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Union, get_args, get_origin, get_type_hints

from adabatch.errors import ConfigError
from adabatch.fields import shown

#: Spellings of truth values in texts, in small letters; those of YAML 1.1.
TRUTH_VALUES = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}  # fmt: skip
#: A number as texts spell it.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
#: int64's limit.
LARGEST = 2**63 - 1
#: Whole numbers up to this one are exact as floating-point numbers.
_LARGEST_EXACT = 2**53
_NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
#: What Hydra would call; here a config is data, and nothing is called.
_INSTRUCTIONS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
_MOST_CHARACTERS = 60
_TEXTS = {
    bool: "true or false",
    int: "a whole number of at most 64 bits",
    float: "a number",
    str: "a text without control characters (a number or a truth value in quotes)",
}
_ENTRIES = {bool: "true or false each", int: "whole numbers", float: "numbers", str: "texts"}
_FREE = "true, false, null, a number of at most 64 bits, text, or lists and mappings of them"


class _Unfit(Exception):
    """A value is not of a declared type."""


def as_declared(value: object, declared: Any, name: str, example: str | None = None) -> Any:
    """Return a value of a declared type.

    Args:
        value: as YAML or Hydra read it.
        declared: a type of the schema, such as ``int | None`` or ``list[float]``.
        name: of the key, for the sentence.
        example: of a value, for the sentence.

    Raises:
        ConfigError: if the value is of another type.
    """
    try:
        return _convert(value, declared, name)
    except _Unfit as error:
        such_as = f" such as {example}" if example else ""
        raise ConfigError(f"{name} is {shortened(value)}; it must be {described(declared)}{such_as}.") from error


def typed(
    schema: type[Any], values: Mapping[str, Any], prefix: str = "", examples: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the values of a dataclass's fields, each of its declared type; see `as_declared`."""
    hints, shown_values = _hints(schema), examples or {}  # type: ignore[arg-type]
    return {
        name: as_declared(value, hints[name], f"{prefix}{name}", shown_values.get(name))
        for name, value in values.items()
    }


def described(declared: Any) -> str:
    """Return what values of a type are, as the end of the sentence "it must be ..."."""
    origin = get_origin(declared)
    if origin in (Union, types.UnionType):
        options = [described(option) for option in get_args(declared) if option is not type(None)]
        return " or ".join(["null", *options])
    if origin is list:
        (entry,) = get_args(declared)
        return f"a list of {_ENTRIES[entry]}" if entry in _ENTRIES else "a list"
    if origin is dict:
        is_counted = get_args(declared)[0] is int
        return f"a mapping from {'whole numbers to whole numbers' if is_counted else 'names to values'}"
    return _TEXTS.get(declared, _FREE)


def shortened(value: object, most: int = _MOST_CHARACTERS) -> object:
    """Return a value as messages show it, cut to ``most`` characters, with control characters escaped."""
    try:
        text = str(shown(value))
    except ValueError:  # more digits than Python prints
        return "a number of thousands of digits"
    except RecursionError:
        return "nested too deeply"
    text = _CONTROL.sub(lambda match: ascii(match.group())[1:-1], text.replace("\n", "\\n"))
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


@functools.cache
def _hints(schema: type[Any]) -> dict[str, Any]:
    return get_type_hints(schema)


def _convert(value: object, declared: Any, name: str) -> Any:
    origin = get_origin(declared)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (option for option in get_args(declared) if option is not type(None))
        return _convert(value, inner, name)
    if origin is list:
        if not isinstance(value, list):
            raise _Unfit
        return [_convert(entry, get_args(declared)[0], name) for entry in value]
    if origin is dict:
        names, entries = get_args(declared)
        return _counted(value, entries) if names is int else _mapping(value, entries, name)
    if declared in _CONVERT:
        return _CONVERT[declared](value)
    return _free(value, name) if declared is Any else value


def _mapping(value: object, declared: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _Unfit
    for key in value:
        if key in _INSTRUCTIONS:
            raise ConfigError(
                f"{name}.{key} is an instruction of Hydra's; a config is data and calls nothing. Your own code is named"
                " by a path, such as network=my_module:Name, and gets its arguments by args."
            )
    return {_text(key): _convert(entry, declared, f"{name}.{key}") for key, entry in value.items()}


def _counted(value: object, declared: Any) -> dict[int, Any]:
    """Return a mapping from whole numbers, sorted by them."""
    if not isinstance(value, dict):
        raise _Unfit
    counted = {_whole(key): _CONVERT[declared](entry) for key, entry in value.items()}
    if len(counted) < len(value):  # 128 and '128'
        raise _Unfit
    return dict(sorted(counted.items()))


def _truth_value(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in TRUTH_VALUES:
        return TRUTH_VALUES[value.lower()]
    raise _Unfit


def _whole(value: object) -> int:
    number: int | float | Decimal
    if isinstance(value, str) and NUMBER.fullmatch(value) and len(value) <= _MOST_CHARACTERS:
        number = Decimal(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    else:
        raise _Unfit
    limit = _LARGEST_EXACT if isinstance(number, float) else LARGEST
    if not -limit <= number <= limit or number != int(number):
        raise _Unfit
    return int(number)


def _number(value: object) -> float:
    is_spelled = isinstance(value, str) and (NUMBER.fullmatch(value) or _NOT_FINITE.fullmatch(value))
    if isinstance(value, bool) or not (is_spelled or isinstance(value, int | float)):
        raise _Unfit
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError as error:
        raise _Unfit from error


def _text(value: object) -> str:
    if not isinstance(value, str) or _CONTROL.search(value):
        raise _Unfit
    return value


def _free(value: object, name: str) -> Any:
    """Return a value of no declared type, which consists of plain ones."""
    if isinstance(value, dict):
        return _mapping(value, Any, name)
    if isinstance(value, list):
        return [_free(entry, name) for entry in value]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None or isinstance(value, float):
        return value
    return _whole(value)


_CONVERT = {bool: _truth_value, int: _whole, float: _number, str: _text}
