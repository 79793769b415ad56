"""Reads the files of one run directory into values and epochs. Damage is named, and is never the end of the reading."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import yaml

from adabatch.config.hashing import defaults_since, matches_hash
from adabatch.config.keys import flatten, is_key
from adabatch.rundir.columns import (
    COLUMN_FACTS,
    COLUMNS,
    FIRST_VERSION,
    TRAIN_SPANS,
    Kind,
    column_default,
    columns_where,
)
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import FOREIGN, LaunchFacts, Meta, fact_infos, parse_meta
from adabatch.schedules.kinds import label

_REQUIRED = columns_where(required=True)
_COUNTS = columns_where(kind=Kind.COUNT)
_RISING = tuple(name for name in columns_where(rises=True) if name != "epoch")
#: Facts of launch that are columns as they are; those that say who a run is, and lists, are read by name.
_LAUNCH_COLUMNS = [
    name
    for name, info in fact_infos(LaunchFacts).items()
    if info.in_frame and name not in ("sweep", "cell", "arm", "baseline", "lint_allowed")
]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Of a run without a finished epoch; nobody changes a run's frame.
_NO_EPOCHS = pd.DataFrame(columns=list(COLUMNS))
#: Exceptions that malformed values raise.
_MALFORMED = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)
_Content = TypeVar("_Content")
#: Columns that must be text where they are known: runs are named, grouped and sorted by them.
_TEXTS = ("sweep", "cell", "arm", "baseline", "dataset", "network", "started_at", "source")
#: Spans are rounded where logs of other trainers are, and clocks are read one after another.
_ROUNDING, _CLOCK_SECONDS = 0.01, 1e-3
#: int64's limit.
_LARGEST = 2**63 - 1


class Damage(Exception):
    """A file of a run directory cannot be used; the message says which and why."""


@dataclass
class RunFiles:
    """What the files of one run directory hold.

    Attributes:
        values: the run's row of ``runs``, without its state and without what follows from the epochs.
        epochs: its rows of ``epochs.csv``, with all of `adabatch.rundir.columns.COLUMNS`.
        damages: what is wrong with the files; empty for a sound run.
    """

    path: Path
    values: dict[str, Any]
    epochs: pd.DataFrame = field(repr=False)
    damages: list[str] = field(default_factory=list)


def read_run(path: Path) -> RunFiles:
    """Read a run directory; never fails for what is in it."""
    files = RunDir(path)
    damages: list[str] = []

    def attempt(read: Callable[[Path], _Content], file: Path, otherwise: _Content) -> _Content:
        try:
            return read(file)
        except Damage as damage:
            damages.append(str(damage))
        except _MALFORMED as error:
            damages.append(f"{file.name} cannot be used: {error}")
        return otherwise

    nothing: dict[str, Any] = {}
    config = attempt(_read_config, files.config, nothing)
    meta = attempt(_read_meta, files.meta, Meta())
    summary = attempt(_read_json, files.summary, nothing)
    results_only = _is_results_only(meta)
    epochs = attempt(lambda path: _read_epochs(path, results_only), files.epochs, _NO_EPOCHS)
    try:
        _check_consistency(config, meta, epochs)
    except Damage as damage:
        damages.append(str(damage))
    try:
        values = _values(path, config, meta, summary, epochs)
    except _MALFORMED as error:
        damages.append(f"a YAML or JSON file holds something of another kind than expected: {error}")
        values = _values(path, {}, Meta(), {}, epochs)
    if values["hash_matches"] is False:
        damages.append(f"config.yaml was changed: it does not have the config hash {meta.config_hash} of meta.json")
    return RunFiles(path, values, epochs, damages)


def _values(
    path: Path, config: dict[str, Any], meta: Meta, summary: dict[str, Any], epochs: pd.DataFrame
) -> dict[str, Any]:
    """Return the run's row of ``runs`` but for its state.

    Raises:
        TypeError: or another of `_MALFORMED`, if something is of another kind than expected.
    """
    values = {
        **(defaults_since(meta.config_hash) if config else {}),
        **{name: value for name, value in flatten(config).items() if is_key(name)},
        **_identity(path, config, meta.launch),
        **_origin(meta),
        "hash_matches": _hash_matches(config, meta),
        **{name: summary.get(name) for name in ("setup_seconds", "wall_seconds")},
        **_changed_between_segments(epochs, meta),
    }
    for name, value in values.items():
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, dict | list | set) or (isinstance(value, int) and abs(value) > _LARGEST):
            raise TypeError(f"{name} is {reprlib.repr(value)}; it must be a single value that fits a column")
    for name in _TEXTS:
        if not (values[name] is None or isinstance(values[name], str)):
            raise TypeError(f"{name} is {reprlib.repr(values[name])}; it must be text")
    return values


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise Damage(f"config.yaml cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise Damage("config.yaml holds no mapping of keys to values")
    for key in ("seed", "num_epochs"):
        if key in values and not _is_whole(values[key]):
            raise Damage(f"config.yaml: {key} is {values[key]}; it must be a whole number of at most 64 bits")
    for key in ("dataset", "network", "schedule"):
        if not isinstance(values.get(key, {}), dict):
            raise Damage(f"config.yaml: {key} is {values[key]}; it must be a mapping of keys to values")
    return values


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise Damage(f"{path.name} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise Damage(f"{path.name} holds no mapping of keys to values")
    return values


def _read_meta(path: Path) -> Meta:
    return parse_meta(_read_json(path))


def _is_results_only(meta: Meta) -> bool:
    """Return whether only the end of a run is known; this trainer's own runs have all of their epochs."""
    return meta.source == FOREIGN and meta.results_only is True


