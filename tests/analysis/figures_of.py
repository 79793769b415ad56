"""Pictures of runs that a test wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import analysis
from analysis.figures.marks import Picture
from analysis.figures.registry import build
from analysis.figures.source import groups, source_of

GROUP = "digits-tiny_cnn"


def picture(root: Path, name: str, group: str | None = GROUP, **options: Any) -> Picture:
    """Return a picture of the runs below a folder; ``options`` are those of `analysis.compare`."""
    return build(name, source_of(analysis.compare(analysis.load(root), **options)), group)


def all_pictures(root: Path) -> dict[str, Picture]:
    """Return every picture of the registry, of the first group."""
    from analysis.figures.registry import PICTURES

    source = source_of(analysis.compare(analysis.load(root)))
    first = groups(source.data)[0]
    return {name: build(name, source, first if kind.is_per_group else None) for name, kind in PICTURES.items()}
