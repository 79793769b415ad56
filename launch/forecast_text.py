"""Formats forecasts as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from launch.forecast import ArmForecast, CellForecast


def forecast_text(cell: CellForecast) -> RenderableType:
    """Return a cell's forecast as a table followed by explanatory sentences; with and without CUDA graphs if known."""
    title = f"forecast for {cell.cell}, from micro-batches timed on {cell.device_model} at {cell.measured_at}"
    parts: list[RenderableType] = [Text(title, style="bold"), _arms_table(cell), *map(Text, _sentences(cell))]
    if cell.counterpart is not None:
        parts += [Text(""), _graphs_table(cell, cell.counterpart), Text(_graphs_sentence(cell))]
    return Group(*parts)


def _table(headers: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("arm")
    for header in headers:
        table.add_column(header, justify="right", overflow="fold")
    return table


def _arms_table(cell: CellForecast) -> Table:
    table = _table(("training\ns a run", "growth\ns a run", "tests\ns a run", "hours,\nall runs", "speedup"))
    for arm in cell.arms:
        seconds = (arm.train_seconds, arm.growth_seconds, arm.test_seconds)
        table.add_row(arm.arm, *(f"{one:.3g}" for one in (*seconds, arm.device_hours)), _speedup_text(arm))
    return table


def _graphs_table(cell: CellForecast, other: CellForecast) -> Table:
    """Return training and growth of every arm, and its speedup, without and with CUDA graphs side by side."""
    without, with_graphs = (other, cell) if cell.uses_graphs else (cell, other)
    table = _table(("s without\ngraphs", "s with\ngraphs", "speedup\nwithout", "speedup\nwith"))
    for plain, replayed in zip(without.arms, with_graphs.arms, strict=True):
        seconds = (one.train_seconds + one.growth_seconds for one in (plain, replayed))
        table.add_row(plain.arm, *(f"{one:.3g}" for one in seconds), _speedup_text(plain), _speedup_text(replayed))
    limits = [
        f"{one.largest_speedup:.2f}x" if one.largest_speedup is not None else "unknown"
        for one in (without, with_graphs)
    ]
    table.add_row("limit of any schedule", "", "", *limits)
    return table


def _speedup_text(arm: ArmForecast) -> str:
    return "baseline" if arm.speedup is None else f"{arm.speedup:.2f}x"


def _graphs_sentence(cell: CellForecast) -> str:
    used = "These runs use CUDA graphs" if cell.uses_graphs else "These runs use no CUDA graphs"
    return (
        f"{used}. Graphs save the time to launch kernels, which a larger batch saves too: what a speedup loses by them "
        "was launches, not computation."
    )


def _sentences(cell: CellForecast) -> list[str]:
    smallest, largest = cell.sizes
    sentences = []
    if cell.fit is not None:
        sentences.append(
            f"A micro-batch of B samples takes about {1e3 * cell.fit.fixed_seconds:.3g} ms + B x "
            f"{1e3 * cell.fit.seconds_per_sample:.3g} ms on one device, "
            f"from {smallest} to {largest} and off by {100 * cell.fit.largest_misfit:.0f} % at worst."
        )
    if smallest < largest:
        sentences.append(
            f"A larger batch still pays at {largest} per device, the largest measured."
            if cell.pays_up_to is None
            else f"From {cell.pays_up_to} per device on, a larger batch, up to the {largest} measured, saves less than "
            "5 % of the time per sample."
        )
    if cell.largest_speedup is not None:
        beyond = " or any larger ones" if cell.fit_is_trusted else ""
        sentences.append(
            f"No schedule over the same samples, with the micro-batches measured{beyond}, can be more than "
            f"{cell.largest_speedup:.2f}x as fast here as {cell.baseline}, regardless of accuracy."
        )
    if cell.world_size > 1:
        sentences.append("Measured on one device: the time that ranks need to average their gradients is not included.")
    return sentences
