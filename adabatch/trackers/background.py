"""Runs a tracker in a thread of its own: neither its errors nor its delays reach the training."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from adabatch.plugins.loading import one_line, shown_frames
from adabatch.trackers.base import Tracker

_log = logging.getLogger(__name__)
#: How long the end of a run waits for a tracker that has not finished uploading.
_SHUTDOWN_SECONDS = 20.0
_Call = Callable[[Tracker], None]


class BackgroundTracker(Tracker):
    """Hands every call on to another tracker in another thread, until that tracker raises.

    Args:
        title: the tracker's name in warnings.
        build: makes the tracker; called in that thread, too.
    """

    def __init__(self, title: str, build: Callable[[], Tracker]) -> None:
        self._title = title
        self._build = build
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"tracker {title}", daemon=True)
        self._thread.start()

    def start(self, epoch: int, updates: int) -> None:
        self._put(lambda tracker: tracker.start(epoch, updates))

    def decide(self, updates: int, samples: int, batch_size: int, learning_rate: float) -> None:
        self._put(lambda tracker: tracker.decide(updates, samples, batch_size, learning_rate))

    def log(self, row: dict[str, Any]) -> None:
        self._put(lambda tracker: tracker.log(row))

    def finish(self, summary: dict[str, Any], exit_status: int) -> None:
        self._put(lambda tracker: tracker.finish(summary, exit_status))
        self._put(None)
        self._thread.join(_SHUTDOWN_SECONDS)
        if self._thread.is_alive():
            _log.warning(
                "%s did not finish within %.0f s; the run directory has it all", self._title, _SHUTDOWN_SECONDS
            )

    def _put(self, call: _Call | None) -> None:
        if self._thread.is_alive():  # otherwise the tracker is disabled
            self._calls.put(call)

    def _serve(self) -> None:
        try:
            tracker = self._build()
            while (call := self._calls.get()) is not None:
                call(tracker)
        except (Exception, SystemExit) as error:  # neither may reach the training
            _log.warning("%s is disabled for this run: %s%s", self._title, one_line(error), shown_frames(error))
