"""Trains as ``python -m adabatch`` does, and prints when the first update was finished."""

from __future__ import annotations

import sys
import time
from unittest.mock import patch

from adabatch.command import main


def print_time_of_first_update() -> int:
    """Train the run of the command line; print the time after its first update, by `time.monotonic`."""
    from adabatch.training.engine import Engine

    update = Engine.update
    is_first = True

    def timed_update(engine: Engine) -> None:
        nonlocal is_first
        update(engine)
        if is_first:
            is_first = False
            print(time.monotonic(), flush=True)

    with patch.object(Engine, "update", timed_update):
        return main()


if __name__ == "__main__":
    sys.exit(print_time_of_first_update())
