"""Small runs side by side on one machine: how many runs an hour, not how long one run takes."""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import alternate, paired_ratios, run_child, spread_text
from benchmarks.tables import Table

_SECONDS_PER_HOUR = 3600.0
_ARMS = {
    "fixed_small": ["schedule=fixed", "schedule.batch_size=16"],
    "adaptive": ["schedule=adabatch", "schedule.batch_size=16"],
}
_ONE_BY_ONE = "python -m adabatch, one after another"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("packing")
    group.add_argument("--packed-runs", type=int, default=8, metavar="N", help="runs in the sweep; an even number")
    group.add_argument("--jobs", type=int, default=2, metavar="N", help="runs side by side")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure the same runs started by hand, by launch one after another, and by launch side by side."""
    num_runs, num_epochs = (2, 2) if options.quick else (options.packed_runs, 20)
    overrides = ["dataset=digits", "network=tiny_cnn", f"num_epochs={num_epochs}", "schedule.every_epochs=4"]
    seeds = list(range(num_runs // len(_ARMS)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_sweep_option(folder / "conf", overrides, seeds)
        places = (folder / f"round_{number}" for number in itertools.count())

        def by_hand() -> float:
            place = next(places)
            runs = itertools.product(_ARMS.items(), seeds)
            return sum(
                run_child(
                    ["-m", "adabatch", *overrides, *words, f"seed={seed}", f"run_dir={place}/{arm}_{seed}"]
                ).seconds
                for (arm, words), seed in runs
            )

        arms: dict[str, Callable[[], float]] = {_ONE_BY_ONE: by_hand}
        for jobs in (1, options.jobs):
            arms[f"launch submit --jobs {jobs}"] = lambda jobs=jobs: _submit(folder / "conf", next(places), jobs)  # type: ignore[misc]
        seconds = alternate(arms, 1 if options.quick else min(options.repetitions, 3))
    yield {"num_runs": len(seeds) * len(_ARMS), "num_epochs": num_epochs, "seconds": seconds}


def _write_sweep_option(config_dir: Path, overrides: list[str], seeds: list[int]) -> None:
    option = {"name": "packing", "overrides": overrides, "seeds": seeds, "baseline": "fixed_small", "arms": _ARMS}
    (config_dir / "sweep").mkdir(parents=True)
    (config_dir / "sweep" / "packing.yaml").write_text(yaml.safe_dump(option), encoding="utf-8")


def _submit(config_dir: Path, runs_dir: Path, jobs: int) -> float:
    words = ["sweep=packing", "cluster=local", "--jobs", str(jobs)]
    folders = ["--config-dir", str(config_dir), "--runs-dir", str(runs_dir)]
    return run_child(["-m", "launch", "submit", *words, *folders]).seconds


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the table of the results of `measure`."""
    all_seconds: Mapping[str, list[float]] = values["seconds"]
    first = next(iter(all_seconds.values()))
    rows = [
        (
            name,
            spread_text(seconds, ".1f"),
            format(_SECONDS_PER_HOUR * values["num_runs"] / statistics.median(seconds), ".0f"),
            spread_text(paired_ratios(first, seconds)),
        )
        for name, seconds in all_seconds.items()
    ]
    title = f"Packing: {values['num_runs']} runs of the demo's size, {values['num_epochs']} epochs each"
    return [Table(title, ("how", "seconds for all", "runs per hour", "times as fast"), rows)]
