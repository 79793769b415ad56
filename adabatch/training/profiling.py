"""``hardware.profile=true``: a profiler trace of a few updates, for a trace viewer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

#: Updates skipped before the trace, because they allocate and tune, and updates traced.
_SKIPPED_UPDATES, _TRACED_UPDATES = 3, 5


class UpdateProfiler:
    """Traces a few updates at the start of a run into a file for chrome://tracing or Perfetto.

    Args:
        path: the trace; JSON.
        device: where the run computes.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        self._profile = profile(
            activities=activities,
            acc_events=True,  # torch 2.11 warns that the next cycle would clear the events; there is only one
            schedule=schedule(wait=_SKIPPED_UPDATES - 1, warmup=1, active=_TRACED_UPDATES, repeat=1),
            on_trace_ready=lambda done: done.export_chrome_trace(str(path)),
        )
        self._updates_left = _SKIPPED_UPDATES + _TRACED_UPDATES
        self._profile.start()

    def on_update(self) -> None:
        """Count one more update; after the last traced one, write the file."""
        if self._updates_left > 0:
            self._updates_left -= 1
            self._profile.step()
            if self._updates_left == 0:
                self._profile.stop()

    def close(self) -> None:
        """Write what was traced, if the run was shorter than the trace."""
        if self._updates_left > 0:
            self._updates_left = 0
            self._profile.stop()
