"""``python -m benchmarks [NAME ...]``: measures, prints tables, writes JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from adabatch.errors import EXIT_DONE, EXIT_FAILED
from adabatch.terminal import print_renderable
from benchmarks import (
    coverage,
    dashboard,
    gpu_speed,
    jpeg_loading,
    loading,
    packing,
    small_costs,
    submission,
    training_speed,
)
from benchmarks.machine import OthersLoad, machine_facts, wait_until_quiet
from benchmarks.measure import BenchmarkFailed
from benchmarks.tables import Table

#: Each has ``add_arguments(parser)``, ``measure(options)``, which yields the results so far, and ``tables(values)``.
BENCHMARKS: dict[str, ModuleType] = {
    "training_speed": training_speed,
    "jpeg_loading": jpeg_loading,
    "small_costs": small_costs,
    "submission": submission,
    "loading": loading,
    "packing": packing,
    "dashboard": dashboard,
    "coverage": coverage,
    "gpu_speed": gpu_speed,
}
#: Measured only where they are named: they need what most machines lack.
_BY_NAME_ALONE = ("gpu_speed",)
_DEFAULT = f"all but {', '.join(_BY_NAME_ALONE)}"
_FACTS = (
    ("Command", "command"), ("Started", "started_at"), ("Processor", "cpu_model"), ("Cores", "num_cores"),
    ("Memory, GiB", "memory_gib"), ("GPUs and drivers", "gpu_models"), ("System", "system"), ("Python", "python"),
    ("torch", "torch"), ("torchvision", "torchvision"), ("adabatch", "adabatch_version"), ("git", "git_sha"),
    ("with uncommitted changes", "git_dirty"), ("Load average before", "load_average"),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, or show files of results; return 1 if a benchmark failed."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(given)
    if options.show:
        shown = [json.loads(path.read_text(encoding="utf-8")) for path in options.show]
    else:
        unknown = [name for name in options.names if name not in BENCHMARKS]
        if unknown:
            parser.error(f"{unknown[0]} is no benchmark; there are {', '.join(BENCHMARKS)}")
        shown = [_measure(options, given)]
    if options.format == "markdown":
        print(as_markdown(shown), end="")
    else:
        for table in _tables(shown):
            print_renderable(table.as_rich())
    failures = [failure for results in shown for failure in results["failures"].items()]
    for name, failure in failures:
        print(f"{name} failed: {failure}", file=sys.stderr)
    return EXIT_FAILED if failures else EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=_DESCRIPTION)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"some of {', '.join(BENCHMARKS)}; default: {_DEFAULT}"
    )
    parser.add_argument("--quick", action="store_true", help="small cases, only to see that everything works")
    parser.add_argument(
        "--repetitions", type=int, default=5, metavar="N", help="rounds; every arm has its turn in each round"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="file to write all results to")
    parser.add_argument(
        "--show", type=Path, nargs="+", metavar="FILE.json", help="measure nothing; print the tables of earlier results"
    )
    parser.add_argument("--format", choices=("text", "markdown"), default="text")
    parser.add_argument(
        "--wait",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="wait at most this long, before each benchmark, until other processes are quiet",
    )
    for benchmark in BENCHMARKS.values():
        benchmark.add_arguments(parser)
    return parser


_DESCRIPTION = (
    "Measures how fast the trainer is against the reference's loop and against the loading of JPEGs, what commands, "
    "the loading of large sweeps and the dashboard cost, and what it gains to run several trainings side by side; "
    "simulates how often verdicts are wrong."
)


def _measure(options: argparse.Namespace, given: Sequence[str]) -> dict[str, Any]:
    results: dict[str, Any] = {"machine": machine_facts(given), "benchmarks": {}, "failures": {}}
    for name in options.names or [name for name in BENCHMARKS if name not in _BY_NAME_ALONE]:
        wait_until_quiet(0.0 if options.quick else options.wait)
        print(f"{name} ...", file=sys.stderr)
        others = OthersLoad()
        try:
            for values in BENCHMARKS[name].measure(options):
                results["failures"].update(values.get("failures", {}))
                results["benchmarks"][name] = {**values, "mean_others_cores": others.mean_cores()}
                _keep(results, options.output)
        except BenchmarkFailed as failure:
            results["failures"][name] = str(failure)
    _keep(results, options.output)
    return results


def _keep(results: Mapping[str, Any], output: Path | None) -> None:
    """Write the results so far, so that a later failure loses nothing."""
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _tables(shown: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables of all results; a note that several tables share stands only under the first."""
    tables: list[Table] = []
    said: set[str] = set()
    for results in shown:
        for name, values in results["benchmarks"].items():
            cores = values.get("mean_others_cores")
            others = [] if cores is None else [f"Other processes used {cores:.2f} cores meanwhile, on average."]
            for table in BENCHMARKS[name].tables(values):
                notes = [note for note in table.notes if note not in said]
                said.update(notes)
                tables.append(replace(table, notes=(*notes, *others)))
    return tables


def as_markdown(shown: Sequence[Mapping[str, Any]]) -> str:
    """Return a page of results: the machines, with a column for each file, then every table."""
    machines = [results["machine"] for results in shown]
    facts = [
        (title, *(str(machine[key]) for machine in machines))
        for title, key in _FACTS
        if any(machine[key] != [] for machine in machines)
    ]
    head = Table("Machine", ("", *(str(number) for number in range(1, len(shown) + 1))), facts)
    return "\n".join(table.as_markdown() for table in [head, *_tables(shown)])


if __name__ == "__main__":
    sys.exit(main())
