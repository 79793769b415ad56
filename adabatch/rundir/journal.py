"""The journal of a sweep's submissions, ``<sweep>/.launch/submissions.jsonl``: written by launch."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from adabatch.errors import ConfigError
from adabatch.files import remove_leftovers
from adabatch.reading import Unreadable, plain_number, reason
from adabatch.rundir.locks import Lock, locked
from adabatch.rundir.process_identity import ProcessIdentity
from adabatch.rundir.records import Record, append_record, read_records, record_time

LAUNCH_FOLDER = ".launch"


class Event(StrEnum):
    """The kinds of lines in the journal."""

    #: A job array is about to be requested.
    INTENT = "intent"
    #: The batch system accepted it.
    ACCEPTED = "accepted"
    #: The batch system refused it.
    REFUSED = "refused"
    #: A queue on this machine accepted runs.
    LOCAL = "local"
    #: That queue ended.
    LOCAL_END = "local_end"
    #: Somebody cancelled queued or running runs.
    CANCELLED = "cancelled"
    #: What runs had left was set aside: earlier submissions say nothing about them any more.
    SET_ASIDE = "set_aside"
    #: How many of the sweep's jobs may run at once, from now on.
    CAP = "cap"


#: A log folder, and a job's id, are single names: a path would lead elsewhere, a dash make an option of it.
_NAME = re.compile(r"[\w][\w.+\[\]-]*", re.ASCII)
#: A hundred years.
_MOST_MINUTES = 52_560_000


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_groups(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_texts, value))


def _is_jobs(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_name, value)) and all(map(_is_texts, value.values()))


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_MINUTES


def _is_cap(value: object) -> bool:
    return value is None or _is_count(value)


def _is_amount(value: object) -> bool:
    number = plain_number(value)
    return number is not None and number > 0


#: The required fields of each line; a line without them is damaged and skipped.
_FIELDS: dict[Event, dict[str, Callable[[object], bool]]] = {
    Event.INTENT: {"token": _is_text, "job_name": _is_text, "groups": _is_groups, "logs": _is_name},
    Event.ACCEPTED: {"token": _is_text, "jobs": _is_jobs, "logs": _is_name},
    Event.REFUSED: {"token": _is_text},
    Event.LOCAL: {"runs": _is_texts, "logs": _is_name},
    Event.LOCAL_END: {"logs": _is_name},
    Event.CANCELLED: {"runs": _is_texts},
    Event.SET_ASIDE: {"runs": _is_texts},
    Event.CAP: {"jobs": _is_cap},
}


#: What may be recorded of a request besides: the copies of code, a job's limits, and in a chain its number of ranks and
#: the token of the request before it. Anything else is left out.
_FACTS: dict[str, Callable[[object], bool]] = {
    "codes": _is_names,
    "minutes": _is_count,
    "memory_gb": _is_amount,
    "num_ranks": _is_count,
    "after": _is_text,
}


def _facts(record: Record) -> dict[str, Any]:
    facts = record.get("facts")
    known = facts if isinstance(facts, dict) else {}
    return {name: known[name] for name, is_sound in _FACTS.items() if is_sound(known.get(name))}


def _codes(record: Record) -> list[str] | None:
    """Return the copies of code that a local queue imports; None if they are not recorded."""
    names = record.get("codes")
    return names if _is_names(names) else None


@dataclass(frozen=True)
class Intent:
    """A request for one job array.

    Attributes:
        token: names the request in later lines.
        job_name: used to ask the batch system whether it accepted the request.
        groups: the names of the runs of each job.
        logs: the name of the jobs' log folder.
        time: seconds since 1970.
    """

    token: str
    job_name: str
    groups: list[list[str]]
    logs: str
    time: float


@dataclass(frozen=True)
class Submission:
    """The last submission of a run.

    Attributes:
        job_id: the batch system's id, of the first job in a chain; None for a local queue.
        chain: the ids of all of its jobs, in their order.
        token: of the last request for one of them.
        queue: the process of the local queue.
        has_ended: whether that queue ended.
    """

    time: float
    logs: str
    job_id: str | None
    queue: ProcessIdentity | None = None
    has_ended: bool = False
    chain: tuple[str, ...] = ()
    token: str | None = None

    @property
    def waits_in_queue(self) -> bool:
        """Whether a live queue on this machine holds the run."""
        return self.queue is not None and not self.has_ended and self.queue.is_alive


@dataclass(frozen=True)
class Refusal:
    """Why the batch system refused a run; ``time`` in seconds since 1970, by the clock of the file system."""

    time: float
    reason: str


class Journal:
    """``<sweep>/.launch``: the journal, the logs of jobs and the lock of a sweep.

    Args:
        sweep_folder: the folder of the sweep.
    """

    def __init__(self, sweep_folder: Path) -> None:
        self.sweep_folder = sweep_folder
        self.folder = sweep_folder / LAUNCH_FOLDER
        self.logs = self.folder / "logs"
        self._file = self.folder / "submissions.jsonl"

    def create(self) -> None:
        """Make the folder."""
        self.logs.mkdir(parents=True, exist_ok=True)

    def record_intent(
        self,
        token: str,
        job_name: str,
        groups: Sequence[Sequence[str]],
        logs: str,
        facts: Mapping[str, object] | None = None,
    ) -> Intent:
        """Record a request before it is sent.

        Args:
            facts: what else was asked for; `latest_facts` and `codes_in_use` read it.
        """
        intent = Intent(token, job_name, [list(group) for group in groups], logs, time.time())
        self._append(Event.INTENT, {**vars(intent), "facts": dict(facts or {})})
        return intent

    def record_acceptance(self, intent: Intent, job_ids: Sequence[str], *, recovered: bool = False) -> None:
        """Record the ids under which a request was accepted, one per group."""
        values = {"token": intent.token, "jobs": dict(zip(job_ids, intent.groups, strict=True)), "logs": intent.logs}
        self._append(Event.ACCEPTED, {**values, "recovered": True} if recovered else values)

    def record_refusal(self, intent: Intent, reason: str | None = None) -> None:
        """Record that a request was refused, or never arrived."""
        self._append(Event.REFUSED, {"token": intent.token} | ({"reason": reason} if reason else {}))

    def record_queue(self, runs: Sequence[str], logs: str, queue: ProcessIdentity, codes: Sequence[str] = ()) -> None:
        """Record which process runs the queue of some runs, and which copies of code they import."""
        self._append(Event.LOCAL, {"runs": list(runs), "logs": logs, "codes": list(codes), **queue.as_dict()})

    def record_queue_end(self, logs: str) -> None:
        """Record that the queue with these logs ended."""
        self._append(Event.LOCAL_END, {"logs": logs})

    def record_cancellation(self, runs: Sequence[str]) -> None:
        """Record that queued or running runs are being cancelled."""
        self._append(Event.CANCELLED, {"runs": list(runs)})

    def record_set_aside(self, runs: Sequence[str]) -> None:
        """Record that runs begin anew."""
        self._append(Event.SET_ASIDE, {"runs": list(runs)})

    def record_cap(self, jobs: int | None) -> None:
        """Record how many jobs of the batch system may run at once; None: any number."""
        if jobs != self.cap:
            self._append(Event.CAP, {"jobs": jobs})

    def _append(self, event: Event, values: Mapping[str, object]) -> None:
        append_record(self._file, {"event": event.value, **values})

    def _of(self, *events: Event) -> Iterator[tuple[Event, Record]]:
        """Yield the valid lines of these kinds, oldest first."""
        by_value = {event.value: event for event in events}
        for record in read_records(self._file):
            event = by_value.get(str(record.get("event")))
            if event and all(is_sound(record.get(name)) for name, is_sound in _FIELDS[event].items()):
                yield event, record

    def unanswered_intents(self) -> list[Intent]:
        """Return the requests without a recorded answer."""
        answered = {record["token"] for _, record in self._of(Event.ACCEPTED, Event.REFUSED)}
        fields = _FIELDS[Event.INTENT]
        intents = [Intent(**{name: record[name] for name in fields}, time=record_time(record))
                   for _, record in self._of(Event.INTENT)]  # fmt: skip
        return [intent for intent in intents if intent.token not in answered]

    def accepted_job_ids(self, token: str | None = None) -> list[str]:
        """Return the ids of accepted jobs, of one request or of all, oldest first."""
        accepted = [record for _, record in self._of(Event.ACCEPTED) if token is None or record["token"] == token]
        return list(dict.fromkeys(job_id for record in accepted for job_id in record["jobs"]))

    @property
    def cap(self) -> int | None:
        """How many jobs of the batch system may run at once; None: any number."""
        caps = [record["jobs"] for _, record in self._of(Event.CAP)]
        return caps[-1] if caps else None

    def latest_facts(self) -> dict[tuple[str, int | None], dict[str, Any]]:
        """Return what the last accepted request for a run asked for, by run and, in a chain, number of ranks."""
        accepted = {record["token"] for _, record in self._of(Event.ACCEPTED)}
        latest: dict[tuple[str, int | None], dict[str, Any]] = {}
        for _, record in self._of(Event.INTENT):
            if record["token"] in accepted:
                facts = _facts(record)
                for name in itertools.chain(*record["groups"]):
                    latest[name, facts.get("num_ranks")] = facts
        return latest

    def codes_in_use(self, is_live: Callable[[str], bool]) -> set[str] | None:
        """Return the copies of code that jobs may still import; None if an older version did not record them.

        Args:
            is_live: whether a job of the batch system is queued or running.
        """
        jobs = {record["token"]: list(record["jobs"]) for _, record in self._of(Event.ACCEPTED)}
        open_tokens = {intent.token for intent in self.unanswered_intents()}
        open_tokens |= {token for token, ids in jobs.items() if any(map(is_live, ids))}
        requests = [record for _, record in self._of(Event.INTENT) if record["token"] in open_tokens]
        recorded = [_facts(record).get("codes") for record in requests]
        ended = {record["logs"] for _, record in self._of(Event.LOCAL_END)}
        queues = [record for _, record in self._of(Event.LOCAL) if record["logs"] not in ended]
        recorded += [_codes(record) for record in queues if ProcessIdentity.of(record).is_alive]
        if None in recorded:
            return None
        return {name for names in recorded if names is not None for name in names}

    def live_queues(self) -> list[ProcessIdentity]:
        """Return the processes of local queues that are alive and have no recorded end."""
        records = list(self._of(Event.LOCAL, Event.LOCAL_END))
        ended = {record["logs"] for event, record in records if event is Event.LOCAL_END}
        queues = [ProcessIdentity.of(record) for event, record in records if event is Event.LOCAL
                  and record["logs"] not in ended]  # fmt: skip
        return [queue for queue in queues if queue.is_alive]

    def latest_submissions(self) -> dict[str, Submission]:
        """Return the last submission by run."""
        latest: dict[str, Submission] = {}
        after: dict[str, str | None] = {}
        events = (Event.INTENT, Event.ACCEPTED, Event.LOCAL, Event.LOCAL_END, Event.SET_ASIDE)
        for event, record in self._of(*events):
            if event is Event.INTENT:
                after[record["token"]] = _facts(record).get("after")
            elif event is Event.ACCEPTED:
                _add_accepted(latest, record, after.get(record["token"]))
            elif event is Event.LOCAL:
                submission = Submission(record_time(record), record["logs"], None, ProcessIdentity.of(record))
                latest |= dict.fromkeys(record["runs"], submission)
            elif event is Event.SET_ASIDE:
                for name in record["runs"]:
                    latest.pop(name, None)
            else:
                for name, submission in latest.items():
                    if submission.logs == record["logs"]:
                        latest[name] = replace(submission, has_ended=True)
        return latest

    def cancellations(self) -> dict[str, float]:
        """Return when each run was last cancelled, in seconds since 1970 by the clock of the file system."""
        return {name: record_time(record) for _, record in self._of(Event.CANCELLED) for name in record["runs"]}

    def refusals(self) -> dict[str, Refusal]:
        """Return the refusal of each run whose last request was refused."""
        groups = {record["token"]: record["groups"] for _, record in self._of(Event.INTENT)}
        refused: dict[str, Refusal] = {}
        for event, record in self._of(Event.ACCEPTED, Event.REFUSED, Event.LOCAL):
            if event is Event.REFUSED:
                reason = record.get("reason")
                sentence = reason if _is_text(reason) and reason else "the batch system never answered"
                refusal = Refusal(record_time(record), sentence)
                names = [name for group in groups.get(record["token"], []) for name in group]
                refused |= dict.fromkeys(names, refusal)
            else:
                accepted = record["runs"] if event is Event.LOCAL else itertools.chain(*record["jobs"].values())
                for name in accepted:
                    refused.pop(name, None)
        return refused

    @contextmanager
    def locked(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the sweep's lock: only one process at a time decides what to submit.

        Args:
            on_wait: called once if another process holds the lock.

        Raises:
            ConfigError: if the folder cannot be written.
        """
        with ExitStack() as stack:
            try:
                self.create()
                if stack.enter_context(locked(self.folder / "lock", on_wait)) is Lock.HELD:
                    remove_leftovers(self.folder)
            except (OSError, Unreadable) as error:
                raise ConfigError(f"{self.folder} must be a folder that can be written ({reason(error)}).") from error
            yield


def _add_accepted(latest: dict[str, Submission], record: Record, after: str | None) -> None:
    """Add the jobs of an accepted request to the submissions of their runs; those after another one to its chain."""
    token, logs, time = record["token"], record["logs"], record_time(record)
    for job_id, names in record["jobs"].items():
        first = Submission(time, logs, job_id, chain=(job_id,), token=token)
        for name in names:
            before = latest.get(name)
            is_next = after is not None and before is not None and before.token == after
            latest[name] = replace(before, chain=(*before.chain, job_id), token=token) if is_next and before else first


def sweep_folder_of(run: Path) -> Path | None:
    """Return the folder of the sweep that contains a run directory; None for a run outside a sweep."""
    return next((parent for parent in run.parents if (parent / LAUNCH_FOLDER).is_dir()), None)
