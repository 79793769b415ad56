"""Reads a file of any dialect into cells, as text, with the line that each row stands in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from adabatch.errors import ConfigError
from adabatch.terminal import counted
from analysis.imports.text import DECIMAL_COMMA

_SEPARATORS = (",", ";", "\t")
_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class Table:
    """The cells of a file.

    Attributes:
        cells: text without surrounding spaces, by the number of its line, or of its entry in a list.
        row_word: what the numbers count, ``line`` or ``entry``.
        decimal_comma: whether numbers are written so.
        declared: what the file says of the run as a whole, by our names.
        notes: what was skipped, sentences.
    """

    path: Path
    cells: pd.DataFrame
    row_word: str = "line"
    decimal_comma: bool = False
    declared: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_table(path: Path) -> Table:
    """Read CSV, separated by commas, semicolons or tabs, or a ``trainer_state.json``.

    Raises:
        ConfigError: if it is neither, naming file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; it must be a file of text in UTF-8.") from error
    return _read_json(path, text) if text.lstrip().startswith("{") else _read_csv(path, text)


def _read_csv(path: Path, text: str) -> Table:
    separator = _separator(text)
    # pandas would drop cells beyond the header, and keeps no line numbers.
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            stripped = [cell.strip() for cell in row]
            if any(stripped):
                rows.append((reader.line_num, stripped))
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: {error}; it must be CSV with whole quotes.") from error
    if not rows:
        raise ConfigError(f"{path} is empty; it must have a line with the names of its columns.")
    header = _without_empty_end(rows[0][1])
    _check_header(path, header)
    repeated = [line for line, row in rows[1:] if _without_empty_end(row) == header]
    body = [(line, row) for line, row in rows[1:] if line not in set(repeated)]
    for line, row in body:
        if any(row[len(header) :]):
            raise ConfigError(
                f"{path}, line {line} has {counted(len(_without_empty_end(row)), 'cell')}, separated by "
                f"{_SEPARATOR_NAMES[separator]}; it must have at most {len(header)}, as the header. Numbers with "
                f"decimal commas need semicolons between them."
            )
    if not body:
        raise ConfigError(f"{path} has a header and no rows; it must have at least one.")
    filled = [[*row, *[""] * len(header)][: len(header)] for _, row in body]
    cells = pd.DataFrame(filled, columns=header, index=[line for line, _ in body], dtype=object)
    notes = [f"line {line} is the header once more, skipped." for line in repeated]
    cells, more = _without_row_numbers(path, cells)
    has_comma = separator != "," and any(DECIMAL_COMMA.fullmatch(cell) for _, row in body for cell in row)
    return Table(path, cells, "line", has_comma, notes=(*notes, *more))


def _separator(text: str) -> str:
    """Return the separator that divides the first line into the most cells."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    counts = {}
    for separator in _SEPARATORS:
        counts[separator] = len(next(csv.reader([first], delimiter=separator, skipinitialspace=True), []))
    return max(_SEPARATORS, key=lambda separator: counts[separator])


def _without_empty_end(cells: list[str]) -> list[str]:
    count = len(cells)
    while count and not cells[count - 1]:
        count -= 1
    return cells[:count]


def _check_header(path: Path, header: list[str]) -> None:
    twice = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if twice:
        raise ConfigError(f"{path} has the column {twice[0] or 'without a name'} twice; each must have a name once.")


def _without_row_numbers(path: Path, cells: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the cells without the column without a name in which pandas numbers rows."""
    if "" not in cells:
        return cells, []
    if list(cells[""]) != [str(place) for place in range(len(cells))]:
        raise ConfigError(f"{path} has a column without a name; it must have one.")
    return cells.drop(columns=""), ["the column without a name only numbers the rows, left out."]


def _read_json(path: Path, text: str) -> Table:
    """Return the ``log_history`` of Hugging Face's ``trainer_state.json``; numbers stay the text that they are."""
    try:
        state = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}.") from error
    history = state.get("log_history") if isinstance(state, dict) else None
    if not (isinstance(history, list) and history and all(isinstance(entry, dict) for entry in history)):
        raise ConfigError(f"{path} has no log_history; it must be CSV or a trainer_state.json.")
    rows = [{name: _cell(value) for name, value in entry.items()} for entry in history]
    cells = pd.DataFrame(rows, index=range(1, len(rows) + 1), dtype=object).fillna("")
    epochs = state.get("num_train_epochs")
    return Table(path, cells, "entry", declared={"num_epochs": epochs} if isinstance(epochs, str) else {})


def _cell(value: Any) -> str:
    return value.strip() if isinstance(value, str) else "" if value is None else json.dumps(value)
