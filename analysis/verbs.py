"""The verbs of ``adabatch`` and of ``python -m analysis``; what they need is imported when they are called."""

from __future__ import annotations

import pkgutil
import sys

from adabatch.verb_help import parsed_by


@parsed_by("analysis.cli:parser_of")
def tables() -> int:
    """Print accuracy and speedup tables; exit status 1 if a comparison was refused.

    adabatch tables runs/demo
    adabatch tables runs/demo --format markdown
    """
    return _run("tables")


@parsed_by("analysis.cli:parser_of")
def report() -> int:
    """Write tables, figures and the data as one self-contained HTML page.

    adabatch report runs/demo
    adabatch report runs/demo runs/other -o report.html
    """
    return _run("report")


@parsed_by("analysis.cli:parser_of")
def figure() -> int:
    """Write pictures as a file for a paper.

    adabatch figure runs/demo --pictures batch_size,accuracy_by_seconds
    adabatch figure runs/demo -o figure.svg --label growing="Growing batch"
    """
    return _run("figure")


@parsed_by("analysis.cli:parser_of")
def scorecard() -> int:
    """Put a paper's claims beside what the runs say.

    adabatch scorecard runs/paper_cifar10
    """
    return _run("scorecard")


@parsed_by("analysis.cli:parser_of")
def dashboard() -> int:
    """Serve a live page of a folder of runs, on this machine only.

    adabatch dashboard runs/demo
    """
    return _run("dashboard")


@parsed_by("analysis.cli:parser_of")
def fetch_wandb() -> int:
    """Write the runs of a wandb project as run directories.

    adabatch fetch-wandb ENTITY/PROJECT -o runs/from_wandb
    """
    return _run("fetch-wandb")


@parsed_by("analysis.cli:parser_of")
def read_wandb() -> int:
    """Write offline runs of wandb as run directories.

    adabatch read-wandb wandb/ -o runs/from_wandb
    """
    return _run("read-wandb")


@parsed_by("analysis.cli:parser_of")
def import_csv() -> int:
    """Write logs of another trainer as run directories; see docs/analysis.md.

    adabatch import-csv own.csv -o runs/theirs --trainer "their_loop 1.2"
    """
    return _run("import-csv")


def _run(name: str) -> int:
    # By its name, because it reads these docstrings: an import would close a circle.
    main = pkgutil.resolve_name("analysis.cli:main")
    status: int = main([name, *sys.argv[1:]], "adabatch")
    return status
