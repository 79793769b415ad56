"""What SLURM knows about jobs: from squeue, and for jobs that have left it from sacct or scontrol."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from adabatch.errors import ConfigError

_TIMEOUT_SECONDS = 30
_IDS_PER_CALL = 200
#: How old an answer may be, at the least, where SLURM is asked again and again.
ASK_EVERY_SECONDS = 10.0
#: Array indices from here on mean "none".
_NO_INDEX = 0xFFFFFFF0
_JOB_ID = re.compile(r"[1-9]\d{0,9}(_\d{1,9})?", re.ASCII)
_WORKING = ("RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING", "STOPPED", "SUSPENDED")
#: Any other state is one in which a job still waits, so that a newer SLURM's word never makes a run start twice.
_ENDED = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "RECONFIG_FAIL", "TIMEOUT",
)  # fmt: skip
#: States that need no further word.
_USUAL = ("PENDING", "RUNNING", "COMPLETING")
#: Our own words: SLURM did not say, and SLURM answered that it does not know the job (any more).
_UNKNOWN, _FORGOTTEN = "UNKNOWN", "FORGOTTEN"
_NO_ACCOUNTING = "accounting storage is disabled"


@dataclass(frozen=True)
class JobState:
    """SLURM's report on a job: its state in capitals, the reason it waits or ended, the exit code."""

    state: str
    reason: str | None = None
    exit_code: str | None = None

    @property
    def waits(self) -> bool:
        """Whether the job is in the queue."""
        return not (self.works or self.has_ended or self.state == _UNKNOWN)

    @property
    def works(self) -> bool:
        """Whether the job is on a node."""
        return self.state in _WORKING

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended, or SLURM has forgotten it."""
        return self.state in _ENDED or self.is_forgotten

    @property
    def is_forgotten(self) -> bool:
        """Whether SLURM answered, and does not know the job."""
        return self.state == _FORGOTTEN


class SlurmError(ConfigError):
    """A SLURM program is missing, fails, or does not respond."""


def call(command: Sequence[str]) -> str:
    """Run a SLURM program and return what it printed.

    Raises:
        SlurmError: one sentence with the program's own message.
    """
    try:
        # The variable keeps SLURM from shortening the index lists of arrays.
        environment = {**os.environ, "SLURM_BITSTR_LEN": "0"}
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, env=environment)
    except FileNotFoundError as error:
        raise SlurmError(f"{command[0]} is missing; run this on a machine that can submit SLURM jobs.") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(
            f"{command[0]} did not respond within {_TIMEOUT_SECONDS} seconds; the controller may be down."
        ) from error
    if answer.returncode != 0:
        message = " ".join((answer.stderr or answer.stdout).split())
        raise SlurmError(f"{command[0]} refused: {message or f'exit status {answer.returncode}'}")
    return answer.stdout


def require_programs() -> None:
    """Raise SlurmError unless SLURM's programs are installed."""
    for program in ("sbatch", "srun", "squeue", "scontrol"):
        if shutil.which(program) is None:
            raise SlurmError(f"{program} is missing; cluster.kind=slurm needs a machine that can submit SLURM jobs.")


@dataclass
class Queue:
    """The states of some jobs at one moment; ``reached`` says whether squeue answered."""

    reached: bool = True
    states: dict[str, JobState] = field(default_factory=dict)

    @staticmethod
    def ask(job_ids: Iterable[str], settled: Collection[str] = ()) -> Queue:
        """Ask for the jobs, array elements one by one. If the controller does not respond, the result is empty.

        squeue is asked for these jobs only.

        Args:
            settled: jobs of which it is known how they ended: if they have left the queue, nothing else is asked.
        """
        wanted = set(job_ids)
        queue = Queue()
        if not wanted:
            return queue
        if shutil.which("squeue") is None:
            queue.reached = False
            return queue
        try:
            listed = _squeue(wanted)
        except SlurmError:
            queue.reached = False
            return queue
        queue.states.update({job: listed[job] for job in wanted & listed.keys() if not listed[job].has_ended})
        gone = wanted - queue.states.keys() - set(settled)
        if gone:
            queue.states.update({job: state for job, state in _ended(gone, listed).items() if job in gone})
        return queue

    def is_live(self, job_id: str) -> bool:
        """Return whether a job is queued or running."""
        state = self.state(job_id)
        return state.waits or state.works

    def state(self, job_id: str) -> JobState:
        """Return a job's state, ``UNKNOWN`` if SLURM does not say."""
        return self.states.get(job_id, JobState(_UNKNOWN))


