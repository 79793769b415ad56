"""Names for plug-ins: given by a decorator, or by an installed package's entry points.

An entry point of the group ``adabatch.plugins`` is either ``KIND.NAME = module:attribute``, such as
``network.mine = my_package.networks:Mine``, which is known without an import, or ``ANY_NAME = module``, a module whose
import runs decorators; it is imported only when a name is asked for that nothing else has.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from adabatch.errors import ConfigError
from adabatch.plugins.kinds import MARK, Kind

ENTRY_POINT_GROUP = "adabatch.plugins"
_Plugin = TypeVar("_Plugin", bound=Callable[..., Any])
_registered: dict[tuple[Kind, str], str] = {}


def _register(kind: Kind, name: str) -> Callable[[_Plugin], _Plugin]:
    if not name.isidentifier():
        raise ConfigError(f"a {kind} is registered as {name!r}; the name must consist of letters, digits and _.")

    def mark(plugin: _Plugin) -> _Plugin:
        path = f"{plugin.__module__}:{plugin.__qualname__}"
        known = _registered.setdefault((kind, name), path)
        if known != path:
            raise ConfigError(f"two {kind}s are registered as {name}: {known} and {path}.")
        setattr(plugin, MARK, kind.value)
        return plugin

    return mark


def register_network(name: str) -> Callable[[_Plugin], _Plugin]:
    """Register a class or function that returns a network: ``network=NAME`` then works once its module is imported.

    Example:
        >>> @adabatch.register_network("mine")
        ... def mine(num_channels: int, num_classes: int, width: int = 16) -> nn.Module: ...
    """
    return _register(Kind.NETWORK, name)


def register_dataset(name: str) -> Callable[[_Plugin], _Plugin]:
    """Register a class or function that returns a data set; see `register_network`."""
    return _register(Kind.DATASET, name)


def register_optimizer(name: str) -> Callable[[_Plugin], _Plugin]:
    """Register a class or function that returns an optimizer; see `register_network`."""
    return _register(Kind.OPTIMIZER, name)


def register_schedule(name: str) -> Callable[[_Plugin], _Plugin]:
    """Register a class or function that returns a schedule; see `register_network`."""
    return _register(Kind.SCHEDULE, name)


def register_tracker(name: str) -> Callable[[_Plugin], _Plugin]:
    """Register a class or function that returns a tracker; see `register_network`."""
    return _register(Kind.TRACKER, name)


def registered_path(kind: Kind, name: str) -> str | None:
    """Return the import path of a registered name; None if there is none."""
    if (kind, name) in _registered:
        return _registered[kind, name]
    declared = _declared_paths(kind).get(name)
    if declared is None:
        _import_declared_modules()
    return declared or _registered.get((kind, name))


def registered_names(kind: Kind) -> list[str]:
    """Return the registered names of a kind, sorted."""
    _import_declared_modules()
    return sorted({*_declared_paths(kind), *(name for known, name in _registered if known is kind)})


@functools.cache
def _declared() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def _declared_paths(kind: Kind) -> dict[str, str]:
    prefix = f"{kind}."
    return {entry.name.removeprefix(prefix): entry.value for entry in _declared() if entry.name.startswith(prefix)}


@functools.cache
def _import_declared_modules() -> None:
    for entry in _declared():
        if entry.name.partition(".")[0] in tuple(Kind) or ":" in entry.value:
            continue
        try:
            importlib.import_module(entry.value)
        except Exception as error:
            raise ConfigError(
                f"the plug-in {entry.name} = {entry.value} of an installed package cannot be imported "
                f"({type(error).__name__}: {error}); repair or uninstall that package."
            ) from error
