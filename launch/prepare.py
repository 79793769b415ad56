"""Decides which runs a submission starts, and writes their directories."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.config import (
    TrainConfig,
    differences,
    load_config,
    matches_hash,
    save_config,
    to_dict,
    with_measured,
)
from adabatch.config.hashing import config_hash
from adabatch.rundir.cores import available_cores
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import LaunchFacts, Meta, read_meta, update_meta
from adabatch.rundir.other_config import refuse_other_config
from adabatch.rundir.outcome import clear_outcome
from adabatch.rundir.states import State
from launch.cluster_config import ClusterConfig
from launch.expand import Expansion, Run
from launch.selecting import pick
from launch.status import RunStatus


@dataclass(frozen=True)
class Selection:
    """The runs to start, and how many of the others are done, active (queued or running), or left alone."""

    chosen: list[Run]
    done: int
    active: int
    left: int


def select(
    expansion: Expansion, statuses: Sequence[RunStatus], states: set[State], only: Sequence[str] = ()
) -> Selection:
    """Choose the runs to start.

    Args:
        only: arms, cells or runs to choose from; empty for all.

    Raises:
        ConfigError: if a folder holds a started run with another config, or ``only`` names no run.
    """
    picked = {run.run_dir for run in (pick(expansion.runs, only) if only else expansion.runs)}
    for run in expansion.runs:
        _refuse_other_config(run)
    by_state = list(zip(expansion.runs, (status.state for status in statuses), strict=True))
    chosen = [run for run, state in by_state if state in states and run.run_dir in picked]
    done = sum(state is State.DONE for _, state in by_state)
    active = sum(state.is_active for _, state in by_state)
    return Selection(chosen, done, active, len(by_state) - len(chosen) - done - active)


def _refuse_other_config(run: Run) -> None:
    folder = RunDir(run.run_dir)
    if not folder.has_started:
        return
    asked_hash = read_meta(folder).launch.asked_hash
    if asked_hash is not None and matches_hash(run.config, asked_hash):
        return
    saved = load_config(folder.config)
    found = list(differences(to_dict(_with_resolved(run.config, saved)), to_dict(saved)))
    refuse_other_config(folder.path, found, "Give the sweep another name with sweep.name=NAME")


def _with_resolved(asked: TrainConfig, saved: TrainConfig) -> TrainConfig:
    """Return the asked config with the values that an earlier submission resolved: threads and measured values."""
    if asked.hardware.num_threads is None:
        hardware = dataclasses.replace(asked.hardware, num_threads=saved.hardware.num_threads)
        asked = dataclasses.replace(asked, hardware=hardware)
    return with_measured(asked, saved)


def concurrent_runs(cluster: ClusterConfig) -> int:
    """Return how many runs may share a machine's devices at the same time.

    This depends on the cluster settings, not on the number of runs to start, so paired runs from different submissions
    with the same ``--jobs`` stay comparable.
    """
    return cluster.jobs * cluster.runs_per_job


def most_concurrent_runs(cluster: ClusterConfig) -> int | None:
    """Return how many runs of a sweep run at the same time; None if nothing but the cluster's size limits that."""
    if cluster.kind == "local":
        return concurrent_runs(cluster)
    return None if cluster.max_concurrent_jobs is None else cluster.max_concurrent_jobs * cluster.runs_per_job


def with_threads(config: TrainConfig, cluster: ClusterConfig) -> TrainConfig:
    """Return the config with each rank's share of the cores as its number of threads, unless one is set."""
    if config.hardware.num_threads is not None:
        return config
    if cluster.kind == "local":
        cores = available_cores() // (cluster.jobs * cluster.runs_per_job * config.hardware.num_devices)
    elif cluster.cpus_per_task is not None:
        cores = cluster.cpus_per_task // cluster.runs_per_job
    else:
        return config
    return dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, num_threads=max(1, cores)))


