"""Times and memory in a unit that suits their size."""

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


@dataclass(frozen=True)
class MemoryUnit:
    """A unit, as axes name it, and its bytes."""

    name: str
    num_bytes: float

    def text(self, num_bytes: float) -> str:
        """Return some memory in this unit, such as "1.25 GiB"."""
        return f"{num_bytes / self.num_bytes:,.3g} {self.name}"


_MEBIBYTES, _GIBIBYTES = MemoryUnit("MiB", 2.0**20), MemoryUnit("GiB", 2.0**30)


def memory_unit(largest_bytes: float) -> MemoryUnit:
    """Return the unit in which the largest of some memories is a number of at least 1, of the two that there are."""
    return _GIBIBYTES if largest_bytes >= _GIBIBYTES.num_bytes else _MEBIBYTES