class Slurm:
    """Asks SLURM about jobs, and remembers what it answered: sacct is asked once about a job that has ended.

    Args:
        every_seconds: how old an answer may be before it is asked again.

    Attributes:
        asked_at: when it was last asked, on the monotonic clock.
    """

    def __init__(self, every_seconds: float = 0.0) -> None:
        self.every_seconds = every_seconds
        self._answer: Queue | None = None
        self._asked_for: frozenset[str] = frozenset()
        self._ends: dict[str, JobState] = {}
        self.asked_at = 0.0
        self._silent_since = 0.0

    @property
    def last_answer(self) -> Queue:
        """What SLURM said when it was last asked; not reached if it did not answer, or was not asked."""
        return self._answer or Queue(reached=False)

    @property
    def is_silent(self) -> bool:
        """Whether SLURM did not answer when it was last asked."""
        return self._answer is not None and not self._answer.reached

    @property
    def silence_text(self) -> str:
        """What is to be said of a run of which only SLURM knows the state while it is silent."""
        return f"SLURM has not answered for {max(1.0, time.monotonic() - self._silent_since):.0f} s"

    def ask(self, job_ids: Collection[str], settled: Collection[str] = ()) -> Queue | None:
        """Return what SLURM says about jobs, `Queue.ask`; None where its programs are not installed."""
        if not job_ids or shutil.which("squeue") is None:
            return None
        wanted = frozenset(job_ids)
        is_fresh = time.monotonic() - self.asked_at < self.every_seconds and wanted <= self._asked_for
        if self._answer is None or not is_fresh:
            if not self.is_silent:  # the silence began after the last answer, or with this question
                self._silent_since = self.asked_at if self._answer else time.monotonic()
            self._answer, self._asked_for = self._ask(wanted, settled), wanted
            self.asked_at = time.monotonic()
        return self._answer

    def _ask(self, wanted: frozenset[str], settled: Collection[str]) -> Queue:
        queue = Queue.ask(wanted, {*settled, *self._ends})
        for job_id, state in queue.states.items():
            if state.has_ended:
                self._ends[job_id] = state
            else:  # an operator may have requeued a job that had ended
                self._ends.pop(job_id, None)
        if queue.reached:
            queue.states |= {job_id: self._ends[job_id] for job_id in wanted & self._ends.keys()}
        return queue


def _main_ids(job_ids: Iterable[str]) -> list[str]:
    """Return the ids without array indices, of those that can be SLURM's: for one other word it refuses them all."""
    return sorted({_array_of(job_id) for job_id in job_ids if _JOB_ID.fullmatch(job_id)})


def _squeue(job_ids: set[str]) -> dict[str, JobState]:
    """Return what squeue lists of jobs, and of the other elements of their arrays; some that just ended, too."""
    states = {}
    main_ids = _main_ids(job_ids)
    for start in range(0, len(main_ids), _IDS_PER_CALL):
        ids = ",".join(main_ids[start : start + _IDS_PER_CALL])
        for line in _listed(["--array", f"--jobs={ids}", "--format=%i|%T|%r"]):
            job_id, state, reason = line.split("|", 2)
            told = None if state in _USUAL or state in _ENDED else state
            states[job_id.strip()] = JobState(state, told if reason in ("None", "") else reason)
    return states


def _listed(options: Sequence[str]) -> list[str]:
    """Return the lines of squeue, without those of a cluster's name; none if the controller has forgotten the jobs."""
    try:
        listed = call(["squeue", "--noheader", "--states=all", *options])
    except SlurmError as error:
        if "Invalid job id" in str(error):
            return []
        raise
    return [line.strip() for line in listed.splitlines() if "|" in line]


def jobs_in_queue(name: str) -> list[str]:
    """Return the ids (without array indices) of this user's jobs with a name that the controller remembers.

    Raises:
        SlurmError: if the controller does not respond.
    """
    lines = _listed(["--array", "--me", f"--name={name}", "--format=%i|%r"])
    # For a while, the controller also lists refused jobs.
    return sorted({line.split("|")[0].split("_")[0] for line in lines if not line.endswith("|BadConstraints")})


def jobs_named(name: str, since: float) -> list[str]:
    """Return the ids (without array indices) of this user's jobs with a name, submitted after a time in Unix seconds.

    Raises:
        SlurmError: if the controller does not respond.
    """
    found = jobs_in_queue(name)
    if found:
        return found
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since - 60))
    try:
        listed = call(["sacct", "-X", "-n", "-P", f"--name={name}", "-S", start, "-o", "JobID"])
    except SlurmError:  # without accounting, only the controller can answer
        listed = ""
    return sorted({line.split("_")[0] for line in listed.splitlines() if line})


