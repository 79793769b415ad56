"""Tables and sentences for a terminal of any width.

What does not fit beside the names of the rows moves into a further table below, with these names repeated; columns
that belong together, such as a number and its interval, move together. Text is cut at spaces, and a long name between
its parts, never within a word that fits. A name for which there is no room even so is replaced by a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.text import Text

from adabatch.shell.fitting import Widths, columns_that_fit, widths_of, wrapped

#: Between two columns.
_GAP = 2
#: Shorter names are never replaced by numbers.
_LONG_NAME = 12

#: A cell; a style covers all of it.
Cell = str | Text


class Sentence:
    """A text that is wrapped like the cells of a table.

    Args:
        indent: of all lines but the first, in columns; a text that is indented itself keeps its own.
    """

    def __init__(self, text: str, style: str = "", indent: int = 0) -> None:
        self._text = text
        self._style = style
        self._indent = indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lead = len(self._text) - len(self._text.lstrip(" "))
        indent = lead or self._indent
        fits = lead + cell_len(self._text.strip()) <= options.max_width
        lines = [self._text.strip()] if fits else wrapped(self._text, max(10, options.max_width - indent))
        for place, line in enumerate(lines):
            yield Text(" " * (indent if place else lead) + line, style=self._style, no_wrap=True, overflow="ignore")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(10, cell_len(self._text)), cell_len(self._text))


class Numbers:
    """The numbers that stand for names in one output: the same one for a name in all tables, explained once."""

    def __init__(self) -> None:
        self._number_of: dict[str, str] = {}
        self._explained: set[str] = set()

    def of(self, name: str) -> str:
        """Return the number of a name."""
        return self._number_of.setdefault(name, f"{len(self._number_of) + 1}")

    def explanations(self) -> Iterator[Sentence]:
        """Yield what numbers stand for that were given since the last call."""
        for name, number in self._number_of.items():
            if name not in self._explained:
                self._explained.add(name)
                yield Sentence(f"{number}: {name}", "dim", indent=len(number) + 2)


@runtime_checkable
class Numbered(Protocol):
    """What may put numbers in the place of names."""

    def lines(self, console: Console, options: ConsoleOptions, numbers: Numbers) -> RenderResult:
        """Yield what is printed."""


class Output:
    """Parts of one output, one below the other, whose tables have their numbers in common."""

    def __init__(self, *parts: RenderableType) -> None:
        self._parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.lines(console, options, Numbers())

    def lines(self, console: Console, options: ConsoleOptions, numbers: Numbers) -> RenderResult:
        """Yield what is printed."""
        for part in self._parts:
            if isinstance(part, Numbered):
                yield from part.lines(console, options, numbers)
            else:
                yield part

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, Group(*self._parts))


class TextTable:
    """A table for a terminal.

    Args:
        headers: one a column.
        rows: as many cells a row.
        num_names: how many of the first columns name a row; they are repeated where a table is continued below.
        right: the headers of columns that are set to the right.
        joined: the headers of columns that stay beside the column before them.
    """

    def __init__(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        num_names: int = 1,
        right: Sequence[str] = (),
        joined: Sequence[str] = (),
    ) -> None:
        self._headers = list(headers)
        self._rows = [list(row) for row in rows]
        self._num_names = min(num_names, len(headers))
        self._right = [header in right for header in headers]
        self._joined = [column for column, header in enumerate(headers) if header in joined]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.lines(console, options, Numbers())

    def lines(self, console: Console, options: ConsoleOptions, numbers: Numbers) -> RenderResult:
        """Yield the table, and below it what its numbers stand for that no table before it explained."""
        rows = self._with_short_names(options.max_width, numbers)
        sizes = [self._widths(rows, column) for column in range(len(self._headers))]
        parts = columns_that_fit(sizes, self._num_names, options.max_width, _GAP, self._joined)
        for place, part in enumerate(parts):
            if place:
                yield Text("")
            yield from self._lines(rows, {column: int(width) for column, width in part.items()})
        yield from numbers.explanations()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        widths = [self._widths(self._rows, column) for column in range(len(self._headers))]
        gaps = _GAP * (len(widths) - 1)
        least = max((one.least for one in widths), default=0)
        return Measurement(int(min(least, options.max_width)), int(sum(one.natural for one in widths)) + gaps)

    def _widths(self, rows: Sequence[Sequence[Cell]], column: int) -> Widths:
        return widths_of(self._headers[column], [_plain(row[column]) for row in rows])

    def _with_short_names(self, width: int, numbers: Numbers) -> list[list[Cell]]:
        """Return the rows; where names are too long even if wrapped, with numbers in their place."""
        rows = self._rows
        others = [self._widths(rows, column).narrowest for column in range(self._num_names, len(self._headers))]
        room = width - _GAP - max(others, default=0)
        least = [self._widths(rows, column).least for column in range(self._num_names)]
        for column in sorted(range(self._num_names), key=lambda column: -least[column]):
            if sum(least) + _GAP * len(least) <= room or least[column] <= _LONG_NAME:
                break
            rows = [[*row[:column], _short(row[column], numbers), *row[column + 1 :]] for row in rows]
            least[column] = self._widths(rows, column).least
        return rows

    def _lines(self, rows: Sequence[Sequence[Cell]], widths: dict[int, int]) -> Iterator[Text]:
        heads = [self._headers[column] for column in widths]
        yield from self._row_lines(heads, widths, is_head=True)
        yield Text("─" * (sum(widths.values()) + _GAP * (len(widths) - 1)), no_wrap=True, overflow="ignore")
        for row in rows:
            yield from self._row_lines([row[column] for column in widths], widths)

    def _row_lines(self, cells: Sequence[Cell], widths: dict[int, int], is_head: bool = False) -> Iterator[Text]:
        columns = [wrapped(_plain(cell), width) for cell, width in zip(cells, widths.values(), strict=True)]
        height = max(map(len, columns))
        if is_head:  # set to the bottom
            columns = [[""] * (height - len(lines)) + lines for lines in columns]
        for place in range(height):
            line = Text(no_wrap=True, overflow="ignore")
            for cell, lines, (column, width) in zip(cells, columns, widths.items(), strict=True):
                text = lines[place] if place < len(lines) else ""
                padding = " " * (width - cell_len(text))
                line.append(" " * (_GAP if line.plain or column != next(iter(widths)) else 0))
                line.append(padding if self._right[column] else "")
                line.append(text, style="bold" if is_head else cell.style if isinstance(cell, Text) else "")
                line.append("" if self._right[column] else padding)
            line.rstrip()
            yield line


def _plain(cell: Cell) -> str:
    return cell.plain if isinstance(cell, Text) else cell


def _short(cell: Cell, numbers: Numbers) -> Cell:
    name = _plain(cell)
    return numbers.of(name) if name else cell  # an empty cell repeats the one above
