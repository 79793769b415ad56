"""The verbs of ``adabatch`` and of ``python -m launch``; what they need is imported when they are called."""

from __future__ import annotations

import pkgutil
import sys


def plan() -> int:
    """Show the runs of a sweep, stage by stage, and what lint finds; start nothing.

    Exit status: 0 nothing stops a submission, 1 lint finds an error that --allow does not name, 2 invalid call or
    config.

    adabatch plan sweep=demo
    adabatch plan sweep=mine --config-dir my --forecast
    """
    return _run("plan")


def submit() -> int:
    """Submit the runs of a sweep that are missing or failed, never one that is done or queued.

    Exit status: 0 done or submitted, 1 a run failed, 2 invalid call or config, or lint finds an error that --allow does
    not name.

    adabatch submit sweep=demo cluster=local
    adabatch submit sweep=mine --config-dir my cluster=slurm cluster.partition=gpu
    """
    return _run("submit")


def status() -> int:
    """Show state, cause and progress of every run at or below a folder; exit status 1 if one failed.

    adabatch status runs/demo --watch
    """
    return _run("status")


def cancel() -> int:
    """Stop what is queued or running; repeating the submission resumes it.

    adabatch cancel runs/demo
    """
    return _run("cancel")


VERBS = (plan, submit, status, cancel)


def _run(name: str) -> int:
    # By its name, because it reads these docstrings: an import would close a circle.
    main = pkgutil.resolve_name("launch.cli:main")
    status: int = main([name, *sys.argv[1:]], "adabatch")
    return status
