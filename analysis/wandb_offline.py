"""Runs that wandb wrote to disk without a server, as run directories."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.errors import ConfigError
from analysis.wandb_run import Origin, RunFolder, Trained, Unusable, read_trained, write_run

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Segment:
    """What one ``.wandb`` file holds: a run between two restarts.

    Attributes:
        run: wandb's record of the run: id, project, time of the start.
        told: the summary as the trainer gave it, without what wandb makes of the history.
        exit_code: None if the file does not tell the end.
    """

    file: Path
    run: dict[str, Any]
    trained: Trained
    history: list[dict[str, Any]]
    told: dict[str, Any]
    exit_code: int | None

    @property
    def start_time(self) -> str:
        return str(self.run.get("start_time", ""))


def read_offline(folder: Path | str, output: Path | str, *, report: Callable[[str], None] = _log.warning) -> list[Path]:
    """Write a run directory for every run in the ``.wandb`` files at or below a folder, and return their paths.

    The files that the restarts of a run left are merged: from its first epoch on, a later one replaces earlier ones. A
    run whose last file tells no end counts as running, with its last epoch as the last sign of life.

    Args:
        folder: searched with all folders below, or one ``.wandb`` file.
        output: where run directories are written, at ``<sweep>/<cell>/<arm>/seed_<n>``; runs of no sweep at their id.
        report: told in a sentence about every file or run that is left out, and why; a warning in the log by default.

    Raises:
        ConfigError: if the folder does not exist or there is no ``.wandb`` file.
        OSError: if the disk is full or ``output`` cannot be written.
    """
    files = _find_files(Path(folder))
    run_folder = RunFolder(Path(output))
    segments = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for file, (segment, reason) in zip(files, pool.map(_try_to_read, files), strict=True):
            if segment is None:
                report(f"{file} is left out: {reason}.")
            else:
                segments.append(segment)
    paths = []
    for run in _by_run(segments):
        try:
            paths.append(_write(run, run_folder))
        except Unusable as reason:
            report(f"the run in {run[-1].file} is left out: {reason}.")
    return paths


def _find_files(folder: Path) -> list[Path]:
    if folder.is_file() and folder.suffix == ".wandb":
        return [folder]
    if not folder.is_dir():
        raise ConfigError(f"{folder} does not exist; it must be a folder with offline runs of wandb.")
    found = [Path(path, name) for path, _, names in os.walk(folder) for name in names if name.endswith(".wandb")]
    if not found:
        raise ConfigError(f"{folder} holds no .wandb file; it must be a folder with offline runs of wandb.")
    return sorted(found)


def _try_to_read(file: Path) -> tuple[_Segment | None, str]:
    try:
        return _read_segment(file), ""
    except Unusable as reason:
        return None, str(reason)


def _read_segment(file: Path) -> _Segment:
    """Read one file with wandb's own program, as far as it goes: a killed run leaves a torn one.

    Raises:
        Unusable: if it holds no run of this trainer.
    """
    command = [sys.executable, "-P", "-m", "wandb", "leet", "inspect", "--json", str(file)]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines() or [f"exit status {answer.returncode}"]
        raise Unusable(f"wandb cannot read it ({lines[-1].removeprefix('Error: ').rstrip('.')})")
    records = [json.loads(line) for line in answer.stdout.splitlines()]
    run = next((record["run"] for record in records if record["type"] == "run"), None)
    if run is None:
        raise Unusable("it is empty or torn before it tells of a run")
    updates = [record["summary"].get("update", {}) for record in records if record["type"] == "summary"]
    exits = [record["exit"].get("exit_code", 0) for record in records if record["type"] == "exit"]
    return _Segment(
        file=file,
        run=run,
        trained=read_trained(run.get("config", {}).get("update", {})),
        history=[record["history"]["item"] for record in records if record["type"] == "history"],
        told={key: value for update in updates if "_step" not in update for key, value in update.items()},
        exit_code=exits[-1] if exits else None,
    )


def _by_run(segments: list[_Segment]) -> Iterator[list[_Segment]]:
    """Yield the segments of each run in the order of their start; equal configs of two sweeps share an id."""
    runs: dict[tuple[object, ...], list[_Segment]] = {}
    # Of copies of one file, the one that goes furthest is put last and replaces the others.
    for segment in sorted(segments, key=lambda segment: (segment.start_time, len(segment.history))):
        key = (segment.run.get("run_id"), segment.run.get("project"), segment.trained.config.run_dir)
        runs.setdefault(key, []).append(segment)
    yield from runs.values()


def _merge(segments: list[_Segment]) -> list[dict[str, Any]]:
    """Return the rows of a run; a segment goes on from a checkpoint, so that what came after that is void."""
    rows: list[dict[str, Any]] = []
    for segment in segments:
        epochs = [row["epoch"] for row in segment.history if row.get("epoch") is not None]
        if epochs:
            rows = [row for row in rows if row.get("epoch") is not None and row["epoch"] < min(epochs)]
        rows += segment.history
    return rows


def _write(segments: list[_Segment], run_folder: RunFolder) -> Path:
    last, history = segments[-1], _merge(segments)
    states = {None: "running", 0: "finished"}
    origin = Origin(
        run_id=str(last.run.get("run_id")),
        name=last.run.get("display_name"),
        entity=last.run.get("entity") or None,
        project=last.run.get("project"),
        url=None,
        state=states.get(last.exit_code, "failed"),
        version={"files": [segment.file.name for segment in segments], "rows": len(history)},
        alive_at=max((row["_timestamp"] for row in history if "_timestamp" in row), default=None),
    )
    path = run_folder.place(origin, last.trained)
    write_run(path, origin, last.trained, history, last.told)
    return path
