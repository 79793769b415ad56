"""How parts of a bar look: spans of the stopwatch, gains and losses. None of the colours is an arm's."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.figures.arm_styles import PartStyle

#: Paul Tol's muted colours, with their variants on a dark page; hatched so that grey print tells neighbours apart.
SPAN_STYLES: Mapping[str, PartStyle] = {
    "data": PartStyle("#88A8C8", "#9DBBD9", ""),
    "forward": PartStyle("#332288", "#8C7BE0", ""),
    "backward": PartStyle("#44AA99", "#5CC7B5", "/"),
    "update": PartStyle("#882255", "#C9598F", ""),
    "other": PartStyle("#6B6B8D", "#A6A6C8", "x"),
    "growth": PartStyle("#B8A73C", "#DDCC77", "\\"),
    "test": PartStyle("#B5B5B5", "#6F6F6F", ""),
    "save": PartStyle("#D9A3A8", "#8F5C62", "-"),
}
GAIN = PartStyle("#44AA99", "#5CC7B5", "")
LOSS = PartStyle("#CC6677", "#E08A98", "/")
