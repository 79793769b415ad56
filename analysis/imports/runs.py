"""Divides the rows of files into runs, and writes run directories; what cannot be a run is named and left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from adabatch.config.keys import suggestion
from adabatch.errors import ConfigError
from adabatch.terminal import listed
from analysis.imports.epochs import first_epoch_of
from analysis.imports.names import IDENTITY, REPEATS
from analysis.imports.options import Options
from analysis.imports.rows import Rows, missing_numbers, missing_text, read_rows
from analysis.imports.text import Unusable
from analysis.imports.writing import FILE, Report, Run, write_run

#: A sentence on several runs names so many.
_MOST_NAMED = 3


@dataclass
class Imported:
    """What came of an import.

    Attributes:
        paths: the run directories that were written.
        left_out: how many runs and files could not be imported.
    """

    paths: list[Path] = field(default_factory=list)
    left_out: int = 0


def import_logs(
    files: Sequence[Path | str], output: Path | str, trainer: str, options: Options, report: Report
) -> Imported:
    """Write a run directory for every run in files of another trainer's logs.

    Rows belong to one run where they agree in `IDENTITY` and, if there is one, in a column of `REPEATS`, whichever file
    they stand in. A run with fewer epochs than its ``num_epochs`` becomes a failed one.

    Args:
        output: where ``<dataset>-<network>/<arm>/seed_<n>`` is written; existing run directories are not replaced.
        trainer: the other trainer's name and version; runs of different trainers are not compared.
        report: takes a sentence on each run and file that is left out, and on what was assumed of others.

    Raises:
        ConfigError: if the call is wrong, or all files lack a column.
    """
    imported = Imported()
    sources = _read_all([Path(file) for file in files], options, imported, report)
    if not sources:
        return imported
    runs = _divide(sources)
    baselines = _baselines(runs, options.baselines, Path(output))
    firsts = {str(source.path): first_epoch_of(source.cells, source.units) for source in sources}
    named: dict[str, list[str]] = {}
    for run in runs:

        def note(text: str, name: str = run.name) -> None:
            named.setdefault(text, []).append(name)

        try:
            path = write_run(run, Path(output), trainer, baselines.get(run.cell), options, firsts, note)
            imported.paths.append(path)
        except (Unusable, OSError) as error:
            report(f"{run.sources}: {run.name} is left out: {error}")
            imported.left_out += 1
    for text, names in named.items():
        report(f"{listed(names, _MOST_NAMED)}: {text}.")
    return imported


def _read_all(files: Sequence[Path], options: Options, imported: Imported, report: Report) -> list[Rows]:
    """Return the rows of all files that can be read.

    Raises:
        ConfigError: if --map names a column that no file has, or no file has what every run needs.
    """
    sources: list[Rows] = []
    for path in dict.fromkeys(files):
        try:
            sources.append(read_rows(path, options))
        except ConfigError as error:
            report(str(error))
            imported.left_out += 1
    _report_notes(sources, report)
    columns = [name for source in sources for name in source.columns]
    absent = [name for name in options.maps if name not in columns]
    if absent and not imported.left_out:
        raise ConfigError(
            f"--map names {absent[0]}; it must be a column of {_listed(source.path for source in sources)}."
            f"{suggestion(absent[0], columns)}"
        )
    names = {str(name) for source in sources for name in source.cells}
    missing = missing_numbers(names, options)
    if sources and missing:
        raise ConfigError(f"{_listed(source.path for source in sources)} lacks {missing_text(missing)}.")
    return sources


def _report_notes(sources: Sequence[Rows], report: Report) -> None:
    """Say once what holds for several files."""
    paths: dict[str, list[str]] = {}
    for source in sources:
        for note in source.notes:
            paths.setdefault(note, []).append(str(source.path))
    for note, which in paths.items():
        report(f"{listed(which, 1)}: {note}")


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))


def _divide(sources: Sequence[Rows]) -> list[Run]:
    """Return the runs in the order in which they appear, each with the name of its folder."""
    cells = [source.cells.assign(**{FILE: str(source.path)}) for source in sources]
    rows = pd.concat(cells, ignore_index=True).fillna("")
    repeats = [name for name in REPEATS if name in rows]
    if "cell" not in rows:
        rows["cell"] = ""
    rows["cell"] = rows.cell.where(rows.cell != "", rows.dataset + "-" + rows.network)
    runs, counts = [], dict[tuple[str, ...], int]()
    for key, table in rows.groupby([*IDENTITY, "cell", *repeats], sort=False):
        texts = dict(zip((*IDENTITY, "cell"), map(str, key), strict=False))
        files = [source for source in sources if str(source.path) in set(table[FILE])]
        run = Run({name: texts[name] for name in IDENTITY}, texts["cell"], table.reset_index(drop=True), files)
        place = run.cell, run.identity["arm"], run.identity["seed"]
        counts[place] = counts.get(place, 0) + 1
        run.folder = f"seed_{run.identity['seed']}" + (f"-{counts[place]}" if counts[place] > 1 else "")
        runs.append(run)
    return runs


def _baselines(runs: Sequence[Run], given: Sequence[str], output: Path) -> dict[str, str]:
    """Return the baseline by cell.

    Raises:
        ConfigError: if it is no arm of its cell, among the runs and what ``output`` holds already.
    """
    arms: dict[str, set[str]] = {}
    for run in runs:
        arms.setdefault(run.cell, set()).add(run.identity["arm"])
    for cell, names in arms.items():
        folder = output / cell
        names |= {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    everywhere: list[str] = []
    found: dict[str, str] = {}
    for text in given:
        named = next((cell for cell in arms if text.startswith(f"{cell}=")), None)
        if named is not None:
            found[named] = text.removeprefix(f"{named}=")
        else:
            everywhere.append(text)
    if len(everywhere) > 1:
        raise ConfigError(
            f"--baseline is {' and '.join(everywhere)}; it must be one arm, or CELL=ARM where CELL is one of "
            f"{', '.join(sorted(arms))}."
        )
    found = {**dict.fromkeys(arms, everywhere[0]), **found} if everywhere else found
    for cell, arm in found.items():
        if arm not in arms[cell]:
            raise ConfigError(
                f"--baseline is {arm} for {cell}; it must be one of {', '.join(sorted(arms[cell]))}, or of each cell "
                f"its own by --baseline CELL=ARM."
            )
    for run in runs:
        own = set(run.rows.get("baseline", pd.Series(dtype=object))) - {""}
        if own and run.cell in found:
            raise ConfigError(
                f"--baseline is {found[run.cell]}, and a column baseline is there; it must be one of them."
            )
        if own - arms[run.cell]:
            raise ConfigError(
                f"The column baseline is {min(own - arms[run.cell])} for {run.cell}; it must be one of "
                f"{', '.join(sorted(arms[run.cell]))}."
            )
    return found
