"""Starts child processes with this package on their import path, signalled when their parent dies."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping

from adabatch.errors import EXIT_FAILED
from adabatch.files import SOURCE_DIR

#: From Linux's sys/prctl.h.
_PR_SET_PDEATHSIG = 1
#: Only Linux can signal the children of a process that dies.
SIGNALS_ORPHANS = sys.platform == "linux"


def import_path(environment: Mapping[str, str]) -> str:
    """Return the PYTHONPATH with which a child in any folder imports this package."""
    return os.pathsep.join(filter(None, [str(SOURCE_DIR), environment.get("PYTHONPATH")]))


def safe_python(command: str | None = None) -> str:
    """Return a shell command, this Python by default, that does not search the working directory for modules."""
    return f"{command or shlex.quote(sys.executable)} -P"


def module_command(module: str, *words: str) -> list[str]:
    """Return the command that runs a module with this Python; it needs `child_environment`.

    With ``-P`` a folder ``launch`` in the working directory, say, is not taken for ours.
    """
    return [sys.executable, "-P", "-m", module, *words]


def child_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment, this process's by default, with the import path set."""
    given = os.environ if environment is None else environment
    return {**given, "PYTHONPATH": import_path(given)}


def signal_on_parent_death(number: signal.Signals) -> Callable[[], None]:
    """Return a ``preexec_fn`` that makes a child receive a signal when this process dies."""
    if not SIGNALS_ORPHANS:
        return lambda: None
    parent_pid = os.getpid()
    # Loaded here: between fork and exec, a lock held by another thread would never be released.
    libc = ctypes.CDLL(None)

    def prepare_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent_pid:  # the parent died before prctl
            os._exit(EXIT_FAILED)

    return prepare_child
