"""From a file to rows under our names: its layout, what the call maps and sets, and what is left out."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from adabatch.config.keys import suggestion
from adabatch.errors import ConfigError
from adabatch.terminal import noun_for
from analysis.imports.layouts import Layout, find_layout
from analysis.imports.names import (
    ALIASES,
    IDENTITY,
    KNOWN,
    PLAIN,
    REQUIRED,
    REQUIRED_RESULTS,
    SAMPLES_PER_EPOCH,
    SECONDS_PER_EPOCH,
    Unit,
    how_to_give,
    is_known,
    is_number,
)
from analysis.imports.options import Options
from analysis.imports.table import Table, read_table
from analysis.imports.text import DECIMAL_COMMA, DECIMAL_POINT

#: The column that holds where a row stands, for sentences.
PLACE = "where"
#: What stands for a column that a file lacks.
_INSTEAD = {
    "samples": {SAMPLES_PER_EPOCH},
    "updates": {SAMPLES_PER_EPOCH, "samples"},
    "elapsed_seconds": {SECONDS_PER_EPOCH},
}
#: How alike two names must be for one to be taken for a slip of the other.
_ALIKE = 0.85


@dataclass(frozen=True)
class Rows:
    """The rows of a file under our names.

    Attributes:
        cells: text; `PLACE` holds file and line.
        units: by our name, where numbers are not plain.
        last, per_step: as of `analysis.imports.layouts.Layout`.
        columns: the file's own names.
        notes: sentences on what was done.
    """

    path: Path
    cells: pd.DataFrame
    units: dict[str, Unit]
    last: frozenset[str]
    per_step: frozenset[str]
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def read_rows(path: Path, options: Options) -> Rows:
    """Read a file, and give its columns our names.

    Raises:
        ConfigError: if the file cannot be read or a column is unknown, naming what is allowed.
    """
    table = read_table(path)
    layout = find_layout({str(name) for name in table.cells})
    notes = [*table.notes]
    if layout is not None:
        table = layout.reshape(table, options)
    theirs = [str(name) for name in table.cells]
    renamed = _renamed(theirs, layout, options)
    unknown = [name for name in theirs if name not in renamed]
    ignored = [name for name in unknown if layout or any(fnmatch.fnmatchcase(name, one) for one in options.ignored)]
    _refuse_unknown(path, [name for name in unknown if name not in ignored])
    if layout is not None:
        shown = ", ".join(f"{name} as {ours}" for name, (ours, _) in renamed.items() if name != ours)
        notes.append(f"read as {layout.title}" + (f", {shown}." if shown else "."))
    if ignored:
        notes.append(f"left out: {', '.join(ignored)}.")
    cells = table.cells[list(renamed)].rename(columns={name: ours for name, (ours, _) in renamed.items()})
    cells = _with_constants(path, cells, table, options, is_chart=layout is not None and not layout.columns)
    if table.decimal_comma:
        cells = _with_points(table, cells)
    cells[PLACE] = [f"{path}, {table.row_word} {line}" for line in table.cells.index]
    _check_identity(path, layout, cells, options)
    notes += _doubtful([str(name) for name in cells])
    return Rows(
        path,
        cells.reset_index(drop=True),
        {ours: unit for ours, unit in renamed.values() if unit is not PLAIN},
        layout.last if layout else frozenset(),
        layout.per_step if layout else frozenset(),
        tuple(theirs),
        tuple(notes),
    )


def _renamed(theirs: list[str], layout: Layout | None, options: Options) -> dict[str, tuple[str, Unit]]:
    """Return our name and the unit by theirs: as the call maps them, as they are, or as the layout does.

    Raises:
        ConfigError: if the call gives two columns one name.
    """
    ignored = [name for name in theirs if name in options.ignored]
    renamed = {name: options.maps[name] for name in theirs if name in options.maps}
    plain = [name for name in theirs if name not in renamed and name not in ignored]
    targets = [ours for ours, _ in renamed.values()]
    for name in plain:
        ours = ALIASES.get(name, name)
        if is_known(ours):
            renamed[name] = ours, PLAIN
            targets.append(ours)
    twice = [ours for ours in targets if targets.count(ours) > 1]
    if twice:
        named = [name for name, (ours, _) in renamed.items() if ours == twice[0]]
        raise ConfigError(
            f"The columns {' and '.join(named)} are both {twice[0]}; it must be one, by --map or --ignore."
        )
    for name, (ours, unit) in (layout.columns if layout else {}).items():
        if name in plain and name not in renamed and ours not in targets:
            renamed[name] = ours, unit
            targets.append(ours)
    return renamed


def _refuse_unknown(path: Path, names: list[str]) -> None:
    if names:
        hints = "".join(dict.fromkeys(suggestion(name, KNOWN) for name in names))
        raise ConfigError(
            f"{path} has the {noun_for(len(names), 'column')} {', '.join(names)}; it must be one of "
            f"docs/analysis.md, be named by --map {names[0]}=NAME, or left out by --ignore {names[0]}.{hints}"
        )


def _with_constants(path: Path, cells: pd.DataFrame, table: Table, options: Options, is_chart: bool) -> pd.DataFrame:
    """Add what --set, the path and the file as a whole say."""
    by_path = options.names.read(path.as_posix()) if options.names and not is_chart else {}
    for source, values in (("--set", options.sets), ("--names", by_path)):
        for name, text in values.items():
            if name in cells:
                raise ConfigError(f"{path} has the column {name}, and {source} gives {text}; it must be one of them.")
            cells = cells.assign(**{name: text})
    return cells.assign(**{name: text for name, text in table.declared.items() if name not in cells})


def _with_points(table: Table, cells: pd.DataFrame) -> pd.DataFrame:
    """Write decimal commas as points; a file has either, so that no separator of thousands is taken for one."""
    changed = cells.copy()
    for name in [str(name) for name in cells if is_number(str(name))]:
        for line, text in zip(table.cells.index, cells[name], strict=True):
            if DECIMAL_POINT.fullmatch(text):
                raise ConfigError(
                    f"{table.path}, {table.row_word} {line}: {name} is {text}, and other numbers have decimal "
                    f"commas; all must be written alike."
                )
        changed[name] = [text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text for text in cells[name]]
    return changed


def _check_identity(path: Path, layout: Layout | None, cells: pd.DataFrame, options: Options) -> None:
    """Refuse a file that does not say whose rows these are, with all else that it lacks."""
    names = {str(name) for name in cells}
    missing = [name for name in IDENTITY if name not in names]
    if missing:
        title = f" ({layout.title})" if layout else ""
        raise ConfigError(f"{path}{title} lacks {missing_text([*missing, *missing_numbers(names, options)])}.")


def missing_numbers(names: Collection[str], options: Options) -> list[str]:
    """Return what no run can do without and that neither ``names`` hold nor follows from them."""
    required = REQUIRED_RESULTS if options.results_only else REQUIRED
    return [name for name in required if name not in names and not _INSTEAD.get(name, set()) & set(names)]


def missing_text(names: list[str]) -> str:
    """Return names with how each is given."""
    return ", ".join(map(how_to_give, names))


def _doubtful(names: list[str]) -> list[str]:
    """Return a sentence on each key that the schema lacks and that looks like one that it has."""
    notes = []
    for name in names:
        near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=_ALIKE)
        if near and name != PLACE and name not in KNOWN:
            notes.append(f"{name} is no key of this version, and is compared as text. Did you mean {near[0]}?")
    return notes
