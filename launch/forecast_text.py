"""Formats forecasts as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from adabatch.shell.text_table import Output, Sentence, TextTable
from adabatch.terminal import duration
from launch.chain_forecast import averaging_sentence, device_sentences
from launch.forecast import ArmForecast, CellForecast
from launch.run_names import arm_and_levels, points_text

#: So many grid points are named.
_SHOWN_POINTS = 4


def forecast_text(cell: CellForecast) -> RenderableType:
    """Return a cell's forecast as a table followed by explanatory sentences; with and without CUDA graphs if known."""
    return forecasts_text([cell])


def forecasts_text(cells: Sequence[CellForecast]) -> RenderableType:
    """Return forecasts; those that differ in nothing but swept values are shown once."""
    alike: dict[CellForecast, list[CellForecast]] = {}
    for cell in cells:
        alike.setdefault(_without_levels(cell), []).append(cell)
    blocks = [_block(cell, members, [one.baseline for one in cells]) for cell, members in alike.items()]
    return Output(*(part for place, block in enumerate(blocks) for part in ([Text(""), *block] if place else block)))


def _without_levels(cell: CellForecast) -> CellForecast:
    arms = tuple(dataclasses.replace(arm, arm=arm_and_levels(arm.arm)[0]) for arm in cell.arms)
    other = None if cell.counterpart is None else _without_levels(cell.counterpart)
    return dataclasses.replace(cell, baseline=arm_and_levels(cell.baseline)[0], arms=arms, counterpart=other)


def _block(cell: CellForecast, members: Sequence[CellForecast], among: Sequence[str]) -> list[RenderableType]:
    points = points_text([one.baseline for one in members], among, _SHOWN_POINTS)
    alike = f"{len(members):,} grid points that are alike ({points})" if len(members) > 1 else points
    where = f" at {alike}" if points else ""
    title = f"forecast for {cell.cell}{where}, from micro-batches timed on {cell.device_model} at {cell.measured_at}"
    parts: list[RenderableType] = [Sentence(title, "bold"), _arms_table(cell, len(members))]
    parts += map(Sentence, _sentences(cell))
    if cell.counterpart is not None:
        parts += [Text(""), _graphs_table(cell, cell.counterpart), Sentence(_graphs_sentence(cell))]
    return parts


def _arms_table(cell: CellForecast, num_points: int) -> TextTable:
    headers = ["training a run", "growth a run", "tests a run", "device time, all runs", "speedup"]
    rows = []
    for arm in cell.arms:
        seconds = (arm.train_seconds, arm.growth_seconds, arm.test_seconds, 3600 * arm.device_hours * num_points)
        rows.append([arm.arm, *map(duration, seconds), _speedup_text(arm)])
    return TextTable(["arm", *headers], rows, right=headers)


def _graphs_table(cell: CellForecast, other: CellForecast) -> TextTable:
    """Return training and growth of every arm, and its speedup, without and with CUDA graphs side by side."""
    without, with_graphs = (other, cell) if cell.uses_graphs else (cell, other)
    headers = ["without graphs", "with graphs", "speedup without", "speedup with"]
    rows = []
    for plain, replayed in zip(without.arms, with_graphs.arms, strict=True):
        seconds = (one.train_seconds + one.growth_seconds for one in (plain, replayed))
        rows.append([plain.arm, *map(duration, seconds), _speedup_text(plain), _speedup_text(replayed)])
    limits = [
        f"{one.largest_speedup:.2f}x" if one.largest_speedup is not None else "unknown"
        for one in (without, with_graphs)
    ]
    rows.append(["limit of any schedule", "", "", *limits])
    return TextTable(["arm", *headers], rows, right=headers)


def _speedup_text(arm: ArmForecast) -> str:
    return "baseline" if arm.speedup is None else f"{arm.speedup:.2f}x"


def _graphs_sentence(cell: CellForecast) -> str:
    used = "These runs use CUDA graphs" if cell.uses_graphs else "These runs use no CUDA graphs"
    return (
        f"{used}. Graphs save the time to launch kernels, which a larger batch saves too: what a speedup loses by them "
        "was launches, not computation."
    )


def _signed_duration(seconds: float) -> str:
    """Return a time of a fitted line, which may be negative."""
    return duration(seconds) if seconds >= 0 else f"-{duration(-seconds)}"


def _sentences(cell: CellForecast) -> list[str]:
    smallest, largest = cell.sizes
    sentences = []
    if cell.fit is not None:
        sentences.append(
            f"A micro-batch of B samples takes about {_signed_duration(cell.fit.fixed_seconds)} + B x "
            f"{_signed_duration(cell.fit.seconds_per_sample)} on one device, "
            f"from {smallest:,} to {largest:,} and off by {100 * cell.fit.largest_misfit:.0f} % at worst."
        )
    if smallest < largest:
        sentences.append(
            f"A larger batch still pays at {largest:,} per device, the largest measured."
            if cell.pays_up_to is None
            else f"From {cell.pays_up_to:,} per device on, a larger batch, up to the {largest:,} "
            "measured, saves less than 5 % of the time per sample."
        )
    if cell.largest_speedup is not None:
        beyond = " or any larger ones" if cell.fit_is_trusted else ""
        sentences.append(
            f"No schedule over the same samples, with the micro-batches measured{beyond}, can be more than "
            f"{cell.largest_speedup:.2f}x as fast here as {cell.baseline}, regardless of accuracy."
        )
    sentences += device_sentences(cell)
    if cell.world_size > 1:
        sentences.append(averaging_sentence(cell))
    return sentences
