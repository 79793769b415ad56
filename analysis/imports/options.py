"""What the call says of the files: which column is what, what holds for all rows, and how runs are named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from adabatch.config.keys import suggestion
from adabatch.errors import ConfigError
from analysis.imports.names import ALIASES, KNOWN, PLAIN, UNITS, Unit, is_known, may_be_set


@dataclass(frozen=True)
class Options:
    """How files are read.

    Attributes:
        maps: our name and unit by the name of a column.
        sets: text by our name, the same in all rows.
        ignored: columns that are left out; ``*`` for all that have no meaning here.
        names: how the path of a file, or a run's name in wandb's export, is made of values.
        results_only: each row is a run of which only the end is known.
        learning_rate_at: when the rate of a row was taken: at the ``start`` of the epoch, before its schedule changed
            it; at the ``end``, of the last update; or ``next``, after the schedule's step to the next epoch.
        baselines: arms that others are compared with, ``ARM`` or ``CELL=ARM``.
    """

    maps: dict[str, tuple[str, Unit]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    names: Pattern | None = None
    results_only: bool = False
    learning_rate_at: str = "end"
    baselines: tuple[str, ...] = ()


def read_options(
    maps: Sequence[str] = (),
    sets: Sequence[str] = (),
    ignored: Sequence[str] = (),
    names: str | None = None,
    results_only: bool = False,
    learning_rate_at: str = "end",
    baselines: Sequence[str] = (),
) -> Options:
    """Return the options of a command line.

    Raises:
        ConfigError: if a name is unknown or given twice, or a unit does not fit it.
    """
    mapped: dict[str, tuple[str, Unit]] = {}
    for text in maps:
        theirs, ours, unit = _read_map(text)
        if theirs in mapped:
            raise ConfigError(f"--map names the column {theirs} twice; it must be one name of ours.")
        mapped[theirs] = ours, unit
    constant: dict[str, str] = {}
    for text in sets:
        name, value = _read_set(text)
        if name in constant:
            raise ConfigError(f"--set {name} is given twice; it must be one value.")
        constant[name] = value
    pattern = None if names is None else Pattern(names)
    return Options(mapped, constant, tuple(ignored), pattern, results_only, learning_rate_at, tuple(baselines))


def _read_map(text: str) -> tuple[str, str, Unit]:
    theirs, equals, target = text.rpartition("=")
    if not (equals and theirs and target):
        raise ConfigError(f"--map is {text}; it must be COLUMN=NAME or COLUMN=NAME:UNIT.")
    name, _, unit_name = target.partition(":")
    name = _known(name, "--map")
    if not unit_name:
        return theirs.strip(), name, PLAIN
    fitting = [unit for unit, facts in UNITS.items() if name in facts.of]
    if unit_name not in fitting:
        raise ConfigError(f"--map {text}: the unit is {unit_name}; it must be {' or '.join(fitting) or 'left out'}.")
    return theirs.strip(), name, UNITS[unit_name]


def _read_set(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and value.strip()):
        raise ConfigError(f"--set is {text}; it must be NAME=VALUE.")
    name = _known(name, "--set")
    if not may_be_set(name):
        raise ConfigError(f"--set is {text}, but {name} is not the same in all epochs; it must be a column.")
    return name, value.strip()


def _known(name: str, option: str) -> str:
    name = ALIASES.get(name.strip(), name.strip())
    if not is_known(name):
        raise ConfigError(
            f"{option} names {name}; it must be a column of epochs.csv, a key of the config or a fact of "
            f"meta.json.{suggestion(name, KNOWN)}"
        )
    return name


class Pattern:
    """How a text is made of values, such as ``{arm}/seed_{seed}/metrics.csv``; it is matched with the text's end.

    Raises:
        ConfigError: if a name in braces is unknown or none is there.
    """

    def __init__(self, text: str) -> None:
        parts = re.split(r"\{([^{}]*)\}", text)
        self.text = text
        self.names = [_known(name, "--names") for name in parts[1::2]]
        if not self.names or len(set(self.names)) != len(self.names):
            raise ConfigError(f"--names is {text}; it must have names in braces, each once, such as {{arm}}_s{{seed}}.")
        pieces = [re.escape(part) if place % 2 == 0 else "([^/]+?)" for place, part in enumerate(parts)]
        self._regex = re.compile(r"(?:^|.*/)" + "".join(pieces) + "$")

    def read(self, text: str) -> dict[str, str]:
        """Return the values by name.

        Raises:
            ConfigError: if the text is not made so.
        """
        match = self._regex.match(text)
        if match is None:
            raise ConfigError(f"{text} does not end like --names {self.text}; it must, to tell whose log it is.")
        return dict(zip(self.names, match.groups(), strict=True))
