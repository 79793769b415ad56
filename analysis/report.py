"""One self-contained page: tables, figures, failures, provenance and the data itself."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import adabatch
from adabatch.files import write_text_atomic
from analysis.comparison import Comparison
from analysis.curves import groups
from analysis.formats import numbers, to_html
from analysis.plots import all_plots, profile_plot
from analysis.tables import make_tables, provenance

#: plotly's own buttons would send the figure to a server.
_PLOT_CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False, "plotlyServerURL": ""}
_RUN_COLUMNS = ["cell", "arm", "seed", "state", "cause", "git_sha", "git_dirty", "torch", "device_model", "config_hash"]


def write_report(comparison: Comparison, path: str | Path, title: str) -> Path:
    """Write the page; it loads nothing from anywhere, and its tables need no JavaScript.

    Example:
        >>> analysis.write_report(analysis.compare(data), "report.html", "My sweep")
    """
    from plotly.offline import get_plotlyjs

    data = comparison.data
    environment = Environment(
        loader=PackageLoader("analysis"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    drawn = comparison.counted
    figures = [
        (group, [(name, _html(figure)) for name, figure in all_plots(drawn, group).items()]) for group in groups(drawn)
    ]
    page = environment.get_template("report.html.jinja").render(
        title=title,
        version=adabatch.__version__,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        provenance=provenance(comparison),
        plotly_js=Markup(get_plotlyjs()),
        tables=Markup(to_html(make_tables(comparison))),
        figures=[*figures, ("All together", [("performance_profile", _html(profile_plot(comparison)))])],
        runs=Markup(_run_table(data.runs)),
        numbers_csv=_data_url(numbers(comparison)),
        runs_csv=_data_url(data.runs.reset_index(names="run")),
        epochs_csv=_data_url(data.epochs),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(path, page)
    return path


def _html(figure: object) -> Markup:
    html = figure.to_html(full_html=False, include_plotlyjs=False, config=_PLOT_CONFIG)  # type: ignore[attr-defined]
    return Markup(html)


def _run_table(runs: pd.DataFrame) -> str:
    shown = runs.reindex(columns=_RUN_COLUMNS).assign(git_sha=runs.git_sha.str[:8])
    shown.insert(0, "run", runs.index)
    return str(shown.astype(object).to_html(index=False, na_rep="", border=0, classes="table runs"))


def _data_url(frame: pd.DataFrame) -> str:
    content = base64.b64encode(frame.to_csv(index=False).encode()).decode()
    return f"data:text/csv;charset=utf-8;base64,{content}"
