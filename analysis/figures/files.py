"""Pictures of a comparison, by name, into a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from adabatch.errors import ConfigError
from adabatch.fields import require
from analysis.comparison import Comparison
from analysis.figures.marks import Picture
from analysis.figures.paper import Block, Sheet, save
from analysis.figures.registry import PICTURES, build
from analysis.figures.source import Source, groups, level_names, source_of
from analysis.frames import Data
from analysis.order import arm_names

DEFAULT = ("batch_size", "accuracy_by_epoch", "accuracy_by_seconds")


def save_figure(
    runs: Comparison | Data,
    path: str | Path,
    pictures: Sequence[str] = DEFAULT,
    group: str | None = None,
    *,
    arms: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    sheet: Sheet | None = None,
) -> Path:
    """Draw pictures side by side into a file; its suffix (.pdf, .svg, .png) says which kind.

    Each group has its panels, headed by what tells it from the others; a picture over all groups is drawn once.

    Args:
        runs: a comparison, of which the finished runs that are in numbers are drawn, or frames, of which all are;
            pictures of compared arms need a comparison.
        pictures: names of `analysis.figures.registry.PICTURES`.
        group: one of the groups; all by default.
        arms: plain names of the arms to draw, in this order; all by default.
        labels: by plain name what an arm is called.
        sheet: size, font and style.

    Raises:
        ConfigError: for an unknown name, group, arm, suffix or style, or where nothing can be drawn.

    Example:
        >>> analysis.save_figure(data, "figure.pdf", ["batch_size", "accuracy_by_seconds"])
    """
    for name in pictures:
        require(name in PICTURES, "the picture", name, "one of " + ", ".join(PICTURES))
    everything = runs.data if isinstance(runs, Comparison) else runs
    known = arm_names(everything)
    for arm in (*(arms or ()), *(labels or ())):
        require(arm in known, "the arm", arm, "one of " + ", ".join(known))
    source = source_of(runs, arms, labels)
    names = [source.label(arm) for arm in source.styles]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{name} is the name of two arms in the figure; each must have a name of its own.")
    drawn = groups(source.data)
    if not drawn:
        raise ConfigError("There is nothing to draw: no run is done and comparable.")
    require(group is None or group in drawn, "the group", group, "one of " + ", ".join(drawn))
    blocks = _blocks(source, pictures, drawn, drawn if group is None else [group])
    reasons = [picture.empty for block in blocks for picture in block.pictures]
    if all(reasons):
        raise ConfigError(f"There is nothing to draw: {reasons[0]}")
    return save(blocks, Path(path), sheet or Sheet())


def _blocks(source: Source, names: Sequence[str], known: Sequence[str], chosen: Sequence[str]) -> list[Block]:
    """Return the panels of each group, then those over all groups."""
    by_group = [name for name in names if PICTURES[name].is_per_group]
    over_all = tuple(build(name, source) for name in names if not PICTURES[name].is_per_group)
    heads = level_names(known) if len(chosen) > 1 else dict.fromkeys(chosen, "")
    blocks = [Block(heads[group], _panels(source, by_group, group)) for group in chosen if by_group]
    return [*blocks, *([Block("", over_all)] if over_all else [])]


def _panels(source: Source, names: Sequence[str], group: str) -> tuple[Picture, ...]:
    return tuple(build(name, source, group) for name in names)
