"""Reads ``config.yaml`` of many runs: the configs of a sweep, of which most differ in seed and folder only."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from adabatch.config.keys import flatten, is_key
from adabatch.reading import Unreadable, parse_yaml, read_text, reason
from analysis.run_epochs import Damage

#: int64's limit.
LARGEST = 2**63 - 1
#: Lines with a value that YAML reads as the number, or the text, that it looks like.
_OWN_LINES = re.compile(r"^seed: (?P<seed>0|[1-9][0-9]{0,17})$|^run_dir: (?P<run_dir>[\w./][\w./=,+-]*/[\w./=,+-]*)$",
                        re.MULTILINE | re.ASCII)  # fmt: skip


class Config:
    """What a ``config.yaml`` holds.

    Attributes:
        values: nested; shared between runs, so nobody changes them.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __bool__(self) -> bool:
        return bool(self.values)

    @functools.cached_property
    def flat(self) -> dict[str, Any]:
        """The values by full key, of those that may be columns of a frame.

        Raises:
            TypeError: for a list that holds something else than JSON does.
        """
        return {name: value for name, value in flatten(self.values).items() if is_key(name)}


class ConfigReader:
    """Reads configs; those that differ in seed and folder only are parsed once."""

    def __init__(self) -> None:
        self._known: dict[str, _Template | None] = {}

    def read(self, path: Path) -> Config:
        """Read one file.

        Raises:
            Damage: if it cannot be read, or holds what no config holds.
        """
        try:
            config = self._parse(read_text(path))
        except (OSError, Unreadable) as error:
            raise Damage(f"config.yaml cannot be read: {reason(error)}") from error
        _check(config.values)
        return config

    def _parse(self, text: str) -> Config:
        found = [(match.lastgroup, match[match.lastgroup or 0]) for match in _OWN_LINES.finditer(text)]
        own: dict[str, Any] = {str(name): int(value) if name == "seed" else value for name, value in found}
        if not own or len(own) != len(found):
            return Config(parse_yaml(text))
        rest = _OWN_LINES.sub(lambda match: f"{match.lastgroup}: {_STAND_INS[match.lastgroup or ''][0]}", text)
        if rest not in self._known:
            self._known[rest] = None
            return Config(parse_yaml(text))
        template = self._known[rest]
        if template is None:  # seen for the second time: others will follow
            template = self._known[rest] = _Template(rest, own)
        return template.filled(own) if template.is_sound else Config(parse_yaml(text))


#: For each line that is a run's own, two values that stand in for it, to see what follows from the line.
_STAND_INS: Mapping[str, tuple[Any, Any]] = {"seed": (1000001, 2000002), "run_dir": ("/stands/in", "/another")}


class _Template:
    """A config's text with stand-ins for what is a run's own.

    Attributes:
        is_sound: whether those lines give the keys of the top level that they seem to give, and nothing else.
    """

    def __init__(self, text: str, names: Iterable[str]) -> None:
        firsts, seconds = ({name: _STAND_INS[name][place] for name in names} for place in (0, 1))
        other = text
        for name in names:
            other = other.replace(f"{name}: {firsts[name]}\n", f"{name}: {seconds[name]}\n")
        values, others = parse_yaml(text), parse_yaml(other)
        self.is_sound = (
            isinstance(values, dict)
            and isinstance(others, dict)
            and values == {**others, **firsts}
            and others == {**values, **seconds}
        )
        self._config = Config(values if self.is_sound else {})

    def filled(self, own: dict[str, Any]) -> Config:
        """Return the config of a run."""
        config = Config({**self._config.values, **own})
        config.flat = {**self._config.flat, **own}
        return config


def _check(values: Any) -> None:
    if not isinstance(values, dict):
        raise Damage("config.yaml holds no mapping of keys to values")
    for key in ("seed", "num_epochs"):
        if key in values and not _is_whole(values[key]):
            raise Damage(f"config.yaml: {key} is {values[key]}; it must be a whole number of at most 64 bits")
    for key in ("dataset", "network", "schedule"):
        if not isinstance(values.get(key, {}), dict):
            raise Damage(f"config.yaml: {key} is {values[key]}; it must be a mapping of keys to values")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