def _read_epochs(path: Path, results_only: bool = False) -> pd.DataFrame:
    """Return the finished rows; a last line without its end is still being written and is left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return _NO_EPOCHS
    except (OSError, UnicodeDecodeError) as error:
        raise Damage(f"epochs.csv cannot be read: {error}") from error
    whole = text[: text.rfind("\n") + 1]
    try:
        rows = pd.read_csv(io.StringIO(whole))
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise Damage(f"epochs.csv cannot be read: {error}") from error
    missing = [name for name in _REQUIRED if name not in rows]
    if missing:
        raise Damage(f"epochs.csv lacks the columns {', '.join(missing)}")
    if list(rows) != list(COLUMNS):
        rows = _with_all_columns(rows)
    if not len(rows):
        return _NO_EPOCHS
    _check_rows(rows, results_only)
    return rows


def _with_all_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the columns that files from before them lack; columns of others stay behind."""
    newer = [name for name in COLUMNS if name not in rows and COLUMN_FACTS[name].since != FIRST_VERSION]
    defaults = {name: math.nan if column_default(name) is None else column_default(name) for name in newer}
    return rows.assign(**defaults).reindex(columns=list(dict.fromkeys([*COLUMNS, *rows.columns])))


def _check_rows(rows: pd.DataFrame, results_only: bool) -> None:
    """Raise Damage for a value that cannot be, by what its column is; a blank one is unknown."""
    kinds = {str(name): dtype.kind for name, dtype in rows.dtypes.items()}
    for name in COLUMNS:
        if kinds[name] not in "iuf":
            raise Damage(f"epochs.csv holds a value of {name} that is no number")
    values = _by_column(rows)
    for name in COLUMNS:
        _check_values(name, values[name])
    epochs = values["epoch"]
    if results_only and not (len(epochs) == 1 and epochs[0] >= 1):
        raise Damage(f"epochs.csv holds the epochs {list(rows.epoch)[:20]}, not the last one alone")
    if not (results_only or np.array_equal(epochs, np.arange(1, len(epochs) + 1))):
        raise Damage(f"epochs.csv counts the epochs {list(rows.epoch)[:20]}, not 1, 2, 3, ...")
    for name in _RISING:
        rising = values[name]
        if results_only and name != "elapsed_seconds" and np.isnan(rising[0]):
            continue
        if not (rising[0] > 0 and (rising[1:] > rising[:-1]).all()):
            raise Damage(f"epochs.csv: {name} does not rise from epoch to epoch")
    if np.isnan(values["test_accuracy"]).any():
        raise Damage("epochs.csv lacks a value of test_accuracy in a row")
    for name in _COUNTS:
        is_blank = np.isnan(values[name])
        if is_blank.any() and not is_blank.all():
            raise Damage(f"epochs.csv lacks a value of {name} in a row")


