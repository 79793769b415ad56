"""From what wandb holds of one run to a run directory, whether it came over the network or out of a file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from adabatch.config import TrainConfig, from_dict, save_config
from adabatch.errors import ConfigError
from adabatch.files import write_json_atomic
from adabatch.rundir.columns import (
    COLUMN_FACTS,
    COLUMNS,
    EPOCH_SPANS,
    FIRST_VERSION,
    EpochRow,
    column_default,
    is_whole,
    write_epochs_csv,
)
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import read_meta
from adabatch.rundir.outcome import SUMMARY_KEYS, Failure, mark_done, mark_failed, results, write_summary
from adabatch.rundir.states import State
from adabatch.schedules import SCHEDULE_KINDS
from adabatch.terminal import counted

SOURCE = "wandb"
#: The key of wandb's config under which the trainer logs what ``meta.json`` holds.
META_KEY = "adabatch"
_ROW_TYPES = get_type_hints(EpochRow)


class Unusable(Exception):
    """No run directory can be made of a run; the message is the reason, as the end of a sentence."""


@dataclass(frozen=True)
class Origin:
    """Where a run comes from, and by what a change of it shows; kept in ``meta.json`` under ``wandb``.

    Attributes:
        run_id: wandb's, stable over restarts.
        state: wandb's word for how the run goes: ``running``, ``finished``, ``crashed``, ...
        version: plain values that differ whenever wandb holds something new of the run.
        alive_at: seconds since 1970 of the last sign of life; None if unknown.
    """

    run_id: str
    name: str | None
    entity: str | None
    project: str | None
    url: str | None
    state: str
    version: dict[str, Any]
    alive_at: float | None = None


@dataclass(frozen=True)
class Trained:
    """What wandb's config says of a run that this trainer made: its config, and its ``meta.json``."""

    config: TrainConfig
    meta: dict[str, Any]


def read_trained(values: Mapping[str, Any]) -> Trained:
    """Read wandb's config of a run; numbers get the types back that JSON does not keep.

    Raises:
        Unusable: if the run was not made by this trainer.
    """
    meta = values.get(META_KEY)
    if not isinstance(meta, dict):
        raise Unusable(f"its config has no key {META_KEY}, so it was not made by this trainer")
    keys = {field.name for field in dataclasses.fields(TrainConfig)}
    try:
        config = from_dict(_restore_floats(TrainConfig, {key: value for key, value in values.items() if key in keys}))
    except ConfigError as error:
        raise Unusable(f"its config is none of this trainer's: {error}") from error
    return Trained(config, meta)


