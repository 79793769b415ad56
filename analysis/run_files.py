"""Reads one run directory: what it was, how it went, its epochs. Damage becomes a state and a cause."""

from __future__ import annotations

import io
import json
import re
import reprlib
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import yaml

from adabatch.records import COLUMNS
from adabatch.run_dir import RunDir
from analysis.frames import DONE

#: The trainer's heartbeat comes once a second.
STALE_SECONDS = 60.0
#: Without these a row says nothing.
REQUIRED_COLUMNS = ("epoch", "updates", "samples", "batch_size", "test_accuracy", "elapsed_seconds")
_INTEGER_COLUMNS = (
    "epoch", "updates", "samples", "batch_size", "micro_batch_size", "accumulation_steps", "world_size",
    "samples_dropped",
)  # fmt: skip
_FRACTIONS = ("test_accuracy", "train_accuracy", "test_top5_accuracy")
_RISING = ("updates", "samples", "elapsed_seconds")
_CHECKED = ("epoch", *_FRACTIONS, *_RISING)
#: Config keys without a dot that are columns of their own; others are read by group.
_TOP_LEVEL_KEYS = ("num_epochs", "run_dir", "max_micro_batch_size", "batch_norm", "ghost_batch_size")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_META_KEYS = (
    "adabatch_version", "git_sha", "git_dirty", "python", "torch", "torchvision", "cuda", "cudnn", "device",
    "device_model", "host", "num_threads", "world_size", "restarts", "config_hash", "num_parameters", "started_at",
    "lost_seconds", "trainer",
)  # fmt: skip
#: Of a run without a finished epoch; nobody changes a run's frame.
_NO_EPOCHS = pd.DataFrame(columns=list(COLUMNS))
#: What comes of a value that nobody thought of.
_ODD = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)
_Content = TypeVar("_Content")
_LAUNCH_KEYS = ("concurrent_runs", "runs_per_job")
#: By these runs are named, grouped and sorted.
_TEXTS = ("sweep", "cell", "arm", "baseline", "dataset", "network", "started_at", "source")
#: A column of whole numbers holds none beyond.
_LARGEST = 2**63 - 1


class Damage(Exception):
    """A file of a run directory cannot be used; the message says which and why."""


@dataclass
class RunFiles:
    """What one run directory holds.

    Attributes:
        values: the run's row of ``runs``, without what follows from the epochs.
        epochs: its rows of ``epochs.csv``, with all of `adabatch.records.COLUMNS`.
    """

    path: Path
    values: dict[str, Any]
    epochs: pd.DataFrame = field(repr=False)


def read_run(path: Path) -> RunFiles:
    """Read a run directory; never fails for what is in it."""
    files = RunDir(path)
    damages: list[str] = []

    def attempt(read: Callable[[Path], _Content], file: Path, otherwise: _Content) -> _Content:
        try:
            return read(file)
        except Damage as damage:
            damages.append(str(damage))
        except _ODD as error:
            damages.append(f"{file.name} cannot be used: {error}")
        return otherwise

    nothing: dict[str, Any] = {}
    config = attempt(_read_config, files.config, nothing)
    meta = attempt(_read_json, files.meta, nothing)
    summary = attempt(_read_json, files.summary, nothing)
    epochs = attempt(_read_epochs, files.epochs, _NO_EPOCHS)
    values, state = nothing, "damaged"
    cause: str | None = None
    try:
        values = _values(path, config, meta, summary, epochs)
        state, cause = _state(files, summary)
    except _ODD as error:
        damages.append(f"a YAML or JSON file holds something of another kind than expected: {error}")
        values = values or _values(path, {}, {}, {}, epochs)
    num_epochs = config.get("num_epochs")
    if state == DONE and num_epochs is not None and len(epochs) != num_epochs and not damages:
        damages.append(f"epochs.csv holds {len(epochs)} of {num_epochs} epochs although the run is done")
    if damages:
        state, cause = "damaged", "; ".join(damages)
    return RunFiles(path, {**values, "state": state, "cause": cause}, epochs)


