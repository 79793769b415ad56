"""Run directories or wandb into frames, tables, figures, a report and a dashboard.

>>> import analysis
>>> data = analysis.load("runs/demo")
>>> comparison = analysis.compare(data)
>>> comparison.target, comparison.speedup, comparison.quality
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.collect import Collector, load
from analysis.comparison import Comparison
from analysis.frames import Data
from analysis.shown import compare

if TYPE_CHECKING:
    from analysis.paper_figures import save_figure
    from analysis.plots import all_plots, curve_plot
    from analysis.report import write_report

__all__ = [
    "Collector",
    "Comparison",
    "Data",
    "all_plots",
    "compare",
    "curve_plot",
    "load",
    "save_figure",
    "write_report",
]

_DRAWN = {
    "all_plots": "analysis.plots",
    "curve_plot": "analysis.plots",
    "save_figure": "analysis.paper_figures",
    "write_report": "analysis.report",
}


def __getattr__(name: str) -> Any:
    """Import what draws on first use only: a table needs no plotting library."""
    if name not in _DRAWN:
        raise AttributeError(f"analysis has no {name}; it has {', '.join(__all__)}.")
    import importlib

    return getattr(importlib.import_module(_DRAWN[name]), name)
