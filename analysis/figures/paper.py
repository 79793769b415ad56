"""Pictures on paper, drawn by matplotlib: several panels and one legend in a vector file, readable in grey."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adabatch.errors import ConfigError
from adabatch.fields import require
from adabatch.files import output
from analysis.figures.marks import Entry, Picture, Rule, legend, notes_text
from analysis.figures.paper_axes import set_axis
from analysis.figures.paper_fit import fit
from analysis.figures.paper_marks import draw_marks, panel_inches, plain, sample
from analysis.figures.paper_style import font_size, page_colours, style_context, theme_of
from analysis.figures.parts import parts_of
from analysis.figures.themes import Theme
from analysis.figures.words import name_lines, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".pdf", ".svg", ".png")
#: Widths of a two-column page, as most conferences and journals have it.
COLUMN_INCHES = {"1-column": 3.3, "2-column": 7.0}
#: Narrower panels cannot be read.
_PANEL_INCHES = 1.9
#: Those of one kind that name their rows need more.
_NAMED_INCHES = 3.2
_MOST_COLUMNS = 6
#: Of one panel: about nine inches.
_MOST_ROWS = 28
_ROW_INCHES = 0.3


@dataclass(frozen=True)
class Sheet:
    """How a file looks.

    Attributes:
        width_inches: of the whole file; seven inches by default.
        height_inches: by default what its panels need.
        font_size: in points.
        title: above all panels.
        style: a style of matplotlib, by name or file; width, height and font size go before it.
    """

    width_inches: float = COLUMN_INCHES["2-column"]
    height_inches: float | None = None
    font_size: float | None = None
    title: str = ""
    style: str | None = None


@dataclass(frozen=True)
class Block:
    """Panels that belong together, such as the pictures of one group, with what is said of them once."""

    heading: str
    pictures: tuple[Picture, ...]


def save(blocks: Sequence[Block], path: Path, sheet: Sheet) -> Path:
    """Draw blocks of panels, one below the other, into a file whose suffix says which kind it is.

    Raises:
        ConfigError: for another suffix, a size that nothing fits into, or a style that matplotlib cannot read.
    """
    require(path.suffix in SUFFIXES, "the figure's suffix", path.suffix, "one of " + ", ".join(SUFFIXES))
    path.parent.mkdir(parents=True, exist_ok=True)
    with style_context(sheet.style, sheet.font_size):
        figure = _figure(blocks, sheet)
        _check_size(figure, sheet)
        date = {"Date": None} if path.suffix == ".svg" else {"CreationDate": None} if path.suffix == ".pdf" else None
        with output("-o", path) as file:
            figure.savefig(file, dpi=300 if path.suffix == ".png" else 200, metadata=date)
    return path


@dataclass(frozen=True)
class _Panel:
    heading: str
    picture: Picture


def _figure(blocks: Sequence[Block], sheet: Sheet) -> Figure:
    from matplotlib.figure import Figure

    rows = _rows(blocks, sheet.width_inches)
    pictures = [panel.picture for row in rows for panel in row]
    heights = [max(_height(panel, sheet.width_inches / len(row)) for panel in row) for row in rows]
    figure = Figure(figsize=(sheet.width_inches, sheet.height_inches or sum(heights) + 0.4), layout="constrained")
    # Panels of a short last row share its width.
    num_columns = math.lcm(*(len(row) for row in rows))
    grid = figure.add_gridspec(len(rows), num_columns, height_ratios=heights)
    theme = theme_of(figure)
    panels = []
    for place, row in enumerate(rows):
        share = num_columns // len(row)
        for column, panel in enumerate(row):
            axes = figure.add_subplot(grid[place, column * share : (column + 1) * share])
            _draw_panel(axes, panel, theme)
            panels.append((axes, panel.picture))
    num_lines = _add_head(figure, sheet.title, legend(*pictures), theme) + _add_notes(figure, pictures, theme)
    if sheet.height_inches is None:
        line = font_size() / 72 * 1.5
        figure.set_figheight(sum(heights) + 0.1 + line * num_lines)
    higher = fit(figure, panels)
    if sheet.height_inches is None:
        figure.set_figheight(figure.get_figheight() + higher)
    return figure


def _rows(blocks: Sequence[Block], width_inches: float) -> list[list[_Panel]]:
    """Return the panels in rows, as many side by side as can be read, and about as many in each row.

    The panels of a block begin a row of their own; blocks of one picture each, such as one curve of each group of a
    grid, stand side by side.
    """
    found: list[list[_Panel]] = []
    for panels in _series(blocks):
        has_rows = any(panel.picture.y.scale == "categories" for panel in panels)
        narrowest = _NAMED_INCHES if has_rows and len({panel.picture.name for panel in panels}) == 1 else _PANEL_INCHES
        num_rows = math.ceil(len(panels) / min(_MOST_COLUMNS, max(1, int(width_inches / narrowest))))
        fewest, longer = divmod(len(panels), num_rows)
        start = 0
        for row in range(num_rows):
            end = start + fewest + (row < longer)
            found.append(panels[start:end])
            start = end
    return found


def _series(blocks: Sequence[Block]) -> list[list[_Panel]]:
    """Return the panels that share rows."""
    found = [_panels(block) for block in blocks]
    alone = [panels for panels in found if len(panels) == 1 and panels[0].heading]
    if len(alone) < 2:
        return found
    return [[panel for panels in alone for panel in panels], *(panels for panels in found if panels not in alone)]


def _panels(block: Block) -> list[_Panel]:
    """Return a block's panels; a picture with more rows than a page has room for is in several."""
    found = []
    for place, picture in enumerate(block.pictures):
        parts = parts_of(picture, _MOST_ROWS)
        for number, part in enumerate(parts, start=1):
            heading = [block.heading] if place == 0 and number == 1 and block.heading else []
            heading += [f"{number} of {len(parts)}"] if len(parts) > 1 else []
            found.append(_Panel(", ".join(heading), part))
    return found


