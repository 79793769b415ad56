"""What the parts of the dashboard's page hold, as a function of a snapshot and a reader's choice."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dash import dcc, html, no_update

from adabatch.rundir.heartbeat import Beat
from analysis.dashboard_answer import MOST_WEIGHT, REFRESH_SECONDS, Made, Part, answer, plain
from analysis.dashboard_figures import (
    AROUND,
    CURVES_OF_GROUP,
    FIGURES,
    OPTIONAL,
    RESULTS,
    Shown,
    around,
    empty_figure,
    figure_part,
    now_patch,
    of_group,
    running_now,
)
from analysis.dashboard_filters import controls, filtered, filters_of, labelled
from analysis.dashboard_parts import count_by_state, counts_part, counts_text, narrow, tables_part
from analysis.dashboard_runs import aria_words, level_words, rows_patch, run_table
from analysis.figures.arm_styles import ArmStyle, arm_styles
from analysis.figures.registry import PICTURES
from analysis.figures.source import groups
from analysis.figures.themes import Theme
from analysis.frames import Data
from analysis.live import (
    RunRow,
    Snapshot,
    find_run,
    in_order_of_attention,
    in_order_of_groups,
    last_lines,
    progress_digest,
    read_beats,
    run_rows,
    time_left_of,
)
from analysis.names import group_labels
from analysis.tables_of_runs import batch_ranges, provenance

#: Runs beyond these are counted, not listed.
MAX_RUNS = 200
LOG_LINES = 12
_FIRST_TABLES_SECONDS = 1.0
#: What changes: the name of each part of `view`, with the component and the property that hold it.
PARTS: dict[str, tuple[str, str]] = {
    "read": ("read", "children"),
    "problem": ("problem", "children"),
    "empty": ("empty", "children"),
    "hides_content": ("content", "hidden"),
    "counts": ("counts", "children"),
    "counts_said": ("counts-said", "children"),
    "filters": ("filters", "children"),
    "runs": ("runs", "children"),
    "runs_note": ("runs-note", "children"),
    "hides_all_else": ("of-chosen-runs", "hidden"),
    "group_options": ("group", "options"),
    "group": ("group", "value"),
    "hides_group": ("groups", "hidden"),
    **{name: (name, "figure") for name in FIGURES},
    **{f"{name}_{part}": (f"{name}-{part}", property) for name in FIGURES for part, property in AROUND.items()},
    "tables": ("tables", "children"),
    "tables_note": ("tables-note", "children"),
    "provenance": ("provenance", "children"),
    "pause": ("tick", "interval"),
}
_LOST = (
    "The dashboard's server does not answer; what you see is no longer live. The page goes on by itself once the "
    "server is back. If it was stopped, start it again and open the address that it prints."
)


@dataclass(frozen=True)
class Choice:
    """What a reader has chosen; words that no run has show nothing.

    Attributes:
        filters: by key the values to show, see `filters_of`; an empty list shows all.
        group: whose figures are drawn.
        run: the name of the run whose log is shown.
        theme: which figures follow.
    """

    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    group: str | None = None
    run: str | None = None
    theme: Theme = "light"


def layout(title: str) -> html.Div:
    """Return the page before anything is known of the runs."""
    content = [
        html.Section(id="counts", className="card counts"),
        html.P(id="counts-said", className="said-only", role="status"),
        html.Section(id="filters", className="filters"),
        html.Section(
            [html.Div(id="runs", className="scroll", tabIndex=0), html.P(id="runs-note")],
            className="card",
            **aria_words(label="Runs"),
        ),
        html.Div(_of_chosen_runs(), id="of-chosen-runs"),
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
            dcc.Store(id="theme"),
            dcc.Store(id="chosen-filters"),
        ],
        id="page",
    )


def _of_chosen_runs() -> list[html.Section]:
    return [
        html.Section([_graph(name) for name in RESULTS], className="figures", **aria_words(label="Results")),
        html.Section(labelled("curves of", "group", clearable=False), id="groups", className="filters", hidden=True),
        html.Section([_graph(name) for name in CURVES_OF_GROUP], className="figures", **aria_words(label="Curves")),
        html.Section([html.P(id="tables-note"), html.Div(id="tables")], className="card tables"),
    ]


def _graph(name: str) -> html.Div:
    # Plotly would offer to send a figure to its maker.
    offers = {"showSendToCloud": False, "plotlyServerURL": ""}
    config: Any = {**offers, "displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}
    graph = dcc.Graph(id=name, responsive=True, config=config)
    content = [
        html.P(id=f"{name}-said", className="said-only"),
        html.H3(id=f"{name}-title"),
        html.Ul(id=f"{name}-legend", className="legend"),
        html.Div(graph, id=f"{name}-size", className="plot"),
        html.P(id=f"{name}-notes", className="figure-notes"),
    ]
    words: Any = {"role": "figure", **aria_words(labelledby=f"{name}-said")}
    return html.Div(content, id=f"{name}-card", hidden=name in OPTIONAL, className="card", **words)


def view(
    snapshot: Snapshot, choice: Choice, shown: Mapping[str, str], made: Made | None = None, seconds: float = math.inf
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what each of `PARTS` is to hold, and what identifies it; what stays as it is, is ``no_update``.

    Args:
        shown, made, seconds: see `answer`.
    """
    # The first tables are there as soon as the arms are compared.
    pause = _FIRST_TABLES_SECONDS if snapshot.comparing and snapshot.comparison is None else REFRESH_SECONDS
    content, digests = answer(_parts(snapshot, choice), shown, made or Made(), seconds, pause)
    return dict.fromkeys(PARTS, no_update) | content, digests


