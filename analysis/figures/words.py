"""Names that are too long for a line."""

from __future__ import annotations

import re

_PARTS = re.compile(r"[^\s_\-.,/=]*(?:\s%|[\s_\-.,/=])*")


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most ``width`` characters, broken behind spaces, "_", "-", ".", "," , "/" and "=".

    A part that is longer than a line has one of its own. A number and its "%" are one part.
    """
    lines = [""]
    for part in filter(None, _PARTS.findall(text)):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def name_lines(text: str, width: int) -> list[str]:
    """Return a name in lines as `wrapped`, but break between commas only what is longer than a line."""
    lines = [""]
    for phrase in re.split(r"(?<=, )", text):
        if len(lines[-1]) + len(phrase.rstrip()) <= width:
            lines[-1] += phrase
        else:
            lines += wrapped(phrase, width)
    return [line.rstrip() for line in lines if line]


def balanced(text: str, width: int) -> list[str]:
    """Return a text in as few lines as `wrapped`, of about equal lengths: no unit has a line of its own."""
    lines = wrapped(text, width)
    narrower = (wrapped(text, fewer) for fewer in range(1, width))
    return next((found for found in narrower if len(found) == len(lines)), lines)
