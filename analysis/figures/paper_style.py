"""Settings of matplotlib: those of figures on paper, and what a user's style changes, its colours among them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adabatch.errors import ConfigError
from analysis.figures.arm_styles import ArmStyle, Style
from analysis.figures.themes import THEMES, Colours, Theme, colour_of

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

#: A colour cycle and a map that styles do not have: where they are still in force, the style brought none of its own.
_NO_CYCLE, _NO_MAP = ("#010203", "#040506"), "twilight_shifted"
#: Fonts are embedded as text that can be searched and edited; nothing of the time or the machine is in the file.
_SETTINGS: dict[str, Any] = {
    "font.size": 8,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "adabatch",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.6,
    "image.cmap": _NO_MAP,
}
_SHADES = 256


def style_context(name: str | None, font_size: float | None) -> AbstractContextManager[Any]:
    """Return the context in which a figure is drawn.

    Args:
        name: a style of matplotlib or a file with settings, which go before those of figures.
        font_size: in points, before all of them.

    Raises:
        ConfigError: for a style that matplotlib cannot read.
    """
    from matplotlib import style
    from matplotlib.rcsetup import cycler

    layers: list[Any] = [_SETTINGS, {"axes.prop_cycle": cycler(color=_NO_CYCLE)}]
    if name is not None:
        layers.append(str(Path(name).expanduser()) if Path(name).expanduser().exists() else name)
    if font_size is not None:
        layers.append({"font.size": font_size})
    try:
        # It is entered here, so that a style that does not exist is found before anything is drawn.
        with style.context(layers):
            pass
    except OSError:
        raise ConfigError(
            f"--style is {name}; it must be a file with settings of matplotlib, or one of its styles: "
            + ", ".join(known for known in style.available if not known.startswith("_"))
            + "."
        ) from None
    return style.context(layers)


def theme_of(figure: Figure) -> Theme:
    """Return which of an arm's colours is seen on the paper, whose colour a style may change."""
    from matplotlib.colors import to_rgb

    return "light" if sum(to_rgb(figure.get_facecolor())) > 1.5 else "dark"


def font_size() -> float:
    """Return the size of texts in points, which a style may change."""
    from matplotlib import rcParams

    return float(rcParams["font.size"])


def ink(style: Style | None, theme: Theme) -> str:
    """Return the colour in which something is drawn, as ``#rrggbb``.

    An arm takes that of its place in the style's colour cycle, if it has one. Where the cycle is of greys only, all
    else is drawn in grey, too.
    """
    cycle = _cycle()
    if cycle and isinstance(style, ArmStyle) and style.place is not None:
        return cycle[style.place % len(cycle)]
    return _maybe_grey(colour_of(style, theme))


def page_colours(theme: Theme) -> Colours:
    """Return the colours of what belongs to no arm."""
    colours = THEMES[theme]
    return replace(colours, **{field.name: _maybe_grey(getattr(colours, field.name)) for field in fields(colours)})


def heat_colours(theme: Theme) -> Colormap:
    """Return the colours of a heat map: the style's, if it names a colour map, else two hues that meet in grey."""
    from matplotlib import colormaps, rcParams
    from matplotlib.colors import Colormap, LinearSegmentedColormap

    name = rcParams["image.cmap"]
    if name != _NO_MAP:
        return name if isinstance(name, Colormap) else colormaps[name]
    colours = THEMES[theme]
    return LinearSegmentedColormap.from_list("", [colours.low, colours.middle, colours.high], _SHADES)


def _cycle() -> list[str]:
    """Return the colours of the style's own cycle; none if it has none."""
    from matplotlib import rcParams
    from matplotlib.colors import to_hex

    colours = rcParams["axes.prop_cycle"].by_key().get("color", [])
    return [] if tuple(colours) == _NO_CYCLE else [to_hex(colour) for colour in colours]


def _maybe_grey(colour: str) -> str:
    cycle = _cycle()
    if not cycle or any(len({one[1:3], one[3:5], one[5:7]}) > 1 for one in cycle):
        return colour
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + 3 * f"{round(0.299 * red + 0.587 * green + 0.114 * blue):02x}"
