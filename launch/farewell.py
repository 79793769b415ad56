"""What somebody is told who stops watching a sweep with Ctrl-C."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from launch.status import RunStatus


def farewell(command: str, folders: Sequence[Path], statuses: Sequence[RunStatus]) -> str:
    """Return that the runs go on, and how to come back to them or to stop them.

    Args:
        command: the verb and its options that came before the folders, such as ``wait``.
        statuses: of the runs, as they were seen last.
    """
    if not any(one.state.may_change for one in statuses):
        return "No run was under way."
    names = [shlex.quote(str(folder)) for folder in folders]
    stop = " && ".join(f"adabatch cancel {name}" for name in names)
    return f"The runs go on.\n  to come back:  adabatch {command} {' '.join(names)}\n  to stop them:  {stop}"
