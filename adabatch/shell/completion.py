"""Completes a line of a shell: what may stand at the cursor. The shell's part is the package argcomplete.

A shell asks while somebody waits: nothing is imported here that takes long, and each argument is completed by its
name in the help, such as ``DIR`` or ``KEY=VALUE``.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from adabatch.files import CONF_DIR
from adabatch.rundir.states import RETRY_STATES, State
from adabatch.verb_help import parser_place

#: Set by the shell's part when it asks.
_ASKED = "_ARGCOMPLETE"
#: The groups of options, beside those of the training keys, that only some verbs read.
_LAUNCH_GROUPS = {"plan": ("sweep", "cluster"), "submit": ("sweep", "cluster"), "rerun": ("cluster",)}
#: So many folders are searched for the names of arms and runs.
_MOST_FOLDERS = 2000

#: Returns what may stand where the cursor is.
_Completer = Callable[..., Iterable[str]]


def is_asked() -> bool:
    """Return whether a shell has started this process to complete a line."""
    return _ASKED in os.environ


def complete(verbs: Mapping[str, EntryPoint], load: Callable[[EntryPoint], Callable[[], int | None]]) -> None:
    """Print what may stand at the cursor, and end the process.

    Args:
        verbs: by name.
        load: imports one.
    """
    import argcomplete
    from argcomplete.lexers import split_line

    words = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3]
    name = words[1] if len(words) > 1 else ""
    place = parser_place(load(verbs[name])) if name in verbs else None
    if place is not None:
        parser: argparse.ArgumentParser = pkgutil.resolve_name(place)(name)
        os.environ[_ASKED] = "2"  # the verb is what the parser takes for the program
        _choose_completers(parser, name)
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--version", action="store_true")
        parser.add_argument("verb", choices=[*verbs, "help"])
    argcomplete.autocomplete(parser, always_complete_options="long")


def script(shell: str) -> str:
    """Return what a shell must read to complete lines of ``adabatch``."""
    import argcomplete

    text: str = argcomplete.shellcode(["adabatch"], shell=shell)
    return text


def _choose_completers(parser: argparse.ArgumentParser, verb: str) -> None:
    from argcomplete.completers import DirectoriesCompleter

    folders = DirectoriesCompleter()
    by_metavar: dict[str, _Completer] = {
        "DIR": folders,
        "RUN": folders,
        "ARM": _arms,
        "NAME": _names,
        "STATES": _retry_states if verb == "submit" else _states,
        "KEY=VALUE": _Overrides(_LAUNCH_GROUPS.get(verb, ())),
    }
    for action in parser._actions:
        completer = by_metavar.get(str(action.metavar), folders if action.dest.endswith("_dir") else None)
        if verb == "rerun" and action.dest == "words":
            completer = _either(_Overrides(("cluster",), only_groups=True), folders)
        if completer is not None and action.choices is None:
            setattr(action, "completer", completer)  # noqa: B010


def _either(first: _Completer, second: _Completer) -> _Completer:
    def completer(**context: Any) -> Sequence[str]:
        return [*first(**context), *second(**context)]

    return completer


def _listed(prefix: str, words: Sequence[str]) -> list[str]:
    """Return a list with commas, with one more word of those that are not in it yet."""
    given, comma, _ = prefix.rpartition(",")
    return [f"{given}{comma}{word}" for word in words if word not in given.split(",")]


def _states(prefix: str, **_: Any) -> Sequence[str]:
    return _listed(prefix, [state.value for state in State])


def _retry_states(prefix: str, **_: Any) -> Sequence[str]:
    return _listed(prefix, [state.value for state in RETRY_STATES])


def _arms(parsed_args: argparse.Namespace, **_: Any) -> Sequence[str]:
    """Return the arms of the folders that the line names, else of ``runs``."""
    folders = getattr(parsed_args, "folders", None) or [Path("runs")]
    return sorted({path.parent.name.partition(",")[0] for folder in folders for path in _run_dirs(Path(folder))})


def _names(parsed_args: argparse.Namespace, **_: Any) -> Sequence[str]:
    """Return the arms and cells of the sweep that the line names."""
    words = getattr(parsed_args, "words", None) or []
    sweep = next((word.partition("=")[2] for word in words if word.startswith("sweep=")), "")
    found = list(_run_dirs(Path(getattr(parsed_args, "runs_dir", "runs"), sweep)))
    return sorted({name for path in found for name in (path.parent.name.partition(",")[0], path.parent.parent.name)})


def _run_dirs(folder: Path, depth: int = 4) -> Iterator[Path]:
    """Yield the folders ``seed_*`` at or below a folder."""
    left = [(folder, depth)]
    for _ in range(_MOST_FOLDERS):
        if not left:
            return
        path, levels = left.pop()
        if path.absolute().name.startswith("seed_"):
            yield path.absolute()
        elif levels:
            with suppress(OSError):
                left += [
                    (Path(entry.path), levels - 1)
                    for entry in os.scandir(path)
                    if entry.is_dir() and not entry.name.startswith(".")
                ]


class _Overrides:
    """Completes ``key=value``: keys, groups, and the options of a group.

    Args:
        groups: those of options besides the trainer's, such as ``sweep``.
        only_groups: whether the trainer's keys are left out.
    """

    def __init__(self, groups: Sequence[str], only_groups: bool = False) -> None:
        self._groups = groups
        self._only_groups = only_groups

    def __call__(self, prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Sequence[str]:
        key, equals, _value = prefix.partition("=")
        own = getattr(parsed_args, "config_dir", None)
        folders = [CONF_DIR, *([Path(own)] if own else [])]
        if equals:
            return [f"{key}={option}" for option in _options(key, folders)]
        own_groups = [f"{group}=" for group in self._groups]
        return own_groups if self._only_groups else [*own_groups, *_keys()]


def _keys() -> Iterator[str]:
    from adabatch.config.keys import KEYS
    from adabatch.config.schema import GROUPS

    yield from (f"{name}=" for name in (*GROUPS, *KEYS))


def _options(group: str, folders: Sequence[Path]) -> list[str]:
    """Return the options of a group; ``base_*`` are parts of others."""
    if not group.isidentifier():
        return []
    names = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
    return sorted(name for name in names if not name.startswith("base_"))
