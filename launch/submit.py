"""Submits the missing runs of a sweep to this machine or to SLURM, and never a run twice."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from adabatch.config import TrainConfig
from adabatch.errors import EXIT_DONE, ConfigError
from adabatch.fields import require
from adabatch.rundir.journal import Journal
from adabatch.rundir.meta import LaunchFacts
from adabatch.rundir.preregistration import register
from adabatch.rundir.states import State
from adabatch.rundir.time_left import known_seconds
from adabatch.shell.say import say
from adabatch.terminal import counted
from launch.cluster_config import ClusterConfig
from launch.expand import Expansion, Run
from launch.forecast import Totals, forecast_runs, forecast_totals, totals
from launch.frozen_code import codes_folder
from launch.hand_over import hand_over, jobs_of, new_submission, queue_of, share_anew, work
from launch.lint import Finding, refused_codes
from launch.own_code import own_codes_of
from launch.prepare import (
    Selection,
    concurrent_runs,
    groups_of,
    most_concurrent_runs,
    places_in_blocks,
    resolved,
    select,
    starting_order,
    write_run,
)
from launch.probe import Prober
from launch.slurm import ASK_EVERY_SECONDS, Slurm, SlurmError, require_programs
from launch.slurm_request import recover_lost_answers
from launch.slurm_script import check_shape
from launch.slurm_submit import print_scripts
from launch.snapshot import declaration, snapshot_code, write_sweep
from launch.status import RunStatus, status_of

#: How long --wait-for-room waits before it asks again, doubled while nothing changes.
_SHORTEST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 120.0
_NUM_WRITERS = 16


@dataclass(frozen=True)
class Request:
    """One call of ``submit``.

    Attributes:
        overrides: of the call, for all runs.
        allowed: lint codes that are allowed.
        states: the states whose runs are to be started.
        detach: local only: do not wait for the runs.
        forecast: whether to measure the device first and record each run's predicted times.
        measure_again: measure even if an earlier measurement is cached.
        only: arms, cells or runs to which the submission is limited; empty for the whole sweep.
        wait_for_room: SLURM only: repeat until every job is accepted, where a limit leaves room for some only.
        dry_run: show what would be submitted, write and submit nothing.
    """

    expansion: Expansion
    cluster: ClusterConfig
    cluster_name: str
    overrides: list[str]
    allowed: list[str]
    states: set[State]
    detach: bool
    forecast: bool = False
    measure_again: bool = False
    only: Sequence[str] = ()
    wait_for_room: bool = False
    dry_run: bool = False


def refuse_errors(findings: Sequence[Finding], allowed: Sequence[str]) -> None:
    """Raise ConfigError if lint found an error that is not allowed."""
    codes = refused_codes(findings, allowed)
    if codes:
        raise ConfigError(
            f"the sweep was not submitted because lint found {', '.join(codes)} (see above); "
            f"change the sweep, or pass --allow {','.join(codes)}, which every result will show."
        )


def submit(request: Request) -> int:
    """Submit what is missing or failed; return the exit status.

    Raises:
        ConfigError: if a folder holds another config, or the cluster refuses.
    """
    if request.dry_run:
        return _show(request)
    left: Sequence[Run] = request.expansion.runs
    pause = _SHORTEST_PAUSE_SECONDS
    while True:
        num_before = len(left)
        status, left = _submit_some(request, left)
        if not (left and request.wait_for_room):
            return status
        pause = _SHORTEST_PAUSE_SECONDS if len(left) < num_before else min(2 * pause, _LONGEST_PAUSE_SECONDS)
        time.sleep(pause)


def _submit_some(request: Request, candidates: Sequence[Run]) -> tuple[int, list[Run]]:
    """Submit the candidates that are missing or failed; return the exit status and those without room."""
    expansion, cluster = request.expansion, request.cluster
    journal = Journal(expansion.folder)
    with journal.locked(lambda: print("another submission of this sweep is in progress; waiting for it", flush=True)):
        if cluster.kind == "slurm":
            require_programs()
        recover_lost_answers(journal)
        slurm = Slurm(ASK_EVERY_SECONDS)  # one answer for the whole submission
        if not queue_of(journal, slurm).reached:
            raise SlurmError("squeue is not responding, so queued jobs cannot be checked; retry later.")
        selection, statuses = _selected(request, candidates, slurm)
        codes = own_codes_of(selection.chosen)
        say(_selection_text(selection, expansion.folder))
        if not selection.chosen:
            if cluster.kind == "slurm":
                share_anew(journal, cluster, slurm)
            return EXIT_DONE, []
        groups = _write(request, selection.chosen, journal, selection.done)
        submission = new_submission(expansion, journal, cluster, codes, slurm)
        jobs = jobs_of(cluster, groups, statuses, journal)
        otherwise = "waiting for room" if request.wait_for_room else "repeat the command, or pass --wait-for-room"
        status, left = hand_over(submission, jobs, slurm, detach=request.detach, otherwise=otherwise)
    # The lock covers the decision, not the training.
    return work(submission, jobs) if status is None else status, left


def _show(request: Request) -> int:
    """Print what a submission would start and, on SLURM, its batch scripts."""
    expansion, cluster = request.expansion, request.cluster
    selection, statuses = _selected(request, expansion.runs, Slurm())
    say(_selection_text(selection, expansion.folder) + "; dry run: nothing is written or submitted")
    ordered = starting_order(selection.chosen, places_in_blocks(expansion))
    groups = groups_of(cluster, ordered)
    journal = Journal(expansion.folder)
    together = _totals(request, ordered, statuses)
    if together is not None:
        say(together.text)
    if cluster.kind == "slurm":
        require_programs()
        jobs = jobs_of(cluster, groups, statuses, journal)
        logs, code = journal.logs.resolve() / "TIME-TOKEN", codes_folder(journal).resolve() / "HASH"
        print_scripts(expansion.sweep.name, cluster, logs, jobs, code)
        return EXIT_DONE
    for number, group in enumerate(groups, 1):
        say(f"job {number}: {', '.join(run.name for run in group)}")
    return EXIT_DONE


def _totals(request: Request, runs: Sequence[Run], statuses: Mapping[Path, RunStatus]) -> Totals | None:
    """Return what runs take together: by a new forecast, or by what finished runs took and earlier ones on record."""
    concurrent = most_concurrent_runs(request.cluster)
    if request.forecast and runs:
        expansion = request.expansion
        prober = Prober(expansion.runs, expansion.folder, request.cluster, request.measure_again)
        measured = prober.resolve_auto(runs)
        return forecast_totals(measured, forecast_runs(measured, prober.measure_times(measured)), concurrent)
    seconds = known_seconds([status.so_far for status in statuses.values()], [run.run_dir for run in runs])
    return totals(runs, seconds, concurrent) if seconds else None


def _selected(request: Request, candidates: Sequence[Run], slurm: Slurm) -> tuple[Selection, dict[Path, RunStatus]]:
    """Choose the runs to start; return them, and the states of all runs of the sweep."""
    expansion = request.expansion
    if request.cluster.kind == "slurm":
        where = str(expansion.folder.resolve())
        require(where.isprintable(), "--runs-dir", repr(where), "a path in one line, which a batch script can name")
        for run in expansion.runs:
            check_shape(request.cluster, run.config)
    statuses = status_of([run.run_dir for run in expansion.runs], expansion.folder, slurm)
    selection = select(expansion, statuses, request.states, request.only)
    allowed = {run.run_dir for run in candidates}
    chosen = [run for run in selection.chosen if run.run_dir in allowed]
    left = selection.left + len(selection.chosen) - len(chosen)
    by_run = {run.run_dir: status for run, status in zip(expansion.runs, statuses, strict=True)}
    return dataclasses.replace(selection, chosen=chosen, left=left), by_run


def _selection_text(selection: Selection, folder: Path) -> str:
    counts = [(selection.done, "done"), (selection.active, "running or queued"), (selection.left, "left alone")]
    others = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    if not selection.chosen:
        return f"{folder}: nothing to submit ({others})"
    return f"{folder}: submitting {counted(len(selection.chosen), 'run')}" + (f" ({others})" if others else "")


def _write(request: Request, chosen: Sequence[Run], journal: Journal, num_done: int) -> list[list[Run]]:
    """Write the sweep, the code snapshot and each run's config; return the runs by job."""
    cluster, sweep = request.cluster, request.expansion.sweep
    prober = Prober(request.expansion.runs, request.expansion.folder, cluster, request.measure_again)
    measured = prober.resolve_auto(chosen)
    configs = [resolved(run, cluster) for run in measured]
    forecasts = forecast_runs(measured, prober.measure_times(measured)) if request.forecast else {}
    places = places_in_blocks(request.expansion)
    facts = LaunchFacts(
        sweep=sweep.name,
        target=sweep.target,
        margin=sweep.margin,
        smallest_effect=sweep.smallest_effect,
        num_planned_runs=len(request.expansion.runs),
        registration=register(request.expansion.folder, declaration(sweep, request.overrides), num_done),
        varied=list(sweep.grid),
        lint_allowed=request.allowed,
        cluster=request.cluster_name,
        concurrent_runs=concurrent_runs(cluster),
        runs_per_job=cluster.runs_per_job,
        code=snapshot_code(journal),
    )
    write_sweep(request.expansion, request.overrides)

    def write(run: Run, config: TrainConfig) -> None:
        predicted = forecasts.get(run.run_dir)
        forecast = dataclasses.asdict(predicted) if predicted else None
        write_run(run, config, dataclasses.replace(facts, forecast=forecast, place_in_block=places[run.run_dir]))

    # Making files durable is waiting, for the disk or for a server: several wait at the same time.
    with ThreadPoolExecutor(_NUM_WRITERS) as pool:
        for _ in pool.map(write, chosen, configs):
            pass
    return groups_of(cluster, starting_order(chosen, places))
