"""What a check says that is made before a run starts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Doubt:
    """Something that speaks against starting a run.

    Attributes:
        code: that of lint.
        stops: whether the run would fail.
        sentence: the problem, with numbers.
        remedy: how to solve it.
    """

    code: str
    stops: bool
    sentence: str
    remedy: str
