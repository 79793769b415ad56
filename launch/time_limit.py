"""SLURM's spellings of a time limit, and the limits of jobs that differ in their number of ranks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from adabatch.config.values import shortened
from adabatch.errors import ConfigError
from adabatch.fields import require

_FORMATS = "one of SLURM's formats D-HH:MM:SS, D-HH:MM, D-HH and HH:MM:SS"
_WITH_DAYS = re.compile(r"(?P<days>\d+)-(?P<hours>\d{1,2})(?::(?P<minutes>\d{1,2})(?::(?P<seconds>\d{1,2}))?)?")
_WITHOUT_DAYS = re.compile(r"(?P<hours>\d+):(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2})")
_AMBIGUOUS = re.compile(r"(\d+):(\d{1,2})")


def parse_time(text: str, key: str = "cluster.time") -> int:
    """Return a time limit such as ``1-12:00:00`` or ``4:00:00`` in minutes; as in SLURM, seconds are rounded up.

    Args:
        key: whose value it is, for the sentence.

    Raises:
        ConfigError: for another format, for less than a minute, and for ``4:00``, which SLURM takes for four minutes
            and people for four hours.
    """
    ambiguous = _AMBIGUOUS.fullmatch(text)
    if ambiguous:
        first, second = ambiguous.groups()
        raise ConfigError(
            f"{key} is {text}, which is ambiguous; write {first}:{second}:00 for hours and minutes, "
            f"or 0:{int(first):02d}:{second} for minutes and seconds."
        )
    if text.isdecimal():
        spelled = f"; whole minutes are cluster.timeout_min={text}" if key == "cluster.time" else ""
        raise ConfigError(f"{key} is {text}; it must be in {_FORMATS}{spelled}.")
    match = _WITH_DAYS.fullmatch(text) or _WITHOUT_DAYS.fullmatch(text)
    parts = {name: int(value or 0) for name, value in match.groupdict().items()} if match else {}
    minutes, seconds = parts.get("minutes", 0), parts.get("seconds", 0)
    too_large = minutes > 59 or seconds > 59 or ("days" in parts and parts["hours"] > 23)
    total = 60 * (24 * parts.get("days", 0) + parts.get("hours", 0)) + minutes + (1 if seconds else 0)
    if too_large or total < 1:
        raise ConfigError(f"{key} is {text}; it must be in {_FORMATS}, and at least a minute.")
    return total


def limits_by_ranks(time: object) -> dict[int | None, int]:
    """Return the time limits of ``cluster.time`` in minutes, by number of ranks; by None if all jobs share one.

    Args:
        time: a text, or a mapping such as ``{1: 8:00:00, 4: 2:00:00}``.

    Raises:
        ConfigError: for anything else; the sentence names the entry.
    """
    if isinstance(time, str):
        return {None: parse_time(time)}
    if not isinstance(time, Mapping) or not time:
        raise ConfigError(
            f"cluster.time is {shortened(time)}; it must be null, a time limit such as 1-12:00:00, or one by number of "
            "ranks such as {1: 8:00:00, 4: 2:00:00}."
        )
    limits: dict[int | None, int] = {}
    for ranks, text in time.items():
        is_count = re.fullmatch(r"[1-9]\d{0,8}", str(ranks)) is not None
        require(is_count, "a key of cluster.time", shortened(ranks), "a number of ranks, at least 1")
        key = f"cluster.time.{ranks}"
        require(isinstance(text, str), key, shortened(text), f"in {_FORMATS}")
        limits[int(ranks)] = parse_time(str(text), key)
    return limits


def refuse_time_as_minutes(value: object) -> None:
    """Raise ConfigError if a number of minutes was written as a time of day; the sentence says how to spell it."""
    if isinstance(value, str) and re.fullmatch(r"[\d:-]*[:-][\d:-]*", value.strip()):
        ambiguous = _AMBIGUOUS.fullmatch(value.strip())
        spelled = f"{value.strip()}:00" if ambiguous else value.strip()
        raise ConfigError(
            f"cluster.timeout_min is {value}; it must be whole minutes; a time is cluster.time={spelled}."
        )
