"""The arguments of every command. Needs little more than argparse, so that a shell completes a line at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from adabatch.files import user_path
from adabatch.rundir.states import RETRY_STATES, State

#: The orders of ``status``.
SORT_KEYS = ("name", "state", "arm", "epoch", "left", "tries")
#: How often files are read by those who watch; SLURM is asked less often.
EVERY_SECONDS = 2.0
_WORDS_HELP = (
    "sweep=NAME, sweep.KEY=VALUE, and overrides of training keys, which apply to all runs; cluster=NAME, "
    "cluster.KEY=VALUE"
)
_FOLDERS_HELP = "sweeps' folders, parts of them, or run directories"


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of what follows a command."""
    parser = argparse.ArgumentParser(prog=name)
    ARGUMENTS[name](parser)
    return parser


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help=_WORDS_HELP)
    parser.add_argument("--config-dir", type=user_path, help="a folder with your own options, sweeps and clusters")
    parser.add_argument(
        "--runs-dir", type=user_path, default=Path("runs"), help="the folder that holds the sweeps' folders"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one seed, the first value of each grid key, few samples and epochs: a look that proves nothing",
    )
    parser.add_argument(
        "--allow", action="append", default=[], metavar="CODE", help="a lint code to allow; recorded in every run"
    )


def _add_forecast(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--forecast", action="store_true", help=what)
    parser.add_argument("--again", action="store_true", help="with --forecast: ignore cached measurements")


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", type=user_path, nargs="+", metavar="DIR", help=_FOLDERS_HELP)


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``plan``."""
    _add_sweep(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    _add_forecast(parser, "measure this device, or the cluster's, and predict seconds and speedups")


def add_submit(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``submit``."""
    _add_sweep(parser)
    parser.add_argument("--jobs", type=int, metavar="N", help="cluster=local: number of concurrent jobs")
    parser.add_argument("--detach", action="store_true", help="cluster=local: return immediately")
    parser.add_argument(
        "--retry",
        metavar="STATES",
        help=f"besides missing runs, start only runs in these states, separated by commas: {', '.join(RETRY_STATES)}",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="start only runs of this arm or cell, or this run; "
        "may be repeated",
    )  # fmt: skip
    parser.add_argument("--wait", action="store_true", help="return when no run waits or trains; see wait")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the jobs, or their batch scripts; write and submit nothing"
    )
    parser.add_argument(
        "--wait-for-room",
        action="store_true",
        help="SLURM: repeat until every job is accepted, where a limit leaves room for some only",
    )
    _add_forecast(parser, "measure the device first, and record each run's predicted times")


def add_status(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``status``."""
    _add_folders(parser)
    parser.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=EVERY_SECONDS,
        metavar="SECONDS",
        help=f"refresh every {EVERY_SECONDS:.0f} s until no run is pending, running or unknown; "
        "SLURM is asked every 10 to 60 s",
    )
    states = f"show only runs in these states, separated by commas: {', '.join(State)}"
    parser.add_argument("--state", metavar="STATES", help=states)
    parser.add_argument("--arm", action="append", metavar="ARM", help="show only runs of this arm; may be repeated")
    parser.add_argument("--sort", choices=SORT_KEYS, default="name", help="the order of the runs")
    parser.add_argument("--all", action="store_true", help="list every run, however many there are")
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="json with --watch: a line for each run that changed"
    )


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``wait``."""
    _add_folders(parser)
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="stop waiting after this long")


def add_logs(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``logs``."""
    parser.add_argument("run", type=user_path, metavar="RUN", help="a run directory, or a folder that holds one run")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run has ended")
    parser.add_argument("-n", "--lines", type=int, metavar="N", help="begin with the last N lines")
    parser.add_argument("--job", action="store_true", help="the error log of the run's job instead of log.txt")


def add_cancel(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``cancel``."""
    parser.add_argument(
        "folder", type=user_path, metavar="DIR", help="a submitted sweep's folder, a part of it, or a run directory"
    )


def add_rerun(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rerun``."""
    parser.add_argument(
        "words", nargs="*", metavar="RUN", help="run directories, or folders of a sweep that hold them; then "
        "cluster=NAME (by default local) and cluster.KEY=VALUE",
    )  # fmt: skip
    parser.add_argument("--config-dir", type=user_path, help="a folder with your own clusters")
    parser.add_argument("--detach", action="store_true", help="cluster=local: return immediately")


#: By command, what adds its arguments.
ARGUMENTS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "plan": add_plan,
    "submit": add_submit,
    "status": add_status,
    "wait": add_wait,
    "logs": add_logs,
    "cancel": add_cancel,
    "rerun": add_rerun,
}
