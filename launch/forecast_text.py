"""Formats forecasts as text."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from launch.forecast import CellForecast


def forecast_text(cell: CellForecast) -> RenderableType:
    """Return a cell's forecast as a table followed by explanatory sentences."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("arm")
    for header in ("training\ns a run", "growth\ns a run", "tests\ns a run", "hours,\nall runs", "speedup"):
        table.add_column(header, justify="right", overflow="fold")
    for arm in cell.arms:
        table.add_row(
            arm.arm,
            *(f"{seconds:.3g}" for seconds in (arm.train_seconds, arm.growth_seconds, arm.test_seconds)),
            f"{arm.device_hours:.3g}",
            "baseline" if arm.speedup is None else f"{arm.speedup:.2f}x",
        )
    title = f"forecast for {cell.cell}, from micro-batches timed on {cell.device_model} at {cell.measured_at}"
    return Group(Text(title, style="bold"), table, *(Text(sentence) for sentence in _sentences(cell)))


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