def _by_column(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the columns as arrays of floats; far faster than asking the frame for one after another."""
    return dict(zip(COLUMNS, rows[list(COLUMNS)].to_numpy(dtype=float).T, strict=True))


def _check_values(name: str, values: np.ndarray) -> None:
    """Raise Damage for values that are none of the column's kind."""
    known = values[~np.isnan(values)]
    kind = COLUMN_FACTS[name].kind
    if kind is Kind.FRACTION and not ((known >= 0) & (known <= 1)).all():
        raise Damage(f"epochs.csv holds a value of {name} that is no fraction between 0 and 1")
    if kind is Kind.SECONDS and not ((known >= 0) & np.isfinite(known)).all():
        raise Damage(f"epochs.csv holds a value of {name} that is negative or infinite")
    least = 0 if name == "samples_dropped" else 1
    if kind is Kind.COUNT and not ((known >= least) & (known == np.floor(known)) & np.isfinite(known)).all():
        raise Damage(f"epochs.csv holds a value of {name} that is not a whole number of at least {least}")


def _check_consistency(config: dict[str, Any], meta: Meta, rows: pd.DataFrame) -> None:
    """Raise Damage where columns contradict each other: spans and elapsed time, samples and batches."""
    if not len(rows):
        return
    values = _by_column(rows)
    elapsed = np.diff(values["elapsed_seconds"], prepend=0.0)
    spans = np.stack([values[f"{span}_seconds"] for span in TRAIN_SPANS])
    charged = np.nansum(spans, axis=0) + np.nan_to_num(values["growth_seconds"])
    if (charged > elapsed * (1 + _ROUNDING) + _CLOCK_SECONDS).any():
        raise Damage("epochs.csv: training and growth spans exceed the elapsed time of their epoch")
    is_ours = meta.source == "adabatch" and not np.isnan(spans).any()
    if is_ours and (elapsed > charged * (1 + _ROUNDING) + _CLOCK_SECONDS).any():
        raise Damage("epochs.csv: the elapsed time of an epoch exceeds its training and growth spans")
    samples = np.diff(values["samples"], prepend=0.0)
    dataset = config.get("dataset") or {}
    allowed = 0.0 if dataset.get("partial_batch") == "keep" else float(values["batch_size"].max())
    if samples.max() - samples.min() > allowed:
        raise Damage(
            f"epochs.csv: the samples per epoch are between {samples.min():.0f} and {samples.max():.0f}; "
            f"they may differ by {allowed:.0f}"
        )


def _identity(path: Path, config: dict[str, Any], launch: LaunchFacts) -> dict[str, Any]:
    """Return who the run is: as launch wrote it, else from its config."""
    dataset = (config.get("dataset") or {}).get("name")
    network = (config.get("network") or {}).get("name")
    cell = launch.cell or f"{dataset}-{network}"
    swept = {key: value for key, value in launch.swept.items() if key not in ("network", "dataset")}
    return {
        "run": path.as_posix(),
        "sweep": launch.sweep,
        "cell": cell,
        "group": " ".join([cell, *(f"{key}={value}" for key, value in sorted(swept.items()))]),
        "arm": launch.arm or label(config.get("schedule") or {}),
        "baseline": launch.baseline,
        "seed": config.get("seed", _seed_of(path)),
        "dataset": dataset,
        "network": network,
    }


def _seed_of(path: Path) -> int | None:
    """Return the seed by the folder's name, for a run whose config is damaged."""
    match = re.fullmatch(r"seed_(\d{1,18})", path.name)
    return int(match.group(1)) if match else None


def _origin(meta: Meta) -> dict[str, Any]:
    launch = meta.launch
    facts = {name: getattr(meta, name) for name, info in fact_infos(Meta).items() if info.in_frame}
    return {
        **facts,
        **{name: getattr(launch, name) for name in _LAUNCH_COLUMNS},
        "forecast_seconds": _forecast_seconds(launch.forecast),
        "git_diff": launch.code.get("git_diff"),
        "lint_allowed": ",".join(sorted(launch.lint_allowed)),
    }


def _hash_matches(config: Mapping[str, Any], meta: Meta) -> bool | None:
    """Return whether the config has the hash on record, by that hash's rule; None if it cannot be told."""
    return matches_hash(config, meta.config_hash) if meta.config_hash is not None and config else None


def _forecast_seconds(forecast: dict[str, Any] | None) -> float | None:
    """Return the training and growth that were predicted before the run started; None if nothing was."""
    parts = [(forecast or {}).get(key) for key in ("train_seconds", "growth_seconds")]
    numbers = [float(part) for part in parts if isinstance(part, int | float)]
    return sum(numbers) if len(numbers) == len(parts) else None


def _changed_between_segments(epochs: pd.DataFrame, meta: Meta) -> dict[str, Any]:
    """Return what was not the same in all segments of a run that was resumed, as text that equals no single value."""
    changed = {
        **_in_turn(_per_segment(Meta), meta.segments),
        **_in_turn(_per_segment(LaunchFacts), [*meta.launch.earlier, dataclasses.asdict(meta.launch)]),
    }
    sizes = [f"{size:g}" for size in epochs.world_size.dropna().unique()]
    if len(sizes) > 1:
        changed["world_size"] = ", then ".join(sizes)
    return changed


def _per_segment(owner: type[Meta] | type[LaunchFacts]) -> list[str]:
    return [name for name, info in fact_infos(owner).items() if info.per_segment]


def _in_turn(names: Sequence[str], entries: Sequence[Any]) -> dict[str, str]:
    """Return the values of each name that is not the same in all entries, joined in their order."""
    changed = {}
    entries = [entry for entry in entries if isinstance(entry, dict)]
    for name in names:
        values = list(dict.fromkeys(str(entry[name]) for entry in entries if entry.get(name) is not None))
        if len(values) > 1:
            changed[name] = ", then ".join(values)
    return changed
