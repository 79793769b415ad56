"""Submits the missing runs of a sweep to this machine or to SLURM, and never a run twice."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adabatch.errors import EXIT_DONE, EXIT_INTERRUPTED, ConfigError
from adabatch.rundir.journal import Journal
from adabatch.rundir.meta import LaunchFacts
from adabatch.rundir.preregistration import register
from adabatch.rundir.process_identity import identity_of, this_process
from adabatch.rundir.states import State, exit_status
from launch.cluster_config import ClusterConfig
from launch.expand import Expansion, Run
from launch.forecast import forecast_runs
from launch.lint import Finding, refused_codes
from launch.local_queue import Stopped, foreground_queue, start_detached
from launch.own_code import freeze_own_code, own_codes_of
from launch.prepare import (
    Selection,
    concurrent_runs,
    places_in_blocks,
    resolved,
    select,
    starting_order,
    write_run,
)
from launch.probe import Prober
from launch.slurm import Queue, SlurmError
from launch.slurm_submit import Submission, check_shape, recover_lost_answers, require_programs, submit_to_slurm
from launch.snapshot import declaration, snapshot_code, write_sweep
from launch.status import status_of


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
    expansion = request.expansion
    journal = Journal(expansion.folder)
    with journal.locked(lambda: print("another submission of this sweep is in progress; waiting for it", flush=True)):
        if request.cluster.kind == "slurm":
            require_programs()
            for run in expansion.runs:
                check_shape(request.cluster, run.config)
        recover_lost_answers(journal)
        _require_queue(journal)
        statuses = status_of([run.run_dir for run in expansion.runs], expansion.folder)
        selection = select(expansion, statuses, request.states, request.only)
        codes = own_codes_of(selection.chosen)
        print(_selection_text(selection, expansion.folder), flush=True)
        if not selection.chosen:
            return EXIT_DONE
        token = uuid.uuid4().hex[:8]
        logs = journal.logs / f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{token}"
        groups = _write(request, selection.chosen, journal, selection.done)
        environment = freeze_own_code(journal, codes)
        status = hand_over(request, groups, journal, logs, token, environment)
    # The lock covers the decision, not the training.
    return work(request, groups, logs, environment) if status is None else status


def hand_over(
    request: Request,
    groups: Sequence[Sequence[Run]],
    journal: Journal,
    logs: Path,
    token: str,
    environment: Mapping[str, str],
) -> int | None:
    """Give the runs of each group to SLURM or to a detached queue, and return the exit status.

    Returns:
        None if the caller is the queue: it goes on with `work`, without the sweep's lock.
    """
    if request.cluster.kind == "slurm":
        submission = Submission(request.expansion, journal, request.cluster, logs, token, environment)
        return submit_to_slurm(submission, groups)
    paths = [[run.run_dir for run in group] for group in groups]
    names = [run.name for group in groups for run in group]
    if request.detach:
        pid = start_detached(journal.sweep_folder, paths, request.cluster, logs, environment)
        journal.record_queue(names, logs.name, identity_of(pid))
        print(f"process {pid} runs them; see: python -m launch status {journal.sweep_folder} --watch")
        return EXIT_DONE
    journal.record_queue(names, logs.name, this_process())
    return None


def _require_queue(journal: Journal) -> None:
    """Raise SlurmError if runs of the sweep were submitted to SLURM and squeue does not respond."""
    jobs = journal.accepted_job_ids()
    if jobs and not Queue.ask(jobs).reached:
        raise SlurmError("squeue is not responding, so queued jobs cannot be checked; retry later.")


def _selection_text(selection: Selection, folder: Path) -> str:
    counts = [(selection.done, "done"), (selection.active, "running or queued"), (selection.left, "left alone")]
    others = ", ".join(f"{count} {what}" for count, what in counts if count)
    if not selection.chosen:
        return f"{folder}: nothing to submit ({others})"
    return f"{folder}: submitting {len(selection.chosen)} runs" + (f" ({others})" if others else "")


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
    for run, config in zip(chosen, configs, strict=True):
        predicted = forecasts.get(run.run_dir)
        forecast = dataclasses.asdict(predicted) if predicted else None
        own = dataclasses.replace(facts, forecast=forecast, place_in_block=places[run.run_dir])
        write_run(run, config, own)
    size = cluster.runs_per_job
    runs = starting_order(chosen, places)
    return [runs[start : start + size] for start in range(0, len(runs), size)]


def work(request: Request, groups: Sequence[Sequence[Run]], logs: Path, environment: Mapping[str, str]) -> int:
    """Run the jobs on this machine and show their progress; return the exit status, as the runs end."""
    root = request.expansion.folder
    paths = [[run.run_dir for run in group] for group in groups]
    try:
        foreground_queue(root, paths, request.cluster, logs, environment).run()
    except Stopped as signal_name:
        print(f"stopped by {signal_name}; repeating the command resumes the runs", flush=True)
        return EXIT_INTERRUPTED
    finally:
        Journal(root).record_queue_end(logs.name)
    states = [status.state for status in status_of([path for group in paths for path in group], root)]
    failed = sum(state.is_failure for state in states)
    print(f"{root}: {states.count(State.DONE)} of {len(states)} runs done, {failed} failed", flush=True)
    return exit_status(states)
