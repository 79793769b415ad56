"""Every picture by name, for the report, the dashboard, the command ``figure`` and notebooks."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.figures import costs, curves, effects, grid, memory, profile, throughput, trade_off
from analysis.figures.kinds import Kind
from analysis.figures.marks import Picture, nothing
from analysis.figures.source import Source

#: In the order of the report. Families add their ``KINDS`` here.
_KINDS = (
    *effects.KINDS, *grid.KINDS, *profile.KINDS, *trade_off.KINDS, *curves.KINDS, *costs.KINDS, *throughput.KINDS,
    *memory.KINDS,
)  # fmt: skip
PICTURES: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}


def build(name: str, source: Source, group: str | None = None) -> Picture:
    """Return a picture; one that cannot be made of these runs says why in a sentence.

    Args:
        name: of `PICTURES`.
        group: one of `analysis.figures.source.groups`; None for a picture over all of them.
    """
    kind = PICTURES[name]
    if kind.needs_comparison and source.comparison is None:
        return nothing(name, kind.title, "The arms are not compared yet.")
    return kind.build(source, group)
