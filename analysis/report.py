"""One self-contained page: tables, figures, failures, provenance and the data itself.

plotly's code and the figures are most of a page: they are compressed, and the browser unpacks them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import adabatch
from adabatch.files import output
from adabatch.reading import printable
from analysis.comparison import Comparison
from analysis.curves import groups
from analysis.embedded import packed, packed_csv
from analysis.formats import numbers, to_html
from analysis.plots import all_plots, profile_plot
from analysis.tables import make_tables, provenance

#: Of the page, what the epochs may take, compressed and as text. With all else, a page of 1,000 runs stays below 6 MB.
MOST_EPOCHS_CHARACTERS = 2_500_000
#: plotly's own buttons would send the figure to a server.
_PLOT_CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False, "plotlyServerURL": ""}
_RUN_COLUMNS = ["cell", "arm", "seed", "state", "cause", "git_sha", "git_dirty", "torch", "device_model", "config_hash"]


def write_report(comparison: Comparison, path: str | Path, title: str) -> Path:
    """Write the page; it loads nothing from anywhere, and its tables need no JavaScript.

    It carries the frames as compressed CSV; of the epochs, which are most of them, only as much as
    `MOST_EPOCHS_CHARACTERS`, and the page says where they are otherwise.

    Example:
        >>> analysis.write_report(analysis.compare(data), "report.html", "My sweep")
    """
    from plotly.offline import get_plotlyjs

    data = comparison.data
    environment = Environment(
        loader=PackageLoader("analysis"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    sections = list(_sections(comparison))
    page = environment.get_template("report.html.jinja").render(
        title=printable(title),
        version=adabatch.__version__,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        provenance=[printable(sentence) for sentence in provenance(comparison)],
        tables=Markup(to_html(make_tables(comparison))),
        sections=[(heading, list(figures)) for heading, figures in sections],
        plotly_js=packed(get_plotlyjs().encode()),
        figures=packed(_figures(sections).encode()),
        plot_config=Markup(json.dumps(_PLOT_CONFIG)),
        runs=Markup(_run_table(data.runs)),
        numbers_csv=packed_csv(numbers(comparison)),
        runs_csv=packed_csv(data.runs.reset_index(names="run")),
        epochs_csv=packed_csv(data.epochs, MOST_EPOCHS_CHARACTERS),
        num_epochs=len(data.epochs),
        most_megabytes=MOST_EPOCHS_CHARACTERS / 1e6,
    )
    with output("-o", Path(path)) as file:
        file.write_text(page, encoding="utf-8")
    return Path(path)


def _sections(comparison: Comparison) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield by heading the figures below it: JSON by the name of its place in the page."""
    drawn = comparison.counted
    for number, group in enumerate(groups(drawn), start=1):
        yield group, {f"figure-{number}-{name}": str(plot.to_json()) for name, plot in all_plots(drawn, group).items()}
    yield "All together", {"figure-performance_profile": str(profile_plot(comparison).to_json())}


def _figures(sections: list[tuple[str, dict[str, str]]]) -> str:
    members = [f"{json.dumps(name)}: {figure}" for _, figures in sections for name, figure in figures.items()]
    return "{" + ", ".join(members) + "}"


def _run_table(runs: pd.DataFrame) -> str:
    shown = runs.reindex(columns=_RUN_COLUMNS).assign(git_sha=runs.git_sha.str[:8])
    shown.insert(0, "run", runs.index)
    texts = shown.astype(object).map(lambda value: printable(value) if isinstance(value, str) else value)
    return str(texts.to_html(index=False, na_rep="", border=0, classes="table runs"))
