"""A picture as data: what is drawn, without saying by which library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.figures.arm_styles import Style

Scale = Literal["linear", "log2", "log10", "categories"]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: words and unit, such as "training time, s".
        scale: of "categories" each integer place has a name; rows of y are drawn from top to bottom.
        categories: the names, by place from 0.
        headings: places whose names head those below them.
        integer: ticks are whole numbers, such as epochs.
        from_zero: the axis begins at 0.
        low, high: where the axis ends, if not where the marks do.
        suffix: behind each tick, such as "x" or " %".
        places: where the ticks of a logarithmic axis are, if these are few and apart, such as the batch sizes of a run.
        reverse: larger values are at the left, or at the bottom.
    """

    label: str = ""
    scale: Scale = "linear"
    categories: tuple[str, ...] = ()
    headings: frozenset[int] = frozenset()
    integer: bool = False
    from_zero: bool = False
    low: float | None = None
    high: float | None = None
    suffix: str = ""
    reverse: bool = False
    places: tuple[float, ...] = ()


@dataclass(frozen=True)
class Line:
    """A line, with a band around it where ``low`` and ``high`` are given.

    Attributes:
        label: what the legend says; lines of one label are shown and hidden together. Without one it is in no legend.
        style: an arm's; None for a line of no arm, which is grey, and dashed if it has a label.
        steps: y holds from the point before up to its own ("before"), or from its point on ("after").
        width: in points.
        hover: by point what is said below its name.
        drawn_x, drawn_y: where the points are drawn, if not at x and y, as where other lines lie on this one.
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    style: Style | None = None
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    steps: Literal["", "before", "after"] = ""
    width: float = 2.0
    hover: Sequence[str] = ()
    drawn_x: Sequence[float] = ()
    drawn_y: Sequence[float] = ()

    @property
    def places(self) -> tuple[Sequence[float], Sequence[float]]:
        """Return where the points are drawn, by x and by y."""
        return self.drawn_x or self.x, self.drawn_y or self.y


@dataclass(frozen=True)
class Points:
    """Points of one kind.

    Attributes:
        filled: hollow points are those that count less, such as the ones that another beats.
        texts: by point what is written beside it.
        hover: by point what is said of it.
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    style: Style | None = None
    filled: bool = True
    texts: Sequence[str] = ()
    hover: Sequence[str] = ()


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, along x in a row of y; without ends, a point.

    Attributes:
        row: a place of the y axis, which has categories.
        low, high: NaN where there is no interval.
        text: written above the point.
        filled: a hollow point is one on which nothing is decided.
    """

    value: float
    row: int
    low: float = float("nan")
    high: float = float("nan")
    label: str = ""
    style: Style | None = None
    text: str = ""
    filled: bool = True
    hover: str = ""


@dataclass(frozen=True)
class Bar:
    """A bar along x in a row of y, from ``start`` to ``start + length``; bars of a stack start where others end.

    Attributes:
        text: written beside the bar's end.
        lane, lanes: bars that share a row lie side by side in lanes, counted from 0.
    """

    start: float
    length: float
    row: int
    label: str = ""
    style: Style | None = None
    text: str = ""
    hover: str = ""
    lane: int = 0
    lanes: int = 1


@dataclass(frozen=True)
class Cell:
    """A field of a heat map, at a column and a row of two axes with categories.

    Attributes:
        value: what the colour says; NaN for a field without a number.
        text: written into the field.
    """

    column: int
    row: int
    value: float
    text: str = ""
    hover: str = ""


@dataclass(frozen=True)
class Rule:
    """A reference line across the picture.

    Attributes:
        axis: of which axis ``value`` is a place: "x" for a vertical line.
        label: written at its end.
        end: with it the stretch from ``value`` to ``end`` is shaded instead, such as what is too small to count.
    """

    value: float
    axis: Literal["x", "y"]
    label: str = ""
    end: float | None = None
    dash: Literal["solid", "dash", "dot"] = "dash"


Mark = Line | Points | Interval | Bar | Cell | Rule


@dataclass(frozen=True)
class ColourScale:
    """What the colours of a heat map say: two hues that meet in grey at ``middle``.

    Attributes:
        label: words and unit, beside the scale.
        low, high: the ends; ``middle`` is where nothing differs.
    """

    label: str
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Picture:
    """All that is drawn.

    Attributes:
        name: as the registry knows it.
        title: in words.
        marks: later ones lie above earlier ones.
        notes: sentences below the title or the picture: what lines and bands are made of.
        empty: where not empty, the sentence that stands in place of the picture.
        summary: what the picture says, for those who do not see it; see `alternative`.
        colours: of a heat map.
    """

    name: str
    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()
    empty: str = ""
    summary: str = ""
    colours: ColourScale | None = None


@dataclass(frozen=True)
class Entry:
    """An entry of a legend.

    Attributes:
        kinds: the classes of marks that carry the label, which is how its sample is drawn.
    """

    label: str
    style: Style | None
    kinds: frozenset[type]


def legend(*pictures: Picture) -> list[Entry]:
    """Return the legend that several pictures share: every label of any of them, once, in the order of the marks."""
    found: dict[str, Entry] = {}
    for picture in pictures:
        for mark in picture.marks:
            if isinstance(mark, (Rule, Cell)) or not mark.label:
                continue
            before = found.get(mark.label)
            kinds = frozenset({type(mark)}) | (before.kinds if before else frozenset())
            found[mark.label] = Entry(mark.label, before.style if before else mark.style, kinds)
    return list(found.values())


def nothing(name: str, title: str, sentence: str) -> Picture:
    """Return a picture that says in a sentence why it is not drawn."""
    return Picture(name, title, Axis(), Axis(), empty=sentence)


def notes_text(notes: Sequence[str]) -> str:
    """Return notes as sentences of one text."""
    said = [note.rstrip(".") for note in dict.fromkeys(notes) if note]
    return " ".join(f"{note if note.startswith('n =') else note[0].upper() + note[1:]}." for note in said)
