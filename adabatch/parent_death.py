"""Children that the kernel tells of their parent's end, however that comes."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

from adabatch.errors import EXIT_FAILED

#: From Linux's sys/prctl.h.
_PR_SET_PDEATHSIG = 1
#: Elsewhere a child learns nothing.
IS_TOLD = sys.platform == "linux"


def told_of_parents_death(number: signal.Signals) -> Callable[[], None]:
    """Return what a child is to run before its program (``preexec_fn``) to get a signal once this process is gone."""
    if not IS_TOLD:
        return lambda: None
    parent_pid = os.getpid()
    # Loaded here: between fork and exec another thread's lock would be held for ever.
    libc = ctypes.CDLL(None)

    def prepare_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent_pid:  # it went before the kernel was asked
            os._exit(EXIT_FAILED)

    return prepare_child