def _values(
    path: Path, config: dict[str, Any], meta: dict[str, Any], summary: dict[str, Any], epochs: pd.DataFrame
) -> dict[str, Any]:
    """Return the run's row of ``runs`` but for its state.

    Raises:
        TypeError: or another of `_ODD`, if something is of another kind than expected.
    """
    values = {
        **_flatten(config),
        **_identity(path, config, meta),
        **_origin(meta),
        **{key: summary.get(key) for key in ("setup_seconds", "wall_seconds")},
        **_changed_on_the_way(epochs, meta),
    }
    for key, value in values.items():
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, dict | list | set) or (isinstance(value, int) and abs(value) > _LARGEST):
            raise TypeError(f"{key} is {reprlib.repr(value)}; it must be a single value that fits a column")
    for key in _TEXTS:
        _require_kind(key, values[key], str, "text")
    return values


def _require_kind(key: str, value: object, kind: type | types.UnionType, allowed: str) -> None:
    """Raise TypeError if a value that may be missing is of another kind."""
    if not (value is None or isinstance(value, kind)):
        raise TypeError(f"{key} is {reprlib.repr(value)}; it must be {allowed}")


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


def _read_epochs(path: Path) -> pd.DataFrame:
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
    missing = [name for name in REQUIRED_COLUMNS if name not in rows]
    if missing:
        raise Damage(f"epochs.csv lacks the columns {', '.join(missing)}")
    if list(rows) != list(COLUMNS):
        rows = rows.reindex(columns=list(dict.fromkeys([*COLUMNS, *rows.columns])))
    if not len(rows):
        return _NO_EPOCHS
    kinds = {str(name): dtype.kind for name, dtype in rows.dtypes.items()}
    for name in COLUMNS:
        if kinds[name] not in "iuf":
            raise Damage(f"epochs.csv holds a value of {name} that is no number")
    numbers = {name: rows[name].to_numpy(dtype=float) for name in _CHECKED}
    if not np.array_equal(numbers["epoch"], np.arange(1, len(rows) + 1)):
        raise Damage(f"epochs.csv counts the epochs {list(rows.epoch)[:20]}, not 1, 2, 3, ...")
    for name in _FRACTIONS:
        if ((numbers[name] < 0) | (numbers[name] > 1)).any():
            raise Damage(f"epochs.csv holds a value of {name} that is no fraction between 0 and 1")
    for name in _RISING:
        values = numbers[name]
        if not (values[0] > 0 and (values[1:] > values[:-1]).all()):
            raise Damage(f"epochs.csv: {name} does not rise from epoch to epoch")
    if np.isnan(numbers["test_accuracy"]).any():
        raise Damage("epochs.csv lacks a value of test_accuracy in a row")
    for name in _INTEGER_COLUMNS:
        # Whole numbers are read as such unless one is missing.
        if kinds[name] == "f" and rows[name].isna().any() and not rows[name].isna().all():
            raise Damage(f"epochs.csv lacks a value of {name} in a row")
    return rows


