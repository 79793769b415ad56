"""Times in a unit that suits their length."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class TimeUnit:
    """A unit, as axes name it, and its seconds."""

    name: str
    seconds: float


_SECONDS, _MINUTES, _HOURS = TimeUnit("s", 1.0), TimeUnit("min", 60.0), TimeUnit("h", 3600.0)


def time_unit(seconds: Iterable[float]) -> TimeUnit:
    """Return the unit in which the longest of some times is a number of at most three digits before the point."""
    longest = max((value for value in seconds if value == value), default=0.0)
    if longest < 600:
        return _SECONDS
    return _MINUTES if longest < 3 * 3600 else _HOURS
