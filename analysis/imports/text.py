"""From the text of a cell to a value of a declared type; nothing is guessed: no dates, times or words for numbers."""

from __future__ import annotations

import re
import types
from decimal import Decimal
from typing import Any, Union, get_args, get_origin

from adabatch.config.values import LARGEST, NUMBER, TRUTH_VALUES

#: What logs write where there is no value, in small letters.
MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "<na>"})
_INFINITE = re.compile(r"([+-]?)inf(inity)?", re.IGNORECASE)
#: A number with a decimal comma.
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d{1,3})?\s*%?")
#: A number with a decimal point.
DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d{1,3})?\s*%?")


class Unusable(Exception):
    """A run cannot be imported; the message is a sentence that says why."""


def is_missing(text: str) -> bool:
    """Return whether a cell says that there is no value."""
    return text.lower() in MISSING


def parse_decimal(text: str) -> Decimal:
    """Return a number as it is written.

    Raises:
        ValueError: if it is none; the message ends the sentence "it must be ...".
    """
    if not NUMBER.fullmatch(text):
        raise ValueError("a number such as 0.5 or 5e-4")
    return Decimal(text)


def parse_infinite(text: str) -> float | None:
    """Return an infinity that is written as a word; None for anything else."""
    match = _INFINITE.fullmatch(text)
    return float(f"{match.group(1)}inf") if match else None


def parse_value(text: str, declared: Any) -> Any:
    """Return a value of a declared type.

    Args:
        declared: a type of the schema, such as ``int | None`` or ``list[float]``; ``Any`` takes true, false, a whole
            number or a word.

    Raises:
        ValueError: if the text is of no such type; the message ends the sentence "it must be ...".
    """
    if get_origin(declared) in (Union, types.UnionType):
        options = [option for option in get_args(declared) if option is not type(None)]
        return None if text.lower() in ("null", "none") else parse_value(text, options[0])
    if get_origin(declared) is list:
        [entry] = get_args(declared)
        return [parse_value(part.strip(), entry) for part in text.strip("[]() ").split(",")]
    if declared is bool:
        return _parse_bool(text)
    if declared is int:
        return _parse_int(text)
    if declared is float:
        return float(parse_decimal(text))
    return _parse_any(text) if declared is Any else text


def _parse_bool(text: str) -> bool:
    if text.lower() not in TRUTH_VALUES:
        raise ValueError("true or false")
    return TRUTH_VALUES[text.lower()]


def _parse_int(text: str) -> int:
    number = parse_decimal(text) if NUMBER.fullmatch(text) else None
    if number is None or number != number.to_integral_value() or abs(number) > LARGEST:
        raise ValueError("a whole number of at most 64 bits")
    return int(number)


def _parse_any(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return _parse_bool(text)
    if text.lower() in ("null", "none"):
        return None
    return _parse_int(text) if re.fullmatch(r"[+-]?\d+", text) else text
