"""Measures on the device where runs will run, with a short process here or a short SLURM job."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adabatch.config import (
    Allocation,
    TrainConfig,
    allocations,
    during,
    is_auto,
    load_config,
    save_config,
    with_measured,
)
from adabatch.config.keys import micro_batch_keys
from adabatch.errors import ConfigError
from adabatch.measure.forecast import count_updates
from adabatch.measure.times import Measurement
from adabatch.processes.children import child_environment
from adabatch.rundir.files import RunDir
from adabatch.rundir.journal import Journal
from adabatch.terminal import complain
from launch.chains import cluster_for
from launch.cluster_config import ClusterConfig
from launch.expand import Run
from launch.prepare import with_threads
from launch.slurm_command import run_command_on_slurm

_FILE_PATIENCE_SECONDS = 10.0
_FILE_POLL_SECONDS = 0.5


class Prober:
    """Measures for the runs of a sweep.

    Args:
        runs: of the whole sweep.
        sweep_folder: requests and results are kept there, below ``.launch``.
        cluster: where the runs run.
        again: measure even if an earlier measurement is cached.
    """

    def __init__(self, runs: Sequence[Run], sweep_folder: Path, cluster: ClusterConfig, again: bool = False) -> None:
        self._runs = runs
        self._folder = Journal(sweep_folder).folder / "measured"
        self._cluster = cluster
        self._again = again

    def resolve_auto(self, chosen: Sequence[Run]) -> list[Run]:
        """Replace each ``auto`` by a measured value, the same for all runs of a cell.

        A cell with a started run keeps that run's values. Otherwise they are measured for all arms with the hardware
        of the arm with the largest batch.

        Raises:
            ConfigError: if the measurement fails.
        """
        found: dict[str, TrainConfig] = {}
        resolved = []
        for run in chosen:
            if is_auto(run.config):
                if run.cell not in found:
                    siblings = [other for other in self._runs if other.cell == run.cell and is_auto(other.config)]
                    found[run.cell] = _earlier(siblings) or self._measure_auto(run.cell, siblings)
                run = dataclasses.replace(run, config=with_measured(run.config, found[run.cell]))
            resolved.append(run)
        return resolved

    def measure_times(self, runs: Sequence[Run]) -> dict[Path, Measurement]:
        """Return the measured times of the runs' micro-batches, by run directory; no cap may be ``auto``.

        Raises:
            ConfigError: if the measurement fails.
        """
        groups: dict[str, list[Run]] = {}
        for run in runs:
            groups.setdefault(_timing_key(run.config), []).append(run)
        measured: dict[Path, Measurement] = {}
        for group in groups.values():
            names = sorted({run.cell for run in group})
            complain(f"measuring the times of {', '.join(names)}")
            answer = self._ask([run.config for run in group], names[0], "times", ["--times"])
            measurement = Measurement.from_dict(answer["measurement"])
            if self._cluster.kind == "slurm":
                measurement = measurement.with_averaging(self._averaging([run.config for run in group], names[0]))
            measured |= {run.run_dir: measurement for run in group}
        return measured

    def _averaging(self, configs: Sequence[TrainConfig], cell: str) -> tuple[tuple[int, float], ...]:
        """Return the numbers of ranks of some runs with the seconds of one averaging, each measured by its own job.

        What cannot be measured is left out, and a sentence says why.
        """
        parts = {part.num_ranks: (config, part) for config in configs for part in allocations(config)}
        found = []
        for num_ranks, (config, part) in sorted(parts.items()):
            if num_ranks > 1:
                complain(f"measuring the averaging of gradients over {num_ranks} ranks")
                try:
                    found.append((num_ranks, self._time_averaging(config, part, cell)))
                except ConfigError as error:
                    complain(error)
        return tuple(found)

    def _time_averaging(self, config: TrainConfig, part: Allocation, cell: str) -> float:
        folder = (self._folder / cell).resolve()
        answer, file = (folder / f"averaging-{part.num_ranks}{suffix}" for suffix in (".json", ".yaml"))
        answer.unlink(missing_ok=True)
        ranks = with_threads(during(config, part), self._cluster)
        save_config(ranks, file)
        call = ["-P", "-m", "adabatch.measure.averaging_of_ranks", str(file), "-o", str(answer)]
        reason = run_command_on_slurm(call, ranks, cluster_for(self._cluster, config, part), folder)
        _wait_for(answer)
        if not answer.exists():
            raise ConfigError(f"the averaging of gradients was not measured: {reason.splitlines()[-1]}")
        return float(json.loads(answer.read_text(encoding="utf-8"))["seconds"])

    def _measure_auto(self, cell: str, siblings: Sequence[Run]) -> TrainConfig:
        largest = max((run.config for run in siblings), key=lambda config: max(count_updates(config)))
        complain(f"measuring auto values for {cell}")
        alike = [run.config for run in siblings if _timing_key(run.config) == _timing_key(largest)]
        answer = self._ask(alike, cell, "auto", [])
        for reason in answer["reasons"]:
            complain(f"{cell}: {reason}")
        hardware = dataclasses.replace(largest.hardware, compile=answer["compile"], cuda_graphs=answer["cuda_graphs"])
        return dataclasses.replace(largest, max_micro_batch_size=answer["max_micro_batch_size"], hardware=hardware)

    def _ask(self, configs: Sequence[TrainConfig], cell: str, what: str, arguments: list[str]) -> dict[str, Any]:
        """Run ``python -m adabatch.measure`` for configs where the runs will run, and return its result."""
        folder = (self._folder / cell).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        answer = folder / f"{what}.json"
        answer.unlink(missing_ok=True)
        different = {repr(config.schedule): config for config in configs}
        files = []
        for number, config in enumerate(different.values(), 1):
            files.append(folder / f"{what}-{number}.yaml")
            save_config(with_threads(config, self._cluster), files[-1])
        call = ["-P", "-m", "adabatch.measure", *map(str, files), "-o", str(answer), *arguments]
        call += ["--again"] if self._again else []
        if self._cluster.kind == "slurm":
            alone = dataclasses.replace(configs[0], hardware=configs[0].hardware.with_ranks(1))
            reason = run_command_on_slurm(call, alone, self._cluster, folder)
            _wait_for(answer)
        else:
            ended = subprocess.run([sys.executable, *call], capture_output=True, text=True, env=child_environment())
            reason = ended.stderr.strip() or f"it ended with status {ended.returncode} without output"
        if not answer.exists():
            raise ConfigError(f"measuring {what} for {cell} failed: {reason.splitlines()[-1]}")
        values: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return values


def _wait_for(answer: Path) -> None:
    """Give a shared file system time to show a file written on a node; a failed job writes none."""
    deadline = time.monotonic() + _FILE_PATIENCE_SECONDS
    # NFS caches the absence of a file until its folder is listed again.
    while answer.name not in os.listdir(answer.parent) and time.monotonic() < deadline:
        time.sleep(_FILE_POLL_SECONDS)


def _earlier(runs: Sequence[Run]) -> TrainConfig | None:
    for run in runs:
        folder = RunDir(run.run_dir)
        if folder.has_started and not is_auto(config := load_config(folder.config)):
            return config
    return None


def _timing_key(config: TrainConfig) -> str:
    """Return a key that is equal for runs whose micro-batches of one size take the same time."""
    return json.dumps(micro_batch_keys(config))
