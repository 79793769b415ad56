"""What the words of the command ``figure`` mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adabatch.errors import ConfigError
from analysis.figures.paper import COLUMN_INCHES, Sheet

_INCHES = (0.5, 60.0)
_POINTS = (3.0, 40.0)


def names(text: str | None) -> list[str]:
    """Return the names of a list with commas; no name if nothing is given."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def label_by_arm(words: Sequence[str]) -> dict[str, str]:
    """Return what arms are called, from words such as ``growing=Growing batch``.

    Raises:
        ConfigError: for a word without an arm, or without a text.
    """
    found = {}
    for word in words:
        arm, _, text = word.partition("=")
        if not arm or not text.strip():
            raise ConfigError(f"--label is {word}; it must be ARM=TEXT, such as growing='Growing batch'.")
        found[arm] = text.strip()
    return found


def sheet(width: str | None, height: str | None, font_size: str | None, title: str, style: str | None) -> Sheet:
    """Return how the file looks.

    Raises:
        ConfigError: for a size that is no number, or none that fits on paper.
    """
    words = ", or ".join(COLUMN_INCHES)
    return Sheet(
        width_inches=(
            Sheet.width_inches
            if width is None
            else COLUMN_INCHES.get(width) or _number("--width", width, _INCHES, f" inches, or {words}")
        ),
        height_inches=None if height is None else _number("--height", height, _INCHES, " inches"),
        font_size=None if font_size is None else _number("--font-size", font_size, _POINTS, " points"),
        title=title,
        style=style,
    )


def _number(option: str, text: str, ends: tuple[float, float], unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not ends[0] <= value <= ends[1]:
        raise ConfigError(f"{option} is {text}; it must be {ends[0]:g} to {ends[1]:g}{unit}.")
    return value
