"""What the dashboard's page is made of, and what it holds as a function of a snapshot and a reader's choice."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from dash import dcc, html, no_update

from analysis.curves import colours, groups
from analysis.dashboard_parts import (
    FIGURES,
    count_by_state,
    counts_part,
    figure_part,
    narrow,
    run_table,
    tables_part,
)
from analysis.frames import Data
from analysis.live import Snapshot, find_run, in_order_of_attention, last_lines, progress_digest, run_rows
from analysis.tables import provenance

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 3
#: Runs beyond these are counted, not listed.
MAX_RUNS = 200
LOG_LINES = 12
#: What runs are filtered by: the column, and what it is called.
FILTERS = {"dataset": "data set", "network": "network", "arm": "arm"}
#: What changes: the name of each part of `view`, with the component and the property that hold it.
PARTS: dict[str, tuple[str, str]] = {
    "read": ("read", "children"),
    "problem": ("problem", "children"),
    "empty": ("empty", "children"),
    "hides_content": ("content", "hidden"),
    "counts": ("counts", "children"),
    **{f"{column}_options": (column, "options") for column in FILTERS},
    **{f"hides_{column}": (f"{column}-filter", "hidden") for column in FILTERS},
    "runs": ("runs", "children"),
    "runs_note": ("runs-note", "children"),
    "group_options": ("group", "options"),
    "group": ("group", "value"),
    "hides_group": ("group-filter", "hidden"),
    **{name: (name, "figure") for name in FIGURES},
    "tables": ("tables", "children"),
    "tables_note": ("tables-note", "children"),
    "provenance": ("provenance", "children"),
}
_LOST = (
    "The dashboard's server does not answer; what you see is no longer live. The page goes on by itself once the "
    "server is back. If it was stopped, start it again and open the address that it prints."
)


@dataclass(frozen=True)
class Choice:
    """What a reader has chosen; words that no run has show nothing.

    Attributes:
        filters: by column of ``runs`` the values to show; an empty list shows all.
        group: whose figures are drawn.
        run: the name of the run whose log is shown.
    """

    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    group: str | None = None
    run: str | None = None


@dataclass(frozen=True)
class _Part:
    """A part of the page: what identifies its content, and how that is made."""

    key: object
    make: Callable[[], object]

    @property
    def digest(self) -> str:
        return hashlib.blake2b(repr(self.key).encode(errors="replace"), digest_size=8).hexdigest()


def layout(title: str) -> html.Div:
    """Return the page before anything is known of the runs."""
    # Plotly would offer to send a figure to its maker.
    offers = {"showSendToCloud": False, "plotlyServerURL": ""}
    config: Any = {**offers, "displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}
    fill = {"height": "100%", "width": "100%"}
    graphs = [
        html.Div(dcc.Graph(id=name, responsive=True, config=config, style=fill), className="card") for name in FIGURES
    ]
    content = [
        html.Section(id="counts", className="card counts"),
        html.Section([_dropdown(column, word, multi=True) for column, word in FILTERS.items()], className="filters"),
        html.Section([html.Div(id="runs", className="scroll"), html.P(id="runs-note")], className="card"),
        html.Section(_dropdown("group", "curves of", multi=False), className="filters"),
        html.Section(graphs, className="figures"),
        html.Section([html.P(id="tables-note"), html.Div(id="tables")], className="card tables"),
        html.Footer(id="provenance"),
    ]
    return html.Div(
        [
            html.Div(_LOST, id="lost", hidden=True, role="alert"),
            html.Header([html.H1(title), html.P(id="read")]),
            html.P(id="problem", role="alert"),
            html.P("Reading the runs …", id="empty"),
            html.Main(content, id="content", hidden=True),
            dcc.Interval(id="tick", interval=1000 * REFRESH_SECONDS),
            dcc.Store(id="chosen"),
            dcc.Store(id="shown", data={}),
        ]
    )


def _dropdown(name: str, word: str, multi: bool) -> html.Div:
    shown = dcc.Dropdown(id=name, multi=multi, clearable=multi, placeholder="all", optionHeight="auto")
    return html.Div([html.Span(word), shown], id=f"{name}-filter", hidden=True, className="filter")


def view(snapshot: Snapshot, choice: Choice, shown: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what each of `PARTS` is to hold, and what identifies it.

    Args:
        shown: what identifies what the parts hold now; one that would hold the same again is ``no_update``.
    """
    content: dict[str, Any] = dict.fromkeys(PARTS, no_update)
    digests = dict(shown)
    for name, part in _parts(snapshot, choice).items():
        digest = part.digest
        if shown.get(name) != digest:
            try:
                content[name], digests[name] = part.make(), digest
            except Exception as error:  # a table that cannot be made must not take the other parts with it
                _log.exception("the dashboard's %s cannot be made", name)
                content["problem"], digests["problem"] = f"{name} cannot be shown: {type(error).__name__}: {error}", ""
    return content, digests


