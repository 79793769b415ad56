"""What it costs to load a large sweep for the first and for the second time, and to compare its arms."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.made_up_sweep import write_runs, write_sweep_option
from benchmarks.measure import run_child, spread_text
from benchmarks.tables import Table

_MEBIBYTE = 1 << 20
_CACHE = ".analysis"
#: What is younger is not in the cache.
_SECONDS_UNTIL_TRUSTED = 3.0
#: Prints the seconds that the load and the comparison took, and the CPU seconds of the load.
_SCRIPT = """
import json, sys, time
import analysis
began, began_cpu = time.perf_counter(), time.process_time()
data = analysis.load(sys.argv[1])
loaded, loaded_cpu = time.perf_counter(), time.process_time()
if len(sys.argv) > 2:
    analysis.compare(data)
print(json.dumps([loaded - began, loaded_cpu - began_cpu, time.perf_counter() - loaded]))
"""
_STEPS = {"first load": (), "second load": (), "second load, compare": ("compare",)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("loading")
    group.add_argument("--load-runs", type=int, default=10_000, metavar="N", help="runs in the sweep that is loaded")
    group.add_argument("--load-epochs", type=int, default=100, metavar="N", help="epochs in each of these runs")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure each step in a process of its own; before each first load the cache is deleted."""
    num_runs, num_epochs = (120, 5) if options.quick else (options.load_runs, options.load_epochs)
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in _STEPS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        num_runs = write_sweep_option(folder / "conf", num_runs, num_epochs)
        sweep = write_runs(folder / "conf", folder / "runs")
        time.sleep(_SECONDS_UNTIL_TRUSTED)
        for _ in range(1 if options.quick else min(options.repetitions, 3)):
            shutil.rmtree(sweep / _CACHE, ignore_errors=True)
            for step, words in _STEPS.items():
                costs[step].append(_cost(sweep, words))
        has_cache = (sweep / _CACHE).exists()
    yield {"num_runs": num_runs, "num_epochs": num_epochs, "has_cache": has_cache, "steps": costs}


def _cost(sweep: Path, words: tuple[str, ...]) -> dict[str, float]:
    child = run_child(["-c", _SCRIPT, str(sweep), *words])
    load, load_cpu, compare = json.loads(child.output)
    return {
        "load_seconds": load,
        "load_cpu_seconds": load_cpu,
        "compare_seconds": compare,
        "process_seconds": child.seconds,
        "peak_bytes": child.peak_bytes,
    }


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the table of the results of `measure`."""
    rows = []
    for step, costs in values["steps"].items():
        loads, cpu, compares, processes = (
            spread_text([cost[name] for cost in costs])
            for name in ("load_seconds", "load_cpu_seconds", "compare_seconds", "process_seconds")
        )
        peak = format(max(cost["peak_bytes"] for cost in costs) / _MEBIBYTE, ".0f")
        rows.append((step, loads, cpu, compares if _STEPS.get(step) else "", processes, peak))
    columns = ("step", "load, s", "of it CPU, s", "compare, s", "whole process, s", "peak memory, MiB")
    without = "There is no cache: pyarrow is not installed, or these are few runs."
    reading = "The second load reads the cache." if values["has_cache"] else without
    notes = (f"{reading} The whole process starts Python and imports pandas, too. Median (smallest-largest).",)
    title = f"Loading a sweep of {values['num_runs']} runs of {values['num_epochs']} epochs"
    return [Table(title, columns, rows, notes)]
