"""What tests of several packages share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_until(condition: Callable[[], Any], seconds: float = 240.0) -> Any:
    """Wait until a condition is true and return its value; the limit only ends a test that hangs."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "the test hangs"
        time.sleep(0.1)
