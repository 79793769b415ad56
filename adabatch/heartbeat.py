"""The heartbeat: ``progress.json``, by which others see where a run is, and whether it lives."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adabatch.environment import batch_job_id
from adabatch.run_dir import write_json_atomic

INTERVAL_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Heartbeat:
    """Rewrites ``progress.json`` about once a second from a thread of its own, until it is stopped.

    Args:
        path: the file.
        read: returns what the file shall say besides time, host, process and job; called in the thread, so it must read
            plain values only and never touch the device.
    """

    def __init__(self, path: Path, read: Callable[[], dict[str, Any]]) -> None:
        self._path = path
        self._read = read
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat a last time and end the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def beat(self) -> None:
        """Write the file now."""
        writer = {"host": socket.gethostname(), "pid": os.getpid(), "job_id": batch_job_id()}
        values = {"time": time.time(), **writer, **self._read()}
        try:
            with self._writing:
                write_json_atomic(self._path, values, durable=False)
        except OSError as error:
            _log.debug("no heartbeat: %s", error)

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self.beat()
        self.beat()
