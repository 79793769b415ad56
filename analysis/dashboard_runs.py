"""The dashboard's table of runs, and how groups are called in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from dash import Patch, html

from adabatch.terminal import number_text, rough_duration
from analysis.cells import NONE, percent
from analysis.figures.arm_styles import ArmStyle
from analysis.live import RunRow
from analysis.names import arm_in, cell_and_levels, pieces, plain_arm, short_keys

_COLUMNS = {
    "arm": "", "seed": "number", "state": "", "progress": "", "epoch": "number", "batch size": "number",
    "accuracy, %": "number", "seconds": "number", "time left": "number", "cause": "",
}  # fmt: skip


def _heading(group: str) -> str:
    cell, levels = cell_and_levels(group)
    keys = short_keys(levels)
    return ", ".join([cell, *(level_words(keys[key], value) for key, value in levels.items())])


def level_words(key: str, value: str) -> str:
    """Return a swept value as in the figures, in one line: "weight decay = 0.0005"."""
    return f"{key_words(key)} = {value}".replace(" ", "\u00a0")


def key_words(key: str) -> str:
    """Return a key as in the figures: "weight decay"."""
    return key.replace("_", " ")


def breakable(text: str) -> list[Any]:
    """Return a long name that is broken, if it must be, behind its separators."""
    first, *others = pieces(text)
    return [first, *(piece for other in others for piece in (html.Wbr(), other))]


def aria_words(**words: str) -> dict[str, Any]:
    """Return properties for whoever does not see the page."""
    return {f"aria-{name}": word for name, word in words.items()}


def data_words(**words: str) -> dict[str, Any]:
    """Return properties by which the page's own script and style sheet know an element."""
    return {f"data-{name}": word for name, word in words.items()}


def run_table(
    rows: Sequence[RunRow], styles: Mapping[str, ArmStyle], chosen: str | None, logs: Mapping[str, Sequence[str]]
) -> html.Table:
    """Return the runs, those of one group below its name; below the chosen run the last lines of its files.

    Args:
        styles: by plain name of an arm how it looks in the figures.
        logs: by file of the chosen run its last lines.
    """
    head = html.Tr([_head(name, kind) for name, kind in _COLUMNS.items()], role="row")
    bodies = [
        html.Tbody([_group_row(group), *(tr for _, tr in _rows(members, styles, chosen, logs))], role="rowgroup")
        for group, members in groupby(rows, key=lambda row: row.group)
    ]
    # With roles, because on a phone the rows are cards, and browsers forget that they are rows.
    return html.Table(
        [html.Thead(head, role="rowgroup"), *bodies], className="runs", role="table", **aria_words(label="runs")
    )


def rows_patch(
    rows: Sequence[RunRow],
    styles: Mapping[str, ArmStyle],
    chosen: str | None,
    logs: Mapping[str, Sequence[str]],
    names: Collection[str],
) -> Patch:
    """Return the change of a `run_table` that replaces the rows of some runs, and leaves all else."""
    patch = Patch()
    bodies = groupby(rows, key=lambda row: row.group)
    for body, (_, members) in enumerate(bodies, start=1):  # after the table's head
        for place, (name, row) in enumerate(_rows(members, styles, chosen, logs), start=1):  # after the group's name
            if name in names:
                patch["props"]["children"][body]["props"]["children"][place] = row
    return patch


def _head(name: str, kind: str) -> html.Th:
    return html.Th(name, className=kind, scope="col", role="columnheader", **data_words(column=name))


def _group_row(group: str) -> html.Tr:
    name = html.Th(_heading(group), colSpan=len(_COLUMNS), scope="rowgroup", role="rowheader", title=group)
    return html.Tr(name, className="group", role="row", **data_words(group=group))


def _rows(
    rows: Iterable[RunRow], styles: Mapping[str, ArmStyle], chosen: str | None, logs: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, html.Tr]]:
    """Yield the rows of a table with the name of the run that each is about."""
    for row in rows:
        yield row.name, _run_row(row, styles.get(plain_arm(row.arm)), row.name == chosen)
        if row.name == chosen:
            yield row.name, _log_row(row.name, logs)


def _run_row(row: RunRow, style: ArmStyle | None, is_chosen: bool) -> html.Tr:
    arm = arm_in(row.group, row.arm)
    said = f"{arm}, seed {row.seed}: log" if row.seed else f"{arm}: log"
    colours = {} if style is None else {"--arm-light": style.colour, "--arm-dark": style.dark_colour}
    button = html.Button(
        [html.Span(className="dot", style=colours), html.Span(breakable(arm), className="name")],
        title=f"{row.name}: its log",
        **aria_words(expanded="true" if is_chosen else "false", label=said),
    )
    done = aria_words(label=f"progress of {arm}")
    bar = html.Progress(value=f"{row.fraction:.4f}", max="1", className=row.state, **done)
    cells: Sequence[Any] = (
        button,
        row.seed,
        html.Span(row.state, className=f"badge {row.state}"),
        [bar, html.Span(f"{100 * row.fraction:.0f} %", className="percent")],
        f"{row.epochs}/{'?' if row.num_epochs is None else row.num_epochs}",
        NONE if row.batch_size is None else number_text(row.batch_size),
        percent(row.accuracy),
        f"{row.seconds:,.1f}" if row.seconds else NONE,
        rough_duration(row.eta_seconds),
        html.Div(breakable(row.cause), title=row.cause) if row.cause else "",
    )
    named = zip(cells, _COLUMNS.items(), strict=True)
    content = [
        html.Td(cell, className=f"{kind} none" if cell == NONE else kind, role="cell", **data_words(column=column))
        for cell, (column, kind) in named
    ]
    return html.Tr(content, className="run chosen" if is_chosen else "run", role="row", **data_words(run=row.name))


def _log_row(name: str, logs: Mapping[str, Sequence[str]]) -> html.Tr:
    said: list[Any] = [item for file, lines in logs.items() for item in (html.H4(file), html.Pre("\n".join(lines)))]
    content = [html.P(name, className="said"), *(said or [html.P("It has written no log yet.")])]
    cell = html.Td(content, colSpan=len(_COLUMNS), role="cell")
    return html.Tr(cell, className="log", role="row", **data_words(log=name))
