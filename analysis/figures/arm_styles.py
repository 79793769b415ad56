"""How an arm looks: one colour, dash and marker in every picture, whatever the grid and the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from analysis.frames import Data
from analysis.order import arm_names

Dash = Literal["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]
Marker = Literal["", "circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star", "pentagon"]

#: Okabe and Ito's colours, which the colour-blind tell apart, each with its variant on a dark page. Those that are too
#: pale are darkened, so that the contrast with the page is at least 3 to 1 (WCAG 2.2, criterion 1.4.11).
COLOURS: tuple[tuple[str, str], ...] = (
    ("#000000", "#F2F2F2"),
    ("#D55E00", "#FF8A3D"),
    ("#0072B2", "#5AA9E6"),
    ("#00875F", "#2FC79A"),
    ("#C0649A", "#E79AC4"),
    ("#AD7600", "#E6B03A"),
    ("#2E93CF", "#8FD0F5"),
    ("#7A5A24", "#C7A36B"),
)
#: The first dash belongs to the baseline, and with the next ones arms are told apart in grey, too.
DASHES: tuple[Dash, ...] = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKERS: tuple[Marker, ...] = (
    "circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star", "pentagon",
)  # fmt: skip


@dataclass(frozen=True)
class ArmStyle:
    """How an arm is drawn.

    Attributes:
        colour: on white, as ``#RRGGBB``.
        dark_colour: the same on a dark page.
        dash, marker: by plotly's names; a line of no arm, such as a forecast, has no marker, as it has no points.
        place: of the arm among all, from 0; None for a line of no arm. A style of matplotlib colours arms by it.
    """

    colour: str
    dark_colour: str
    dash: Dash = "solid"
    marker: Marker = "circle"
    place: int | None = None


@dataclass(frozen=True)
class PartStyle:
    """How a part of a bar is drawn, such as a span of the stopwatch.

    Attributes:
        colour, dark_colour: as of an arm.
        hatch: lines over the colour, by plotly's names ("/", "\\\\", "x", "-", "|", "+", "."), or none.
    """

    colour: str
    dark_colour: str
    hatch: str = ""


Style = ArmStyle | PartStyle


def has_marker(style: Style | None) -> bool:
    """Return whether lines of a style have markers, too."""
    return isinstance(style, ArmStyle) and bool(style.marker)


def style_at(place: int) -> ArmStyle:
    """Return the style of the arm at a place, counted from 0; the baseline's is the first, and no other arm is black.

    Colour and dash together are unique for 43 arms: the others combine 7 colours with 6 dashes in step. Dash and marker
    are unique for 54 arms, whatever the colours, and all three together for 378.
    """
    colour, dark_colour = COLOURS[1 + (place - 1) % (len(COLOURS) - 1)] if place else COLOURS[0]
    # In step, dashes and markers would come back together after 18 arms.
    marker = MARKERS[(place + place // 18 % 3) % len(MARKERS)]
    return ArmStyle(colour, dark_colour, DASHES[place % len(DASHES)], marker, place)


def arm_styles(data: Data) -> dict[str, ArmStyle]:
    """Return a style by plain name of an arm, in the order of `analysis.order.arm_names`.

    An arm of a grid, such as ``growing,optimizer.weight_decay=0``, has the style of ``growing``: ask for
    ``styles[plain_arm(arm)]``. Give it all runs of a page, so that a filter changes no colour.
    """
    return styles_of(arm_names(data))


def styles_of(names: Iterable[str]) -> dict[str, ArmStyle]:
    """Return a style by name, in the given order."""
    return {name: style_at(place) for place, name in enumerate(names)}
