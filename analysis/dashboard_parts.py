"""The dashboard's parts: counts, the grid of runs, figures and tables, from numbers made elsewhere."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from dash import html

from adabatch.rundir.states import State
from adabatch.terminal import duration
from analysis.cells import NONE, percent
from analysis.comparison import Comparison
from analysis.formats import is_bad, is_good
from analysis.frames import Data, shown_state
from analysis.live import STATES, RunRow
from analysis.overall import plain_arm
from analysis.plots import curve_plot, time_plot
from analysis.tables import Table, make_tables

#: Rows of a table beyond these are counted, not listed.
MAX_ROWS = 100
FIGURES = (
    "accuracy_by_epoch", "accuracy_by_samples", "accuracy_by_seconds", "batch_size", "learning_rate", "time_by_span",
)  # fmt: skip
_RUN_COLUMNS = {
    "data and network": "", "arm": "", "seed": "number", "state": "", "progress": "", "epoch": "number",
    "batch size": "number", "accuracy, %": "number", "seconds": "number", "time left": "number", "cause": "",
}  # fmt: skip
_NUMBER = re.compile(r"[-+]?\d|–|not reached|unknown|$")


def _data(**words: str) -> dict[str, Any]:
    return {f"data-{name}": word for name, word in words.items()}


def _aria(**words: str) -> dict[str, Any]:
    return {f"aria-{name}": word for name, word in words.items()}


def count_by_state(data: Data) -> dict[str, int]:
    """Return how many runs are in each state, those that want attention first."""
    counts = shown_state(data.runs).value_counts().to_dict()
    return {state: int(counts[state]) for state in STATES if state in counts}


def counts_part(counts: Mapping[str, int], total: int) -> list[object]:
    """Return the number of done runs, a bar and a badge for each state.

    Args:
        total: of all runs, also those that a filter hides.
    """
    selected = sum(counts.values())
    said = f"{counts.get(State.DONE.value, 0):,} of {selected:,} runs done"
    said += "" if selected == total else f", {total - selected:,} more filtered out"
    in_bar = [state for state in reversed(STATES) if state in counts]
    bar = [html.Div(className=f"fill-{state}", style={"flexGrow": counts[state]}) for state in in_bar]
    badges = [
        html.Span([html.B(f"{count:,}"), f" {state}"], className=f"badge {state}", **_data(count=state))
        for state, count in counts.items()
    ]
    return [html.Strong(said), html.Div(badges, className="badges"), html.Div(bar, className="bar")]


def run_table(
    rows: Sequence[RunRow], palette: Mapping[str, str], chosen: str | None, logs: Mapping[str, Sequence[str]]
) -> html.Table:
    """Return the grid of runs; below the chosen one the last lines of its files.

    Args:
        palette: a colour by arm, that of the figures.
        logs: by file of the chosen run its last lines.
    """
    body = []
    for row in rows:
        body.append(_run_row(row, palette.get(row.arm, "#888"), row.name == chosen))
        if row.name == chosen:
            body.append(_log_row(row.name, logs))
    head = html.Tr([html.Th(name, className=kind) for name, kind in _RUN_COLUMNS.items()])
    return html.Table([html.Thead(head), html.Tbody(body)], className="runs")


def _run_row(row: RunRow, colour: str, is_chosen: bool) -> html.Tr:
    name = html.Button(row.group, **_aria(expanded="true" if is_chosen else "false"), title=f"{row.name}: its log")
    bar = html.Progress(value=f"{row.fraction:.4f}", max="1", className=row.state, **_aria(label=row.name))
    cells: Sequence[Any] = (
        name,
        [html.Span(className="dot", style={"background": colour}), row.arm],
        row.seed,
        html.Span(row.state, className=f"badge {row.state}"),
        [bar, html.Span(f"{100 * row.fraction:.0f} %", className="percent")],
        f"{row.epochs}/{'?' if row.num_epochs is None else row.num_epochs}",
        NONE if row.batch_size is None else f"{row.batch_size:,}",
        percent(row.accuracy, float("nan")),
        f"{row.seconds:,.1f}",
        duration(row.eta_seconds),
        html.Div(row.cause, title=row.cause),
    )
    named = zip(cells, _RUN_COLUMNS.items(), strict=True)
    content = [html.Td(cell, className=kind, **_data(column=column)) for cell, (column, kind) in named]
    return html.Tr(content, className="run chosen" if is_chosen else "run", **_data(run=row.name))


def _log_row(name: str, logs: Mapping[str, Sequence[str]]) -> html.Tr:
    said: list[Any] = [item for file, lines in logs.items() for item in (html.H4(file), html.Pre("\n".join(lines)))]
    content = [html.P(name, className="said"), *(said or [html.P("It has written no log yet.")])]
    return html.Tr(html.Td(content, colSpan=len(_RUN_COLUMNS)), className="log", **_data(log=name))


def figure_part(data: Data, group: str, arms: Sequence[str], name: str) -> go.Figure:
    """Return one of `FIGURES` for some arms of a group, in the colours that they have among all runs."""
    if name == "time_by_span":
        figure = time_plot(data.select(group=group, arm=list(arms)), group)
    else:
        # All runs, for the colours; the group's epochs only, for speed.
        figure = curve_plot(Data(data.runs, data.epochs[data.epochs.run.isin(_runs_of(data, group))]), group, name)
        figure.data = [trace for trace in figure.data if trace.legendgroup in arms]
        # A line of one point would not be seen.
        figure.update_traces({"mode": "markers"}, lambda trace: len(trace.x) == 1 and trace.name is not None)
    if not any(trace.x for trace in figure.data):
        said = "no run is done yet" if name == "time_by_span" else "no epoch is finished yet"
        figure.add_annotation(text=said, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    # Zoom and hidden lines survive a refresh, but not the change to another group.
    figure.update_layout(uirevision=group, showlegend=True)
    return figure


def _runs_of(data: Data, group: str) -> Sequence[str]:
    return list(data.runs.index[data.runs.group == group])


def narrow(comparison: Comparison, data: Data, shown: Data) -> Comparison:
    """Return the rows of a comparison that speak of some runs' groups and arms; no number is computed anew.

    What holds over all cells is left out unless all of them are chosen.

    Args:
        data: all runs as they are now.
        shown: the runs that are chosen.
    """
    pairs = set(zip(shown.runs.group, shown.runs.arm, strict=True))
    names = {group for group, _ in pairs}

    def rows(frame: pd.DataFrame) -> pd.DataFrame:
        kept = [key in pairs for key in zip(frame.group, frame.arm, strict=True)]
        return frame[pd.Series(kept, index=frame.index, dtype=bool)]

    overall = comparison.overall
    speaks_of_all = names >= set(comparison.quality.group)
    arms = {plain_arm(arm) for _, arm in pairs} if speaks_of_all else set()
    matching = dataclasses.replace(
        comparison.matching,
        refused=rows(comparison.matching.refused),
        marks={key: marks for key, marks in comparison.matching.marks.items() if key[:2] in pairs},
        baselines={group: arm for group, arm in comparison.matching.baselines.items() if group in names},
    )
    return dataclasses.replace(
        comparison,
        data=data,
        quality=rows(comparison.quality),
        speedup=rows(comparison.speedup),
        target=rows(comparison.target),
        overall=overall[overall.arm.isin(arms)],
        cost=rows(comparison.cost),
        split=rows(comparison.split),
        matching=matching,
    )


def tables_part(comparison: Comparison) -> list[object]:
    """Return all tables but that of unfinished runs, which the grid lists."""
    return [item for table in make_tables(comparison) if table.name != "unfinished" for item in _table(table)]


def _table(table: Table) -> list[object]:
    columns = list(zip(*table.rows, strict=True))
    kinds = ["number" if all(_NUMBER.match(cell) for cell in cells) else "" for cells in columns]
    head = html.Tr([html.Th(name, className=kind) for name, kind in zip(table.columns, kinds, strict=True)])
    body = [
        html.Tr([html.Td(cell, className=f"{kind} {_tone(cell)}") for cell, kind in zip(row, kinds, strict=True)])
        for row in table.rows[:MAX_ROWS]
    ]
    hidden = len(table.rows) - MAX_ROWS
    notes = [*table.notes, *([f"{hidden:,} more rows are not listed; filters narrow the table."] if hidden > 0 else [])]
    return [
        html.H3(table.title),
        html.Div(html.Table([html.Thead(head), html.Tbody(body)], **_data(table=table.name)), className="scroll"),
        html.Ul([html.Li(note, className="mark" if note.startswith("!") else "") for note in notes], className="notes"),
    ]


def _tone(cell: str) -> str:
    if is_bad(cell):
        return "bad"
    return "good" if is_good(cell) else ""
