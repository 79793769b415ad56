"""Calls a plug-in with the user's arguments, checked against its signature, and with those it wants from us."""

from __future__ import annotations

import difflib
import functools
import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adabatch.errors import ConfigError
from adabatch.fields import shown
from adabatch.plugins.loading import translated

_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def call(plugin: Callable[..., Any], group: str, args: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
    """Call a plug-in.

    Args:
        group: of the config, such as ``network``; errors name ``GROUP.args.NAME``.
        args: the user's; they go before ``wanted``.
        wanted: values that are passed if the signature names them.

    Raises:
        ConfigError: for an argument that the signature does not have, that has another type than annotated, or that
            is missing.
        OwnCodeError: if the plug-in itself raises; its lines are shown.
    """
    arguments = checked_arguments(plugin, group, args, wanted)
    with translated(f"{group}.path is {title(plugin)}, whose call"):
        return plugin(**arguments)


def call_by_key(plugin: Callable[..., Any], key: str, wanted: Mapping[str, Any]) -> Any:
    """Call a plug-in that is named by a key of its own and takes no arguments of the user's; see `call`."""
    arguments = checked_arguments(plugin, key, {}, wanted)
    with translated(f"{key} is {title(plugin)}, whose call"):
        return plugin(**arguments)


def checked_arguments(
    plugin: Callable[..., Any], group: str, args: Mapping[str, Any], wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keyword arguments for a call of a plug-in; see `call`."""
    by_name, given = check_arguments(plugin, group, args, list(wanted))
    return {name: value for name, value in wanted.items() if name in by_name} | given


def check_arguments(
    plugin: Callable[..., Any], group: str, args: Mapping[str, Any], wanted: Sequence[str]
) -> tuple[list[str], dict[str, Any]]:
    """Check the user's arguments against a plug-in's signature; see `call`.

    Returns:
        the names in the signature, and the user's arguments as its annotations want them.
    """
    parameters = _parameters(plugin)
    by_name = {name: entry for name, entry in parameters.items() if entry.kind in _KEYWORD}
    takes_any = any(entry.kind is inspect.Parameter.VAR_KEYWORD for entry in parameters.values())
    for name in args:
        if name not in by_name and not takes_any:
            _refuse_unknown(plugin, f"{group}.args.{name}", name, [known for known in by_name if known not in wanted])
    for name, entry in by_name.items():
        if entry.default is inspect.Parameter.empty and name not in args and name not in wanted:
            raise ConfigError(f"{group}.args.{name} has no value; {title(plugin)} needs it: {group}.args.{name}=VALUE.")
    given = {name: _checked(plugin, f"{group}.args.{name}", name, value) for name, value in args.items()}
    return list(by_name), given


def title(plugin: Callable[..., Any]) -> str:
    """Return a plug-in's import path, for messages."""
    return f"{plugin.__module__}:{getattr(plugin, '__qualname__', plugin)}"


def _parameters(plugin: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(plugin).parameters)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{title(plugin)} has no readable signature; write a function around it.") from error


def _refuse_unknown(plugin: Callable[..., Any], key: str, name: str, known: list[str]) -> None:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    allowed = f"one of {', '.join(known)}" if known else "no argument at all"
    raise ConfigError(f"unknown key {key}; {title(plugin)} takes {allowed}.{hint}")


def _checked(plugin: Callable[..., Any], key: str, name: str, value: object) -> object:
    """Return a value as its annotation wants it, such as a list as a tuple."""
    hint = _hints(plugin).get(name)
    if hint is None:
        return value
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    try:
        # JSON's strict mode fits values that come from YAML: a list may become a tuple, but a text no number.
        return TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        wanted = getattr(hint, "__name__", None) if isinstance(hint, type) else str(hint)
        raise ConfigError(
            f"{key} is {shown(value)}; it must be {wanted or hint}, as {title(plugin)} annotates it."
        ) from error
    except (PydanticUserError, TypeError):  # an annotation that no value from YAML can be checked against
        return value


@functools.cache
def _hints(plugin: Callable[..., Any]) -> dict[str, Any]:
    function = plugin.__init__ if isinstance(plugin, type) else plugin  # type: ignore[misc]
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # annotations for type checkers alone
        return {}
