"""The declared types of keys in words, for sentences about values of another type."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from adabatch.fields import Range

_WORDS: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    bool: ("true or false", "true or false each"),
}


def type_text(declared: Any) -> str:
    """Return what a declared type allows, as the end of "it must be ...": ``null or a list of whole numbers``."""
    choices = _choices(declared)
    names = [_text_of(choice) for choice in choices if choice is not types.NoneType]
    return " or ".join((["null"] if types.NoneType in choices else []) + names)


def allowed_text(declared: Any, allowed: Range | None) -> str:
    """Return what a key of a declared type and range allows, as the end of "it must be ..."."""
    if allowed is None:
        return type_text(declared)
    says_type = allowed.text.startswith(("null", "a ", "one of"))
    return allowed.text if says_type else f"{type_text(declared)} ({allowed.text})"


def has_type(value: object, declared: Any) -> bool:
    """Return whether a value from YAML is of a declared type, or is converted to it: ``"3"`` to a number."""
    return any(_is_of(value, choice) for choice in _choices(declared))


def _choices(declared: Any) -> tuple[Any, ...]:
    return get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)


def _text_of(declared: Any) -> str:
    origin = get_origin(declared) or declared
    if origin is list:
        [element] = get_args(declared) or [Any]
        return "a list" + (f" of {_WORDS[element][1]}" if element in _WORDS else "")
    if origin is dict:
        return "a mapping from names to values"
    return _WORDS[origin][0] if origin in _WORDS else "a value"


def _is_of(value: object, declared: Any) -> bool:
    origin = get_origin(declared) or declared
    if origin is Any:
        return True
    if origin is list:
        [element] = get_args(declared) or [Any]
        return isinstance(value, list) and all(has_type(part, element) for part in value)
    if origin is dict:
        return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    if origin is types.NoneType:
        return value is None
    if origin is bool:
        return isinstance(value, bool)
    if value is None or isinstance(value, bool | list | Mapping):
        return False
    return _is_number(value, origin) if origin in (int, float) else isinstance(value, str | int | float)


def _is_number(value: object, kind: type) -> bool:
    if kind is int and isinstance(value, float):
        return False
    try:
        kind(value)
    except (TypeError, ValueError):
        return False
    return True
