"""What tests of several packages share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_until(condition: Callable[[], Any], seconds: float = 240.0) -> Any:
    """Wait until a condition is true and return its value; the limit only ends a test that hangs.

    A condition that takes long, such as one that asks SLURM, is looked at less often: what it asks about also computes.
    """
    deadline = time.monotonic() + seconds
    while True:
        started = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        assert now < deadline, "the test hangs"
        time.sleep(min(max(0.1, 3 * (now - started)), 1.0))
