"""Decides which runs a submission starts, and writes their directories."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.config import TrainConfig, config_hash, load_config, save_config, to_dict, with_measured
from adabatch.environment import available_cores
from adabatch.errors import ConfigError
from adabatch.measure.forecast import count_updates
from adabatch.run_dir import RunDir
from launch.config import ClusterConfig
from launch.expand import Expansion, Run
from launch.states import SETTLED, State
from launch.status import RunStatus

_STARTED_FILES = (
    "epochs.csv",
    "checkpoint.pt",
    "checkpoint.previous.pt",
    "attempts.jsonl",
    "FAILED",
    "DONE",
    "summary.json",
)
#: Differences in these cannot change a result.
_HARMLESS = (
    "run_dir",
    "tracker",
    "checkpoint",
    "dataset.root",
    "dataset.download",
    "dataset.num_workers",
    "hardware.profile",
)


@dataclass(frozen=True)
class Selection:
    """The runs to start, and how many of the others are done, at work, or left alone."""

    chosen: list[Run]
    done: int
    active: int
    left: int


def select(expansion: Expansion, statuses: Sequence[RunStatus], states: set[State]) -> Selection:
    """Choose the runs to start.

    Raises:
        ConfigError: if a folder holds a started run with another config.
    """
    for run in expansion.runs:
        _refuse_other_config(run)
    by_state = list(zip(expansion.runs, (status.state for status in statuses), strict=True))
    chosen = [run for run, state in by_state if state in states and state not in SETTLED]
    done = sum(state is State.DONE for _, state in by_state)
    active = sum(state in (State.RUNNING, State.PENDING) for _, state in by_state)
    return Selection(chosen, done, active, len(by_state) - len(chosen) - done - active)


def _refuse_other_config(run: Run) -> None:
    folder = RunDir(run.run_dir)
    if not has_started(run.run_dir):
        return
    if folder.read_json(folder.meta).get("launch", {}).get("asked_hash") == config_hash(run.config):
        return
    saved = load_config(folder.config)
    differences = list(_differences(to_dict(_settle(run.config, saved)), to_dict(saved)))
    if differences:
        raise ConfigError(
            f"{run.run_dir} holds a run with another config ({'; '.join(differences)}); "
            "give the sweep another name with sweep.name=NAME, or remove that folder."
        )


def has_started(run_dir: Path) -> bool:
    """Return whether anything was ever trained in a run directory."""
    return any((run_dir / name).exists() for name in _STARTED_FILES)


def _settle(asked: TrainConfig, saved: TrainConfig) -> TrainConfig:
    """Return the asked config with what an earlier submission settled for it: threads, and what was measured."""
    if asked.hardware.num_threads is None:
        hardware = dataclasses.replace(asked.hardware, num_threads=saved.hardware.num_threads)
        asked = dataclasses.replace(asked, hardware=hardware)
    return with_measured(asked, saved)


def _differences(asked: Mapping[str, Any], saved: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in {**saved, **asked}:
        name, now, before = prefix + key, asked.get(key), saved.get(key)
        if name in _HARMLESS or now == before:
            continue
        if isinstance(now, dict) and isinstance(before, dict):
            yield from _differences(now, before, f"{name}.")
        else:
            yield f"{name} is {before} there, {now} here"


def concurrent_runs(cluster: ClusterConfig) -> int:
    """Return how many runs may share a machine's devices at the same time.

    It is what was asked for, however few runs are left to start: partners that were submitted in different numbers
    with the same ``--jobs`` stay comparable.
    """
    return cluster.jobs * cluster.runs_per_job


def with_threads(config: TrainConfig, cluster: ClusterConfig) -> TrainConfig:
    """Return the config with each rank's share of the cores as its number of threads, unless the user set one."""
    if config.hardware.num_threads is not None:
        return config
    if cluster.kind == "local":
        cores = available_cores() // (cluster.jobs * cluster.runs_per_job * config.hardware.num_devices)
    elif cluster.cpus_per_task is not None:
        cores = cluster.cpus_per_task // cluster.runs_per_job
    else:
        return config
    return dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, num_threads=max(1, cores)))


def starting_order(runs: Sequence[Run]) -> list[Run]:
    """Return runs with the most updates first within each cell and seed, whose order stays as it is.

    So no long run is left to train alone at the end, and arms that are compared still run close in time.
    """
    places: dict[tuple[str, int], int] = {}
    updates: dict[str, int] = {}
    for run in runs:
        places.setdefault((run.cell, run.seed), len(places))
        if _course_of(run) not in updates:
            updates[_course_of(run)] = count_updates(run.config).total()
    return sorted(runs, key=lambda run: (places[run.cell, run.seed], -updates[_course_of(run)]))


def _course_of(run: Run) -> str:
    """Return a text that is equal for runs with the same updates, so that those of many seeds are counted once."""
    return f"{run.config.num_epochs} {run.config.schedule} {run.config.dataset}"


def resolved(run: Run, cluster: ClusterConfig) -> TrainConfig:
    """Return the config to save for a run: what an earlier submission settled stays, the rest is settled now."""
    if has_started(run.run_dir):
        return _settle(run.config, load_config(RunDir(run.run_dir).config))
    return with_threads(run.config, cluster)


def write_run(run: Run, config: TrainConfig, launch_meta: Mapping[str, Any]) -> None:
    """Write ``config.yaml`` and what ``meta.json`` says of the launch; drop the mark of an earlier failure."""
    folder = RunDir(run.run_dir)
    folder.path.mkdir(parents=True, exist_ok=True)
    save_config(config, folder.config)
    before = folder.read_json(folder.meta) if has_started(run.run_dir) else {}
    facts = {
        "arm": run.arm,
        "cell": run.cell,
        "baseline": run.baseline,
        "swept": run.swept,
        "asked_hash": config_hash(run.config),
    }
    folder.update_meta({"launch": {**launch_meta, **facts, **_kept(before)}})
    folder.failed.unlink(missing_ok=True)


def _kept(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a started run keeps of its earlier submissions.

    ``forecast`` is of the time before it started. ``earlier`` says, oldest first, how many runs went side by side,
    and up to which number of segments: a submission that trained nothing leaves no trace.
    """
    launch = meta.get("launch", {})
    kept = {"forecast": launch["forecast"]} if launch.get("forecast") else {}
    earlier = list(launch.get("earlier", []))
    num_segments = len(meta.get("segments", []))
    if num_segments > (earlier[-1]["segments"] if earlier else 0):
        side_by_side = {key: launch[key] for key in ("concurrent_runs", "runs_per_job") if key in launch}
        earlier.append({**side_by_side, "segments": num_segments})
    return {**kept, "earlier": earlier} if earlier else kept