def compact_ids(job_ids: Iterable[str]) -> list[str]:
    """Return ids as scancel takes them, elements of one array in one word: ``12_[0-2,5]``."""
    elements: dict[str, list[int]] = {}
    words = []
    for job_id in job_ids:
        main_id, _, place = job_id.partition("_")
        if place:
            elements.setdefault(main_id, []).append(int(place))
        else:
            words.append(main_id)
    for main_id, indices in elements.items():
        ranges: list[list[int]] = []
        for index in sorted(indices):
            if ranges and ranges[-1][1] == index - 1:
                ranges[-1][1] = index
            else:
                ranges.append([index, index])
        text = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
        words.append(f"{main_id}_[{text}]")
    return words


def _ended(job_ids: set[str], listed: Mapping[str, JobState]) -> dict[str, JobState]:
    """Return how jobs ended: from accounting, or from what the controller still remembers.

    An answer that is late, or of a job whose end was lost, says nothing: the controller no longer has it.

    Args:
        listed: what squeue lists of these jobs' arrays.
    """
    accounted, is_answer, keeps_accounts = _accounted(job_ids)
    states = {job: state for job, state in accounted.items() if state.has_ended}
    remembered = _remembered(job_ids - states.keys()) if job_ids - states.keys() else {}
    for known in (remembered, listed):
        states = {**{job: state for job, state in known.items() if state.has_ended}, **states}
    if is_answer:
        arrays = set(map(_array_of, itertools.chain(listed, accounted, remembered)))
        for job_id in job_ids - states.keys() - accounted.keys():
            # An element that leaves the queue without ever becoming a job of its own is on nobody's record.
            was_element = keeps_accounts and "_" in job_id and _array_of(job_id) in arrays
            states[job_id] = JobState("CANCELLED", "in the queue") if was_element else JobState(_FORGOTTEN)
    return states


def _accounted(job_ids: set[str]) -> tuple[dict[str, JobState], bool, bool]:
    """Return what sacct says about jobs, whether that is all it can say, and whether there is accounting."""
    main_ids = _main_ids(job_ids)
    states: dict[str, JobState] = {}
    try:
        for start in range(0, len(main_ids), _IDS_PER_CALL):
            ids = ",".join(main_ids[start : start + _IDS_PER_CALL])
            lines = call(["sacct", "-X", "-n", "-P", "-j", ids, "-o", "JobID,State,ExitCode"]).splitlines()
            for listed, state, exit_code in (line.split("|") for line in lines if line.count("|") == 2):
                for job_id in expand_job_id(listed):
                    states[job_id] = JobState(state.split()[0], exit_code=exit_code)
    except SlurmError as error:
        return {}, _NO_ACCOUNTING in str(error), False
    return states, True, True


def _array_of(job_id: str) -> str:
    return job_id.split("_")[0]


def _remembered(job_ids: set[str]) -> dict[str, JobState]:
    states = {}
    for main_id in _main_ids(job_ids):
        try:
            text = call(["scontrol", "--oneliner", "show", "job", main_id])
        except SlurmError:
            continue
        for line in text.splitlines():
            values = dict(re.findall(r"(\w+)=(\S+)", line))
            state = JobState(values.get("JobState", "UNKNOWN"), exit_code=values.get("ExitCode"))
            index = values.get("ArrayTaskId")
            if index is None:
                states[values.get("JobId", "")] = state
            elif index.isdigit() and int(index) < _NO_INDEX:
                states[f"{main_id}_{index}"] = state
            else:  # the rest of the array: elements that never became separate jobs; cancelled ones are not in it
                states = {**dict.fromkeys(expand_job_id(f"{main_id}_[{index}]"), state), **states}
    return states


def expand_job_id(listed: str) -> list[str]:
    """Return the single jobs of an id as sacct lists it: ``12``, ``12_3``, or ``12_[0-2,5%4]`` for waiting ones."""
    main_id, bracket, ranges = listed.partition("_[")
    if not bracket:
        return [listed]
    job_ids = []
    for part in ranges.rstrip("]").split("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match:
            first, last, step = (int(number) if number else None for number in match.groups())
            last = first if last is None else last
            job_ids += [f"{main_id}_{index}" for index in range(first or 0, (last or 0) + 1, step or 1)]
    return job_ids
