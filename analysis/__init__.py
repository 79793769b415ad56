"""Run directories or wandb into frames, tables, figures, a report and a dashboard.

>>> import analysis
>>> data = analysis.load("runs/demo")
>>> comparison = analysis.compare(data)
>>> comparison.target, comparison.speedup, comparison.quality
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.collect import Collector, load
    from analysis.comparison import Comparison
    from analysis.figures.files import save_figure
    from analysis.figures.paper import Sheet
    from analysis.figures.plot import plot
    from analysis.frames import Data
    from analysis.report import write_report
    from analysis.shown import compare

__all__ = [
    "Collector",
    "Comparison",
    "Data",
    "Sheet",
    "compare",
    "load",
    "plot",
    "save_figure",
    "write_report",
]

_MODULES = {
    "Collector": "analysis.collect",
    "Comparison": "analysis.comparison",
    "Data": "analysis.frames",
    "Sheet": "analysis.figures.paper",
    "compare": "analysis.shown",
    "load": "analysis.collect",
    "plot": "analysis.figures.plot",
    "save_figure": "analysis.figures.files",
    "write_report": "analysis.report",
}


def __getattr__(name: str) -> Any:
    """Import on first use only: help needs no pandas, and a table no plotting library."""
    if name not in _MODULES:
        raise AttributeError(f"analysis has no {name}; it has {', '.join(__all__)}.")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)