def _heading_lines(panel: _Panel, width_inches: float) -> list[str]:
    """Return a panel's heading in lines above its axes, which take about two thirds of its width."""
    return name_lines(panel.heading, max(8, int(0.67 * width_inches * 72 / (0.56 * font_size()))))


def _height(panel: _Panel, width_inches: float) -> float:
    picture = panel.picture
    heading = 1.2 * font_size() / 72 * len(_heading_lines(panel, width_inches)) if panel.heading else 0.0
    if picture.y.scale == "categories" and not picture.empty:
        return heading + 0.7 + _ROW_INCHES * len(picture.y.categories) + (0.4 if picture.colours else 0)
    return heading + min(2.3, max(1.5, 0.75 * width_inches))


def _check_size(figure: Figure, sheet: Sheet) -> None:
    """Refuse a size in which the layout leaves no room for the panels themselves."""
    figure.draw_without_rendering()
    # The scale beside a heat map is as thin as it is.
    boxes = [axes.get_position() for axes in figure.axes if axes.get_label() != "<colorbar>"]
    width, height = figure.get_size_inches()
    if any(box.width * width < 0.4 or box.height * height < 0.25 for box in boxes):
        size = f"{width:g} x {height:g} inches"
        raise ConfigError(
            f"The figure is {size}, in which its panels have no room beside the texts; give a larger --width or "
            "--height, a smaller --font-size, or fewer --pictures."
        )


def _draw_panel(axes: Axes, panel: _Panel, theme: Theme) -> None:
    picture = panel.picture
    if panel.heading:
        lines = _heading_lines(panel, panel_inches(axes))
        # Above the labels of reference lines, if there are any.
        pad = 4 + font_size() * sum(
            isinstance(mark, Rule) and mark.axis == "x" and bool(mark.label) for mark in picture.marks
        )
        axes.set_title("\n".join(map(plain, lines)), loc="left", fontsize="medium", pad=pad)
    if picture.empty:
        axes.set_axis_off()
        text = "\n".join(wrapped(picture.empty, 34))
        axes.text(0.5, 0.5, text, ha="center", va="center", color=page_colours(theme).quiet, transform=axes.transAxes)
        return
    for name in ("x", "y"):
        if (picture.x if name == "x" else picture.y).scale in ("log2", "log10"):
            getattr(axes, f"set_{name}scale")("log")
    draw_marks(axes, picture, theme)
    for name in ("x", "y"):
        set_axis(axes, picture, name)


def _add_head(figure: Figure, title: str, entries: Sequence[Entry], theme: Theme) -> int:
    """Add the title and the legend of all panels above them, in rows that fit; return the number of lines."""
    width = round(figure.get_figwidth() * 72 / (0.6 * font_size()))
    title_lines = list(map(plain, wrapped(title, width))) if title else []
    if not entries:
        if title:
            figure.suptitle("\n".join(title_lines), fontsize="large")
        return len(title_lines)
    handles = [sample(entry, theme) for entry in entries]
    labels = ["\n".join(map(plain, wrapped(entry.label, width - 8))) for entry in entries]
    for num_columns in range(len(entries), 0, -1):
        # A title of the figure would lie on a legend outside of the panels.
        drawn = figure.legend(
            handles, labels, loc="outside upper center", ncols=num_columns, frameon=False, handlelength=3.2,
            title="\n".join(title_lines) or None, title_fontsize="large",
        )  # fmt: skip
        if num_columns == 1 or drawn.get_window_extent().width <= 0.98 * figure.bbox.width:
            break
        drawn.remove()
    lines = sum(label.count("\n") + 1 for label in labels) / num_columns
    return math.ceil(lines + 1.3 * len(title_lines))


def _add_notes(figure: Figure, pictures: Sequence[Picture], theme: Theme) -> int:
    """Add below the panels what their lines and bands are made of, each sentence once; return the number of lines."""
    said = notes_text([note for picture in pictures for note in picture.notes])
    if not said:
        return 0
    size = 0.8 * font_size()
    lines = wrapped(said, round(figure.get_figwidth() * 72 / (0.55 * size)))
    text = "\n".join(map(plain, lines))
    figure.supxlabel(text, fontsize=size, x=0.01, ha="left", color=page_colours(theme).quiet)
    return len(lines)
