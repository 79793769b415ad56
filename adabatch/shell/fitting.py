"""How a table fits a width: where texts are cut, which columns a part of the table has, and how wide each is.

Widths are in the unit of a function that measures texts: columns of a terminal, or points on paper.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

#: A cell up to this wide is not wrapped to gain room for another column.
_UNWRAPPED = 22
#: The share of the width that the names of the rows may take before they are wrapped, and the part of its wanted width
#: that a column of longer cells gets. The second and third are tried if otherwise columns that belong together were
#: parted, or one stood alone.
_SHARES = ((0.4, 1.0), (0.3, 0.75), (0.2, 0.6))
#: The least width of a column, however narrow the terminal is.
_LEAST_ROOM = 10
#: No column is so narrow that fewer characters of a long name are in a line.
_UNBROKEN = 14
#: Where a long name is cut, and where one is that is still too long.
PLACES = re.compile(r"(?<=\w[,=/;:])(?=[^\s,=/;:)])|(?<=[A-Za-z0-9]-)(?=[A-Za-z])")
MORE_PLACES = re.compile(r"(?<=[\w.][_@])(?=\w)|(?<=[A-Za-z]\.)(?=[A-Za-z])")

#: Returns the width of a text.
Measure = Callable[[str], float]


def wrapped(text: str, width: float, measure: Measure = cell_len) -> list[str]:
    """Return a text in lines of at most a width: cut at spaces, and a long name at `PLACES` or `MORE_PLACES`."""
    lines = [""]
    for word in _words(text.strip()):
        between = " " if lines[-1] else ""
        for piece in _pieces(word, width, measure):
            if lines[-1] and measure(lines[-1] + between + piece) > width:
                lines.append(piece)
            else:
                lines[-1] += between + piece
            between = ""
    return lines


def _words(text: str) -> list[str]:
    """Return the words of a text; a number and its percent sign are one."""
    return re.split(r"(?<=\S)\s+(?=[^\s%])", text)


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
    """Return the width in which a text is cut at spaces and between the parts of long names only."""
    parts = [part for word in _words(text.strip()) for part in PLACES.split(word)]
    pieces = [piece for part in parts for piece in (part[:_UNBROKEN], *_unbroken(part))]
    return max(map(measure, pieces), default=0)


def _unbroken(part: str) -> list[str]:
    return [part] if len(part) <= _UNBROKEN else MORE_PLACES.split(part)


@dataclass(frozen=True)
class Widths:
    """Of a column: with its header in one line, without wrapping short cells, and by the longest piece."""

    natural: float
    wanted: float
    least: float
    has_long_cells: bool

    def narrowed(self, part: float) -> float:
        """Return the wanted width, or a part of it for a column whose cells are wrapped anyway."""
        return max(self.least, part * self.wanted) if self.has_long_cells else self.wanted

    @property
    def narrowest(self) -> float:
        """The width where there is the least room."""
        return self.narrowed(_SHARES[-1][1])


def widths_of(header: str, texts: Sequence[str], measure: Measure = cell_len, unwrapped: float = _UNWRAPPED) -> Widths:
    """Return the widths of a column.

    Args:
        unwrapped: a column whose cells are all up to this wide is not wrapped to gain room for another one.
    """
    natural = max(map(measure, texts), default=0)
    least = max(longest_piece(text, measure) for text in (header, *texts))
    wanted = max(min(natural, unwrapped), least)
    return Widths(max(measure(header), natural), wanted, least, natural > unwrapped)


def columns_that_fit(
    sizes: Sequence[Widths], num_names: int, width: float, gap: float, joined: Collection[int] = ()
) -> list[dict[int, float]]:
    """Return the columns of each part of a table with their widths: the names, and as many of the others as fit.

    Long cells are wrapped into narrower columns if this keeps columns together, or a column from being the only one of
    its part.

    Args:
        joined: columns that are in the part of the column before them, if that can be.
    """
    if sum(one.natural for one in sizes) + gap * (len(sizes) - 1) <= width:
        return [{column: one.natural for column, one in enumerate(sizes)}]
    found = []
    for share, part in _SHARES:
        names = _name_widths(sizes[:num_names], share * width)
        room = max(_LEAST_ROOM, width - sum(names.values()) - gap * len(names))
        taken = [min(one.narrowed(part), room) for one in sizes]
        parts = _parts(range(num_names, len(sizes)), taken, room, gap, joined)
        found.append(
            (_faults(parts, joined), [{**names, **{column: taken[column] for column in one}} for one in parts])
        )
    _, best = min(found, key=lambda one: one[0])
    return [_widened(part, sizes, width - gap * (len(part) - 1)) for part in best]


def _parts(
    columns: Sequence[int], widths: Sequence[float], room: float, gap: float, joined: Collection[int]
) -> list[list[int]]:
    """Return the columns in parts with the fewest faults, then the fewest parts, then the most columns first."""
    best: dict[int, list[list[int]]] = {len(columns): []}  # by its first place, the parts of what is left from there on
    for start in reversed(range(len(columns))):
        choices = []
        for end in range(start + 1, len(columns) + 1):
            part = list(columns[start:end])
            if len(part) > 1 and sum(widths[column] for column in part) + gap * (len(part) - 1) > room:
                break
            choices.append([part, *best[end]])
        best[start] = min(choices, key=lambda parts: (_faults(parts, joined), len(parts), -len(parts[0])))
    return best[0]


def _faults(parts: Sequence[Sequence[int]], joined: Collection[int]) -> tuple[int, int]:
    """Return how many columns are parted from the one before them, and how many stand alone beside the names."""
    parted = sum(part[0] in joined for part in parts[1:])
    return parted, sum(len(part) == 1 for part in parts) if len(parts) > 1 else 0


def _name_widths(sizes: Sequence[Widths], room: float) -> dict[int, float]:
    """Return the widths of the names, wrapped from the longest on while they take too much."""
    widths = {column: one.natural for column, one in enumerate(sizes)}
    while sum(widths.values()) > room:
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
