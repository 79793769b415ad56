"""The heartbeat: ``progress.json``, which shows how far a run is and whether it is alive."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.files import write_json_atomic
from adabatch.reading import plain_number, read_mapping
from adabatch.rundir.clock import clock_ahead_of, time_of
from adabatch.rundir.process_identity import ProcessIdentity, this_process
from adabatch.rundir.provenance import batch_job_id

INTERVAL_SECONDS = 1.0
#: A run without a sign of life for this long, and without a process or job known to be alive, is lost.
STALE_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Heartbeat:
    """Rewrites ``progress.json`` about once a second from its own thread, until stopped.

    Args:
        path: the file.
        read: returns the file's other values, besides time, host, process and job; called in the thread, so it must
            read plain values only and never touch the device.
    """

    def __init__(self, path: Path, read: Callable[[], dict[str, Any]]) -> None:
        self._path = path
        self._read = read
        self._writing = threading.Lock()
        self._clock_ahead: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write the file a last time and end the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def beat(self) -> None:
        """Write the file now."""
        writer = {**this_process().as_dict(), "job_id": batch_job_id()}
        values = {"time": time.time(), **self._clock_ahead, **writer, **self._read()}
        try:
            with self._writing:
                write_json_atomic(self._path, values, durable=False)
                self._clock_ahead = clock_ahead_of(os.stat(self._path))
        except OSError as error:
            _log.debug("no heartbeat: %s", error)

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self.beat()
        self.beat()


@dataclass(frozen=True)
class Beat:
    """The content of a heartbeat; None for values that are missing or of the wrong type.

    Attributes:
        time: seconds since 1970, by the clock of the file system.
        process: the process that wrote it.
        job_id: the batch job of that process.
        epoch: the current one, from 1.
        batch_size: in samples; None before the first update.
        epochs_done: including the fraction of the current one.
        wall_seconds: since the start, over all segments of the run.
        updates, samples: done so far.
        span: of the stopwatch, to which time is charged now; see ``columns.py``.
    """

    time: float | None
    process: ProcessIdentity
    job_id: str | None
    epoch: int | None
    num_epochs: int | None
    batch_size: int | None
    epochs_done: float | None
    wall_seconds: float | None
    updates: int | None = None
    samples: int | None = None
    span: str | None = None

    @property
    def fraction(self) -> float | None:
        """The fraction of the run that is done, from 0 to 1."""
        if self.epochs_done is None or not self.num_epochs:
            return None
        return min(1.0, max(0.0, self.epochs_done / self.num_epochs))

    @property
    def eta_seconds(self) -> float | None:
        """The seconds left at the average pace since the start of the run."""
        if not self.epochs_done or not self.num_epochs or self.wall_seconds is None:
            return None
        return max(0.0, self.wall_seconds * (self.num_epochs - self.epochs_done) / self.epochs_done)


def read_beat(path: Path) -> Beat | None:
    """Return the content of ``progress.json``; None if the file is missing or damaged."""
    values = read_mapping(path)
    return _beat(values) if values else None


def _beat(values: dict[str, Any]) -> Beat:
    epoch, num_epochs = _whole(values.get("epoch")), _whole(values.get("num_epochs"))
    in_epoch, of_epoch = plain_number(values.get("samples_in_epoch")), plain_number(values.get("epoch_samples"))
    part = in_epoch / of_epoch if in_epoch is not None and of_epoch else 0.0
    job_id, span = values.get("job_id"), values.get("span")
    wall = values.get("wall_seconds", values.get("elapsed_seconds"))
    return Beat(
        time=time_of(values),
        process=ProcessIdentity.of(values),
        job_id=job_id if isinstance(job_id, str) else None,
        epoch=epoch,
        num_epochs=num_epochs,
        batch_size=_whole(values.get("batch_size")) or None,
        epochs_done=None if epoch is None else epoch - 1 + part,
        wall_seconds=plain_number(wall),
        updates=_whole(values.get("updates")),
        samples=_whole(values.get("samples")),
        span=span if isinstance(span, str) else None,
    )


def _whole(value: object) -> int | None:
    number = plain_number(value)
    return None if number is None or number != int(number) else int(number)
