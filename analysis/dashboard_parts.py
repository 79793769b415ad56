"""The dashboard's counts and tables, from numbers made elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pandas as pd
from dash import html

from adabatch.rundir.states import State
from adabatch.terminal import counted
from analysis.comparison import Comparison
from analysis.dashboard_runs import aria_words, breakable, data_words
from analysis.frames import Data, shown_state
from analysis.live import STATES
from analysis.names import plain_arm
from analysis.table import Table, has_words, is_number
from analysis.tables import make_tables
from analysis.tones import tones

#: Rows of a table beyond these are counted, not listed.
MAX_ROWS = 100


def count_by_state(data: Data) -> dict[str, int]:
    """Return how many runs are in each state, those that want attention first."""
    counts = shown_state(data.runs).value_counts().to_dict()
    return {state: int(counts[state]) for state in STATES if state in counts}


def counts_text(counts: Mapping[str, int], total: int) -> str:
    """Return how many runs are done, and of how many.

    Args:
        total: of all runs, also those that a filter hides.
    """
    selected = sum(counts.values())
    said = f"{counts.get(State.DONE.value, 0):,} of {counted(selected, 'run')} done"
    return said + ("" if selected == total else f", {total - selected:,} more filtered out")


def counts_part(counts: Mapping[str, int], total: int, left: str) -> list[object]:
    """Return the number of done runs, a badge for each state, the time left and a bar: done, running, the others.

    Args:
        left: what is said of the time; empty if nothing is under way.
    """
    badges = [
        html.Span([html.B(f"{count:,}"), f" {state}"], className=f"badge {state}", **data_words(count=state))
        for state, count in counts.items()
    ]
    first = [State.DONE.value, State.RUNNING.value]
    in_bar = [*first, *(state for state in STATES if state not in first)]
    bar = [
        html.Div(className=f"fill-{state}", style={"flexGrow": counts[state]}, **data_words(part=state))
        for state in in_bar
        if state in counts
    ]
    said = [html.Span(left, id="left")] if left else []
    return [
        html.Strong(counts_text(counts, total)),
        html.Div(badges, className="badges"),
        *said,
        html.Div(bar, className="bar", **aria_words(hidden="true")),
    ]


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
    kinds = [_kind(table, column) for column in table.columns]
    head = html.Tr(
        [html.Th(name, className=kind, scope="col") for name, kind in zip(table.columns, kinds, strict=True)]
    )
    body = [
        html.Tr([_cell(*parts) for parts in zip(row, kinds, tones(table, row), strict=True)])
        for row in table.rows[:MAX_ROWS]
    ]
    hidden = len(table.rows) - MAX_ROWS
    left_out = f"Not listed: {counted(hidden, 'more row')}; filters narrow the table."
    notes = [*table.notes, *([left_out] if hidden > 0 else [])]
    # Who cannot use a mouse scrolls a wide table by keys, for which it must be able to have the focus.
    region = {"className": "scroll", "tabIndex": 0, "role": "region", **aria_words(label=table.title)}
    return [
        html.H3(table.title),
        html.Div(html.Table([html.Thead(head), html.Tbody(body)], **data_words(table=table.name)), **region),
        html.Ul(
            [
                html.Li(breakable(note.removeprefix("! ")), className="remark" if note.startswith("! ") else "")
                for note in notes
            ],
            className="notes",
        ),
    ]


def _kind(table: Table, column: str) -> str:
    """Return how a column is set; of the one that names a row a narrow page keeps sight."""
    named = "arm" if "arm" in table.columns else table.columns[0]
    return "name" if column == named else "number" if is_number(table, column) else ""


def _cell(cell: str, kind: str, tone: str) -> html.Td:
    is_count = kind == "number"
    words = "words" if is_count and has_words(cell) else ""
    return html.Td(cell if is_count else breakable(cell), className=" ".join(filter(None, (kind, words, tone))))
