"""The command ``rerun``: trains runs of a sweep once more from the start, with the config that they were saved with."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adabatch.config import load_config
from adabatch.errors import EXIT_USAGE, ConfigError
from adabatch.files import user_path
from adabatch.reading import Unreadable, reason
from adabatch.rundir.files import RunDir, find_runs
from adabatch.rundir.journal import Journal, sweep_folder_of
from adabatch.rundir.meta import LaunchFacts, read_meta, update_meta
from adabatch.shell.say import say
from adabatch.terminal import counted
from launch.arguments import add_rerun
from launch.cluster_config import ClusterConfig
from launch.config import load_cluster, saved_sweep
from launch.expand import Expansion, Run
from launch.hand_over import hand_over, jobs_of, new_submission, work
from launch.own_code import own_codes_of
from launch.prepare import concurrent_runs, groups_of, starting_order
from launch.slurm import ASK_EVERY_SECONDS, Slurm, require_programs
from launch.slurm_request import recover_lost_answers
from launch.slurm_script import check_shape
from launch.snapshot import snapshot_code
from launch.status import RunStatus, status_of


def rerun(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run ``rerun`` and return the exit status."""
    add_rerun(parser)
    options = parser.parse_intermixed_args(arguments)
    settings = dict(word.split("=", 1) for word in options.words if word.startswith(("cluster=", "cluster.")))
    folders = [user_path(word) for word in options.words if not word.startswith(("cluster=", "cluster."))]
    if not folders:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    name = settings.pop("cluster", "local")
    keys = {key.removeprefix("cluster."): value for key, value in settings.items()}
    cluster = load_cluster(name, keys, options.config_dir)
    if cluster.kind == "slurm" and options.detach:
        raise ConfigError("--detach needs cluster=local; on SLURM nothing is waited for.")
    return _rerun(folders, cluster, name, options.detach)


def _rerun(folders: Sequence[Path], cluster: ClusterConfig, cluster_name: str, detach: bool) -> int:
    sweep_folder, runs = _find(folders)
    journal = Journal(sweep_folder)
    expansion = Expansion(saved_sweep(sweep_folder / "sweep.yaml"), sweep_folder, runs)
    with journal.locked(lambda: print("another submission of this sweep is in progress; waiting for it", flush=True)):
        if cluster.kind == "slurm":
            require_programs()
            for run in runs:
                check_shape(cluster, run.config)
        recover_lost_answers(journal)
        slurm = Slurm(ASK_EVERY_SECONDS)
        statuses = _ended(runs, sweep_folder, slurm)
        groups = groups_of(cluster, starting_order(runs, _recorded_places(runs)))
        submission = new_submission(expansion, journal, cluster, own_codes_of(runs), slurm)
        code = snapshot_code(journal)
        journal.record_set_aside([run.name for run in runs])
        kept: list[tuple[Run, Path]] = []
        try:
            for run in runs:
                place = _set_aside(run, cluster, cluster_name, code)
                kept += [] if place is None else [(run, place)]
        finally:
            _tell_what_is_kept(kept)
        jobs = jobs_of(cluster, groups, statuses, journal)  # after that: what was finished decides what is left
        otherwise = "adabatch submit starts them later"
        status, _ = hand_over(submission, jobs, slurm, detach=detach, otherwise=otherwise)
    return work(submission, jobs) if status is None else status


def _find(folders: Sequence[Path]) -> tuple[Path, list[Run]]:
    """Return the sweep's folder and the runs at or below some folders of it.

    Raises:
        ConfigError: if one holds no run, or they are not of one sweep.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        runs = find_runs(folder)
        if not runs:
            raise ConfigError(f"{folder} holds no run; rerun takes run directories, or folders that hold them.")
        found |= dict.fromkeys(runs)
    sweeps = {sweep_folder_of(path) for path in found}
    (sweep_folder, *others) = sweeps
    if sweep_folder is None or others:
        raise ConfigError(
            f"{', '.join(map(str, folders))}: rerun takes runs of one submitted sweep; a single run is trained anew by "
            "the call that made it, with another run_dir."
        )
    return sweep_folder, [_run(path, sweep_folder) for path in found]


def _run(path: Path, sweep_folder: Path) -> Run:
    config = load_config(RunDir(path).config)
    facts = read_meta(RunDir(path)).launch
    if facts.arm is None or facts.cell is None or facts.baseline is None:
        raise ConfigError(f"{path} was not submitted: its meta.json names no arm; adabatch submit starts it.")
    run = Run(facts.arm, facts.cell, config.seed, facts.swept, facts.baseline, config, path)
    if path != sweep_folder / run.name:
        raise ConfigError(f"{path} was submitted as {run.name}; rerun takes runs that lie where they were submitted.")
    return run


def _ended(runs: Sequence[Run], folder: Path, slurm: Slurm) -> dict[Path, RunStatus]:
    """Return the states of the runs; raise ConfigError if one has not ended."""
    statuses = status_of([run.run_dir for run in runs], folder, slurm)
    for status in statuses:
        if status.state.may_change:
            cause = f" ({status.cause})" if status.cause else ""
            raise ConfigError(
                f"{status.name} is {status.state.value}{cause}; rerun takes runs that have ended: cancel it first."
            )
    return {status.run_dir: status for status in statuses}


def _recorded_places(runs: Sequence[Run]) -> dict[Path, int]:
    """Return the runs' places among the arms of their blocks, as they were submitted."""
    return {run.run_dir: read_meta(RunDir(run.run_dir)).launch.place_in_block or 0 for run in runs}


def _set_aside(run: Run, cluster: ClusterConfig, cluster_name: str, code: dict[str, Any]) -> Path | None:
    """Move what the run left to ``.earlier/``, if anything; write what launch knows of the new attempt."""
    folder = RunDir(run.run_dir)
    before: LaunchFacts = read_meta(folder).launch
    try:
        kept = folder.set_aside() if folder.has_started else None
    except (OSError, Unreadable) as error:
        raise ConfigError(f"what {run.run_dir} holds cannot be set aside: {reason(error)}.") from error
    facts = dataclasses.replace(
        before,
        cluster=cluster_name,
        concurrent_runs=concurrent_runs(cluster),
        runs_per_job=cluster.runs_per_job,
        code=code,
        earlier=[],
        reruns=(before.reruns or 0) + (kept is not None),
    )
    update_meta(folder, launch=facts)
    return kept


def _tell_what_is_kept(kept: Sequence[tuple[Run, Path]]) -> None:
    """Print where what runs left is kept, in one line for all whose place is called alike."""
    by_name: dict[str, list[tuple[Run, Path]]] = {}
    for run, place in kept:
        by_name.setdefault(place.relative_to(run.run_dir).as_posix(), []).append((run, place))
    for name, alike in by_name.items():
        (run, place), *others = alike
        text = f"{run.name}: what it left is kept in {place}"
        if others:
            text = f"{counted(len(alike), 'run')}: what they left is kept in {name} of each run's folder"
        say(text)
