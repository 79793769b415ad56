"""Submits runs to SLURM as job arrays: as many as its limits allow, the rest when there is room."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adabatch.config import Allocation, TrainConfig, during
from adabatch.rundir.journal import Journal
from adabatch.terminal import complain, counted
from launch.chains import cluster_for, dependency_on, ranks_of_job
from launch.cluster_config import ClusterConfig
from launch.expand import Expansion, Run
from launch.frozen_code import FrozenCode
from launch.job import TrainJob
from launch.partition import refuse_unavailable
from launch.slurm import SlurmError, call
from launch.slurm_request import NoRoom, pause_after, request
from launch.slurm_script import Limits, executor_of, script_text
from launch.slurm_throttle import Share, rebalance, shares

#: SLURM may send the signal this much earlier than requested.
_EARLY_SECONDS = 65
_LONGEST_ARMS = 40


@dataclass(frozen=True)
class Link:
    """One job of a chain: what it trains of its run, and what it may use."""

    part: Allocation
    limits: Limits


@dataclass(frozen=True)
class Job:
    """One job with its runs, or of a run whose ranks grow a chain of them; what is not a chain has one link."""

    runs: list[Run]
    links: tuple[Link, ...]

    @property
    def shape(self) -> tuple[list[tuple[int, int, Limits]], str]:
        """What the jobs of one array have in common."""
        links = [(link.part.hardware.num_nodes, link.part.hardware.num_devices, link.limits) for link in self.links]
        return links, self.config.hardware.device

    @property
    def config(self) -> TrainConfig:
        """The config of its first run, for its shape."""
        return self.runs[0].config


@dataclass(frozen=True)
class Submission:
    """What the job arrays of one call of ``submit`` share.

    Attributes:
        logs: folder of the jobs' logs; a new one each time, since job ids can be reused.
        token: part of the jobs' names, used to find a submission if the answer was lost.
        frozen: the code that the jobs import.
    """

    expansion: Expansion
    journal: Journal
    cluster: ClusterConfig
    logs: Path
    token: str
    frozen: FrozenCode
    numbers: Iterator[int] = field(default_factory=itertools.count)


def max_array_size(cluster: ClusterConfig) -> int:
    """Return how many jobs one array may have: what the cluster accepts, and no more than cluster.max_array_size."""
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", call(["scontrol", "show", "config"]), re.MULTILINE)
    accepted = max(1, int(match.group(1))) if match else 1  # 0: it accepts no arrays
    return min(accepted, cluster.max_array_size or accepted)


def arrays_of(jobs: Sequence[Job], largest: int) -> list[list[Job]]:
    """Return jobs by array: alike, and in their order."""
    chunks = []
    for _, alike in itertools.groupby(sorted(jobs, key=lambda job: job.shape), key=lambda job: job.shape):
        rest = list(alike)
        chunks += [rest[start : start + largest] for start in range(0, len(rest), largest)]
    return chunks


def submit_to_slurm(submission: Submission, jobs: Sequence[Job], earlier: Mapping[str, int]) -> list[Job]:
    """Submit jobs in as few arrays as the cluster allows; return those for which there was no room.

    Args:
        earlier: the sweep's arrays that are queued or running, of `live_arrays`.

    Raises:
        SlurmError: if a request is refused; earlier accepted ones are recorded.
    """
    _refuse_unavailable(submission.cluster, jobs)
    arrays, cap = dict(earlier), submission.cluster.max_concurrent_jobs
    chunks = arrays_of(jobs, max_array_size(submission.cluster))
    if cap is not None:  # what is queued makes room for what comes
        rebalance(arrays, cap, [len(chunk) for chunk in chunks])
    accepted = 0
    while chunks:
        chunk = chunks.pop(0)
        share = shares([*arrays.values(), len(chunk), *map(len, chunks)], cap)[len(arrays)]
        try:
            job_id = _submit_chain(submission, chunk, share, list(arrays))
        except NoRoom:
            if len(chunk) == 1:
                chunks.insert(0, chunk)
                break
            # sbatch takes an array as a whole or not at all, and does not say how many jobs are left to this user.
            half = (len(chunk) + 1) // 2
            chunks = [part for whole in (chunk, *chunks) for part in arrays_of(whole, half)]
            continue
        except SlurmError as error:
            raise SlurmError(
                f"{error} {accepted} of {counted(len(jobs), 'job')} were accepted before; "
                "repeating the command submits the others."
            ) from error
        accepted += len(chunk)
        arrays[job_id] = len(chunk)
        num_links = len(chunk[0].links)
        chain = f", each the first of a chain of {num_links}" if num_links > 1 else ""
        print(f"SLURM job {job_id}: {counted(len(chunk), 'job')}{chain}", flush=True)
    if earlier or cap is not None:
        rebalance(arrays, cap)
    return [job for chunk in chunks for job in chunk]


def _refuse_unavailable(cluster: ClusterConfig, jobs: Sequence[Job]) -> None:
    """Raise SlurmError if the partition lacks what a later job of a chain needs, before an earlier one begins."""
    wanted = [link.part.hardware for job in jobs if len(job.links) > 1 for link in job.links]
    if wanted:
        refuse_unavailable(cluster, {repr(hardware): hardware for hardware in wanted}.values())


@dataclass(frozen=True)
class _Accepted:
    job_id: str
    token: str


def _submit_chain(submission: Submission, chunk: Sequence[Job], share: Share, arrays: Sequence[str]) -> str:
    """Submit an array for each allocation of its runs, all of them or none, and return the id of the first."""
    accepted: list[_Accepted] = []
    for link in chunk[0].links:
        try:
            accepted.append(_submit_array(submission, chunk, link, share, arrays, accepted[-1] if accepted else None))
        except (NoRoom, SlurmError):
            if accepted:
                submission.journal.record_cancellation([run.name for job in chunk for run in job.runs])
                with contextlib.suppress(SlurmError):  # they then train what they can; the next command goes on
                    call(["scancel", *(one.job_id for one in accepted)])
            raise
    return accepted[0].job_id


def _submit_array(
    submission: Submission,
    chunk: Sequence[Job],
    link: Link,
    share: Share,
    arrays: Sequence[str],
    before: _Accepted | None,
) -> _Accepted:
    """Submit one array, again where the controller is busy.

    Args:
        link: what its jobs train.
        before: the array that trains what comes before it.
    """
    journal, cluster, part, limits = submission.journal, submission.cluster, link.part, link.limits
    facts = {"codes": submission.frozen.names, "minutes": limits.minutes, "memory_gb": limits.memory_gb}
    ranks = ranks_of_job(chunk[0].config, part)
    if ranks is not None:
        facts["num_ranks"] = ranks
    waits_for = [] if share.after is None else [f"afterany:{arrays[share.after]}"]
    if before is not None:
        facts["after"] = before.token
        waits_for.append(dependency_on(before.job_id, len(chunk)))
    num_failures = 0
    while True:
        token = f"{submission.token}{next(submission.numbers):02d}"
        name = job_name(submission.expansion.sweep.name, chunk, token)
        groups = [[run.name for run in job.runs] for job in chunk]
        intent = journal.record_intent(token, name, groups, submission.logs.name, facts)
        executor = executor_of(
            cluster_for(cluster, chunk[0].config, part),
            during(chunk[0].config, part),
            submission.logs,
            name,
            limits=limits,
            throttle=share.throttle,
            dependency=",".join(waits_for) or None,
            code=submission.frozen.adabatch,
        )
        job_id = request(journal, intent, executor, [_train_job(submission, job, link) for job in chunk])
        if job_id is not None:
            return _Accepted(job_id, token)
        num_failures += 1
        complain("SLURM's controller is busy; asking again")
        if not pause_after(num_failures):
            raise SlurmError(f"sbatch was refused {num_failures} times by a busy controller.")


def _train_job(submission: Submission, job: Job, link: Link) -> TrainJob:
    cluster = submission.cluster
    limit = 60.0 * link.limits.minutes - cluster.signal_delay_s - _EARLY_SECONDS
    return TrainJob(
        [str(run.run_dir.resolve()) for run in job.runs],
        cluster.max_retries,
        max(0.0, limit),
        submission.frozen.environment,
        in_turn=cluster.block is not None,
        num_ranks=ranks_of_job(job.config, link.part),
        code=str(submission.frozen.adabatch),
    )


def job_name(sweep: str, chunk: Sequence[Job], token: str) -> str:
    """Return what an array is called in the queue: sweep, arms, and what makes it unique."""
    arms = "+".join(dict.fromkeys(run.arm for job in chunk for run in job.runs))
    return f"{sweep}.{arms if len(arms) <= _LONGEST_ARMS else arms[: _LONGEST_ARMS - 3] + '...'}-{token}"


def print_scripts(sweep: str, cluster: ClusterConfig, logs: Path, jobs: Sequence[Job], code: Path) -> None:
    """Print the batch scripts that would be submitted, one for arrays that are alike; submit nothing."""
    _refuse_unavailable(cluster, jobs)
    chunks = arrays_of(jobs, max_array_size(cluster))
    for _, alike in itertools.groupby(chunks, key=lambda chunk: (chunk[0].shape, len(chunk))):
        arrays = list(alike)
        first = arrays[0]
        for number, link in enumerate(first[0].links, 1):
            part = link.part
            executor = executor_of(
                cluster_for(cluster, first[0].config, part),
                during(first[0].config, part),
                logs,
                job_name(sweep, first, "TOKEN"),
                limits=link.limits,
                throttle=cluster.max_concurrent_jobs,
                dependency=dependency_on("JOB", len(first)) if number > 1 else None,
                code=code,
            )
            where = f", epochs {part.first_epoch} to {part.last_epoch}" if len(first[0].links) > 1 else ""
            print(f"# {len(arrays)} x {counted(len(first), 'job')}, the first for {first[0].runs[0].name}{where}")
            print(script_text(executor, len(first)), flush=True)
