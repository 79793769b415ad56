"""A picture by name, for a notebook."""

from __future__ import annotations

import plotly.graph_objects as go

from adabatch.fields import require
from analysis.comparison import Comparison
from analysis.figures.marks import nothing
from analysis.figures.registry import PICTURES, build
from analysis.figures.screen import draw
from analysis.figures.source import groups, source_of
from analysis.figures.themes import Theme
from analysis.frames import Data


def plot(runs: Comparison | Data, name: str, group: str | None = None, theme: Theme = "light") -> go.Figure:
    """Return a picture as a figure of plotly.

    Args:
        runs: a comparison, of which the finished runs that are in numbers are drawn, or frames, of which all are;
            pictures of compared arms need a comparison.
        name: of `analysis.figures.registry.PICTURES`.
        group: one of the groups, for a picture that each has of its own; the first by default.

    Raises:
        ConfigError: for an unknown name or group.

    Example:
        >>> analysis.plot(comparison, "speedup")
        >>> analysis.plot(data, "accuracy_by_seconds", "digits-tiny_cnn")
    """
    require(name in PICTURES, "the picture", name, "one of " + ", ".join(PICTURES))
    source = source_of(runs)
    known = groups(source.data)
    require(group is None or group in known, "the group", group, "one of " + ", ".join(known))
    if not known:
        return draw(nothing(name, PICTURES[name].title, "No run is done and comparable."), theme)
    return draw(build(name, source, (group or known[0]) if PICTURES[name].is_per_group else None), theme)