def places_in_blocks(expansion: Expansion) -> dict[Path, int]:
    """Return each run's place, from 0, among the arms of its block: the runs of one grid point and seed.

    The order of the arms is random, so that drift of the machine is not taken for an effect of an arm, and the same at
    every submission. Every second seed has the reverse of the order before it, which also balances drift that is large
    against the noise.
    """
    seeds = {seed: number for number, seed in enumerate(expansion.sweep.seeds)}
    blocks: dict[tuple[str, str, int], list[Run]] = {}
    for run in expansion.runs:
        blocks.setdefault(_block_of(run), []).append(run)
    places: dict[Path, int] = {}
    for (cell, point, seed), runs in blocks.items():
        number = seeds[seed]
        order = list(range(len(runs)))
        random.Random(f"{expansion.sweep.name}/{cell}/{point}/{number // 2}").shuffle(order)
        if number % 2:
            order.reverse()
        places |= {runs[index].run_dir: place for place, index in enumerate(order)}
    return places


def starting_order(runs: Sequence[Run], places: Mapping[Path, int]) -> list[Run]:
    """Return runs block by block, in the order of their places.

    Args:
        places: of `places_in_blocks`.
    """
    blocks: dict[tuple[str, str, int], int] = {}
    for run in runs:
        blocks.setdefault(_block_of(run), len(blocks))
    return sorted(runs, key=lambda run: (blocks[_block_of(run)], places[run.run_dir]))


def groups_of(cluster: ClusterConfig, runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs of each job; jobs, and runs within a block's job, start in the order of the runs.

    Args:
        runs: of `starting_order`.
    """
    if cluster.block is None:
        size = cluster.runs_per_job
        return [list(runs[start : start + size]) for start in range(0, len(runs), size)]
    blocks: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        hardware = run.config.hardware
        blocks.setdefault((_block_of(run), hardware.num_nodes, hardware.num_devices, hardware.device), []).append(run)
    return list(blocks.values())


def _block_of(run: Run) -> tuple[str, str, int]:
    return run.cell, json.dumps(run.swept, sort_keys=True, default=str), run.seed


def resolved(run: Run, cluster: ClusterConfig) -> TrainConfig:
    """Return the config to save for a run; values that an earlier submission resolved are kept."""
    folder = RunDir(run.run_dir)
    if folder.has_started:
        return _with_resolved(run.config, load_config(folder.config))
    return with_threads(run.config, cluster)


def write_run(run: Run, config: TrainConfig, submission: LaunchFacts) -> None:
    """Write ``config.yaml`` and the launch facts in ``meta.json``; remove the outcome of an earlier attempt.

    Args:
        submission: the facts shared by all runs of the submission, and the run's forecast.
    """
    folder = RunDir(run.run_dir)
    folder.path.mkdir(parents=True, exist_ok=True)
    save_config(config, folder.config)
    before = read_meta(folder) if folder.has_started else Meta()
    facts = dataclasses.replace(
        submission,
        arm=run.arm,
        cell=run.cell,
        baseline=run.baseline,
        swept=run.swept,
        asked_hash=config_hash(run.config),
        forecast=before.launch.forecast or submission.forecast,  # the one from before the first start
        earlier=_earlier(before),
    )
    update_meta(folder, launch=facts)
    clear_outcome(folder)


def _earlier(meta: Meta) -> list[dict[str, Any]]:
    """Return, oldest first, how many runs ran concurrently in earlier submissions, each up to which number of segments.

    A submission that trained nothing is left out.
    """
    earlier = list(meta.launch.earlier)
    num_segments = len(meta.segments)
    if num_segments > (earlier[-1]["segments"] if earlier else 0):
        shared = {"concurrent_runs": meta.launch.concurrent_runs, "runs_per_job": meta.launch.runs_per_job}
        known = {name: value for name, value in shared.items() if value is not None}
        earlier.append({**known, "segments": num_segments})
    return earlier