def _identity(path: Path, config: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """Return who the run is: as launch wrote it, else from its config."""
    launch = meta.get("launch") or {}
    dataset = (config.get("dataset") or {}).get("name")
    network = (config.get("network") or {}).get("name")
    cell = launch.get("cell") or f"{dataset}-{network}"
    swept = {key: value for key, value in (launch.get("swept") or {}).items() if key not in ("network", "dataset")}
    return {
        "run": path.as_posix(),
        "sweep": launch.get("sweep"),
        "cell": cell,
        "group": " ".join([cell, *(f"{key}={value}" for key, value in sorted(swept.items()))]),
        "arm": launch.get("arm") or _arm_of(config.get("schedule") or {}),
        "baseline": launch.get("baseline"),
        "seed": config.get("seed", _seed_of(path)),
        "dataset": dataset,
        "network": network,
    }


def _seed_of(path: Path) -> int | None:
    """Return the seed by the folder's name, for a run whose config is damaged."""
    match = re.fullmatch(r"seed_(\d{1,18})", path.name)
    return int(match.group(1)) if match else None


def _arm_of(schedule: dict[str, Any]) -> str:
    """Return a name for the schedule of a run that no sweep named."""
    batch = schedule.get("batch_size")
    growth = schedule.get("batch_growth")
    if schedule.get("kind") == "ramp" and not schedule.get("hold_batch_size"):
        return f"{schedule.get('shape')}_{batch}_to_{schedule.get('final_batch_size')}"
    _require_kind("schedule.batch_growth", growth, int | float, "a number")
    return f"fixed_{batch}" if growth in (None, 1, 1.0) else f"stepwise_{batch}_x{growth:g}"


def _origin(meta: dict[str, Any]) -> dict[str, Any]:
    launch = meta.get("launch") or {}
    code = launch.get("code") or {}
    allowed = launch.get("lint_allowed") or []
    return {
        **{key: meta.get(key) for key in _META_KEYS},
        **{key: launch.get(key) for key in _LAUNCH_KEYS},
        "forecast_seconds": _forecast_seconds(launch.get("forecast")),
        "git_diff": code.get("git_diff"),
        "lint_allowed": ",".join(sorted(allowed)),
        "source": meta.get("source", "adabatch"),
    }


def _forecast_seconds(forecast: object) -> float | None:
    """Return the training and growth that were predicted before the run started; None if nothing was."""
    if not isinstance(forecast, dict):
        return None
    parts = [forecast.get(key) for key in ("train_seconds", "growth_seconds")]
    numbers = [float(part) for part in parts if isinstance(part, int | float)]
    return sum(numbers) if len(numbers) == len(parts) else None


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        elif prefix or key in _TOP_LEVEL_KEYS:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _changed_on_the_way(epochs: pd.DataFrame, meta: dict[str, Any]) -> dict[str, Any]:
    """Return what was not the same in all segments of a run that was resumed, as text that equals no single value."""
    launch = meta.get("launch") or {}
    segments, earlier = meta.get("segments") or [], launch.get("earlier") or []
    _require_kind("segments", segments, list, "a list")
    _require_kind("launch.earlier", earlier, list, "a list")
    changed = {
        **_in_turn(("device_model", "git_sha", "torch", "cuda", "cudnn"), segments),
        **_in_turn(_LAUNCH_KEYS, [*earlier, launch]),
    }
    sizes = [f"{size:g}" for size in epochs.world_size.dropna().unique()]
    if len(sizes) > 1:
        changed["world_size"] = ", then ".join(sizes)
    return changed


def _in_turn(names: Sequence[str], entries: Sequence[Any]) -> dict[str, str]:
    """Return the values of each name that is not the same in all entries, joined in their order."""
    changed = {}
    entries = [entry for entry in entries if isinstance(entry, dict)]
    for name in names:
        values = list(dict.fromkeys(str(entry[name]) for entry in entries if entry.get(name) is not None))
        if len(values) > 1:
            changed[name] = ", then ".join(values)
    return changed


def _state(files: RunDir, summary: dict[str, Any]) -> tuple[str, str | None]:
    """Return the state and its cause; a living heartbeat goes before what an earlier attempt left behind."""
    if files.done.exists():
        return DONE, None
    beat = files.read_json(files.progress).get("time")
    silence = time.time() - beat if isinstance(beat, int | float) else None
    has_ended = files.failed.exists() or summary.get("state") == "preempted"
    ended_at = max(_changed_at(file) for file in (files.failed, files.summary)) if has_ended else 0.0
    if beat is not None and silence is not None and silence <= STALE_SECONDS and beat > ended_at:
        return "running", None
    if files.failed.exists():
        return "failed", _first_line(files.failed)
    if has_ended:
        cause = summary.get("cause")
        _require_kind("cause", cause, str, "text")
        return "preempted", cause
    if silence is None:
        return "pending", None
    return "stale", f"no sign of life for {silence:.0f} s"


def _changed_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _first_line(file: Path) -> str:
    try:
        first = file.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0].strip()
    except OSError as error:
        return f"FAILED cannot be read: {error}"
    return first or "FAILED is empty"
