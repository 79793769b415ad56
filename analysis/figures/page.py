"""Pictures in a page of HTML: what stands around a figure as text, so that nothing of it can lie on an axis."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from analysis.figures.alternative import alternative_text
from analysis.figures.arm_styles import ArmStyle, PartStyle, has_marker
from analysis.figures.marks import Bar, Entry, Line, Picture, legend, notes_text
from analysis.figures.parts import parts_of
from analysis.figures.screen import height_of, rows_within

#: In pixels: of a picture that has room on a printed page with its title, legend and notes.
MOST_HEIGHT = 860

_DASHES = {
    "solid": "",
    "dash": "7 4",
    "dot": "2 3",
    "dashdot": "7 3 2 3",
    "longdash": "12 4",
    "longdashdot": "12 3 2 3",
}
#: Around the origin, some nine units wide.
_MARKERS = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "square": "M-3.6-3.6h7.2v7.2h-7.2z",
    "diamond": "M0-5L5 0L0 5L-5 0z",
    "triangle-up": "M0-4.6L4.8 3.8h-9.6z",
    "triangle-down": "M0 4.6L4.8-3.8h-9.6z",
    "cross": "M-1.6-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
    "x": "M-4.4-2.2L-2.2-4.4L0-2.2L2.2-4.4L4.4-2.2L2.2 0L4.4 2.2L2.2 4.4L0 2.2L-2.2 4.4L-4.4 2.2L-2.2 0z",
    "star": "M0-5L1.4-1.6L5-1.5L2.2.8L3.2 4.4L0 2.3L-3.2 4.4L-2.2.8L-5-1.5L-1.4-1.6z",
    "pentagon": "M0-4.8L4.6-1.5L2.8 3.9h-5.6L-4.6-1.5z",
}
#: Over a rectangle from 4, 1 to 28, 11.
_HATCHES = {
    "/": "M6 11L16 1M16 11L26 1",
    "\\": "M6 1L16 11M16 1L26 11",
    "x": "M6 11L16 1M16 11L26 1M6 1L16 11M16 1L26 11",
    "-": "M4 4.5H28M4 8H28",
}


@dataclass(frozen=True)
class Framed:
    """A picture with what a page says around it.

    Attributes:
        place: the identity of its place in the page.
        height: of the figure, in pixels.
        samples: by label a drawing of how it looks.
        alternative: what the picture says, for those who do not see it.
    """

    place: str
    picture: Picture
    height: int
    samples: tuple[tuple[str, Markup], ...]
    alternative: str
    notes: str


def framed(place: str, picture: Picture) -> Framed:
    """Return a picture with legend and alternative text."""
    samples = tuple((entry.label, _sample(entry)) for entry in legend(picture))
    return Framed(place, picture, height_of(picture), samples, alternative_text(picture), notes_text(picture.notes))


def framed_parts(place: str, picture: Picture) -> list[Framed]:
    """Return a picture as `framed`; one that is higher than a printed page in several, each of which fits."""
    return [
        framed(place if number == 0 else f"{place}-{number + 1}", part)
        for number, part in enumerate(parts_of(picture, rows_within(picture, MOST_HEIGHT)))
    ]


def _sample(entry: Entry) -> Markup:
    """Return a drawing (SVG) in the style's two colours, of which the page's theme shows one."""
    light, dark = ("", "") if entry.style is None else (entry.style.colour, entry.style.dark_colour)
    colours = f' style="--light:{light};--dark:{dark}"' if light else ""
    if entry.kinds <= {Bar} or isinstance(entry.style, PartStyle):
        content = '<rect x="4" y="1" width="24" height="10" fill="currentColor"/>'
        if isinstance(entry.style, PartStyle) and entry.style.hatch:
            content += (
                f'<path d="{_HATCHES.get(entry.style.hatch, _HATCHES["/"])}" stroke="var(--paper)" stroke-width="1.5"/>'
            )
    else:
        content = _line(entry) + _marker(entry)
    left, width = (0, 32) if Line in entry.kinds or "<rect" in content else (9, 14)
    return Markup(f'<svg class="sample" width="{width}" height="12" viewBox="{left} 0 {width} 12" aria-hidden="true"'
                  f"{colours}>{content}</svg>")  # fmt: skip


def _line(entry: Entry) -> str:
    if Line not in entry.kinds:
        return ""
    dash = _DASHES[entry.style.dash] if isinstance(entry.style, ArmStyle) else _DASHES["dash"]
    return f'<path d="M0 6H32" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="{dash}"/>'


def _marker(entry: Entry) -> str:
    if not has_marker(entry.style) and Line in entry.kinds:
        return ""
    marker = (entry.style.marker if isinstance(entry.style, ArmStyle) else "") or "circle"
    return f'<path d="{_MARKERS[marker]}" transform="translate(16 6)" fill="currentColor"/>'
