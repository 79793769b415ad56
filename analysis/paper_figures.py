"""Figures for a paper (matplotlib): vector files, 8 point type, seven inches wide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adabatch.errors import ConfigError
from adabatch.fields import require
from adabatch.files import output
from adabatch.reading import printable
from analysis.curves import CURVES, arms_in_order, colours, curve_frame, groups, notes
from analysis.frames import Data

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_WIDTH_INCHES = 7.0
_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "adabatch",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
}
DEFAULT = ("batch_size", "accuracy_by_epoch", "accuracy_by_seconds")


def save_figure(data: Data, path: str | Path, names: Sequence[str] = DEFAULT, group: str | None = None) -> Path:
    """Draw curves side by side into a file; its suffix (.pdf, .svg, .png) says which kind.

    Lines are means over seeds with bands as in `analysis.curves.curve_frame`; a line below says what they are.

    Args:
        names: of `analysis.curves.CURVES`.
        group: one of `analysis.curves.groups`; all, one row each, by default.

    Raises:
        ConfigError: for an unknown name, group or suffix.

    Example:
        >>> analysis.save_figure(data, "figure.pdf", ["batch_size", "accuracy_by_seconds"])
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path = Path(path)
    require(path.suffix in (".pdf", ".svg", ".png"), "the figure's suffix", path.suffix, "one of .pdf, .svg, .png")
    for name in names:
        require(name in CURVES, "the figure", name, "one of " + ", ".join(CURVES))
    known = groups(data)
    if not known:
        raise ConfigError("There is nothing to draw: no run is done and comparable.")
    require(group is None or group in known, "the group", group, "one of " + ", ".join(known))
    rows = known if group is None else [group]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, 2.2 * len(rows) + 0.3), layout="constrained")
        axes = figure.subplots(len(rows), len(names), squeeze=False)
        frames = []
        for place, row in enumerate(rows):
            for column, name in enumerate(names):
                frames.append(_draw(axes[place][column], data, row, name))
            if len(rows) > 1:
                axes[place][0].set_title(_plain(row), loc="left")
        handles, labels = axes[0][-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=max(1, len(labels)), frameon=False)
        figure.supxlabel("; ".join(notes(*frames)), fontsize=6.5, x=0.01, ha="left", color="#555")
        date = {"Date": None} if path.suffix == ".svg" else {"CreationDate": None} if path.suffix == ".pdf" else None
        with output("-o", path) as file:
            figure.savefig(file, dpi=200, metadata=date)
    return path


def _plain(name: str) -> str:
    """Return a name as matplotlib draws it: a dollar sign begins no formula, and control characters are written out."""
    return printable(name).replace("$", "\\$")


def _draw(axes: Axes, data: Data, group: str, name: str) -> pd.DataFrame:
    """Draw a curve, and return what was drawn."""
    from matplotlib.ticker import ScalarFormatter

    curve = CURVES[name]
    frame = curve_frame(data, group, curve)
    palette = colours(data)
    step: Literal["pre"] | None = "pre" if curve.steps else None
    for arm in arms_in_order(data, group):
        line = frame[frame.arm == arm]
        style: dict[str, Any] = {"color": palette[arm], "label": _plain(arm)}
        if step:
            axes.step(line.x, line.y, where="pre", **style)
        else:
            axes.plot(line.x, line.y, **style)
        axes.fill_between(line.x, line.low, line.high, step=step, color=palette[arm], alpha=0.18, linewidth=0)
    if curve.log_y:
        axes.set_yscale("log", base=curve.log_y)
    if curve.log_y == 2:
        axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel(curve.x_label)
    axes.set_ylabel(curve.y_label)
    return frame
