"""A table of text, as all outputs show it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from adabatch.reading import printable
from analysis.names import arm_in, cell_and_levels, level_text, short_keys
from analysis.order import ordered_groups

#: The column of a cell's name.
GROUP = "data and network"
#: Columns of words; all others but those that name a row hold numbers and are set to the right.
WORDS = {
    GROUP, "arm", "against", "verdict", "state", "cause", "key", "value", "baseline's value", "refuses", "seeds",
    "claim", "source", "says", "measured", "why", "part", "to the target", "speed", "test accuracy", "in words",
    "code", "torch", "device", "config",
}  # fmt: skip
#: Columns that say little without the one before them: an interval, a verdict, and what limits a number or is compared
#: with it.
JOINED = (
    "95 % CI", "sampling sd", "verdict", "noise", "baseline reached", "baseline's median", "value", "baseline's value",
)  # fmt: skip
#: Besides groups, the columns that name a row, if they come first.
_NAMES = ("arm", "against", "part")
#: Two words in a row; units and counts such as "1 min 20 s" and "2 of 3, 1 failed" have none.
_PHRASE = re.compile(r"[A-Za-z]{3,} [A-Za-z]{3,}")
#: A path from the root, which says nothing on another machine: three parts or more, not within an address or a word.
_ABSOLUTE_PATH = re.compile(r"(?<![\w.:/~-])/(?:[\w.+@%,=~-]+/)+([\w.+@%,=~-]+)")


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Attributes:
        name: a word, for programs.
        rows: one list of cells a row, as long as ``columns``.
        notes: what a reader must know, sentences.
        num_names: how many of the first columns name a row.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    num_names: int = 1

    def __post_init__(self) -> None:
        """Write control characters out, which come from files and names of folders, and shorten absolute paths."""
        object.__setattr__(self, "title", _shown(self.title))
        object.__setattr__(self, "rows", [[_shown(cell) for cell in row] for row in self.rows])
        object.__setattr__(self, "notes", [_shown(note) for note in self.notes])

    @property
    def frame(self) -> pd.DataFrame:
        """The cells as a frame of text."""
        return pd.DataFrame(self.rows, columns=self.columns)


def is_number(table: Table, column: str) -> bool:
    """Return whether a column holds numbers, which are set to the right."""
    return column not in WORDS and column not in table.columns[: table.num_names]


def has_words(cell: str) -> bool:
    """Return whether a cell of a column of numbers holds a phrase, such as a speedup's mark, which may be wrapped."""
    return bool(_PHRASE.search(cell))


def _shown(text: str) -> str:
    return without_folders(printable(text))


def without_folders(text: str) -> str:
    """Return a text in which an absolute path is its last part only: tables leave the machine they were made on."""
    return _ABSOLUTE_PATH.sub(r".../\1", text)


def make_table(name: str, title: str, columns: list[str], rows: list[list[str]], notes: Sequence[str] = ()) -> Table:
    """Return a table whose rows are named by data set and network, swept values, arm and baseline.

    Each swept value is a column, and arms are called by their plain names beside it. What is the same in all rows goes
    from its column into the title.
    """
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    names = [column for column in columns[1:4] if column in _NAMES]
    shared: list[str] = []
    if GROUP in frame:
        frame = _sorted_by_group(frame)
        groups = frame.pop(GROUP)
        for column in frame.columns.intersection(["arm", "against"]):
            frame[column] = [arm_in(group, arm) for group, arm in zip(groups, frame[column], strict=True)]
        levels, shared = _levels(groups)
        for place, heading in enumerate(levels):
            frame.insert(place, heading, levels[heading], allow_duplicates=True)
        names = [*map(str, levels), *names]
    baselines = set(frame.get("against", pd.Series(dtype=object))) - {""}
    if len(baselines) == 1:
        shared.append(f"against {baselines.pop()}")
        frame = frame.drop(columns="against")
        names = [column for column in names if column != "against"]
    num_names = max(1, len(names))
    repeats = (frame.iloc[:, : num_names - 1] == frame.iloc[:, : num_names - 1].shift()).cummin(axis=1)
    frame.iloc[:, : num_names - 1] = frame.iloc[:, : num_names - 1].mask(repeats, "")
    title += f": {', '.join(shared)}" if shared else ""
    return Table(name, title, [str(one) for one in frame], frame.to_numpy().tolist(), list(notes), num_names)


def _sorted_by_group(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each group together."""
    places = frame[GROUP].map({group: place for place, group in enumerate(ordered_groups(frame[GROUP]))})
    return frame.iloc[places.argsort(kind="stable")].reset_index(drop=True)


def _levels(groups: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """Return the columns by which groups differ, and what all have in common."""
    parts = [cell_and_levels(group) for group in groups]
    keys = list(dict.fromkeys(key for _, levels in parts for key in levels))
    values = pd.DataFrame(
        {GROUP: [cell for cell, _ in parts], **{key: [levels.get(key, "") for _, levels in parts] for key in keys}},
        dtype=object,
    )
    same = [key for key in values if values[key].nunique() == 1]
    shared = [str(values[GROUP].iloc[0])] if GROUP in same else []
    common = [(str(key), str(values[key].iloc[0])) for key in same if key != GROUP]
    shared += [level_text(common)] if common else []
    return values.drop(columns=same).rename(columns={GROUP: GROUP, **short_keys(keys)}), shared
