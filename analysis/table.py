"""A table of text, as all outputs show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from adabatch.reading import printable

#: The column of a cell's name.
GROUP = "data and network"


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Attributes:
        name: a word, for programs.
        rows: one list of cells a row, as long as ``columns``.
        notes: what a reader must know, sentences.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Write control characters out, which come from files and names of folders."""
        object.__setattr__(self, "title", printable(self.title))
        object.__setattr__(self, "rows", [[printable(cell) for cell in row] for row in self.rows])
        object.__setattr__(self, "notes", [printable(note) for note in self.notes])

    @property
    def frame(self) -> pd.DataFrame:
        """The cells as a frame of text."""
        return pd.DataFrame(self.rows, columns=self.columns)


def make_table(name: str, title: str, columns: list[str], rows: list[list[str]], notes: Sequence[str] = ()) -> Table:
    """Return a table; what is the same in all rows, group or baseline, goes from its column into the title."""
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    shared = {}
    for column in (GROUP, "against"):
        values = set(frame.get(column, pd.Series(dtype=object))) - {""}
        if len(values) == 1:
            shared[column] = values.pop()
            frame = frame.drop(columns=column)
    if GROUP in frame:
        frame[GROUP] = frame[GROUP].mask(frame[GROUP] == frame[GROUP].shift(), "")
    title += f": {shared[GROUP]}" if GROUP in shared else ""
    title += f", against {shared['against']}" if "against" in shared else ""
    return Table(name, title, [str(column) for column in frame], frame.to_numpy().tolist(), list(notes))
