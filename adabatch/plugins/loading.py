"""Imports plug-ins by path, ``module:attribute``, from the working folder or from installed packages."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from adabatch.errors import ConfigError, RunFailure, is_out_of_memory
from adabatch.plugins.code import CODE_VARIABLE, OwnCode, code_of, frozen_folder, is_installed
from adabatch.plugins.kinds import Kind, is_marked

_PATH = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_OWN_PACKAGES = ("adabatch", "launch", "analysis", "conf")
_MOST_FRAMES = 5
#: What a run directory, or a sweep's folder, holds.
_MARKS_OF_RESULTS = ("meta.json", ".launch")


class OwnCodeError(ConfigError):
    """The user's own code raised an exception; the message shows its lines."""


def load(kind: Kind, path: str, base: type | None = None) -> Callable[..., Any]:
    """Import a plug-in and return it, uncalled.

    Args:
        base: the class that it must be a subclass of, unless it was registered by a decorator as what it is.

    Raises:
        ConfigError: if it cannot be found, or is something else.
    """
    key = f"{kind}.path"
    found = import_object(path, key)
    if is_marked(found, kind) and callable(found):
        return found
    if base is not None and isinstance(found, type) and issubclass(found, base):
        return found
    wanted = f"a subclass of {base.__module__}.{base.__qualname__}, or " if base is not None else ""
    raise ConfigError(
        f"{key} is {path}, which is {_description(found)}; it must be {wanted}a class or function with the decorator "
        f"@adabatch.register_{kind}(NAME)."
    )


def _description(found: object) -> str:
    if isinstance(found, type):
        return f"the class {found.__module__}.{found.__qualname__}"
    return f"a {type(found).__name__}"


def import_object(path: str, key: str) -> Any:
    """Return the object that an import path names.

    Args:
        key: the config key that holds the path, for messages.

    Raises:
        ConfigError: if the path has another form, its module or attribute does not exist, or its module raises.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise ConfigError(
            f"{key} is {path}; it must be an import path of the form module:attribute, such as my_net:Net."
        )
    found: Any = _import_module(match.group(1), path, key)
    for name in match.group(2).split("."):
        if not hasattr(found, name):
            raise ConfigError(_missing_attribute(found, name, path, key))
        found = getattr(found, name)
    return found


def _missing_attribute(owner: object, name: str, path: str, key: str) -> str:
    public = [known for known in vars(owner) if not known.startswith("_")] if hasattr(owner, "__dict__") else []
    close = difflib.get_close_matches(name, public, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    place = getattr(owner, "__file__", None) or getattr(owner, "__name__", owner)
    return f"{key} is {path}; {place} has nothing named {name}.{hint}"


def _import_module(name: str, path: str, key: str) -> ModuleType:
    if name.partition(".")[0] in _OWN_PACKAGES:
        raise ConfigError(f"{key} is {path}; adabatch's own parts are chosen by their names, not by a path.")
    folder = code_folder()
    with translated(f"{key} is {path}, whose import"):
        try:
            with _first_on_the_path(folder):
                return importlib.import_module(name)
        except ModuleNotFoundError as error:
            lacks = f"there is no module {error.name} in {folder} or among the installed packages"
            if f"{name}.".startswith(f"{error.name}."):
                hint = " Leave out .py." if name.endswith(".py") else ""
                raise ConfigError(f"{key} is {path}; {lacks}.{hint}") from error
            raise ConfigError(f"{key} is {path}, which imports {error.name}; {lacks}.") from error


def code_folder() -> Path:
    """Return the folder whose modules are imported first: the working folder, or in a job the code frozen for it.

    Raises:
        ConfigError: if the working folder lies in a run directory or a sweep's folder, which may be a stranger's.
    """
    frozen = os.environ.get(CODE_VARIABLE)
    if frozen:
        return frozen_folder(Path(frozen))
    folder = Path.cwd()
    for place in (folder, *folder.parents):
        if any((place / name).exists() for name in _MARKS_OF_RESULTS):
            raise ConfigError(
                f"the working folder {folder} lies in a folder of runs, which never brings code with it; "
                "call the command from the folder that holds your own code."
            )
    return folder


@contextlib.contextmanager
def _first_on_the_path(folder: Path) -> Iterator[None]:
    """Look for modules in a folder first; afterwards last, for what the plug-in imports when it is called."""
    text = str(folder)
    sys.path.insert(0, text)
    try:
        yield
    finally:
        sys.path.remove(text)
        if text not in sys.path:
            sys.path.append(text)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn an exception of the user's own code into OwnCodeError.

    Args:
        what: the start of the sentence, such as "network.path is my_net:Net, whose call".
    """
    try:
        yield
    except (ConfigError, RunFailure):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise OwnCodeError(f"{what} raised {one_line(error)}.{shown_frames(error)}") from error


def one_line(error: BaseException) -> str:
    """Return an exception's type and the first line of its message."""
    text = str(error).splitlines()[0].rstrip(".") if str(error) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shown_frames(error: BaseException) -> str:
    """Return the user's own lines in a traceback, the innermost last, each on a line; empty if there are none."""
    frames = own_frames(error)[-_MOST_FRAMES:]
    return "".join(f"\n  {frame.filename}, line {frame.lineno}, in {frame.name}: {frame.line}" for frame in frames)


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames of an exception's traceback, and of those that caused it, in the user's own code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame)]
    return frames or (own_frames(error.__cause__) if error.__cause__ is not None else [])


def _is_own(frame: traceback.FrameSummary) -> bool:
    path = Path(frame.filename)
    return path.is_absolute() and path.is_file() and not is_installed(path)


def own_code(plugin: object) -> OwnCode:
    """Return where a plug-in's code comes from: its file, hash and commit, or the installed package's version."""
    module = inspect.getmodule(plugin)
    if module is None:
        raise ConfigError(f"the code of {plugin} cannot be found; it must be in a file that can be imported.")
    return code_of(module)
