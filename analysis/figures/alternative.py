"""What pictures say, in words, for those who do not see them."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.figures.marks import Axis, Bar, Cell, Interval, Line, Mark, Picture, Points
from analysis.figures.ticks import number_text


def alternative_text(picture: Picture) -> str:
    """Return what the picture says: its title, its axes, and the numbers of its marks as they are written elsewhere."""
    if picture.empty:
        return f"{picture.title}. {picture.empty}"
    axes = " against ".join(label for label in (picture.y.label, picture.x.label) if label)
    parts = (picture.title, axes, picture.summary or _said(picture))
    return ". ".join(part.rstrip(".") for part in parts if part) + "."


def _said(picture: Picture) -> str:
    """Return what each mark says; marks of one row, such as the parts of a bar, are said together."""
    rows = _row_names(picture.y)
    by_name: dict[str, list[str]] = {}
    for mark in picture.marks:
        name, text = _name_and_text(mark, picture, rows)
        if text:
            by_name.setdefault(name, []).append(text.replace("<br>", ", "))
    return "; ".join(f"{name}: {', '.join(dict.fromkeys(texts))}" for name, texts in by_name.items())


def _name_and_text(mark: Mark, picture: Picture, rows: Mapping[int, str]) -> tuple[str, str]:
    if isinstance(mark, Line) and mark.style is not None and len(mark.y):
        return mark.label, f"ends at {number_text(float(f'{mark.y[-1]:.4g}'))}"
    if isinstance(mark, Points):
        return mark.label, "; ".join(mark.hover)
    if isinstance(mark, (Interval, Bar)):
        return rows[mark.row], (mark.hover or mark.text).removeprefix(f"{picture.y.categories[mark.row]}: ")
    if isinstance(mark, Cell):
        return rows[mark.row], f"{picture.x.categories[mark.column]} {mark.hover or mark.text}"
    return "", ""


def _row_names(axis: Axis) -> dict[int, str]:
    """Return by row its name, behind that of its heading."""
    found = {}
    heading = ""
    for row, name in enumerate(axis.categories):
        heading = name if row in axis.headings else heading
        found[row] = name if row in axis.headings or not heading else f"{heading}, {name}"
    return found
