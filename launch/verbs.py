"""The verbs of ``adabatch`` and of ``python -m launch``; what they need is imported when they are called."""

from __future__ import annotations

import pkgutil
import sys

from adabatch.verb_help import parsed_by


@parsed_by("launch.arguments:parser_of")
def plan() -> int:
    """Show the runs of a sweep, stage by stage, and what lint finds; start nothing.

    Exit status: 0 nothing stops a submission, 1 lint finds an error that --allow does not name, 2 invalid call or
    config.

    adabatch plan sweep=demo
    adabatch plan sweep=mine --config-dir my --forecast
    """
    return _run("plan")


@parsed_by("launch.arguments:parser_of")
def submit() -> int:
    """Submit the runs of a sweep that are missing or failed, never one that is done or queued.

    Exit status: 0 accepted, or on this machine all done; 1 some failed; 2 invalid call or config, or lint finds an
    error that --allow does not name; 3 none failed and not all are done.

    adabatch submit sweep=demo cluster=local
    adabatch submit sweep=mine cluster=slurm cluster.partition=gpu --wait
    adabatch submit sweep=mine --config-dir my --only adaptive
    """
    return _run("submit")


@parsed_by("launch.arguments:parser_of")
def status() -> int:
    """Show state, cause and progress of every run at or below a folder.

    Exit status: 0 all are done, 1 some failed, 2 invalid call, 3 none failed and not all are done.

    adabatch status runs/demo --watch
    adabatch status runs/demo --state failed --arm adaptive --sort epoch
    """
    return _run("status")


@parsed_by("launch.arguments:parser_of")
def wait() -> int:
    """Return when no run at or below a folder waits or trains any more.

    Exit status: 0 all are done, 1 some failed, 2 invalid call, 3 none failed and not all are done.

    adabatch wait runs/demo && adabatch tables runs/demo
    """
    return _run("wait")


@parsed_by("launch.arguments:parser_of")
def logs() -> int:
    """Print the log of a run; with -f also what it prints from now on.

    adabatch logs runs/demo/digits-tiny_cnn/adaptive/seed_0 -f
    """
    return _run("logs")


@parsed_by("launch.arguments:parser_of")
def cancel() -> int:
    """Stop what is queued or running in a sweep or a part of it; repeating the submission resumes it.

    adabatch cancel runs/demo
    adabatch cancel runs/demo/digits-tiny_cnn/adaptive/seed_0
    """
    return _run("cancel")


@parsed_by("launch.arguments:parser_of")
def rerun() -> int:
    """Train runs of a sweep once more from the start, and keep what they left.

    What they left is kept in the folder .earlier/ of each run. Exit status: as of submit.

    adabatch rerun runs/demo/digits-tiny_cnn/adaptive/seed_0
    adabatch rerun runs/mine/cifar10-resnet20/adaptive cluster=slurm
    """
    return _run("rerun")


VERBS = (plan, submit, status, wait, logs, cancel, rerun)


def _run(name: str) -> int:
    # By its name, because it reads these docstrings: an import would close a circle.
    main = pkgutil.resolve_name("launch.cli:main")
    status: int = main([name, *sys.argv[1:]], "adabatch")
    return status
