"""Tables as text, Markdown, LaTeX, HTML, CSV and JSON."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from adabatch.reading import printable
from adabatch.shell.text_table import Output, Sentence, TextTable
from analysis.comparison import Comparison
from analysis.embedded import for_spreadsheets
from analysis.frames import Data, records
from analysis.latex import to_latex
from analysis.table import JOINED, Table, is_number
from analysis.tables import make_tables
from analysis.tables_of_runs import provenance
from analysis.tones import BAD, GOOD, tones

FORMATS = ("text", "markdown", "latex", "csv", "json")
_TARGET_NUMBERS = (
    "target", "reached", "n", "reached_low", "reached_high", "baseline_reached", "baseline_n", "median_seconds",
    "baseline_median_seconds", "median_samples", "p_value",
)  # fmt: skip
_STYLES = {GOOD: "green", BAD: "red", "": ""}
#: Of the frames, what identifies a row.
_KEYS = ("group", "arm", "baseline")


def to_text(tables: Sequence[Table], closing: Sequence[str] = ()) -> RenderableType:
    """Return the tables for a terminal."""
    parts: list[RenderableType] = []
    for table in tables:
        parts += [Sentence(table.title, "bold"), _text_table(table)]
        parts += [Sentence(note, "yellow" if note.startswith("!") else "dim") for note in table.notes]
        parts.append(Text(""))
    return Output(*parts, *(Sentence(sentence, "dim") for sentence in closing))


def _text_table(table: Table) -> TextTable:
    rows = [
        [Text(cell, style=_STYLES[tone]) for cell, tone in zip(row, tones(table, row), strict=True)]
        for row in table.rows
    ]
    right = [one for one in table.columns if is_number(table, one)]
    return TextTable(table.columns, rows, table.num_names, right, JOINED)


def to_markdown(tables: Sequence[Table], closing: Sequence[str] = ()) -> str:
    """Return the tables in GitHub's Markdown; every special character is escaped."""
    parts = []
    for table in tables:
        frame = table.frame.map(_escape_markdown)
        frame.columns = [_escape_markdown(name) for name in table.columns]
        aligned = ["right" if is_number(table, column) else "left" for column in table.columns]
        body = frame.to_markdown(index=False, colalign=aligned, disable_numparse=True)
        notes = "\n".join(f"- {_escape_markdown(note)}" for note in table.notes)
        parts.append(f"### {_escape_markdown(table.title)}\n\n{body}\n\n{notes}".rstrip())
    return "\n\n".join([*parts, *map(_escape_markdown, closing)]) + "\n"


