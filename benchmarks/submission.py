"""What a large sweep costs on SLURM: plan, submit, and status while all waits and when some has ended.

SLURM's programs are stand-ins that answer at once, so that adabatch alone is measured; no job runs.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adabatch.rundir.files import RunDir
from adabatch.rundir.journal import Journal
from adabatch.rundir.outcome import mark_done
from benchmarks.made_up_sweep import NAME, write_sweep_option
from benchmarks.measure import run_child
from benchmarks.tables import Table

_LIMITS = {"plan": 6, "submit": 60, "status, all pending": 3, "status, mixed": 8}
_SBATCH = """#!/bin/sh
echo >> {folder}/arrays
echo "Submitted batch job $(wc -l < {folder}/arrays)"
"""
_SQUEUE = """#!/bin/sh
cat {folder}/queue
"""
_SCONTROL = """#!/bin/sh
[ "$2" = config ] && echo "MaxArraySize = 1001"
"""
_SACCT = """#!/bin/sh
cat {folder}/accounting
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    group = parser.add_argument_group("submission")
    group.add_argument("--submitted-runs", type=int, default=5000, metavar="N", help="runs in the sweep")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure the commands, one after another."""
    with tempfile.TemporaryDirectory() as name:
        yield _measure(Path(name), 40 if options.quick else options.submitted_runs)


def _measure(folder: Path, num_runs: int) -> dict[str, Any]:
    programs = {"sbatch": _SBATCH, "squeue": _SQUEUE, "scontrol": _SCONTROL, "sacct": _SACCT, "srun": "#!/bin/sh\n"}
    (folder / "bin").mkdir()
    for program, text in programs.items():
        (folder / "bin" / program).write_text(text.format(folder=folder))
        (folder / "bin" / program).chmod(0o755)
    for answer in ("queue", "accounting"):
        (folder / answer).touch()
    num_runs = write_sweep_option(folder / "conf", num_runs, 100)
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    where = [f"sweep={NAME}", "--config-dir", str(folder / "conf"), "--runs-dir", str(folder / "runs")]
    sweep = folder / "runs" / NAME
    costs: dict[str, dict[str, float]] = {}

    def cost(name: str, *words: str, allowed: Sequence[int] = (0,)) -> None:
        before = os.times()
        child = run_child(["-m", "launch", *words], environment, allowed)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        costs[name] = {"seconds": child.seconds, "cpu_seconds": cpu}

    cost("plan", "plan", *where)
    cost("submit", "submit", *where, "cluster=slurm")
    jobs = {one.job_id: name for name, one in Journal(sweep).latest_submissions().items() if one.job_id}
    (folder / "queue").write_text("".join(f"{job}|PENDING|Priority\n" for job in jobs))
    cost("status, all pending", "status", str(sweep), allowed=(3,))
    _end_some(sweep, jobs, folder)
    cost("status, mixed", "status", str(sweep), allowed=(1,))
    return {"num_runs": num_runs, "commands": costs}


def _end_some(sweep: Path, jobs: Mapping[str, str], folder: Path) -> None:
    """Of five runs, let two be done, one time out, one be cancelled, and one wait."""
    waiting, ended = [], []
    for number, (job, name) in enumerate(jobs.items()):
        run = RunDir(sweep / name)
        if number % 5 < 2:
            run.summary.write_text(json.dumps({"state": "done", "epochs": 100, "num_epochs": 100}), encoding="utf-8")
            mark_done(run, "100 epochs")
        elif number % 5 == 4:
            waiting.append(f"{job}|PENDING|Priority\n")
        else:
            ended.append(f"{job}|{'TIMEOUT' if number % 5 == 2 else 'CANCELLED'}|0:0\n")
    (folder / "queue").write_text("".join(waiting))
    (folder / "accounting").write_text("".join(ended))


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the table of the results of `measure`."""
    rows = [
        (
            name,
            format(cost["seconds"], ".1f"),
            format(cost["cpu_seconds"], ".1f"),
            str(_LIMITS[name]),
        )
        for name, cost in values["commands"].items()
    ]
    notes = ("Seconds of the whole process; SLURM's programs are stand-ins. The aim is for 5,000 runs.",)
    columns = ("command", "seconds", "of them on a CPU", "aim, s")
    return [Table(f"A sweep of {values['num_runs']} runs on SLURM", columns, rows, notes)]