def _parts(snapshot: Snapshot, choice: Choice) -> dict[str, Part]:
    values: dict[str, object] = {
        "read": f"live, as of {snapshot.read_at:%H:%M:%S}",
        "problem": (snapshot.problem or "") if snapshot.data is not None else "",
        "empty": "" if snapshot.data is not None else f"No run yet. {snapshot.problem}",
        "hides_content": snapshot.data is None,
    }
    parts = {name: plain(value) for name, value in values.items()}
    if snapshot.data is not None:
        parts |= _content(snapshot, snapshot.data, choice)
    return parts


def _content(snapshot: Snapshot, data: Data, choice: Choice) -> dict[str, Part]:
    chosen = filtered(data, choice.filters)
    offered = groups(chosen)
    group = choice.group if choice.group in offered else next(iter(offered), None)
    arms = sorted(set(chosen.runs.arm))
    counts = count_by_state(chosen)
    beats = read_beats(data.runs)
    left = time_left_of(chosen.runs, data.runs).left_text
    styles = arm_styles(data)
    is_too_long = len(chosen.runs) > MAX_RUNS
    listed = (
        in_order_of_attention(chosen.runs)[:MAX_RUNS] if is_too_long else in_order_of_groups(chosen.runs, list(styles))
    )
    rows = run_rows(snapshot.folder, data, listed, beats)
    logs = _logs(snapshot, data, choice.run)
    compared = (snapshot.comparison_number, offered, arms)
    comparison = None if snapshot.comparison is None else narrow(snapshot.comparison, data, chosen)
    shown = None if group is None else Shown(data, comparison, arms, group)
    figures = _figures(shown, compared, choice.theme, beats)
    return {
        "counts": Part((counts, len(data.runs), left), lambda: counts_part(counts, len(data.runs), left)),
        "counts_said": plain(counts_text(counts, len(data.runs))),
        "runs": _runs(rows, styles, choice.run, logs),
        "runs_note": _runs_note(len(rows), len(chosen.runs)),
        "hides_all_else": plain(not offered),
        "filters": _filters(data, choice.filters),
        "group_options": plain(_named(offered)),
        "group": plain(group),
        "hides_group": plain(len(offered) < 2),
        **{name: figures[name] for name in RESULTS},
        "tables": Part(
            # Of runs that still train, tables tell the batch size.
            (compared, None if comparison is None else batch_ranges(comparison)),
            lambda: [] if comparison is None else tables_part(comparison),
            weight=0 if comparison is None else MOST_WEIGHT,
        ),
        "tables_note": plain(_tables_note(snapshot)),
        **figures,
        "provenance": plain(_provenance(snapshot, data)),
    }


def _filters(data: Data, chosen: Mapping[str, Sequence[str]]) -> Part:
    offered = filters_of(data, chosen)
    # Who has chosen sees it, and would lose what he chooses meanwhile.
    return Part(offered, lambda: controls(offered, chosen), live_key=dict(chosen), change=lambda: no_update)


def _runs(
    rows: Sequence[RunRow], styles: Mapping[str, ArmStyle], chosen: str | None, logs: Mapping[str, Sequence[str]]
) -> Part:
    moving = {row.name for row in rows if row.moves or row.name == chosen}
    return Part(
        ([row.name if row.name in moving else row for row in rows], styles, chosen),
        lambda: run_table(rows, styles, chosen, logs),
        weight=MOST_WEIGHT,
        waits=False,  # what a filter leaves, and the states, agree with the counts above
        live_key=([row for row in rows if row.name in moving], logs),
        change=lambda: rows_patch(rows, styles, chosen, logs, moving),
    )


def _named(offered: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"value": group, "label": label, "title": group} for group, label in group_labels(offered, level_words).items()
    ]


def _figures(shown: Shown | None, compared: object, theme: Theme, beats: Mapping[str, Beat]) -> dict[str, Part]:
    if shown is None:
        return {name: Part(None, empty_figure, _follow(name)) for name in FIGURES}
    epochs = progress_digest(of_group(shown.data, shown.group).runs)
    now = running_now(shown, beats)

    def part(name: str) -> Part:
        kind = PICTURES[name]
        made_of = compared if kind.needs_comparison else epochs
        return Part(
            (shown.group if kind.is_per_group else None, shown.arms, theme, made_of),
            lambda: figure_part(shown, name, theme, now[name]),
            _follow(name),
            weight=1,
            live_key=now[name],
            change=lambda: now_patch(now[name]),
        )

    return {name: part(name) for name in FIGURES}


def _follow(name: str) -> Callable[[Any], dict[str, object]]:
    return lambda figure: around(name, figure)


def _runs_note(listed: int, chosen: int) -> Part:
    if not chosen:
        return plain("No run has what the filters ask for.")
    hidden = chosen - listed
    said = (
        f"Listed are {listed:,} of {chosen:,} runs, failed and unfinished ones first; {hidden:,} are not listed. "
        if hidden
        else ""
    )
    on_screen = ("Filters narrow the list; a" if hidden else "A") + " click on a run shows the last lines of its log."
    return Part((listed, chosen), lambda: [said, html.Span(on_screen, className="on-screen")])


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


def _provenance(snapshot: Snapshot, data: Data) -> str:
    if snapshot.comparison is None:
        return ""
    return " ".join(provenance(dataclasses.replace(snapshot.comparison, data=data)))
