"""Where the texts beside marks stand, the same on screen and on paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from analysis.figures.marks import Bar, Picture, Rule
from analysis.figures.ticks import axis_values, limits

Side = Literal["left", "center", "right"]
#: A text whose mark lies in the outer parts of the axis begins there, or ends there; others are centred.
_NEAR_THE_LEFT, _NEAR_THE_RIGHT = 0.3, 0.7
#: A letter's width as a share of a picture that is 300 pixels wide, and what a text may stand out at the right.
_LETTER, _BEYOND = 0.02, 0.08
#: A bar that ends beyond this part of the axis has no room for a text behind it, and one that starts beyond the other
#: has room in front of it.
_LONG_BAR, _LATE_BAR = 0.75, 0.4


def share_of(picture: Picture, x: float) -> float:
    """Return where a value lies between the ends of the x axis, from 0 to 1."""
    low, high = limits(picture, "x") or (min(axis_values(picture, "x")), max(axis_values(picture, "x")))
    if picture.x.scale in ("log2", "log10"):
        low, high, x = math.log(low), math.log(high), math.log(x)
    return 0.5 if low == high else (x - low) / (high - low)


def anchor(picture: Picture, x: float, text: str) -> Side:
    """Return which part of a text stands at a value of x, so that the text lies on the side that has room."""
    share, length = share_of(picture, x), _LETTER * len(text)
    usual: Side = "left" if share < _NEAR_THE_LEFT else "right" if share > _NEAR_THE_RIGHT else "center"
    starts: dict[Side, float] = {"left": share, "center": share - length / 2, "right": share - length}

    def outside(side: Side) -> float:
        return max(0.0, -starts[side]) + max(0.0, starts[side] + length - 1 - _BEYOND)

    sides: tuple[Side, ...] = (usual, "center", "left", "right")
    return min(sides, key=outside)


def bar_text_place(picture: Picture, bar: Bar) -> Literal["behind", "before", "above"]:
    """Return whether a bar's text stands behind its end, or, without room there, before its start or above its end."""
    if share_of(picture, end_of(bar)) <= _LONG_BAR:
        return "behind"
    return "before" if share_of(picture, start_of(bar)) > _LATE_BAR else "above"


def start_of(bar: Bar) -> float:
    """Return the left end of a bar."""
    return min(bar.start, bar.start + bar.length)


def end_of(bar: Bar) -> float:
    """Return the right end of a bar."""
    return max(bar.start, bar.start + bar.length)


@dataclass(frozen=True)
class RuleLabel:
    """Where the label of a vertical reference line stands, above the picture.

    Attributes:
        x: the line itself, or the middle of a shaded stretch.
        anchor: the part of the text that stands there.
        line: counted from 0 upwards; labels of several rules stand above each other.
    """

    x: float
    anchor: Side
    line: int


def rule_label(picture: Picture, rule: Rule) -> RuleLabel:
    """Return where the label of one of the picture's vertical rules stands."""
    labelled = [other for other in picture.marks if isinstance(other, Rule) and other.axis == "x" and other.label]
    x = rule.value if rule.end is None else (rule.value + rule.end) / 2
    return RuleLabel(x, anchor(picture, x, rule.label), labelled.index(rule))
