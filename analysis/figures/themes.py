"""The colours of a page, light and dark, and those of what belongs to no arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from analysis.figures.arm_styles import Style

Theme = Literal["light", "dark"]


@dataclass(frozen=True)
class Colours:
    """What a page and the axes on it are made of; each text has a contrast of at least 4.5 to 1 with ``paper``.

    Attributes:
        paper: the background.
        text, quiet: of titles and numbers, and of notes.
        grid: faint lines.
        shade: of a stretch in which a difference does not count.
        low, middle, high: the ends and the middle of a heat map, on which ``text`` has that contrast, too.
    """

    paper: str
    text: str
    quiet: str
    grid: str
    shade: str
    low: str
    middle: str
    high: str


LIGHT = Colours("#FFFFFF", "#202327", "#5B6068", "#E3E5E8", "#ECEEF1", "#E0862F", "#F0F0F1", "#5C96CF")
DARK = Colours("#15181C", "#E7E9EC", "#A4AAB3", "#33383F", "#24292F", "#9C5212", "#2B2F35", "#29669F")
THEMES: dict[Theme, Colours] = {"light": LIGHT, "dark": DARK}


def colour_of(style: Style | None, theme: Theme) -> str:
    """Return a style's colour; what belongs to no arm is grey."""
    if style is None:
        return THEMES[theme].quiet
    return style.colour if theme == "light" else style.dark_colour


def faint(colour: str, opacity: float = 0.18) -> str:
    """Return a colour through which others are seen, such as that of a band."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
