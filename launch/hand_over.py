"""Gives the runs of a submission to SLURM, to a detached queue, or to one in this process."""

from __future__ import annotations

import contextlib
import datetime
import shlex
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adabatch.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED
from adabatch.rundir.journal import Journal
from adabatch.rundir.process_identity import identity_of, this_process
from adabatch.rundir.states import State, exit_status
from adabatch.shell.say import say
from adabatch.terminal import counted
from launch.chains import parts_of, ranks_of_job
from launch.cluster_config import ClusterConfig
from launch.expand import Expansion, Run
from launch.frozen_code import FrozenCode, freeze_adabatch, remove_unused_codes
from launch.local_queue import Stopped, foreground_queue, start_detached
from launch.own_code import freeze_own_code
from launch.raised_limits import raised
from launch.slurm import Queue, Slurm
from launch.slurm_submit import Job, Link, Submission, submit_to_slurm
from launch.slurm_throttle import live_arrays, rebalance
from launch.status import RunStatus, status_of

if TYPE_CHECKING:
    from adabatch.plugins.code import OwnCode


def queue_of(journal: Journal, slurm: Slurm) -> Queue:
    """Return what SLURM says about all jobs of a sweep; not reached where its programs are not installed."""
    job_ids = journal.accepted_job_ids()
    return slurm.ask(job_ids) or Queue(reached=not job_ids)


def new_submission(
    expansion: Expansion, journal: Journal, cluster: ClusterConfig, codes: Sequence[OwnCode], slurm: Slurm
) -> Submission:
    """Choose a folder for logs, and copy adabatch's code and the user's own for the jobs.

    The copies that no job needs any more are removed.
    """
    token = uuid.uuid4().hex[:8]
    logs = journal.logs / f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{token}"
    frozen = FrozenCode(freeze_adabatch(journal), freeze_own_code(journal, codes))
    queue = queue_of(journal, slurm)
    if queue.reached:
        remove_unused_codes(journal, frozen.names, queue.is_live)
    return Submission(expansion, journal, cluster, logs, token, frozen)


def jobs_of(
    cluster: ClusterConfig, groups: Sequence[list[Run]], statuses: Mapping[Path, RunStatus], journal: Journal
) -> list[Job]:
    """Return the jobs with their limits, raised where a run met one before and cluster.retry says so."""
    facts = journal.latest_facts()
    jobs = []
    for group in groups:
        links: list[Link] = []
        for part in parts_of(group[0]):
            ranks = ranks_of_job(group[0].config, part)
            # Only the first of a chain has met a limit: those behind it have not begun.
            asked = [(facts.get((run.name, ranks), {}), None if links else statuses[run.run_dir]) for run in group]
            links.append(Link(part, raised(asked, cluster, part.num_ranks)))
        jobs.append(Job(group, tuple(links)))
    return jobs


def share_anew(journal: Journal, cluster: ClusterConfig, slurm: Slurm) -> None:
    """Let a cap that was changed reach what is queued; print what changed."""
    journal.record_cap(cluster.max_concurrent_jobs)
    for line in rebalance(_earlier_arrays(journal, slurm), cluster.max_concurrent_jobs):
        print(line, flush=True)


def _earlier_arrays(journal: Journal, slurm: Slurm) -> dict[str, int]:
    return live_arrays(journal.accepted_job_ids(), queue_of(journal, slurm))


def hand_over(
    submission: Submission, jobs: Sequence[Job], slurm: Slurm, *, detach: bool, otherwise: str
) -> tuple[int | None, list[Run]]:
    """Give jobs to SLURM or to a detached queue; return the exit status, and the runs for which SLURM has no room.

    Args:
        detach: local only: whether a process of its own runs the queue.
        otherwise: what is to be said of runs for which there is no room.

    Returns:
        None as status if the caller is the queue: it goes on with `work`, without the sweep's lock.
    """
    journal, logs = submission.journal, submission.logs
    if submission.cluster.kind == "slurm":
        journal.record_cap(submission.cluster.max_concurrent_jobs)
        without_room = submit_to_slurm(submission, jobs, _earlier_arrays(journal, slurm))
        left = [run for job in without_room for run in job.runs]
        with contextlib.suppress(OSError):
            logs.rmdir()  # empty where there was no room for any job
        if left:
            runs = f"{counted(len(left), 'run')} {'is' if len(left) == 1 else 'are'}"
            say(f"{runs} not submitted: SLURM takes no more jobs of yours now; {otherwise}")
            return EXIT_INCOMPLETE, left
        print(f"to watch: {_to_watch(journal)}", flush=True)
        return EXIT_DONE, []
    names = [run.name for job in jobs for run in job.runs]
    if detach:
        pid = start_detached(journal.sweep_folder, _paths(jobs), submission.cluster, logs, submission.frozen)
        journal.record_queue(names, logs.name, identity_of(pid), submission.frozen.names)
        print(f"process {pid} runs them; to watch: {_to_watch(journal)}", flush=True)
        return EXIT_DONE, []
    journal.record_queue(names, logs.name, this_process(), submission.frozen.names)
    return None, []


def _to_watch(journal: Journal) -> str:
    return f"adabatch status {shlex.quote(str(journal.sweep_folder))} --watch"


def work(submission: Submission, jobs: Sequence[Job]) -> int:
    """Run the jobs on this machine and show their progress; return the exit status, as the runs end."""
    root, paths = submission.journal.sweep_folder, _paths(jobs)
    try:
        foreground_queue(root, paths, submission.cluster, submission.logs, submission.frozen).run()
    except Stopped as signal_name:
        say(f"stopped by {signal_name}; repeating the command resumes the runs")
        return EXIT_INTERRUPTED
    finally:
        submission.journal.record_queue_end(submission.logs.name)
    states = [status.state for status in status_of([path for group in paths for path in group], root)]
    failed = sum(state.is_failure for state in states)
    say(f"{root}: {states.count(State.DONE):,} of {counted(len(states), 'run')} done, {failed:,} failed")
    return exit_status(states)


def _paths(jobs: Sequence[Job]) -> list[list[Path]]:
    return [[run.run_dir for run in job.runs] for job in jobs]
