"""YAML files that users write: read as data, in bounds, and with one meaning.

A file is UTF-8, of limited size and depth, without aliases, tags and twofold keys. What YAML 1.1 takes for a number
and a reader takes for something else (``12:30`` is 750, ``0123`` is 83) is refused, so that a value means the same in a
file as on the command line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from adabatch.config.schema import GROUPS
from adabatch.config.values import shortened
from adabatch.errors import ConfigError

_MOST_BYTES = 1_000_000
_MOST_LEVELS = 20
_MOST_DIGITS = 400
_PLAIN_NUMBER = re.compile(
    r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?|[+-]?\.[0-9]+([eE][+-]?[0-9]+)?|[+-]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "timestamp")}
_NUMBER_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp")}
_TEXT_TAG = "tag:yaml.org,2002:str"
#: Keys by which Hydra would call or configure something.
_INSTRUCTIONS = re.compile(r"hydra(\b|$)|_target_$|_partial_$|_args_$|_recursive_$|_convert_$")
_PACKAGE = re.compile(r"#\s*@package\s+(\S+)")


class _Loader(yaml.SafeLoader):
    """Reads numbers such as 5e-4, which YAML 1.1 takes for text, as numbers."""


_WHOLE_NUMBER = re.compile(f"(?:{_PLAIN_NUMBER.pattern})$")  # so that 2x stays text
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _WHOLE_NUMBER, list("-+.0123456789"))


def read_yaml(path: Path, spelled: Collection[str] = ()) -> Any:
    """Return what a file of the user's holds, as plain values; see `parse_yaml`.

    Raises:
        ConfigError: if it cannot be read, or is not as the module says.
    """
    return parse_yaml(_text_of(path), str(path), spelled)


def parse_yaml(text: str, place: str, spelled: Collection[str] | None = ()) -> Any:
    """Return what a text in YAML stands for, as plain values.

    Args:
        place: where it is from; begins the sentence of an error.
        spelled: keys of the text's mapping below which numbers are texts, as they are spelled; None: everywhere.

    Raises:
        ConfigError: if it is not as the module says.
    """
    root = _checked(place, text, spelled)
    try:
        return None if root is None else _Loader("").construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused(place, error) from error


def check_option_files(config_dir: Path) -> None:
    """Check the option files of a folder of the user's: they set keys of the schema, and have Hydra do nothing else.

    Raises:
        ConfigError: for the first that is not as this module says; names the file and what is wrong.
    """
    for group in GROUPS:
        for path in sorted((config_dir / group).rglob("*.yaml")):
            status = path.stat() if path.is_file() else None
            _check_option(path, None if status is None else (status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=1024)
def _check_option(path: Path, version: object) -> None:
    """Check one option file; ``version`` changes when the file does."""
    text = _text_of(path)
    package = _PACKAGE.search(text)
    if package and package.group(1).partition(".")[0] == "hydra":
        raise ConfigError(f"{path} sets {package.group(1)}; option files set adabatch's keys, and nothing of Hydra's.")
    values = parse_yaml(text, str(path))
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"{path} holds no mapping; it must hold the keys and values of an option.")
    for key in _keys(values):
        if _INSTRUCTIONS.match(key):
            raise ConfigError(
                f"{path} holds the key {key}, which is Hydra's; an option file is data, sets adabatch's keys, and calls"
                " nothing."
            )
    _check_defaults(path, (values or {}).get("defaults", []))


def _check_defaults(path: Path, defaults: object) -> None:
    is_list = isinstance(defaults, list) and all(_is_default(entry) for entry in defaults)
    if not is_list:
        raise ConfigError(
            f"{path}: defaults is {shortened(defaults)}; it must be a list of options such as [base_network, _self_]."
        )
    for entry in defaults:  # type: ignore[attr-defined]
        if "hydra" in re.split(r"\W", str(entry)):
            raise ConfigError(f"{path}: defaults holds {shortened(entry)}; options of Hydra's own cannot be chosen.")


def _is_default(entry: object) -> bool:
    """Return whether an entry is ``NAME``, or ``{GROUP: NAME}`` where NAME may be null."""
    if not isinstance(entry, dict):
        return isinstance(entry, str)
    return len(entry) == 1 and all(isinstance(key, str) and isinstance(name, str | None) for key, name in entry.items())


def _keys(values: object) -> Iterator[str]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield str(key)
            yield from _keys(value)
    elif isinstance(values, list):
        for value in values:
            yield from _keys(value)


def _text_of(path: Path) -> str:
    try:
        if not path.is_file():
            raise ConfigError(f"{path} is no regular file; it must be one.")
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{path} is larger than {_MOST_BYTES:,} bytes; an option is much smaller.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start + 1}); save it as UTF-8.") from error


def _checked(path: str, text: str, spelled: Collection[str] | None) -> yaml.Node | None:
    """Return the root of a text's nodes, which are checked before anything is made of them."""
    try:
        level = 0
        for event in yaml.parse(text, Loader=_Loader):
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if level > _MOST_LEVELS:
                raise ConfigError(f"{path} nests more than {_MOST_LEVELS} levels of lists and mappings.")
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError(f"{path} holds the alias *{event.anchor}; write the value out.")
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise _refused(path, error) from error
    for node in _spelled_nodes(root, spelled):
        if node.tag in _NUMBER_TAGS:
            node.tag = _TEXT_TAG
    for node in _nodes(root):
        _check_node(path, node)
    return root


def _spelled_nodes(root: yaml.Node | None, spelled: Collection[str] | None) -> Iterator[yaml.Node]:
    if spelled is None:
        yield from _nodes(root)
    elif isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value in spelled:
                yield from _nodes(value)


def _refused(path: str, error: Exception) -> ConfigError:
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).partition("\n")[0]
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark else ""
    return ConfigError(f"{path}{where} cannot be read as YAML: {shortened(reason)}.")


def _nodes(node: yaml.Node | None) -> Iterator[yaml.Node]:
    if node is None:
        return
    yield node
    if isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            yield from _nodes(entry)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _nodes(key)
            yield from _nodes(value)


def _check_node(path: str, node: yaml.Node) -> None:
    place = f"{path}, line {node.start_mark.line + 1}"
    if node.tag not in _TAGS:
        raise ConfigError(f"{place} holds the tag {node.tag.replace('tag:yaml.org,2002:', '!!')}; tags are not read.")
    if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBER_TAGS:
        if not _PLAIN_NUMBER.fullmatch(node.value) or len(node.value) > _MOST_DIGITS:
            raise ConfigError(
                f"{place} holds {shortened(node.value)}, which YAML may take for another number; write text in quotes,"
                " and a number in decimal digits."
            )
    elif isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(keys) < len(node.value):
            raise ConfigError(f"{place} has a list or a mapping as a key; keys must be text.")
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise ConfigError(f"{place} has the key {shortened(twice)} twice; it must be given once.")
