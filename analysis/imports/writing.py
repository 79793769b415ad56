"""Writes one run directory of another trainer's run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from adabatch.config.keys import nested
from adabatch.errors import ConfigError
from adabatch.files import write_text_atomic
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import FOREIGN, LaunchFacts, update_meta
from adabatch.rundir.outcome import Failure, mark_done, mark_failed
from adabatch.terminal import counted
from analysis.imports.epochs import Reading, make_epochs
from analysis.imports.names import (
    IDENTITY,
    LAUNCH_FACTS,
    MEASURED,
    META_FACTS,
    REPEATS,
    declared_value,
    identity_value,
)
from analysis.imports.options import Options
from analysis.imports.rows import PLACE, Rows, missing_text
from analysis.imports.text import Unusable, is_missing

Report = Callable[[str], None]
#: The column of rows that names their file.
FILE = "file"


@dataclass
class Run:
    """The rows of one run, as text.

    Attributes:
        identity: text by the names of `IDENTITY`.
        files: those that rows come from.
        folder: ``seed_<n>``, with a number behind it for further runs of a seed.
    """

    identity: dict[str, str]
    cell: str
    rows: pd.DataFrame
    files: list[Rows]
    folder: str = ""

    @property
    def sources(self) -> str:
        """The files, for sentences."""
        return ", ".join(str(source.path) for source in self.files)

    @property
    def name(self) -> str:
        """Where it is written, below the output."""
        return f"{self.cell}/{self.identity['arm']}/{self.folder}"


def write_run(
    run: Run,
    output: Path,
    trainer: str,
    baseline: str | None,
    options: Options,
    firsts: dict[str, int],
    note: Report,
) -> Path:
    """Write a run directory and return its path; it is there as a whole or not at all.

    Args:
        note: takes what was assumed of the run, without its name.

    Raises:
        Unusable: if the rows are no run; nothing is written then.
        OSError: if the folder cannot be written.
    """
    identity = {name: identity_value(name, text) for name, text in run.identity.items()}
    identity_value("cell", run.cell)
    path = output / run.cell / run.identity["arm"] / run.folder
    if path.exists():
        raise Unusable(f"{path} exists already; it must be a new folder.")
    declared = _declared(run)
    epochs = make_epochs(run.rows, _reading(run, declared, options, firsts), note)
    if declared.get("world_size") is not None:
        epochs["world_size"] = declared["world_size"]
    count = len(epochs) if not options.results_only else declared["num_epochs"]
    num_epochs = declared.get("num_epochs") or count
    launch = {name: declared[name] for name in LAUNCH_FACTS if name in declared}
    launch |= {"cell": run.cell, "arm": identity["arm"], "baseline": declared.get("baseline", baseline)}
    facts = {name: declared[name] for name in META_FACTS if name in declared}
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.mkdir(parents=True)
        files = RunDir(partial)
        marked = {"results_only": True} if options.results_only else {}
        update_meta(
            files,
            **{**facts, **marked},
            source=FOREIGN,
            trainer=trainer,
            imported_from=run.sources,
            launch=LaunchFacts(**launch),
        )
        write_text_atomic(files.epochs, str(epochs.to_csv(index=False, lineterminator="\n")))
        if count == num_epochs:
            mark_done(files, f"imported from {run.sources}")
        else:
            mark_failed(files, Failure("Incomplete", f"{count} of {counted(num_epochs, 'epoch')} are in {run.sources}"))
        config = _config(identity, declared, num_epochs)
        write_text_atomic(files.config, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return path


def _reading(run: Run, declared: dict[str, Any], options: Options, firsts: dict[str, int]) -> Reading:
    partial_batch = declared.get("dataset.partial_batch")
    if options.results_only and declared.get("num_epochs") is None:
        raise Unusable(f"it lacks {missing_text(['num_epochs'])}.")
    return Reading(
        {name: unit for source in run.files for name, unit in source.units.items()},
        frozenset().union(*(source.last for source in run.files)),
        frozenset().union(*(source.per_step for source in run.files)),
        min(firsts[str(source.path)] for source in run.files),
        options.learning_rate_at,
        None if partial_batch is None else partial_batch == "drop",
        declared["num_epochs"] if options.results_only else None,
    )


def _declared(run: Run) -> dict[str, Any]:
    """Return what is said of the run as a whole, of the types that the schema declares.

    Raises:
        Unusable: if a value is of another type, or not the same in all rows.
    """
    others = {*MEASURED, *IDENTITY, *REPEATS, PLACE, FILE, "cell"}
    declared: dict[str, Any] = {}
    for name in [str(name) for name in run.rows if name not in others]:
        texts = [text for text in run.rows[name].unique() if not is_missing(text)]
        values = [declared_value(name, text) for text in texts]
        if any(value != values[0] for value in values):
            raise Unusable(f"{name} is {texts[0]} and {texts[1]}; it must be one value a run.")
        if values:
            declared[name] = values[0]
    return declared


def _config(identity: dict[str, Any], declared: dict[str, Any], num_epochs: int) -> dict[str, Any]:
    """Return the nested values of ``config.yaml``: what is known, and nothing else."""
    values: dict[str, Any] = {
        "seed": identity["seed"],
        "num_epochs": num_epochs,
        "dataset.name": identity["dataset"],
        "network.name": identity["network"],
    }
    facts = {*META_FACTS, *LAUNCH_FACTS, "num_epochs"}
    try:
        return nested(values | {key: value for key, value in declared.items() if key not in facts})
    except ConfigError as error:
        raise Unusable(str(error)) from error
