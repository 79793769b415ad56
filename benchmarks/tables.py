"""Tables for a terminal and for a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import rich.box
import rich.table


@dataclass(frozen=True)
class Table:
    """Rows of cells under a title, and ``notes`` on how to read them."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()

    def as_rich(self) -> rich.table.Table:
        """Return it for a terminal."""
        caption = "\n".join(self.notes)
        table = rich.table.Table(title=self.title, caption=caption, box=rich.box.SIMPLE, caption_justify="left")
        for place, column in enumerate(self.columns):
            table.add_column(column, justify="left" if place == 0 else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table

    def as_markdown(self) -> str:
        """Return it as a section of a page."""
        lines = [f"## {self.title}", ""]
        rows = [self.columns, ("---", *["---:"] * (len(self.columns) - 1)), *self.rows]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([*lines, "", *(f"{note}\n" for note in self.notes)])