def _parts(snapshot: Snapshot, choice: Choice) -> dict[str, _Part]:
    plain: dict[str, object] = {
        "read": f"live, as of {snapshot.read_at:%H:%M:%S}",
        "problem": (snapshot.problem or "") if snapshot.data is not None else "",
        "empty": "" if snapshot.data is not None else f"No run yet. {snapshot.problem}",
        "hides_content": snapshot.data is None,
    }
    parts = {name: _plain(value) for name, value in plain.items()}
    if snapshot.data is not None:
        parts |= _content(snapshot, snapshot.data, choice)
    return parts


def _plain(value: object) -> _Part:
    return _Part(value, lambda: value)


def _content(snapshot: Snapshot, data: Data, choice: Choice) -> dict[str, _Part]:
    chosen = data.select(**{column: list(values) for column, values in choice.filters.items() if values})
    offered = groups(chosen)
    group = choice.group if choice.group in offered else next(iter(offered), None)
    arms = sorted(set(chosen.runs.arm))
    counts = count_by_state(chosen)
    palette = colours(data)
    listed = in_order_of_attention(chosen.runs)[:MAX_RUNS] if len(chosen.runs) > MAX_RUNS else chosen.runs
    rows = run_rows(snapshot.folder, data, listed)
    logs = _logs(snapshot, data, choice.run)
    epochs = progress_digest(data)
    compared = (snapshot.comparison_number, epochs, offered, arms)
    return {
        "counts": _Part((counts, len(data.runs)), lambda: counts_part(counts, len(data.runs))),
        "runs": _Part((rows, palette, choice.run, logs), lambda: run_table(rows, palette, choice.run, logs)),
        "runs_note": _plain(_runs_note(len(rows), len(chosen.runs))),
        **_options(data.runs),
        "group_options": _plain(offered),
        "group": _plain(group),
        "hides_group": _plain(len(offered) < 2),
        **{name: _figure(data, group, arms, name, epochs) for name in FIGURES},
        "tables": _Part(compared, lambda: _tables(snapshot, data, chosen)),
        "tables_note": _plain(_tables_note(snapshot)),
        "provenance": _Part(compared, lambda: _provenance(snapshot, data)),
    }


def _options(runs: pd.DataFrame) -> dict[str, _Part]:
    parts: dict[str, _Part] = {}
    for column in FILTERS:
        values = sorted(str(value) for value in runs[column].dropna().unique())
        parts |= {f"{column}_options": _plain(values), f"hides_{column}": _plain(len(values) < 2)}
    return parts


def _figure(data: Data, group: str | None, arms: Sequence[str], name: str, epochs: str) -> _Part:
    if group is None:
        return _Part(None, lambda: {"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}})
    return _Part((group, arms, epochs), lambda: figure_part(data, group, arms, name))


def _runs_note(listed: int, chosen: int) -> str:
    if not chosen:
        return "No run has what the filters ask for."
    if listed == chosen:
        return "A click on a run shows the last lines of its log."
    return (
        f"Listed are {listed:,} of {chosen:,} runs, failed and unfinished ones first; {chosen - listed:,} are not "
        "listed. Filters narrow the list; a click on a run shows the last lines of its log."
    )


def _logs(snapshot: Snapshot, data: Data, name: str | None) -> dict[str, list[str]]:
    """Return the last lines of the chosen run's files; the run is looked up by name, never by path."""
    run = None if name is None else find_run(snapshot.folder, data, name)
    if run is None:
        return {}
    logs = {file: last_lines(run, file, LOG_LINES) for file in ("FAILED", "log.txt")}
    return {file: lines for file, lines in logs.items() if lines}


def _tables_note(snapshot: Snapshot) -> str:
    if snapshot.comparison_problem:
        return snapshot.comparison_problem
    if snapshot.comparing:
        return "Results have changed; the arms are being compared." + (
            " The tables are those from before." if snapshot.comparison else ""
        )
    return ""


def _tables(snapshot: Snapshot, data: Data, chosen: Data) -> list[object]:
    return [] if snapshot.comparison is None else tables_part(narrow(snapshot.comparison, data, chosen))


def _provenance(snapshot: Snapshot, data: Data) -> str:
    if snapshot.comparison is None:
        return ""
    return " ".join(provenance(dataclasses.replace(snapshot.comparison, data=data)))
