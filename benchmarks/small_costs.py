"""Small costs that add up in a sweep: starting, planning, reading many runs, logging and checkpointing."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.made_up_sweep import NAME, write_runs, write_sweep_option
from benchmarks.measure import alternate, paired_ratios, run_child, spread_text
from benchmarks.tables import Table

_MEBIBYTE = 1 << 20
DEMO_RUN = ("dataset=digits", "network=tiny_cnn", "num_epochs=20", "schedule.every_epochs=4", "schedule.batch_size=16")
_RESNET_RUN = (
    "dataset=synthetic", "dataset.num_train_samples=8192", "dataset.num_test_samples=1024", "network=resnet20",
    "num_epochs=3", "schedule.every_epochs=1", "schedule.batch_size=128", "hardware.precision=bf16",
)  # fmt: skip
_SWEEP_NOTE = "Seconds and memory of the whole process; where pyarrow is installed, runs are read from the cache."
_LOAD = "import sys, analysis; analysis.load(sys.argv[1])"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("small_costs")
    group.add_argument(
        "--sweep-runs", type=int, default=1000, metavar="N", help="runs in the sweep that is planned and tabulated"
    )
    group.add_argument("--sweep-epochs", type=int, default=100, metavar="N", help="epochs in each of these runs")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure all of them."""
    num_runs, num_epochs = (40, 5) if options.quick else (options.sweep_runs, options.sweep_epochs)
    repetitions = 1 if options.quick else options.repetitions
    with tempfile.TemporaryDirectory() as folder:
        yield {
            "start": _measure_start(Path(folder), repetitions),
            "sweep": _measure_sweep(Path(folder), num_runs, num_epochs, min(repetitions, 3)),
            "saving": _measure_saving(Path(folder), options.quick),
        }


def _measure_start(folder: Path, repetitions: int) -> dict[str, list[float]]:
    names = iter(range(1_000_000))

    def import_seconds() -> float:
        return run_child(["-c", "import torch"]).seconds

    def first_update_seconds() -> float:
        words = [*DEMO_RUN[:2], "num_epochs=1", "schedule.batch_size=16", f"run_dir={folder}/start_{next(names)}"]
        child = run_child(["-m", "benchmarks.first_update", *words])
        return float(child.output.split()[0]) - child.started_at

    arms = {"import_torch_seconds": import_seconds, "first_update_seconds": first_update_seconds}
    if repetitions > 1:
        alternate(arms, 1)  # reads the files from the disk once
    return alternate(arms, repetitions)


def _measure_sweep(folder: Path, num_runs: int, num_epochs: int, repetitions: int) -> dict[str, Any]:
    config_dir, runs_dir = folder / "conf", folder / "runs"
    num_runs = write_sweep_option(config_dir, num_runs, num_epochs)
    plan = ["-m", "launch", "plan", f"sweep={NAME}", "--config-dir", str(config_dir)]
    before = _costs({"plan, nothing trained": [*plan, "--runs-dir", str(runs_dir)]}, repetitions)
    sweep = write_runs(config_dir, runs_dir)
    after = _costs(
        {
            "plan, all trained": [*plan, "--runs-dir", str(runs_dir)],
            "status": ["-m", "launch", "status", str(sweep)],
            "analysis.load": ["-c", _LOAD, str(sweep)],
            "tables": ["-m", "analysis", "tables", str(sweep)],
        },
        repetitions,
    )
    return {"num_runs": num_runs, "num_epochs": num_epochs, "commands": {**before, **after}}


def _costs(commands: Mapping[str, Sequence[str]], repetitions: int) -> dict[str, dict[str, list[float]]]:
    peaks: dict[str, list[float]] = {name: [] for name in commands}

    def seconds(name: str) -> float:
        child = run_child(commands[name])
        peaks[name].append(child.peak_bytes)
        return child.seconds

    measured = alternate({name: partial(seconds, name) for name in commands}, repetitions)
    return {name: {"seconds": measured[name], "peak_bytes": peaks[name]} for name in commands}


def _measure_saving(folder: Path, quick: bool) -> dict[str, dict[str, float]]:
    runs = {"demo": (*DEMO_RUN, "num_epochs=2")} if quick else {"demo": DEMO_RUN, "resnet20": _RESNET_RUN}
    shares = {}
    for name, words in runs.items():
        run_dir = folder / f"saving_{name}"
        run_child(["-m", "adabatch", *words, f"run_dir={run_dir}"])
        summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
        shares[name] = {key: summary[key] for key in ("epochs", "elapsed_seconds", "save_seconds", "setup_seconds")}
    return shares


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the tables of the results of `measure`."""
    return [_start_table(values["start"]), _sweep_table(values["sweep"]), _saving_table(values["saving"])]


def _start_table(start: Mapping[str, list[float]]) -> Table:
    imports, updates = start["import_torch_seconds"], start["first_update_seconds"]
    row = (spread_text(imports), spread_text(updates), spread_text(paired_ratios(updates, imports)))
    notes = (
        "Both from the start of the process; python -m adabatch with digits and tiny_cnn. Median (smallest-largest).",
    )
    return Table("Until the first update", ("import torch, s", "first update, s", "ratio"), [row], notes)


def _sweep_table(sweep: Mapping[str, Any]) -> Table:
    rows = [
        (name, spread_text(cost["seconds"]), format(max(cost["peak_bytes"]) / _MEBIBYTE, ".0f"))
        for name, cost in sweep["commands"].items()
    ]
    title = f"A sweep of {sweep['num_runs']} runs of {sweep['num_epochs']} epochs"
    return Table(title, ("command", "seconds", "peak memory, MiB"), rows, (_SWEEP_NOTE,))


def _saving_table(saving: Mapping[str, Mapping[str, float]]) -> Table:
    rows = [
        (
            name,
            format(run["epochs"], ".0f"),
            format(run["elapsed_seconds"], ".2f"),
            format(run["save_seconds"], ".3f"),
            f"{100 * run['save_seconds'] / run['elapsed_seconds']:.2f} %",
        )
        for name, run in saving.items()
    ]
    columns = ("run", "epochs", "training, s", "saving, s", "share")
    notes = ("As the run measured itself; with a checkpoint every minute and at the end, which is the default.",)
    return Table("Logging and checkpointing", columns, rows, notes)
