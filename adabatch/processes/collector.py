"""Python's garbage collector while a process starts and ends.

A process that trains imports half a million objects, none of which is ever garbage. Looking through them again and
again while they are made, and once more at the end, takes as much time as importing them.
"""

from __future__ import annotations

import atexit
import gc

_is_paused = False


def pause_collector() -> None:
    """Collect no garbage until `resume_collector`; for the first lines of a process that is all ours."""
    global _is_paused
    _is_paused = True
    gc.disable()
    atexit.register(gc.freeze)


def resume_collector() -> None:
    """Collect garbage again, if it was paused, without looking at what is there by now."""
    global _is_paused
    if _is_paused:
        _is_paused = False
        gc.freeze()
        gc.enable()
