"""What the registry knows of a picture before it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from analysis.figures.marks import Picture
from analysis.figures.source import Source


@dataclass(frozen=True)
class Kind:
    """A kind of picture. Each module of a family lists its own as ``KINDS``, and `registry` joins the lists.

    Attributes:
        name: by which it is asked for.
        title: in words.
        build: returns the picture of a group; the group is None for a picture over all of them.
        is_per_group: whether each group has one of its own.
        needs_comparison: whether it is made of compared arms; others are drawn of runs that still train, too.
    """

    name: str
    title: str
    build: Callable[[Source, str | None], Picture]
    is_per_group: bool = True
    needs_comparison: bool = False
