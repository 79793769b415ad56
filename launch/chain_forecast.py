"""What a forecast says of several ranks: time, what it costs in devices, and what is left out."""

from __future__ import annotations

from launch.forecast import CellForecast


def device_sentences(cell: CellForecast) -> list[str]:
    """Return a sentence for each arm of which the forecast compares device-hours with the baseline's."""
    sentences = []
    for arm in cell.arms:
        if arm.speedup is not None and arm.device_cost is not None:
            words = f"{arm.speedup:.2f}x in time for {arm.device_cost:.2f}x the device-hours of {cell.baseline}."
            costs_more = arm.device_cost > max(1.0, arm.speedup)
            sentences.append(
                f"{arm.arm}: {words}" + (" It costs more device-hours than it saves." if costs_more else "")
            )
    return sentences


def averaging_sentence(cell: CellForecast) -> str:
    """Return what a forecast of several ranks says of the averaging of their gradients."""
    if cell.includes_averaging:
        return "The ranks' averaging of gradients is included, timed by itself; the backward pass may hide part of it."
    return "Measured on one device: the time that ranks need to average their gradients is not included."
