"""SLURM's spellings of a time limit."""

from __future__ import annotations

import re

from adabatch.errors import ConfigError

_FORMATS = "one of SLURM's formats D-HH:MM:SS, D-HH:MM, D-HH and HH:MM:SS"
_WITH_DAYS = re.compile(r"(?P<days>\d+)-(?P<hours>\d{1,2})(?::(?P<minutes>\d{1,2})(?::(?P<seconds>\d{1,2}))?)?")
_WITHOUT_DAYS = re.compile(r"(?P<hours>\d+):(?P<minutes>\d{1,2}):(?P<seconds>\d{1,2})")
_AMBIGUOUS = re.compile(r"(\d+):(\d{1,2})")


def parse_time(text: str) -> int:
    """Return a time limit such as ``1-12:00:00`` or ``4:00:00`` in minutes; as in SLURM, seconds are rounded up.

    Raises:
        ConfigError: for another format, for less than a minute, and for ``4:00``, which SLURM takes for four minutes
            and people for four hours.
    """
    ambiguous = _AMBIGUOUS.fullmatch(text)
    if ambiguous:
        first, second = ambiguous.groups()
        raise ConfigError(
            f"cluster.time is {text}, which is ambiguous; write {first}:{second}:00 for hours and minutes, "
            f"or 0:{int(first):02d}:{second} for minutes and seconds."
        )
    if text.isdecimal():
        raise ConfigError(
            f"cluster.time is {text}; it must be in {_FORMATS}; whole minutes are cluster.timeout_min={text}."
        )
    match = _WITH_DAYS.fullmatch(text) or _WITHOUT_DAYS.fullmatch(text)
    parts = {name: int(value or 0) for name, value in match.groupdict().items()} if match else {}
    minutes, seconds = parts.get("minutes", 0), parts.get("seconds", 0)
    too_large = minutes > 59 or seconds > 59 or ("days" in parts and parts["hours"] > 23)
    total = 60 * (24 * parts.get("days", 0) + parts.get("hours", 0)) + minutes + (1 if seconds else 0)
    if too_large or total < 1:
        raise ConfigError(f"cluster.time is {text}; it must be in {_FORMATS}, and at least a minute.")
    return total


def refuse_time_as_minutes(value: object) -> None:
    """Raise ConfigError if a number of minutes was written as a time of day; the sentence says how to spell it."""
    if isinstance(value, str) and re.fullmatch(r"[\d:-]*[:-][\d:-]*", value.strip()):
        ambiguous = _AMBIGUOUS.fullmatch(value.strip())
        spelled = f"{value.strip()}:00" if ambiguous else value.strip()
        raise ConfigError(
            f"cluster.timeout_min is {value}; it must be whole minutes; a time is cluster.time={spelled}."
        )