def _escape_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is; an underscore within a word is one already."""
    text = re.sub(r"([\\`*{}\[\]<>|~$#])|(?<!\w)_|_(?!\w)", lambda match: f"\\{match[0]}", text)
    return re.sub(r"&(?=#?\w+;)", "&amp;", text)


def to_html(tables: Sequence[Table]) -> str:
    """Return the tables as HTML, escaped; words stand at the left, also in a notebook, which sets all to the right."""
    parts = []
    for table in tables:
        head = _html_row(table, "th", table.columns)
        rows = "\n".join(_html_row(table, "td", row) for row in table.rows)
        body = f'<table class="table {table.name}">\n<thead>{head}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>'
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
        parts.append(f"<h3>{html.escape(table.title)}</h3>\n{body}\n<ul class='notes'>{notes}</ul>")
    return "\n".join(parts)


def _html_row(table: Table, tag: str, cells: Sequence[str]) -> str:
    sides = ("right" if is_number(table, column) else "left" for column in table.columns)
    row = (
        f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>'
        for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(row)}</tr>"


def numbers(comparison: Comparison) -> pd.DataFrame:
    """Return every number of the comparison unrounded, one a row, with the run directories and commits behind it.

    ``value`` is a number or NaN; the words of a verdict are in ``verdict``.
    """
    rows = pd.DataFrame(list(_numbers(comparison)))
    rows["value"] = pd.to_numeric(rows.value, errors="coerce")
    for name in ("runs", "git_shas"):
        rows[name] = rows[name].map(" ".join)
    return rows


def _numbers(comparison: Comparison) -> Iterator[dict[str, Any]]:
    frames = {"quality": comparison.quality, "split": comparison.split}
    for name, frame in frames.items():
        for row in records(frame):
            measured = {key: value for key, value in row.items() if key not in (*_KEYS, "runs")}
            for quantity, value in measured.items():
                if isinstance(value, int | float) and not pd.isna(value):
                    yield _number(comparison.data, name, row, quantity, {"value": value})
            if isinstance(row.get("verdict"), str):
                yield _verdict(comparison.data, name, row, "verdict")
    for row in records(comparison.speedup):
        shown = ("value", "low", "high", "n", "is_paired", "noise", "verdict", "adjusted")
        yield _number(comparison.data, "speedup", row, row["quantity"], {key: row[key] for key in shown})
        yield _verdict(comparison.data, "speedup", row, f"{row['quantity']}_verdict")
    for row in records(comparison.drifts):
        of_group = {"group": row["group"], "arm": None, "baseline": None, "runs": []}
        for quantity in ("change", "p_value", "hours"):
            yield _number(comparison.data, "drift", of_group, quantity, {"value": row[quantity]})
    for (group, arm), runs in comparison.outliers.groupby(["group", "arm"], sort=False):
        of_arm = {"group": group, "arm": arm, "baseline": None, "runs": list(runs.run)}
        yield _number(comparison.data, "outliers", of_arm, "runs", {"value": len(runs)})
    for row in records(comparison.target):
        for quantity in _TARGET_NUMBERS:
            if not pd.isna(row[quantity]):
                yield _number(comparison.data, "target", row, quantity, {"value": row[quantity]})
        values = {key: row[key] for key in ("value", "low", "high", "noise", "verdict")} | {"n": row["pairs"]}
        yield _number(comparison.data, "target", row, "seconds_to_target", values)
        yield _verdict(comparison.data, "target", row, "seconds_to_target_verdict")


def _verdict(data: Data, table: str, row: dict[str, Any], quantity: str) -> dict[str, Any]:
    values = {"value": row["verdict"], "verdict": row["verdict"], "adjusted": row.get("adjusted")}
    return _number(data, table, row, quantity, values)


def _number(data: Data, table: str, row: dict[str, Any], quantity: str, values: dict[str, Any]) -> dict[str, Any]:
    commits = data.runs.git_sha.reindex(row["runs"]).dropna().unique()
    key = {"table": table, **{name: row[name] for name in _KEYS}, "quantity": quantity}
    return {**key, **values, "runs": row["runs"], "git_shas": sorted(commits)}


def to_csv(comparison: Comparison) -> str:
    """Return `numbers` as CSV."""
    return str(for_spreadsheets(numbers(comparison)).to_csv(index=False, lineterminator="\n"))


def to_json(comparison: Comparison) -> str:
    """Return `numbers`, refusals, marks and states as JSON; a number that does not exist is null."""
    matching = comparison.matching
    runs = comparison.data.runs.reset_index(names="run")
    marks = [dict(zip((*_KEYS, "marks"), (*key, texts), strict=True)) for key, texts in matching.marks.items()]
    content = {
        "quality": comparison.measure.quality.name,
        "unit": comparison.measure.quality.unit,
        "margin": comparison.measure.quality.margin,
        "smallest_effect": comparison.smallest_effect,
        "targets": dict(comparison.targets.by_group),
        "targets_are_declared": comparison.targets.is_declared,
        "remarks": list(comparison.remarks),
        "registrations": list(comparison.registrations),
        "drifts": records(comparison.drifts),
        "outliers": records(comparison.outliers),
        "numbers": list(_numbers(comparison)),
        "refused": records(matching.refused),
        "unpaired": records(matching.unpaired),
        "marks": marks,
        "runs": records(runs[["run", "state", "cause", "git_sha", "config_hash"]]),
    }
    return json.dumps(_plain(content), indent=2, default=str, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def render(comparison: Comparison, form: str) -> str | RenderableType:
    """Return the comparison's tables in one of `FORMATS`."""
    if form == "csv":
        return to_csv(comparison)
    if form == "json":
        return to_json(comparison)
    return render_tables(make_tables(comparison), provenance(comparison), form)


def render_tables(tables: Sequence[Table], closing: Sequence[str], form: str) -> str | RenderableType:
    """Return tables and closing sentences as text, markdown or latex."""
    writers: dict[str, Callable[[Sequence[Table], Sequence[str]], str | RenderableType]] = {
        "text": to_text,
        "markdown": to_markdown,
        "latex": to_latex,
    }
    return writers[form](tables, [printable(sentence) for sentence in closing])