def _restore_floats(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with every number a float that the dataclass declares as one: JSON turns 2.0 into 2."""
    types = get_type_hints(kind)
    restored = {}
    for key, value in values.items():
        declared = types.get(key)
        if key == "schedule" and isinstance(value, dict):
            declared = SCHEDULE_KINDS.get(str(value.get("kind")), declared)
        restored[key] = _as_declared(declared, value)
    return restored


def _as_declared(declared: Any, value: Any) -> Any:
    if isinstance(value, dict) and isinstance(declared, type):
        return _restore_floats(declared, value)
    if isinstance(value, list):
        return [_as_declared(declared, entry) for entry in value]
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_number and _names_float(declared) else value


def _names_float(declared: Any) -> bool:
    return declared is float or any(map(_names_float, get_args(declared)))


def epoch_rows(history: Iterable[Mapping[str, Any]]) -> list[EpochRow]:
    """Return the rows of wandb's history that are epochs, sorted; the last of several of one epoch counts.

    Raises:
        Unusable: if an epoch lacks a column, or holds something else than a number.
    """
    by_epoch = {row["epoch"]: row for row in history if row.get("epoch") is not None}
    rows = [EpochRow(**{name: _number(name, row) for name in COLUMNS}) for row in by_epoch.values()]
    return sorted(rows, key=lambda row: row.epoch)


def _number(column: str, row: Mapping[str, Any]) -> Any:
    """Return a column's value in its type; wandb gives 1.0 as 1, and NaN and infinities as words."""
    value, declared = row.get(column), _ROW_TYPES[column]
    if value is None and type(None) in get_args(declared):
        return None
    if column not in row and COLUMN_FACTS[column].since != FIRST_VERSION:
        return column_default(column)
    try:
        return int(value) if is_whole(column) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise Unusable(f"epoch {row['epoch']} has {value!r} as its {column}, which is no number") from error


class RunFolder:
    """The folder that runs are written to.

    A run of a sweep lies where ``launch`` would put it, ``<sweep>/<cell>/<arm>/seed_<n>``; any other in a folder named
    after its wandb id. Where another run lies already, a number is appended. What does not come from wandb is left as
    it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, origin: Origin, trained: Trained) -> Path:
        """Return the folder of a run, which may not exist yet.

        Raises:
            Unusable: if something that does not come from wandb lies there.
        """
        wanted = self._folder.joinpath(*_levels(origin, trained))
        path, number = wanted, 1
        while _owner_of(path) not in (None, _owner(origin, trained)):
            number += 1
            path = wanted.with_name(f"{wanted.name}-{number}")
        return path

    def holds(self, path: Path, origin: Origin) -> bool:
        """Return whether a folder holds all that wandb has of a run."""
        found = _record(path)
        return bool(found.get("complete")) and found.get("version") == origin.version


def _levels(origin: Origin, trained: Trained) -> list[str]:
    launch = trained.meta.get("launch") or {}
    levels = [launch.get(key) for key in ("sweep", "cell", "arm")]
    if not all(levels):
        return [_safe(origin.run_id)]
    return [*(_safe(str(level)) for level in levels), f"seed_{trained.config.seed}"]


def _safe(name: str) -> str:
    """Return a folder's name that stays where it is put, whatever a server answers."""
    return re.sub(r"[^\w.,=+\-\[\]]", "_", name).lstrip(".") or "_"


def _owner(origin: Origin, trained: Trained) -> list[str | None]:
    # Equal configs trained twice, as in two sweeps, share an id.
    return [origin.run_id, trained.config.run_dir]


def _owner_of(path: Path) -> list[str | None] | None:
    """Return the run that a folder was written for; None if it is free."""
    record = _record(path)
    # The first file written is the record; a hidden one is what a killed writer left of it.
    if not record and path.exists() and any(not entry.name.startswith(".") for entry in path.iterdir()):
        raise Unusable(f"{path} holds something that does not come from wandb")
    return record.get("owner")


def _record(path: Path) -> dict[str, Any]:
    return read_meta(RunDir(path)).wandb or {}


def write_run(
    path: Path, origin: Origin, trained: Trained, history: Iterable[Mapping[str, Any]], told: Mapping[str, Any]
) -> None:
    """Write a run directory. Interrupted at any point, it is seen as incomplete and written anew the next time.

    Args:
        history: wandb's rows.
        told: wandb's summary.

    Raises:
        Unusable: if the history cannot be read; nothing is written then.
        OSError: if the disk is full or the folder cannot be written.
    """
    config, rows = trained.config, epoch_rows(history)
    state, cause = outcome(origin, config, rows, told)
    meta = _meta(origin, trained, told)
    files = RunDir(path)
    path.mkdir(parents=True, exist_ok=True)
    write_json_atomic(files.meta, meta | {SOURCE: {**meta[SOURCE], "complete": False}})
    for outdated in (files.done, files.failed, files.progress):
        outdated.unlink(missing_ok=True)
    save_config(config, files.config)
    write_epochs_csv(files.epochs, rows)
    write_summary(files, state, cause, _summary(trained, rows, told))
    if state is State.DONE:
        mark_done(files, f"{counted(len(rows), 'epoch')}, read from wandb")
    elif state is State.FAILED:
        name, _, sentence = str(cause).partition(": ")
        mark_failed(files, Failure(name, sentence))
    elif state is State.RUNNING:
        alive = {"time": origin.alive_at} if origin.alive_at is not None else {}
        progress = {**alive, "epoch": len(rows) + 1, "num_epochs": config.num_epochs}
        write_json_atomic(files.progress, progress)
    write_json_atomic(files.meta, meta)


def outcome(
    origin: Origin, config: TrainConfig, rows: list[EpochRow], told: Mapping[str, Any]
) -> tuple[State, str | None]:
    """Return a run's state and its cause: the trainer's word if it had the last one, else wandb's.

    Args:
        told: wandb's summary, with the trainer's ``state`` and ``cause`` if the run came to say them.
    """
    state, cause = told.get("state"), told.get("cause")
    is_whole = [row.epoch for row in rows] == list(range(1, config.num_epochs + 1))
    if state == "done" and is_whole:
        return State.DONE, None
    # The summary of a run that goes on tells of the attempt before.
    if origin.state in ("running", "pending"):
        return State.RUNNING, None
    if state == "done":
        return State.FAILED, f"wandb holds: {len(rows)} of {counted(config.num_epochs, 'epoch')} of a run that is done"
    # wandb misses the end of a crashed run: what the summary tells is how the attempt before ended.
    if state in ("failed", "preempted") and origin.state not in ("crashed", "killed"):
        return State(state), str(cause)
    return State.FAILED, f"wandb says: {origin.state}"


def _meta(origin: Origin, trained: Trained, told: Mapping[str, Any]) -> dict[str, Any]:
    lost_seconds = told.get("lost_seconds", trained.meta.get("lost_seconds"))
    known = {} if lost_seconds is None else {"lost_seconds": float(lost_seconds)}
    record = {
        "id": origin.run_id,
        "name": origin.name,
        "entity": origin.entity,
        "project": origin.project,
        "url": origin.url,
        "state": origin.state,
        "owner": _owner(origin, trained),
        "version": origin.version,
        "complete": True,
    }
    return {**trained.meta, **known, "source": SOURCE, SOURCE: record}


def _summary(trained: Trained, rows: list[EpochRow], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of ``summary.json`` besides state and cause.

    What follows from the epochs is made from them: wandb mixes the last row in.
    """
    config = trained.config
    known = {
        "num_epochs": config.num_epochs,
        "restarts": trained.meta.get("restarts", 0),
        "lost_seconds": trained.meta.get("lost_seconds", 0.0),
        "max_micro_batch_size": config.max_micro_batch_size,
        "batch_norm": config.batch_norm,
        "world_size": config.hardware.world_size,
    }
    computed = results(rows, {**_span_seconds(rows, told), "setup": told.get("setup_seconds")})  # type: ignore[dict-item]
    others = {key: value for key, value in told.items() if key in SUMMARY_KEYS and key not in (*COLUMNS, *computed)}
    merged = {**known, **others, **computed}
    return {
        key: float(value) if key.endswith("_seconds") and isinstance(value, int) else value
        for key, value in merged.items()
    }


def _span_seconds(rows: list[EpochRow], told: Mapping[str, Any]) -> dict[str, float]:
    """Return the whole run's seconds by span.

    The trainer tells them under names that are columns too, so the last row's may stand there instead. Seconds are not
    negative: a total that equals its last part is the sum of all parts, or is that row's.
    """
    seconds = {}
    for span in EPOCH_SPANS:
        column = f"{span}_seconds"
        parts = [float(getattr(row, column)) for row in rows]
        total = told.get(column)
        is_total = isinstance(total, int | float) and "state" in told and (not parts or total != parts[-1])
        seconds[span] = float(total) if is_total else sum(parts)  # type: ignore[arg-type]
    return seconds
