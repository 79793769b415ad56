"""Tables and sentences for a terminal of any width.

What does not fit beside the names of the rows moves into a further table below, with these names repeated; columns
that belong together, such as a number and its interval, move together. Text is cut at spaces, and a long name after
``,``, ``=``, ``/`` or ``-``, never within a word that fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

#: Between two columns.
_GAP = 2
#: A cell up to this wide is not wrapped to gain room for another column.
_UNWRAPPED = 22
#: The share of the width that the names of the rows may take before they are wrapped.
_NAMES_SHARE = 0.4
#: What a column gets however narrow the terminal is.
_LEAST_ROOM = 10
#: Where a long name is cut, and where one is that is still too long.
PLACES = re.compile(r"(?<=\w[,=/;:])(?=[^\s,=/;:)])|(?<=[A-Za-z0-9]-)(?=[A-Za-z])")
MORE_PLACES = re.compile(r"(?<=[\w.][_@])(?=\w)|(?<=[A-Za-z]\.)(?=[A-Za-z])")

#: Returns the width of a text.
Measure = Callable[[str], float]
#: A cell; a style covers all of it.
Cell = str | Text


def wrapped(text: str, width: float, measure: Measure = cell_len) -> list[str]:
    """Return a text in lines of at most a width, which is in the unit of ``measure``: columns of a terminal."""
    lines = [""]
    for word in re.split(r"(?<=\S)\s+(?=\S)", text.strip()):
        between = " " if lines[-1] else ""
        for piece in _pieces(word, width, measure):
            if lines[-1] and measure(lines[-1] + between + piece) > width:
                lines.append(piece)
            else:
                lines[-1] += between + piece
            between = ""
    return lines


def _pieces(word: str, width: float, measure: Measure) -> Iterator[str]:
    """Yield the parts of a word that stay together: the word, or parts of a long name, or of a part too long."""
    if measure(word) <= width:
        yield word
        return
    for part in PLACES.split(word):
        for piece in [part] if measure(part) <= width else MORE_PLACES.split(part):
            yield from [piece] if measure(piece) <= width else _chopped(piece, width, measure)


def _chopped(word: str, width: float, measure: Measure) -> Iterator[str]:
    start = 0
    for end in range(1, len(word) + 1):
        if end - start > 1 and measure(word[start:end]) > width:
            yield word[start : end - 1]
            start = end - 1
    yield word[start:]


def longest_piece(text: str, measure: Measure = cell_len) -> float:
    """Return the width in which nothing but spaces and the marks of a long name are cut."""
    return max((measure(piece) for word in text.split() for piece in PLACES.split(word)), default=0)


@dataclass(frozen=True)
class Widths:
    """Of a column: with its header in one line, without wrapping short cells, and by the longest piece."""

    natural: float
    wanted: float
    least: float


def widths_of(header: str, texts: Sequence[str], measure: Measure = cell_len, unwrapped: float = _UNWRAPPED) -> Widths:
    """Return the widths of a column.

    Args:
        unwrapped: a cell up to this wide is not wrapped to gain room for another column.
    """
    natural = max(map(measure, texts), default=0)
    least = max(longest_piece(text, measure) for text in (header, *texts))
    wanted = max(longest_piece(header, measure), min(natural, unwrapped), least)
    return Widths(max(measure(header), natural), wanted, least)


def columns_that_fit(
    sizes: Sequence[Widths], num_names: int, width: float, gap: float, joined: Collection[int] = ()
) -> list[dict[int, float]]:
    """Return the columns of each part of a table with their widths: the names, and as many of the others as fit.

    Args:
        joined: columns that are in the part of the column before them, if both fit into one.
    """
    if sum(one.natural for one in sizes) + gap * (len(sizes) - 1) <= width:
        return [{column: one.natural for column, one in enumerate(sizes)}]
    names = _name_widths(sizes[:num_names], width)
    room = max(_LEAST_ROOM, width - sum(names.values()) - gap * len(names))
    parts: list[dict[int, float]] = [{}]
    for block in _blocks(range(num_names, len(sizes)), joined):
        wanted = {column: min(sizes[column].wanted, room) for column in block}
        is_whole = sum(wanted.values()) + gap * (len(wanted) - 1) <= room
        for piece in [wanted] if is_whole else [{column: one} for column, one in wanted.items()]:
            taken = {**parts[-1], **piece}
            if parts[-1] and sum(taken.values()) + gap * (len(taken) - 1) > room:
                parts.append({})
            parts[-1] |= piece
    return [_widened({**names, **part}, sizes, width - gap * (len(names) + len(part) - 1)) for part in parts]


def _blocks(columns: Iterable[int], joined: Collection[int]) -> list[list[int]]:
    """Return the columns that stay together."""
    blocks: list[list[int]] = []
    for column in columns:
        if blocks and column in joined:
            blocks[-1].append(column)
        else:
            blocks.append([column])
    return blocks


def _name_widths(sizes: Sequence[Widths], width: float) -> dict[int, float]:
    """Return the widths of the names, wrapped from the longest on while they take too much."""
    widths = {column: one.natural for column, one in enumerate(sizes)}
    while sum(widths.values()) > _NAMES_SHARE * width:
        shrinking = [column for column in widths if widths[column] > sizes[column].least]
        if not shrinking:
            break
        column = max(shrinking, key=lambda column: widths[column])
        widths[column] = max(widths[column] - 1, sizes[column].least)
    return widths


def _widened(widths: dict[int, float], sizes: Sequence[Widths], width: float) -> dict[int, float]:
    """Give the room that is left to the columns that lack most of it."""
    while width - sum(widths.values()) >= 1:
        column = max(widths, key=lambda column: sizes[column].natural - widths[column])
        if sizes[column].natural <= widths[column]:
            break
        widths[column] = min(widths[column] + 1, sizes[column].natural)
    return widths


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
        rows, legend = self._with_short_names(options.max_width)
        sizes = [self._widths(rows, column) for column in range(len(self._headers))]
        parts = columns_that_fit(sizes, self._num_names, options.max_width, _GAP, self._joined)
        for place, part in enumerate(parts):
            if place:
                yield Text("")
            yield from self._lines(rows, {column: int(width) for column, width in part.items()})
        for key, name in legend.items():
            yield Sentence(f"{key}: {name}", "dim", indent=len(key) + 2)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        widths = [self._widths(self._rows, column) for column in range(len(self._headers))]
        gaps = _GAP * (len(widths) - 1)
        least = max((one.least for one in widths), default=0)
        return Measurement(int(min(least, options.max_width)), int(sum(one.natural for one in widths)) + gaps)

    def _widths(self, rows: Sequence[Sequence[Cell]], column: int) -> Widths:
        return widths_of(self._headers[column], [_plain(row[column]) for row in rows])

    def _with_short_names(self, width: int) -> tuple[list[list[Cell]], dict[str, str]]:
        """Return the rows; where names are too long even if wrapped, with short ones, and what these stand for."""
        rows, legend = self._rows, dict[str, str]()
        others = [self._widths(rows, column).wanted for column in range(self._num_names, len(self._headers))]
        room = width - _GAP - max(others, default=0)
        least = [self._widths(rows, column).least for column in range(self._num_names)]
        while sum(least) + _GAP * len(least) > room and max(least) > 12:
            column = least.index(max(least))
            keys: dict[str, str] = {}
            for name in filter(None, (_plain(row[column]) for row in rows)):  # an empty cell repeats the one above
                keys.setdefault(name, f"{len(keys) + len(legend) + 1}")
            legend |= {key: name for name, key in keys.items()}
            rows = [[*row[:column], _short(keys, row[column]), *row[column + 1 :]] for row in rows]
            least[column] = self._widths(rows, column).least
        return rows, legend

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


def _short(keys: dict[str, str], cell: Cell) -> Cell:
    return keys.get(_plain(cell), cell)
