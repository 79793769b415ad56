"""Logs of other trainers as run directories, so that the same tables and the same refusals hold for them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from adabatch.config.schema import GROUPS
from adabatch.errors import ConfigError
from adabatch.files import write_text_atomic
from adabatch.rundir.columns import COLUMNS, Kind, columns_where
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import LaunchFacts, update_meta
from adabatch.rundir.outcome import Failure, mark_done, mark_failed

SOURCE = "foreign"
#: Columns that a log must have: who ran, and what it did by the end of each epoch.
IDENTITY_COLUMNS = ("arm", "seed", "dataset", "network")
MEASURED_COLUMNS = (*columns_where(required=True), "learning_rate")
#: What may be declared besides, once a run: part of ``meta.json``.
META_COLUMNS = ("device_model", "num_threads", "world_size", "torch", "python", "git_sha", "git_dirty")
_NAME = re.compile(r"[\w,=+-][\w.,=+-]*")
#: Logs are rounded.
_ROUNDING = 0.01
_FRACTIONS = columns_where(kind=Kind.FRACTION)


def import_csv(file: Path | str, output: Path | str, trainer: str, baseline: str | None = None) -> list[Path]:
    """Write a run directory for every run in a CSV file of another trainer's logs, and return their paths.

    One row a run and epoch. The columns of `IDENTITY_COLUMNS` say which run, those of `MEASURED_COLUMNS` what it did;
    any other column of ``epochs.csv`` may follow. Columns of `META_COLUMNS`, and keys of the config with their dots
    (``hardware.precision``, ``max_micro_batch_size``), declare what the run was, and must be the same in all rows of a
    run. A key that is not declared is unknown, which equals unknown only. A run whose column ``num_epochs`` names more
    epochs than it has rows becomes a failed one.

    Args:
        output: where ``<dataset>-<network>/<arm>/seed_<n>`` is written; existing run directories are not replaced.
        trainer: the other trainer's name and version; runs of different trainers are not compared.
        baseline: the arm that others are compared with.

    Raises:
        ConfigError: if a column is missing, unknown or holds what it must not, naming the file, the run and the value.
    """
    file = Path(file)
    rows = _read(file)
    if baseline is not None and baseline not in set(rows.arm):
        raise ConfigError(f"the baseline is {baseline}; it must be one of {', '.join(sorted(set(rows.arm)))}.")
    runs = []
    for key, table in rows.groupby(list(IDENTITY_COLUMNS), sort=False):
        identity = dict(zip(IDENTITY_COLUMNS, key, strict=True))
        name = "{dataset}-{network}/{arm}/seed_{seed}".format(**identity)
        path = Path(output) / name
        if path.exists():
            raise ConfigError(f"{path} exists already; it must be a new folder, or the run be left out of {file}.")
        _check(file, name, table)
        runs.append((path, identity, _declared(file, name, table), table))
    for path, identity, declared, table in runs:
        _write(path, identity, declared, table, {"trainer": trainer, "baseline": baseline, "file": str(file)})
    return [path for path, *_ in runs]


def _read(file: Path) -> pd.DataFrame:
    """Return the rows: what was measured as numbers, names and versions as they are written."""
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ConfigError(f"{file} cannot be read as CSV: {str(error).splitlines()[0]}.") from error
    missing = [name for name in (*IDENTITY_COLUMNS, *MEASURED_COLUMNS) if name not in rows]
    if missing:
        raise ConfigError(f"{file} lacks the columns {', '.join(missing)}.")
    known = {*IDENTITY_COLUMNS, *COLUMNS, *META_COLUMNS, "num_epochs", "max_micro_batch_size", "batch_norm"}
    for name in rows:
        is_config = str(name).split(".")[0] in GROUPS and "." in str(name)
        if name not in known and not is_config:
            allowed = f"one of {', '.join(sorted(known))}, or begin with {', '.join(f'{group}.' for group in GROUPS)}"
            raise ConfigError(f"{file} has the column {name}; it must be {allowed}.")
    for name in IDENTITY_COLUMNS:
        for value in rows[name].unique():
            if not _NAME.fullmatch(value) or (name == "seed" and not value.isdigit()):
                allowed = "a whole number" if name == "seed" else "a name of letters, digits and _ . , = + -"
                raise ConfigError(f"{file}: {name} is {value or 'empty'}; it must be {allowed}.")
    for name in [name for name in COLUMNS if name in rows and name not in META_COLUMNS]:
        try:
            rows[name] = pd.to_numeric(rows[name])
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{file}: {name} holds {error}; it must be a number.") from error
    return rows


def _check(file: Path, name: str, table: pd.DataFrame) -> None:
    """Refuse what cannot be the log of one run."""
    epochs = list(table.epoch)
    if epochs != list(range(1, len(epochs) + 1)):
        raise ConfigError(f"{file}, {name}: the epochs are {epochs[:20]}; they must be 1, 2, 3, ... in order.")
    for column in MEASURED_COLUMNS:
        if table[column].isna().any():
            raise ConfigError(f"{file}, {name}: {column} is missing in an epoch; it must be a number.")
    for column in [name for name in columns_where(rises=True) if name != "epoch"]:
        if (table[column].diff().dropna() <= 0).any() or (table[column] <= 0).any():
            raise ConfigError(f"{file}, {name}: {column} does not rise; it must count from the start of the run.")
    for column in [column for column in _FRACTIONS if column in table]:
        for value in table[column].dropna():
            if not 0 <= value <= 1:
                raise ConfigError(f"{file}, {name}: {column} is {value:g}; it must be a fraction between 0 and 1.")
    spans = table.reindex(columns=["data_seconds", "forward_seconds", "backward_seconds", "update_seconds"]).sum(axis=1)
    steps = table.elapsed_seconds.diff().fillna(table.elapsed_seconds)
    if (spans > steps * (1 + _ROUNDING)).any():
        raise ConfigError(f"{file}, {name}: spans are longer than their epoch; they must be of each epoch alone.")


def _declared(file: Path, name: str, table: pd.DataFrame) -> dict[str, Any]:
    """Return what is said of the run as a whole."""
    measured = {*COLUMNS, *IDENTITY_COLUMNS} - set(META_COLUMNS)
    declared: dict[str, Any] = {}
    for column in [str(column) for column in table if column not in measured]:
        values = table[column].unique()
        if len(values) != 1:
            raise ConfigError(f"{file}, {name}: {column} is {values[0]} and {values[1]}; it must be one value a run.")
        if values[0] != "":
            declared[column] = values[0] if column in META_COLUMNS else yaml.safe_load(values[0])
    if not isinstance(declared.get("num_epochs", 1), int):
        raise ConfigError(f"{file}, {name}: num_epochs is {declared['num_epochs']}; it must be a whole number.")
    return declared


def _write(
    path: Path, identity: dict[str, Any], declared: dict[str, Any], table: pd.DataFrame, about: dict[str, Any]
) -> None:
    files = RunDir(path)
    path.mkdir(parents=True)
    num_epochs = declared.get("num_epochs", len(table))
    config: dict[str, Any] = {"seed": int(identity["seed"]), "num_epochs": num_epochs}
    config["dataset"], config["network"] = {"name": identity["dataset"]}, {"name": identity["network"]}
    for key, value in declared.items():
        if key not in (*META_COLUMNS, "num_epochs"):
            group, _, rest = key.rpartition(".")
            target = config.setdefault(group, {}) if group else config
            target[rest] = value
    launch = LaunchFacts(
        cell=f"{identity['dataset']}-{identity['network']}", arm=str(identity["arm"]), baseline=about["baseline"]
    )
    facts = {key: declared[key] for key in META_COLUMNS if key in declared}
    update_meta(files, **facts, source=SOURCE, trainer=about["trainer"], imported_from=about["file"], launch=launch)
    rows = table.reindex(columns=list(COLUMNS))
    write_text_atomic(files.epochs, str(rows.to_csv(index=False, lineterminator="\n")))
    if len(table) == num_epochs:
        mark_done(files, f"imported from {about['file']}")
    else:
        sentence = f"{len(table)} of {num_epochs} epochs are in {about['file']}"
        mark_failed(files, Failure("Incomplete", sentence))
    write_text_atomic(files.config, yaml.safe_dump(config, sort_keys=False))
