"""The stopwatch: every instant of a run belongs to exactly one span, so the spans add up to the total."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from adabatch.rundir.columns import EPOCH_SPANS, GRAPH_SPAN

SPANS = ("setup", GRAPH_SPAN, *EPOCH_SPANS)


class Stopwatch:
    """Charges time to the span that `switch` last named.

    On a CPU, `switch` reads the clock. On a GPU, it records an event in the device's stream; `seconds` reads them, so
    nothing waits for the device within an epoch. A span then lasts from when the device reaches it to when it
    reaches the next one.

    Args:
        use_device_events: True to measure with CUDA events on the current stream.
        spans: those that there are; the first one is charged until `switch` is called.
    """

    def __init__(self, use_device_events: bool = False, spans: Sequence[str] = SPANS) -> None:
        self._seconds = dict.fromkeys(spans, 0.0)
        self._span = spans[0]
        self._since = time.perf_counter()
        self._events: list[tuple[str, Any]] = []
        self._spare_events: list[Any] = []
        self._use_device_events = use_device_events
        if use_device_events:
            self._record(self._span)

    @property
    def span(self) -> str:
        """The span that time is charged to now."""
        return self._span

    def switch(self, span: str) -> None:
        """Charge the time from now on to ``span``."""
        if self._use_device_events:
            self._record(span)
        else:
            now = time.perf_counter()
            self._seconds[self._span] += now - self._since
            self._since = now
        self._span = span

    @contextmanager
    def during(self, span: str) -> Iterator[None]:
        """Charge the time within the block to ``span``, then return to the previous span."""
        outer = self._span
        self.switch(span)
        try:
            yield
        finally:
            self.switch(outer)

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each span since the start; on a GPU this waits for the device."""
        self.switch(self._span)
        if self._use_device_events:
            self._read_events()
        return dict(self._seconds)

    def _record(self, span: str) -> None:
        import torch

        event = self._spare_events.pop() if self._spare_events else torch.cuda.Event(enable_timing=True)
        event.record()
        self._events.append((span, event))

    def _read_events(self) -> None:
        self._events[-1][1].synchronize()
        for (span, start), (_, end) in zip(self._events, self._events[1:], strict=False):
            self._seconds[span] += start.elapsed_time(end) / 1000.0
            self._spare_events.append(start)
        del self._events[:-1]
